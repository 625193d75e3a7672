# SPDX-License-Identifier: GPL-2.0
"""Where the bench measures: namespaces with a bridge each, and a firewall or none on it."""
import os
import shutil
import subprocess
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.normpath(os.path.join(HERE, "../.."))
BUILD = os.environ.get("DFW_BUILD") or os.path.join(ROOT, "build")
TOOLS = os.path.join(ROOT, "build/selftests/bench")
ID = f"b{os.getpid()}"
PINS = f"/sys/fs/bpf/{ID}"
OUTSIDE = "02:00:00:00:99:01"
UDP = 4000   # the VMs' port of the established flows
STREAM = 5201
TALK = 7000

SPACES, DAEMONS, CHILDREN = [], [], []


def sh(command, inp=None, check=True):
    done = subprocess.run(command, shell=True, capture_output=True, text=True, input=inp)
    if check and done.returncode:
        raise RuntimeError(f"{command}: {done.stderr.strip()}")
    return done.stdout


def inside(space, *words, check=True):
    """Runs a program in a namespace, with the mounts of this one."""
    done = subprocess.run(["nsenter", "--net=/run/netns/" + space, *words], capture_output=True, text=True)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def space_make(name):
    sh(f"ip netns add {name}")
    SPACES.append(name)
    sh(f"ip netns exec {name} sysctl -qw net.ipv6.conf.default.disable_ipv6=1 net.ipv6.conf.all.disable_ipv6=1")
    sh(f"ip -n {name} link set lo up")


def clean_up():
    for child in CHILDREN:
        child.kill()
        child.wait()
    for daemon in DAEMONS:
        daemon.end()
    for name in SPACES:
        subprocess.run(["ip", "netns", "del", name], capture_output=True)
    shutil.rmtree(PINS, ignore_errors=True)


class Host:
    """A host: a bridge with an uplink and the devices of its ports. Behind the cables another namespace, where frames end."""

    def __init__(self, name, ports):
        self.name, self.space, self.far = name, f"{ID}{name}", f"{ID}{name}f"
        self.ports = {port: i for i, port in enumerate(ports)}
        for space in (self.space, self.far):
            space_make(space)
        self.bridge()
        self.cable("up0", "w0", OUTSIDE)
        for port in ports:
            self.cable("tap" + port, "v" + port, self.mac(port))

    def bridge(self):
        # Once br_netfilter is loaded, each bridge of each new namespace goes through its hooks.
        sh(f"ip netns exec {self.space} sysctl -qw net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-ip6tables=0 "
           "net.bridge.bridge-nf-call-arptables=0", check=False)
        sh(f"ip -n {self.space} link add br0 type bridge mcast_snooping 0 && ip -n {self.space} link set br0 up")

    def cable(self, near, far, mac):
        """What comes out of `far` is counted and dropped; a program there also lets XDP send to `near`."""
        sh(f"ip link add {far} netns {self.far} address {mac} type veth peer name {near} netns {self.space}")
        sh(f"ip -n {self.space} link set {near} master br0 up && ip -n {self.far} link set {far} up")
        inside(self.far, "ip", "link", "set", far, "xdpdrv", "pinned", PINS + "/sink")   # ip -n would hide the pins
        sh(f"bridge -n {self.space} fdb replace {mac} dev {near} master static")

    def mac(self, port):
        return f"02:00:00:00:98:{self.ports[port] + 1:02x}"

    def ip(self, port):
        return f"10.98.0.{self.ports[port] + 1}"

    def inject(self, command, port, **options):
        """Calls the injector for a port; options as inject.c says. Returns the numbers that it prints."""
        words = dict(dev="up0", port="tap" + port, outside=OUTSIDE, mac=self.mac(port), ip=self.ip(port), udp=UDP)
        words["from"] = "10.90.0.1"
        words.update({key.replace("_", "-").rstrip("-"): value for key, value in options.items()})
        line = ["chrt", "-f", "1", "taskset", "-c", "0", TOOLS + "/inject", TOOLS + "/inject.bpf.o", command]
        for key, value in words.items():
            line += ["--" + key] + ([] if value is True else [str(value)])
        return [float(number) for number in inside(self.space, *line).split()]


class RealHost(Host):
    """Real ends behind the cables instead of sinks."""

    def __init__(self, name):
        self.name, self.space = name, f"{ID}{name}"
        self.ports, self.vm, self.wire = {"s": 0}, f"{ID}{name}v", f"{ID}{name}w"
        for space in (self.space, self.vm, self.wire):
            space_make(space)
        self.bridge()
        for far, device, near, mac, address in ((self.wire, "w0", "up0", OUTSIDE, "10.98.0.254"),
                                                (self.vm, "eth0", "taps", self.mac("s"), self.ip("s"))):
            sh(f"ip link add {device} netns {far} address {mac} type veth peer name {near} netns {self.space}")
            sh(f"ip -n {self.space} link set {near} master br0 up && ip -n {far} addr add {address}/24 dev {device} && "
               f"ip -n {far} link set {device} up")

    def serve(self, *words):
        CHILDREN.append(subprocess.Popen(["nsenter", "--net=/run/netns/" + self.vm, *words], stdout=subprocess.DEVNULL,
                                         stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL))
        port = f":{words[-1]} "
        for _ in range(200):
            if port in inside(self.vm, "ss", "-tln"):
                return
            time.sleep(.02)
        raise RuntimeError(f"{' '.join(words)} does not listen")


def rules_of(nr, proto="udp", port=UDP):
    """nr rules, of which the last one allows what is sent: (prefix or None, protocol, port)."""
    rules = [(f"10.{i // 250 % 250 + 1}.{i % 250}.0/24", "tcp" if i % 3 else "udp", 1000 + i % 60000) for i in range(nr - 1)]
    return rules + [(None, proto, port)]


def nft(host, rules):
    """nftables, stateful, on the bridge."""
    lines = "\n".join(f"  {f'ip saddr {source} ' if source else ''}{proto} dport {port} accept" for source, proto, port in rules)
    sh(f"ip netns exec {host.space} sysctl -qw net.bridge.bridge-nf-call-iptables=1")
    sh(f"ip netns exec {host.space} nft -f -", f"""
table inet fw {{
 chain forward {{ type filter hook forward priority 0; policy drop;
  ct state invalid drop
  ct state established,related accept
{lines}
 }}
}}
""")
    sh(f"ip netns exec {host.space} sysctl -qw net.netfilter.nf_conntrack_udp_timeout=600 "
       "net.netfilter.nf_conntrack_udp_timeout_stream=600", check=False)


class Dfw:
    """A dfwd of its own instance in a host's namespace, and a policy: rules {port: its rules}, deep {port: flows}: ports with many."""

    def __init__(self, host, rules, deep=None):
        self.host, self.instance, self.deep = host, ID + host.name, deep or {}
        self.work = f"/tmp/dfw-bench-{self.instance}"
        os.makedirs(self.work, exist_ok=True)
        with open(self.work + "/dfwd.log", "w", encoding="ascii") as log:
            self.daemon = subprocess.Popen(["nsenter", "--net=/run/netns/" + host.space, BUILD + "/dfwd", "-i", self.instance],
                                           stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        DAEMONS.append(self)
        self.ctl("status", "--wait", "30")
        self.policy({})   # the profiles: a table has the size of the profile with which its port comes
        for port in host.ports:
            self.ctl("vport", "add", port, "--dev", "tap" + port, "--mac", host.mac(port), "--ip", host.ip(port),
                     "--profile", f"deep-{self.deep[port]}" if port in self.deep else "default")
        self.policy(rules)

    def policy(self, rules):
        text = []
        for flows in sorted(set(self.deep.values())):   # an eighth more room than flows, as dfw-policy(5) says
            text += [f"profile deep-{flows} {{", "    max-flows 2097152", "    max-half-open 65536", f"    flow-table {max(1792, flows * 9 // 8)}"]
            text += [f"    timeout {state} 600s" for state in ("udp-new", "udp-replied", "udp-stream")] + ["}"]
        text += ["default in drop", "default out drop", "tier bench {"]
        for port, of_port in rules.items():
            for i, (source, proto, number) in enumerate(of_port):
                text.append(f"    {port}-{i}: allow in{f' from {source}' if source else ''} service {proto} {number} applied-to vport {port}")
        text += ["    answers: allow out", "}", ""]
        path = self.work + "/policy.dfw"
        with open(path, "w", encoding="ascii") as file:
            file.write("\n".join(text))
        begin = time.monotonic()
        self.ctl("policy", "apply", path)
        return time.monotonic() - begin

    def ctl(self, *words):
        return inside(self.host.space, BUILD + "/dfwctl", "-i", self.instance, *words)

    def end(self):
        try:
            self.ctl("shutdown", "--detach")
        except RuntimeError:
            pass
        self.daemon.terminate()
        try:
            self.daemon.wait(10)
        except subprocess.TimeoutExpired:
            self.daemon.kill()
            self.daemon.wait()
        for folder in (self.work, f"/run/dfw/{self.instance}", f"/var/lib/dfw/{self.instance}", f"/sys/fs/bpf/dfw/{self.instance}"):
            shutil.rmtree(folder, ignore_errors=True)
