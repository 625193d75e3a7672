# SPDX-License-Identifier: GPL-2.0
"""What the bench says: the table, the targets, the comparison with a baseline."""


def number(value, width, digits=2):
    return f"{value:{width}.{digits}f}" if value is not None else " " * width


def table(out):
    rows = out["frames"]
    if rows:
        print(f"{'ns a frame, median of ' + str(out['rounds']) + ' rounds':46} {'ns':>8} {'min':>8} {'max':>8} {'/bridge':>8} {'/nft':>7}")
    for row in rows:
        print(f"{row['name']:46} {row['ns']:8.0f} {row['min']:8.0f} {row['max']:8.0f} {number(row['ratio_bridge'], 8)} {number(row['ratio_nft'], 7)}")
    real = out.get("real") or {}
    for what, unit in (("connections", "/s"), ("stream", "Gbit/s")):
        for name, one in real.get(what, {}).items():
            print(f"{'TCP ' + what + ', ' + name:46} {one['median']:8.1f} {unit:17} {one['ratio_bridge']:8.2f}")
    for name, one in real.get("latency", {}).items():
        print(f"{'request and response, ' + name:46} {one['p50_us']:8.1f} us p50 {one['p99_us']:8.1f} us p99")
    costs = out.get("costs")
    if costs:
        print(f"{'memory of a flow, of ' + str(costs['flows']):46} {costs['bytes_a_flow_maps']:8.0f} bytes of its map, {costs['bytes_a_flow_slab']:.0f} of slabs")
        print(f"{'memory of a port without flows':46} {costs['bytes_a_port']:8.0f} bytes")
        print(f"{'policy apply, 10,000 rules':46} {costs['apply_10k_rules_ms']['median']:8.1f} ms")
    for one in out.get("classifier", []):
        print(f"{'classifier, ' + one['name'] + (', first 10 rules' if one['first_10'] else ''):46} {one['ns']:8.1f} ns a decision")
    for name, why in out["skipped"]:
        print(f"skipped: {name}: {why}")


# ---- targets ---------------------------------------------------------------------------------------------------------

def figures(out):
    """(what, figure, limit, True when less is better) for all that was measured."""
    by = {(r["engine"], r["load"], r["size"]): r for r in out["frames"]}

    def ratio(engine, load, size=None):
        return by.get((engine, load, size), {}).get("ratio_bridge")

    def above(engine, load, size):
        return by.get((engine, load, size), {}).get("above_bridge")

    yield "established, uplink to port, XDP, 1k flows / bridge", ratio("dfw-xdp", "in", "1k"), .35, True
    yield "the same, 100k flows / bridge", ratio("dfw-xdp", "in", "100k"), .5, True
    yield "established, port to uplink, tc fast path, 1k flows / bridge", ratio("dfw-fast", "out", "1k"), .6, True
    yield "established, port to port, tc fast path, 1k flows / bridge", ratio("dfw-fast", "p2p", "1k"), .6, True
    yield "established, tc only, 1k flows - bridge, ns", above("dfw", "in", "1k"), 100, True
    yield "established, tc only, 100k flows - bridge, ns", above("dfw", "in", "100k"), 250, True
    for size in ("1", "10", "100", "1k", "10k"):
        yield f"new flow, {size} rules - bridge, ns", above("dfw", "new", size), 1200, True
    yield "denied flood on the uplink, XDP / bridge", ratio("dfw-xdp", "denied"), .2, True
    worst = [r["ratio_nft"] for r in out["frames"] if r["ratio_nft"]]
    yield "worst row / nft", max(worst) if worst else None, 1, True
    real = out.get("real") or {}
    if real:
        yield "TCP stream, dfw / no firewall", real["stream"]["dfw, 1 rules"]["ratio_bridge"], .98, False
        yield "TCP stream, fast path / no firewall", real["stream"]["dfw fast path"]["ratio_bridge"], 1, False
        for name in [n for n in real["connections"] if n.startswith("dfw, ")]:
            nft = real["connections"][name.replace("dfw", "nft")]["median"]
            yield f"connections a second, {name[5:]} / nft", real["connections"][name]["median"] / nft, 1, False
    costs = out.get("costs")
    if costs:
        yield f"bytes a flow, of {costs['flows']}", costs["bytes_a_flow_maps"], 200, True
        yield "policy apply, 10,000 rules, ms", costs["apply_10k_rules_ms"]["median"], 150, True
    sets = {}
    for one in out.get("classifier", []):
        sets.setdefault(one["name"], {})[one["first_10"]] = one["ns"]
    new = by.get(("dfw", "new", "10")) or by.get(("dfw", "new", "1"))
    for name, ns in sets.items():
        if new and len(ns) == 2 and "10k" in name:
            # The rest of what a new flow costs is the same.
            yield f"new flow, {name}: all rules / the first 10", (new["ns"] - ns[True] + ns[False]) / new["ns"], 1.5, True


def targets(out):
    out["targets"] = []
    for what, figure, limit, less in figures(out):
        if figure is None:
            continue
        reached = figure <= limit if less else figure >= limit
        out["targets"].append({"target": what, "figure": round(figure, 3), "limit": limit, "reached": reached})
        print(f"{'reached' if reached else 'NOT YET'}  {what:60} {figure:9.2f}  ({'at most' if less else 'at least'} {limit})")


# ---- comparison ------------------------------------------------------------------------------------------------------

def compare(old, new):
    """Ratios of now to then, in units of that run's own bridge: another machine, or another day, is no difference."""
    then = {row["name"]: row for row in old["frames"]}
    print(f"{'now / then, each in units of its own bridge':46} {'then':>8} {'now':>8} {'ratio':>8}")
    for row in new["frames"]:
        before = then.get(row["name"])
        if before and before["ratio_bridge"] and row["ratio_bridge"]:
            print(f"{row['name']:46} {before['ratio_bridge']:8.2f} {row['ratio_bridge']:8.2f} {row['ratio_bridge'] / before['ratio_bridge']:8.2f}")
    for what in ("connections", "stream"):
        for name, one in ((new.get("real") or {}).get(what) or {}).items():
            before = ((old.get("real") or {}).get(what) or {}).get(name)
            if before:
                print(f"{'TCP ' + what + ', ' + name:46} {before['ratio_bridge']:8.2f} {one['ratio_bridge']:8.2f} {one['ratio_bridge'] / before['ratio_bridge']:8.2f}")
