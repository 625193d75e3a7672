# SPDX-License-Identifier: GPL-2.0
"""dfw: a bridge, dfwd in the host's namespace, one vport.  The binaries are those of DFW_BUILD, or of build/ of this
checkout; the instance is named after the harness's namespaces and goes with teardown()."""
import json, os, re, shutil, signal, subprocess, sys, time
from harness import sh, parse_policy
from adapters.none import bridge

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.environ.get("DFW_BUILD") or os.path.normpath(os.path.join(HERE, "../../../build"))
TEMPLATE = os.path.join(HERE, "../reference.dfw")
VPORT = "vm"
BEGIN, END = "    # rules begin\n", "    # rules end\n"
NS = INSTANCE = VMIF = DIR = DFWD = LOG = None
KEEP_LOG = bool(os.environ.get("DFW_KEEP"))
SERVICE = dict(icmp="icmp-echo, icmp6-echo", gre="protocol gre", esp="protocol esp")

def translate(text):
    """The rules of the neutral text, in the language of dfw, one a line.  A rule keeps its name when others come and go."""
    out = []
    for way, action, proto, port, source in parse_policy(text)["rules"]:
        number = port if port and port.isdigit() else None
        name = "-".join([way, action, proto] + ([number] if number else []) + ([re.sub("[^0-9a-z]+", "-", source)] if source else []))
        service = SERVICE.get(proto, f"{proto} {number}" if number else proto)
        out.append(f"    {name}: {action} {way}" + (f" from {source}" if source else "") + f" service {service}\n")
    return "".join(out)
def policy(text):
    head, rest = open(TEMPLATE).read().split(BEGIN)
    return head + BEGIN + translate(text) + END + rest.split(END)[1]

def ctl_run(*args, check=True):
    r = subprocess.run([BUILD + "/dfwctl", "-i", INSTANCE, *args], capture_output=True, text=True)
    if check and r.returncode:
        raise RuntimeError(f"dfwctl {' '.join(args)}: {r.returncode}: {r.stderr.strip()}")
    return r
def start():
    global DFWD
    DFWD = subprocess.Popen(["nsenter", "--net=/run/netns/" + NS, BUILD + "/dfwd", "-i", INSTANCE], stdout=LOG, stderr=LOG, stdin=subprocess.DEVNULL)
    ctl_run("status", "--wait", "120")
def stop(how=signal.SIGTERM):
    global DFWD
    if DFWD is None: return
    DFWD.send_signal(how)
    try: DFWD.wait(30)
    except subprocess.TimeoutExpired: DFWD.kill(); DFWD.wait()
    DFWD = None
def apply(text):
    path = os.path.join(DIR, "policy.dfw")
    with open(path, "w") as f: f.write(policy(text))
    ctl_run("policy", "apply", path)

def setup(host_ns, vm_if, wire_if, policy_text):
    global NS, INSTANCE, VMIF, DIR, LOG
    NS, INSTANCE, VMIF = host_ns, host_ns, vm_if
    DIR = f"/tmp/dfw-{INSTANCE}"
    os.makedirs(DIR, exist_ok=True)
    LOG = open(DIR + "/dfwd.log", "w+")
    if not os.path.ismount("/sys/fs/bpf"): sh("mount -t bpf bpf /sys/fs/bpf")
    bridge(host_ns, vm_if, wire_if)
    start()
    add()
    apply(policy_text)
def add():
    p = parse_policy(__import__("cases").POLICY)
    ctl_run("vport", "add", VPORT, "--dev", VMIF, "--mac", p["mac"], *[x for ip in p["ips"] for x in ("--ip", ip)])
def flush():
    ctl_run("flow", "kill", "--vport", VPORT)
def ctl(op, *arg):
    if op == "policy": apply(*arg)
    elif op == "restart": stop(); start()
    elif op == "reattach": ctl_run("vport", "del", VPORT); add()
    else: return False
def stats():
    """The counters of the vport, for whoever adds them up."""
    return json.loads(ctl_run("-j", "stats", VPORT).stdout)
def teardown():
    if INSTANCE is None: return
    ctl_run("shutdown", "--detach", check=False)
    stop()
    for d in ("/run/dfw/", "/var/lib/dfw/", "/sys/fs/bpf/dfw/"): shutil.rmtree(d + INSTANCE, ignore_errors=True)
    if LOG:
        LOG.seek(0); text = LOG.read(); LOG.close()
        bad = [l for l in text.splitlines() if any(w in l for w in ("AddressSanitizer", "runtime error", "Assertion", "BUG"))]
        if bad: print("# dfwd: " + "\n# dfwd: ".join(bad), file=sys.stderr)
    if not KEEP_LOG: shutil.rmtree(DIR, ignore_errors=True)
