#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""conform.py --adapter NAME [--only ID,family,..] [--mark P|H|M] [--json] [--list] [--steps]
Runs the conformance cases through a firewall on a bridge and prints a line a case; needs root, python3-scapy."""
import argparse, importlib, json, os, signal, sys, time
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import alternatives

def judge(case, got):
    """'' when the verdicts are accepted, else what is wrong: leak (more got through than may), break (less), form (not as it should be)"""
    alts = alternatives(case.exp, len(got))
    if any(len(a) == len(got) and all(g in s for g, s in zip(got, a)) for a in alts): return ""
    best = None
    for a in alts:
        bad = [(g, s) for g, s in zip(got, a) if g not in s]
        kinds = {"leak" if g[0] in "FM" and not any(x[0] == "F" for x in s) else "break" if g[0] in "DrE" and not (s & {"D", "R"}) else "form" for g, s in bad}
        if best is None or len(bad) < best[0]: best = (len(bad), kinds)
    return "+".join(sorted(best[1])) or "form"
def short(v):
    out, i = [], 0
    while i < len(v):
        j = i
        while j < len(v) and v[j] == v[i]: j += 1
        out += [f"{v[i]}*{j - i}"] if j - i > 6 else v[i:j]
        i = j
    return " ".join(out)

def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--adapter", default="none"); ap.add_argument("--only", default=""); ap.add_argument("--mark", choices="PHM")
    ap.add_argument("--json", action="store_true"); ap.add_argument("--list", action="store_true"); ap.add_argument("--steps", action="store_true")
    ap.add_argument("--dump", action="store_true", help="the selected cases with their frames in hex, as JSON"); ap.add_argument("--no-flush", action="store_true")
    a = ap.parse_args()
    from cases import CASES, POLICY
    import cases_more                               # appends to CASES
    want = [x for x in a.only.split(",") if x]
    sel = [c for c in CASES if (not want or any(c.id == w or c.fam == w or c.fam.startswith(w + ".") for w in want)) and (not a.mark or c.mark == a.mark)]
    for c in sel:                                   # a wrong table is found before anything runs
        n = sum(1 for s in c.steps if s.ctl is None or s.ctl[0] == "stream")
        for alt in alternatives(c.exp, n):
            if len(alt) != n: sys.exit(f"{c.id}: {n} verdicts, expected {c.exp!r}")
    if a.list:
        for c in sel: print(c.mark, c.id, c.fam, c.what, "|", c.exp, "|", c.src)
        return 0
    if a.dump:
        print(json.dumps([dict(id=c.id, family=c.fam, what=c.what, expected=c.exp, source=c.src, steps=[dict(side=s.side, words=s.say, frame=s.frame.hex()) for s in c.steps]) for c in sel], indent=1))
        return 0
    import harness
    ad = importlib.import_module("adapters." + a.adapter)
    if a.no_flush: ad.flush = None
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))   # so that namespaces go
    res, t0 = [], time.time()
    try:
        harness.up()
        ad.setup(harness.HOST, "tap0", "up0", POLICY)
        for i, c in enumerate(sel, 1):
            got = harness.run(c, ad)
            why = None if got is None else judge(c, got)
            res.append(dict(id=c.id, mark=c.mark, family=c.fam, expected=c.exp, got=None if got is None else short(got), ok=why == "" if got is not None else None, why=why or ""))
            if not a.json:
                if got is None: print(f"ok {i} - {c.id} {c.what} # SKIP needs {c.need or 'more'}", flush=True)
                else: print(f"{'ok' if why == '' else 'not ok'} {i} - {c.id} {c.what} | expected {c.exp} | got {short(got)}" + (f" # {why}" if why else ""), flush=True)
                if a.steps: print("\n".join("    # " + s.say for s in c.steps))
    finally:
        try: ad.teardown()
        finally: harness.down()
    n = lambda f: sum(1 for r in res if f(r))
    line = (f"1..{len(res)}  passed {n(lambda r: r['ok'])} of {n(lambda r: r['ok'] is not None)}"
            f" leaks {n(lambda r: 'leak' in r['why'])}, breaks {n(lambda r: 'break' in r['why'])}, skipped {n(lambda r: r['ok'] is None)}, {time.time() - t0:.0f} s")
    print(json.dumps(dict(adapter=a.adapter, summary=line, results=res), indent=1) if a.json else line)
    return 0 if n(lambda r: r["ok"] is False) == 0 else 1
if __name__ == "__main__":
    sys.exit(main())
