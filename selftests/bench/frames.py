# SPDX-License-Identifier: GPL-2.0
"""Rows in nanoseconds a frame: injected frames on their way through a host."""
import statistics
import subprocess
import sys
from place import Dfw, Host, nft, rules_of, sh, ID, OUTSIDE

FLOWS = {"1": 1, "1k": 1 << 10, "100k": 1 << 17, "1M": 1 << 20}   # powers of two: see inject.bpf.c
RULES = {"1": 1, "10": 10, "100": 100, "1k": 1000, "10k": 10000}
NEW_SOURCE = "10.160.0.1"
DENIED = 9   # a port that no rule opens
DRAWS = 3    # hosts of one kind, see Row; on those of dfw are ports with these flows
SEVERAL = ["1", "1k", "100k"]


class Row:
    """What is measured once a round. `frames` is how many at a time; `engine`, `load` and `size` say what it is in JSON. What it
    costs to write such frames and drop them at once (engine injector) is not in it. Where the kernel has laid the devices, programs and
    tables of a host is worth 20 ns: so there may be several `hosts`, which take turns."""

    def __init__(self, name, hosts, port, engine, load, size=None, frames=1.0, after=None, **options):
        self.name, self.hosts, self.port = name, hosts if isinstance(hosts, list) else [hosts], port
        self.engine, self.load, self.size = engine, load, size
        self.share, self.after, self.options = frames, after, options
        self.runs, self.bridges, self.turn = [], [], 0

    def measure(self, frames, round_number):
        count = max(200, int(frames * self.share))
        options = dict(self.options)
        if options.get("flows") == 0 and "syns" not in options:
            options["begin"] = round_number * 400000
        host = self.hosts[self.turn % len(self.hosts)]
        self.turn += 1
        ns, *_ = host.inject("measure", self.port, frames=count, **options)
        if self.after:
            self.after()
        return ns

    @property
    def kind(self):
        return "syns" if "syns" in self.options else "flows"

    def result(self, twins):
        median = statistics.median(self.runs)
        twin = twins.get((self.load, self.size))
        beside = list(zip(self.runs, self.bridges))
        return {"name": self.name, "engine": self.engine, "load": self.load, "size": self.size, "ns": round(median, 1),
                "min": min(self.runs), "max": max(self.runs), "runs": self.runs,
                "ratio_bridge": round(statistics.median(ns / bridge for ns, bridge in beside), 3) if beside else None,
                "above_bridge": round(statistics.median(ns - bridge for ns, bridge in beside), 1) if beside else None,
                "ratio_nft": round(median / twin, 3) if twin and self.engine.startswith("dfw") else None}


def progress(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


class Frames:
    """All hosts and rows of this part."""

    def __init__(self, options):
        self.options, self.rows, self.skipped = options, [], []
        self.flows = {k: v for k, v in FLOWS.items() if k != "1M" or not options.quick}
        self.rules = {k: v for k, v in RULES.items() if k in ("1", "1k") or not options.quick}
        sh("sysctl -qw net.netfilter.nf_conntrack_max=8000000", check=False)
        self.bridges()
        self.nftables()
        for name, mode in (("tc", None), ("fp", "auto"), ("xdp", "native")):
            try:
                self.dfw(name, mode)
            except RuntimeError as error:
                self.skipped.append((f"dfw {name}", str(error)))
        self.rows = [row for row in self.rows if row.engine in ("injector", "bridge") or options.only in row.name]

    def add(self, *words, **options):
        self.rows.append(Row(*words, **options))

    # ---- no firewall ----

    def bridges(self):
        host, *others = [Host("br" + draw, ["a", "b"]) for draw in ["", *map(str, range(1, DRAWS))]]
        many = FLOWS["1k"]
        self.add("the injector itself, flows", host, "a", "injector", "flows", drop=True, flows=many)
        self.add("the injector itself, SYNs", host, "a", "injector", "syns", drop=True, syns=True)
        self.add("bridge alone, in", [host, *others], "a", "bridge", "in", flows=many)
        self.add("bridge alone, out", host, "a", "bridge", "out", dev="tapa", from_vm=True, flows=many)
        self.add("bridge alone, port to port", host, "a", "bridge", "p2p", dev="tapb", outside=host.mac("b"), from_=host.ip("b"), flows=many)
        self.add("bridge alone, flood of SYNs", host, "a", "bridge", "denied", syns=True, udp=DENIED)
        self.add("XDP redirect, no checks", host, "a", "redirect-xdp", "in", target="tapa", flows=many)
        straight = Host("rd", ["a"])
        straight.inject("forward", "a", target="tapa")
        self.add("tc redirect, no checks", straight, "a", "redirect-tc", "in", flows=many)
        empty = Host("no", ["a"])
        for way in ("ingress", "egress"):
            sh(f"ip netns exec {empty.space} tc qdisc replace dev tapa clsact")
            sh(f"ip netns exec {empty.space} tc filter add dev tapa {way} bpf direct-action object-file {self.options.tools}/inject.bpf.o program nothing")
        self.add("tc program that does nothing", empty, "a", "nothing", "in", flows=many)

    # ---- nftables ----

    def nftables(self):
        """A namespace for each set of rules: those of one must not slow another."""
        for label, count in self.flows.items():
            host = Host("ne" + label, ["a"])
            nft(host, rules_of(1))
            progress(f"nft, {count} flows")
            host.inject("establish", "a", flows=count)
            self.add(f"nft, established, {label} flows", host, "a", "nft", "in", label, flows=count)
        for label, count in self.rules.items():
            host = Host("nn" + label, ["a"])
            nft(host, rules_of(count))
            self.add(f"nft, new flows, {label} rules", host, "a", "nft", "new", label, frames=min(1.0, 200 / count) / 2,
                     after=lambda host=host: sh(f"ip netns exec {host.space} conntrack -F", check=False), flows=0, from_=NEW_SOURCE)
        host = Host("nd", ["a"])
        nft(host, rules_of(100))
        self.add("nft, denied flood", host, "a", "nft", "denied", frames=.2, syns=True, udp=DENIED,
                 after=lambda: sh(f"ip netns exec {host.space} conntrack -F", check=False))

    # ---- dfw ----

    def dfw(self, way, mode):
        """One host with all ports. way: tc (no uplink), fp (fast path in tc), xdp (XDP on the uplink and the fast path)."""
        deep = {"e" + label: count for label, count in self.flows.items()}
        new = ["n" + label for label in self.rules] if way == "tc" else []
        host = Host(way, [*deep, "b", "d"] + new)
        rules = {port: rules_of(1) for port in [*deep, "b", "d"]}
        rules |= {"n" + label: rules_of(count) for label, count in self.rules.items()} if new else {}
        daemon = Dfw(host, rules, deep | {"b": FLOWS["1k"]})
        if mode:
            daemon.ctl("uplink", "add", "up0", "--mode", mode)
        others = [self.draw(f"{way}{i}") for i in range(1, DRAWS)] if way == "tc" else []
        engine = {"tc": "dfw", "fp": "dfw-fast", "xdp": "dfw-xdp"}[way]
        said = {"tc": "dfw", "fp": "dfw fast path", "xdp": "dfw XDP"}[way]
        hook = {"hook": True} if way == "xdp" else {}
        for label, count in self.flows.items():
            progress(f"{said}, {count} flows")
            host.inject("establish", "e" + label, flows=count)
            hosts = [host, *others] if label in SEVERAL else host
            self.add(f"{said}, established, {label} flows", hosts, "e" + label, engine, "in", label, flows=count, **hook)
        many = FLOWS["1k"]
        if way != "xdp":
            self.add(f"{said}, out, 1k flows", host, "e1k", engine, "out", "1k", dev="tape1k", from_vm=True, flows=many)
            host.inject("establish", "e1k", dev="tapb", outside=host.mac("b"), from_=host.ip("b"), flows=many)
            self.add(f"{said}, port to port, 1k flows", host, "e1k", engine, "p2p", "1k", dev="tapb", outside=host.mac("b"),
                     from_=host.ip("b"), flows=many)
        for label in [port[1:] for port in new]:
            self.add(f"{said}, new flows, {label} rules", host, "n" + label, engine, "new", label, frames=.5,
                     after=lambda label=label: daemon.ctl("flow", "kill", "--vport", "n" + label), flows=0, from_=NEW_SOURCE)
        if way != "fp":
            self.add(f"{said}, denied flood", host, "d", engine, "denied", syns=True, udp=DENIED, **hook)

    def draw(self, name):
        """One more host with dfw, in tc."""
        deep = {"e" + label: FLOWS[label] for label in SEVERAL}
        host = Host(name, [*deep, "b"])
        Dfw(host, {port: rules_of(1) for port in host.ports}, deep)
        for port, count in deep.items():
            host.inject("establish", port, flows=count)
        return host

    # ---- all of them ----

    def run(self):
        bridges = {row.load: row for row in self.rows if row.engine == "bridge"}
        own = {}
        for i in range(self.options.rounds + 1):   # the first round warms up
            progress(f"round {i} of {self.options.rounds}")
            for row in list(self.rows):
                # Machines have slow minutes: each row of a firewall is compared with the bridge of that very moment.
                bridge = bridges.get("in" if row.load == "new" else row.load) if row.engine not in ("injector", "bridge") else None
                try:
                    beside = bridge.measure(self.options.frames, i) - own[bridge.kind] if bridge else None
                    ns = row.measure(self.options.frames, i)
                except (RuntimeError, subprocess.SubprocessError) as error:
                    self.skipped.append((row.name, str(error)))
                    self.rows.remove(row)
                    continue
                if row.engine == "injector":
                    own[row.kind] = ns
                else:
                    ns -= own[row.kind]
                if i:
                    row.runs.append(round(ns, 1))
                    if bridge:
                        row.bridges.append(beside)

    def results(self):
        twins = {(r.load, r.size): statistics.median(r.runs) for r in self.rows if r.engine == "nft"}
        return [row.result(twins) for row in self.rows]
