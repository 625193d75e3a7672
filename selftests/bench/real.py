# SPDX-License-Identifier: GPL-2.0
"""Rows with real ends: TCP connections a second, a TCP stream, request and response; and what a flow, a port, a rule and a
change cost."""
import glob
import json
import os
import statistics
import subprocess
import sys
from frames import FLOWS, progress
from place import Dfw, Host, RealHost, nft, rules_of, sh, inside, BUILD, ROOT, STREAM, TALK, TOOLS

STREAM_HOSTS = ["bridge", "bridge, once more", "nft, 1 rules", "dfw, 1 rules", "dfw fast path"]
STREAM_ROUNDS, STREAM_BYTES = 30, "2G"


class Real:
    """The same ends behind no firewall, nftables and dfw."""

    def __init__(self, options):
        self.options, self.hosts, self.out = options, {}, {"connections": {}, "stream": {}, "latency": {}}
        rules = [1] if options.quick else [1, 100, 1000]
        self.hosts["bridge"], self.again = RealHost("sb"), RealHost("sa")
        for nr in rules:
            host = self.hosts[f"nft, {nr} rules"] = RealHost(f"sn{nr}")
            nft(host, rules_of(nr, "tcp", TALK) + [(None, "tcp", STREAM)])
            host = self.hosts[f"dfw, {nr} rules"] = RealHost(f"sd{nr}")
            Dfw(host, {"s": rules_of(nr, "tcp", TALK) + [(None, "tcp", STREAM)]})
        host = self.hosts["dfw fast path"] = RealHost("sf")
        Dfw(host, {"s": rules_of(1, "tcp", TALK) + [(None, "tcp", STREAM)]}).ctl("uplink", "add", "up0")
        for host in self.hosts.values():
            host.serve(TOOLS + "/talk", "serve", str(TALK))

    def stream(self, host):
        server = subprocess.Popen(["nsenter", "--net=/run/netns/" + host.vm, "iperf3", "-s", "-1", "-p", str(STREAM)],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            sh(f"ip netns exec {host.vm} timeout 5 sh -c 'until ss -tln | grep -q :{STREAM}; do sleep .02; done'")
            out = json.loads(inside(host.wire, "iperf3", "-c", host.ip("s"), "-p", str(STREAM), "-n", STREAM_BYTES, "-C", "cubic", "-J"))
            return out["end"]["sum_received"]["bits_per_second"] / 1e9
        finally:
            server.kill()
            server.wait()

    def talk(self, host, what):
        return [float(n) for n in inside(host.wire, TOOLS + "/talk", what, host.ip("s"), str(TALK), str(self.seconds)).split()]

    def streams(self):
        """Gbit/s of each round, by host. One connection makes 10 Gbit/s and the next 30, whatever is in between, by where the
        scheduler puts its ends; and all drift within a minute. So rounds are many and short, each has all hosts with a connection of
        their own, cubic's, which keeps to no pace, and the ratios within a round are compared. Two hosts have no firewall: how
        far they are from each other is what the figure cannot tell."""
        hosts = self.hosts | {"bridge, once more": self.again}
        got = {name: [] for name in STREAM_HOSTS}
        for i in range(STREAM_ROUNDS):
            progress(f"streams, round {i + 1}")
            # Each in each place of the round as often as in the others: the first finds a colder machine.
            for name in STREAM_HOSTS[i % len(STREAM_HOSTS):] + STREAM_HOSTS[:i % len(STREAM_HOSTS)]:
                got[name].append(self.stream(hosts[name]))
        return got

    def run(self):
        self.seconds = 1 if self.options.quick else 2
        got = {what: {name: [] for name in self.hosts} for what in ("connections", "latency")}
        for i in range(min(5, self.options.rounds)):
            progress(f"real ends, round {i + 1}")
            for name, host in self.hosts.items():
                got["connections"][name].append(self.talk(host, "connect")[0])
                got["latency"][name].append(self.talk(host, "ask"))
        base = statistics.median(got["connections"]["bridge"])
        for name, runs in got["connections"].items():
            self.out["connections"][name] = {"median": round(statistics.median(runs), 2), "runs": runs,
                                             "ratio_bridge": round(statistics.median(runs) / base, 3)}
        streams = self.streams()
        bridges = [(one + other) / 2 for one, other in zip(streams["bridge"], streams["bridge, once more"])]
        for name, runs in streams.items():
            ratios = [run / bridge for run, bridge in zip(runs, bridges)]
            self.out["stream"][name] = {"median": round(statistics.median(runs), 2), "runs": runs,
                                        "ratio_bridge": round(statistics.median(ratios), 3)}
        for name, runs in got["latency"].items():
            self.out["latency"][name] = {"p50_us": statistics.median(r[0] for r in runs), "p99_us": statistics.median(r[1] for r in runs)}
        return self.out


def memlock(folder):
    """Bytes of kernel memory of the maps pinned in a folder, by name."""
    found = {}
    for path in glob.glob(folder + "/*"):
        if os.path.basename(path).startswith("link_"):
            continue
        done = subprocess.run(["bpftool", "-j", "map", "show", "pinned", path], capture_output=True, text=True)
        if done.returncode == 0:
            found[os.path.basename(path)] = json.loads(done.stdout).get("bytes_memlock", 0)
    return found


def of_flows(folder):
    """The same of the confirmed flows: their table, and what has found no room there."""
    maps = memlock(folder)
    return maps["flows"] + maps["more_flows"]


def slab():
    """Bytes of the kernel's slabs: what maps and the rest have taken."""
    with open("/proc/meminfo", encoding="ascii") as file:
        info = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in file}
    return info["Slab"] + info.get("Percpu", 0)


def costs(options):
    """Memory of a flow, a port and a rule, and the time of a policy change."""
    progress("memory, changes")
    flows = FLOWS["100k"] if options.quick else 2 * FLOWS["1M"]
    host = Host("mm", ["m", "n"])
    daemon = Dfw(host, {"m": rules_of(1), "n": rules_of(1)}, {"m": flows})
    folder = f"/sys/fs/bpf/dfw/{daemon.instance}/vports/"
    before = of_flows(folder + "m")
    before_slab = slab()
    host.inject("establish", "m", flows=flows)
    after, after_slab = of_flows(folder + "m"), slab()
    alive = json.loads(daemon.ctl("-j", "vport", "show", "m"))["flows"]
    # What the map has taken beforehand is the flows' too: its pages.
    out = {"flows": alive, "bytes_a_flow_maps": round(after / alive, 1),
           "bytes_a_flow_slab": round((after_slab - before_slab + before) / alive, 1),
           "bytes_a_port": sum(memlock(folder + "n").values())}
    apply = []
    for i in range(3 if options.quick else 7):
        apply.append(1000 * daemon.policy({"n": rules_of(10000 + i), "m": rules_of(1)}))
    out["apply_10k_rules_ms"] = {"median": round(statistics.median(apply), 1), "min": round(min(apply), 1), "runs": apply}
    return out


def classifier(options):
    """ns a decision in the kernel, for the ClassBench sets where they are."""
    sets = sorted(glob.glob(os.path.join(os.environ.get("CLASSBENCH", ROOT + "/../shared/classbench"), "*.rules")))
    if options.quick:
        sets = sets[:2]
    if not sets:
        return []
    subprocess.run(["make", "-s", "-C", ROOT, "build/selftests/bench/classify"], check=True, stdout=sys.stderr)
    progress("classifier")
    out = []
    for path in sets:
        for few in (True, False):
            line = [BUILD + "/selftests/bench/classify", "--json"] + (["--rules", "10"] if few else []) + [path]
            done = subprocess.run(line, capture_output=True, text=True, cwd=ROOT, check=True)
            one = json.loads(done.stdout)
            out.append({"name": os.path.basename(one.pop("file")), "first_10": few} | one)
    return out
