#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""record.py FILE [SEED [CASES]]: runs the conformance cases, and then as many random ones, through the adapter dfw_uplink
(DFW_UPLINK says how); writes their verdicts and what each changed in the vport's counters to FILE, as JSON."""
import json, os, random, signal, sys
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness
from adapters import dfw_uplink as ad
import cases, cases_more                            # the second appends to the first
from cases import CASES, POLICY, Case
from frames import *

def random_case(r, n):
    """Some thirty frames of a few conversations, mostly plausible."""
    steps, v = [], r.choice((4, 4, 6))
    N[0] = 10000 + n
    t = r.choice((Tcp(v=v), Tcp("w", 22, v=v, base=20000), Tcp("w", 8080, v=v, base=20000), Tcp("w", 7777, v=v, base=20000)))
    u = r.choice((Udp(v=v), Udp("w", v=v, base=20000), Udp("w", 7777, v=v, base=20000), Udp("w", 113, v=v, base=20000)))
    seq, ack = r.randrange(M), r.randrange(M)
    if r.random() < .8:
        steps += [t.c("S", seq, opt=WS(7)), t.s("SA", ack, seq + 1, opt=WS(7)), t.c("A", seq + 1, ack + 1)]
        seq, ack = seq + 1, ack + 1
    def segment():
        nonlocal seq, ack
        who = r.choice("cs")
        n = r.choice((0, 0, 1, 30, 90, 400, 1400))
        flags = r.choices(("A", "PA", "FA", "RA", "R", "S", "SA", "AU", ""), (40, 30, 2, 1, 1, 2, 2, 2, 1))[0]
        off = r.choices((0, -n, 1, 70000, r.randrange(M)), (60, 5, 5, 2, 1))[0]
        k = dict(chksum=0xdead) if r.random() < .04 else {}
        a, b = (seq, ack) if who == "c" else (ack, seq)
        s = (t.c if who == "c" else t.s)(flags, a + off, b if "A" in flags else 0, n, r.choice((65535, 500, 0)), **k)
        if off == 0 and not k and flags in ("A", "PA"):
            if who == "c": seq += n
            else: ack += n
        return s
    def datagram():
        who, n = r.choice("cs"), r.choice((0, 8, 60, 600, 1400))
        k = dict(chksum=r.choice((0, 0xdead))) if r.random() < .1 else {}
        return (u.c if who == "c" else u.s)("", n, **k)
    def other():
        side = r.choice("vw")
        return r.choice((
            lambda: echo(side, 8 if v == 4 else 128, v=v), lambda: echo(side, 0 if v == 4 else 129, v=v),
            lambda: pkt(side, UDP(sport=5, dport=53) / Raw(b"z" * 9), "options", l2={}, **(dict(ttl=1) if v == 4 else dict(hlim=1)), v=v),
            lambda: X(side, eth(side) / Dot1Q(vlan=r.choice((0, 5))) / ip(side, v) / UDP(sport=5, dport=53) / Raw(b"t"), "tagged"),
            lambda: X(side, eth(side, src=NB) / ip(side, v) / UDP(sport=5, dport=53) / Raw(b"n"), "from a neighbour"),
            lambda: X(side, eth(side, dst=BC) / ip(side, v) / UDP(sport=5, dport=53) / Raw(b"b"), "to all"),
            lambda: X(side, eth(side) / ip(side, v) / UDP(sport=5, dport=53, len=4) / Raw(b"l"), "short length"),
            lambda: X(side, bytes(eth(side) / ip(side, v) / UDP(sport=5, dport=53) / Raw(b"cut" * 9))[:r.randrange(15, 60)], "cut"),
            lambda: frag(side, 17, ulp(side, UDP(sport=5, dport=53) / Raw(b"f" * 64)), 0, 40, True, id=n + 1),
            lambda: frag(side, 17, ulp(side, UDP(sport=5, dport=53) / Raw(b"f" * 64)), 40, 72, False, id=n + 1)))()
    while len(steps) < 30:
        steps.append(r.choices((segment, datagram, other), (60, 25, 15))[0]())
    return Case("R", f"R{n}", "random", "random frames", steps, "", "")

def counters():
    out = {}
    for v in ad.stats():
        for d in ("in", "out"):
            out[d + " passed"] = v[d]["passed"]
            for x in v[d]["reasons"]: out[d + " " + x["reason"]] = dict(packets=x["packets"], bytes=x["bytes"])
    return out
def delta(before, after):
    zero = dict(packets=0, bytes=0)
    out = {k: [after[k][x] - before.get(k, zero)[x] for x in ("packets", "bytes")] for k in after}
    return {k: v for k, v in out.items() if any(v)}

def main():
    path, seed, number = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1, int(sys.argv[3]) if len(sys.argv) > 3 else 60
    r = random.Random(seed)
    todo = CASES + [random_case(r, n) for n in range(number)]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    results = []
    try:
        harness.up()
        ad.setup(harness.HOST, "tap0", "up0", POLICY)
        before = counters()
        for c in todo:
            got = harness.run(c, ad)
            # A vport that was made anew begins at zero; of streams only the verdict is always the same.
            after = counters()
            again = any(s.ctl and s.ctl[0] == "reattach" for s in c.steps)
            vague = any(s.ctl and s.ctl[0] == "stream" for s in c.steps)
            results.append(dict(id=c.id, what=c.what, got=got, counters=None if vague else delta({} if again else before, after), words=[s.say for s in c.steps]))
            before = after
        ways = ad.ways()
    finally:
        try: ad.teardown()
        finally: harness.down()
    json.dump(dict(mode=ad.MODE, ways=ways, results=results), open(path, "w"))
if __name__ == "__main__":
    main()
