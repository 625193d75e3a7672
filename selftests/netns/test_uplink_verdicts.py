#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""No verdict and no counter depends on the way a packet takes: the conformance cases and random conversations, through the
bridge alone, through tc's fast path, and through XDP at the driver."""
import itertools, json, os, subprocess, sys, tempfile
HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.normpath(os.path.join(HERE, "../.."))
MODES = ("none", "auto", "native")
SEED, RANDOM_CASES = os.environ.get("DFW_SEED", "1"), os.environ.get("DFW_RANDOM_CASES", "40")

def leave(why): print(f"ok - verdicts on all ways # SKIP {why}"); sys.exit(0)
if os.getuid(): leave("needs root")
if not os.path.exists((os.environ.get("DFW_BUILD") or ROOT + "/build") + "/dfwd"): leave("dfwd is not built")
try: import scapy
except ImportError: leave("needs Debian's python3-scapy")

failed = 0
def it(what, problem):
    global failed
    print(f"{'not ok' if problem else 'ok'} - {what}")
    if problem: print("# " + problem.replace("\n", "\n# ")); failed = 1

def differences(one, other):
    out = []
    for a, b in zip(one["results"], other["results"]):
        if a["got"] == b["got"] and a["counters"] == b["counters"]: continue
        out.append(f"{a['id']} {a['what']}: {one['mode']} {a['got']} {a['counters']}; {other['mode']} {b['got']} {b['counters']}")
        out += ["    " + w for w in a["words"]] if a["got"] != b["got"] else []
    if len(one["results"]) != len(other["results"]): out.append(f"{len(one['results'])} cases and {len(other['results'])}")
    return "\n".join(itertools.islice(out, 40))

with tempfile.TemporaryDirectory(prefix="dfw-verdicts.") as work:
    runs = {m: subprocess.Popen(["/usr/bin/python3", ROOT + "/selftests/conformance/record.py", f"{work}/{m}", SEED, RANDOM_CASES],
                                env=dict(os.environ, DFW_UPLINK=m), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for m in MODES}
    said = {m: p.communicate()[0] for m, p in runs.items()}
    for m, p in runs.items():
        if p.returncode: print(f"not ok - {m}: the cases run\n# " + said[m].strip().replace("\n", "\n# ")); sys.exit(1)
    got = {m: json.load(open(f"{work}/{m}")) for m in MODES}
ways = got["native"]["ways"]
print(f"# {len(got['none']['results'])} cases; past the bridge: tc {got['auto']['ways'].get('up0 tc direct', 0)}, XDP {ways.get('up0 xdp direct', 0)} and {ways.get('up0 xdp dropped', 0)} drops")
it("without an uplink nothing goes past the bridge", f"{got['none']['ways']}" if any("direct" in w for w in got["none"]["ways"]) else "")
it("with one, frames do", "" if got["auto"]["ways"].get("up0 tc direct", 0) > 1000 else f"{got['auto']['ways']}")
it("in XDP too, and some are dropped there", "" if min(ways.get("up0 xdp direct", 0), ways.get("up0 xdp dropped", 0)) > 100 else f"{ways}")
it("tc's fast path: the same verdicts and counters", differences(got["none"], got["auto"]))
it("XDP: the same verdicts and counters", differences(got["none"], got["native"]))
sys.exit(failed)
