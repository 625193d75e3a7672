#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Hostile captures, replayed as the VM's frames and as the wire's, with and without a flow of the same five-tuple.

The vport guards nothing and its policy allows everything, so that only the parser and the trackers stand between a frame
and the other side.  `malformed` below is a strict parser of its own, written from the RFCs: what it calls malformed must
not come out, and what the control captures hold must not be called malformed.  Frames in = passed + dropped.

The captures are those of DFW_PCAPS, or of shared/pcaps beside the checkout."""
import glob, os, struct, sys
HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.normpath(os.path.join(HERE, "../.."))
sys.path.insert(0, os.path.join(HERE, "../conformance"))

def pcaps():
    for d in (os.environ.get("DFW_PCAPS"), os.path.join(ROOT, "../shared/pcaps"), os.path.join(ROOT, "shared/pcaps")):
        if d and glob.glob(os.path.join(d, "*.pcap")): return d
    return None
def leave(why): print(f"ok - hostile captures # SKIP {why}"); sys.exit(0)
DIR = pcaps()
if os.getuid(): leave("needs root")
if not DIR: leave("no captures: set DFW_PCAPS")
if not os.path.exists((os.environ.get("DFW_BUILD") or ROOT + "/build") + "/dfwd"): leave("dfwd is not built")
try: import scapy
except ImportError: leave("needs Debian's python3-scapy")

import harness
from adapters import dfw
from frames import VM, GW, Tcp, Udp
import frames

CONTROL = ("tcp_rst_data.pcap", "mptcp-fclose.pcap", "gso-ipv4.pcap", "gso-ipv6.pcap", "accecn_handshake.pcap", "icmpv6-ns-nonce.pcap")
CALLED_MALFORMED = {"truncated", "ip-header", "ip-length", "ip-checksum", "l4-header", "l4-checksum", "extension", "fragment", "nd", "arp", "llc", "ethertype", "tcp-flags"}
POLICY = """
profile open {
    guard-mac off
    guard-address off
    guard-dhcp off
    guard-ra off
    strict off
    ip-options on
}
default in drop
default out drop
tier all {
    everything-in: allow in to 0.0.0.0/0, ::/0
    everything-out: allow out
}
"""

def records(path):
    b = open(path, "rb").read()
    e = "<" if b[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
    link, o, out = struct.unpack_from(e + "I", b, 20)[0] & 0xffff, 24, []
    while o + 16 <= len(b):
        n = struct.unpack_from(e + "I", b, o + 8)[0]
        out.append((link, b[o + 16:o + 16 + n])); o += 16 + n
    return out
def ethernet(link, d, side):
    """The capture's packet as a frame of that side: its own EtherType and payload, the MACs of the two ends."""
    v, w = (bytes.fromhex(m.replace(":", "")) for m in (VM, GW))
    macs = w + v if side == "v" else v + w
    if link == 1: return macs + d[12:] if len(d) >= 14 else None
    if link in (101, 228, 229): return macs + (b"\x08\x00" if link == 228 or (link == 101 and d[:1] and d[0] >> 4 == 4) else b"\x86\xdd") + d
    return None

def ip_sum(b): return harness.ocsum(b) == 0xffff
def transport(p, b, first=True):
    """What is wrong with the transport header, or None."""
    if not first: return None
    n = len(b)
    if p == 6:
        if n < 20: return "TCP header cut"
        if (b[12] >> 4) < 5 or (b[12] >> 4) * 4 > n: return "TCP data offset"
    elif p in (17, 136):
        if n < 8: return "UDP header cut"
        length = struct.unpack_from("!H", b, 4)[0]
        if p == 17 and (length < 8 or length > n): return "UDP length"
    elif p == 132 and n < 16: return "SCTP without a chunk"
    elif p in (1, 58) and n < 8: return "ICMP header cut"
    return None
def malformed(f):
    """What a strict parser says of a frame: a text, or None."""
    if len(f) < 14: return "no Ethernet header"
    t, d = struct.unpack_from("!H", f, 12)[0], f[14:]
    if t < 0x600: return "802.3 length"
    if t in (0x8100, 0x88a8, 0x9100): return "a tag on an access port"
    if t in (0x806, 0x8035):
        if len(d) < 28 or d[:6] != b"\0\1\x08\0\6\4": return "ARP of another kind"
        return None
    if t == 0x800:
        if len(d) < 20 or d[0] >> 4 != 4: return "IPv4 header"
        h, total = (d[0] & 15) * 4, struct.unpack_from("!H", d, 2)[0]
        if h < 20 or total < h or total > len(d): return "IPv4 lengths"
        if not ip_sum(d[:h]): return "IPv4 checksum"
        o = 20
        while o < h and d[o]:
            if d[o] == 1: o += 1; continue
            if o + 1 >= h or d[o + 1] < 2 or o + d[o + 1] > h: return "IPv4 option"
            o += d[o + 1]
        fo = struct.unpack_from("!H", d, 6)[0]
        off, more, n = (fo & 0x1fff) * 8, fo & 0x2000, total - h
        if more and n % 8: return "IPv4 fragment length"
        if off + n > 65535: return "IPv4 fragment beyond 64 kB"
        if off or more: return transport(d[9], d[h:total], off == 0) if not more else None
        return transport(d[9], d[h:total])
    if t == 0x86dd:
        if len(d) < 40 or d[0] >> 4 != 6: return "IPv6 header"
        n = struct.unpack_from("!H", d, 4)[0]
        if n + 40 > len(d): return "IPv6 length"
        if n == 0: return "IPv6 without a payload"
        p, o, end, first, seen = d[6], 40, 40 + n, True, 0
        while True:
            if p == 0 and seen: return "hop-by-hop not first"
            if p in (0, 43, 60):
                if o + 8 > end or o + (d[o + 1] + 1) * 8 > end: return "IPv6 extension header"
                p, o = d[o], o + (d[o + 1] + 1) * 8
            elif p == 44:
                if o + 8 > end: return "IPv6 fragment header"
                fo = struct.unpack_from("!H", d, o + 2)[0]
                if fo & 1 and (end - o - 8) % 8: return "IPv6 fragment length"
                if (fo & 0xfff8) + end - o - 8 > 65535: return "IPv6 fragment beyond 64 kB"
                first, p, o = fo & 0xfff8 == 0, d[o], o + 8
                if not first: return None
            elif p == 59: return "no next header"
            else: return transport(p, d[o:end], first)
            seen += 1
    return "EtherType 0x%04x" % t

def offloaded(f):
    """A control capture taken before the card wrote the transport checksum: with the checksum it would have."""
    t, d = struct.unpack_from("!H", f, 12)[0], f[14:]
    v6 = t == 0x86dd
    h, p = (40, d[6]) if v6 else ((d[0] & 15) * 4, d[9])
    if t not in (0x800, 0x86dd) or p not in (6, 17) or malformed(f): return f
    l4 = d[h:] if v6 else d[h:struct.unpack_from("!H", d, 2)[0]]
    at, addresses = (16 if p == 6 else 6), d[8:40] if v6 else d[12:20]
    zero = l4[:at] + b"\0\0" + l4[at + 2:]
    ph = addresses + (struct.pack("!IHBB", len(l4), 0, 0, p) if v6 else struct.pack("!BBH", 0, p, len(l4)))
    return f[:14 + h] + l4[:at] + struct.pack("!H", ~harness.ocsum(ph + zero) & 0xffff or 0xffff) + l4[at + 2:] + f[14 + h + len(l4):]

def opener(f):
    """Frames that begin a flow of the same five-tuple, as its own side and as the other would."""
    t, d = struct.unpack_from("!H", f, 12)[0], f[14:]
    try:
        if t == 0x800: a, b, p, l4 = d[12:16], d[16:20], d[9], d[(d[0] & 15) * 4:]
        elif t == 0x86dd: a, b, p, l4 = d[8:24], d[24:40], d[6], d[40:]
        else: return None
        if p not in (6, 17) or len(l4) < 4: return None
        import socket
        fam = socket.AF_INET if len(a) == 4 else socket.AF_INET6
        s, o = socket.inet_ntop(fam, a), socket.inet_ntop(fam, b)
        sp, dp = struct.unpack_from("!HH", l4)
    except (IndexError, struct.error, ValueError): return None
    IPx = frames.IP if len(a) == 4 else frames.IPv6
    L4 = frames.TCP(sport=sp, dport=dp, flags="S", seq=struct.unpack_from("!I", l4, 4)[0] - 1 & 0xffffffff) if p == 6 and len(l4) >= 8 else frames.UDP(sport=sp, dport=dp)
    back = frames.TCP(sport=dp, dport=sp, flags="SA", seq=1, ack=struct.unpack_from("!I", l4, 4)[0]) if p == 6 and len(l4) >= 8 else frames.UDP(sport=dp, dport=sp)
    return f[:12] + f[12:14] + bytes(IPx(src=s, dst=o) / L4), f[6:12] + f[:6] + f[12:14] + bytes(IPx(src=o, dst=s) / back)

def counters():
    out, s = {"in": {}, "out": {}}, dfw.stats()
    def walk(x, way):
        if isinstance(x, dict):
            if "reason" in x and "packets" in x and way: out[way][x["reason"]] = out[way].get(x["reason"], 0) + x["packets"]; return
            for k, v in x.items():
                if k in ("in", "out"): walk(v, k)
                elif way and k == "passed" and isinstance(v, (dict, int)): out[way]["passed"] = v["packets"] if isinstance(v, dict) else v
                else: walk(v, way)
        elif isinstance(x, list):
            for y in x: walk(y, y.get("direction", way) if isinstance(y, dict) else way)
    walk(s, None)
    return out
def total(c): return sum(c.values())
def diff(a, b): return {k: b[k] - a.get(k, 0) for k in b if b[k] != a.get(k, 0)}

def main():
    failed = []
    def say(ok, what, why=()):
        print(("ok - " if ok else "not ok - ") + what, flush=True)
        for w in list(why)[:20]: print("# " + w)
        if not ok: failed.append(what)
    harness.up()
    dfw.setup(harness.HOST, "tap0", "up0", __import__("cases").POLICY)
    path = dfw.DIR + "/open.dfw"
    open(path, "w").write(POLICY)
    dfw.ctl_run("policy", "apply", path)
    dfw.ctl_run("vport", "set", dfw.VPORT, "--profile", "open")
    # control: what is sound passes, both ways; so the replay reaches what it is meant to reach
    pings = [harness.frame(frames.echo(s, 8), [], .2) for s in "vw"]
    say(pings == ["F", "F"], "the open vport passes a ping, both ways", [] if pings == ["F", "F"] else [repr(pings)])

    leaks, slandered, uncounted, n, files = [], [], [], 0, sorted(glob.glob(DIR + "/*.pcap"))
    for file in files:
        name = os.path.basename(file)
        for i, (link, d) in enumerate(records(file)):
            for side in "vw":
                for flow in (False, True):
                    f = ethernet(link, d, side)
                    if f is None or len(f) > 9014: continue
                    if name in CONTROL: f = offloaded(f)
                    dfw.flush()
                    before = counters()
                    way, sent = ("out" if side == "v" else "in"), {"v": 0, "w": 0}
                    if flow:
                        o = opener(f)
                        if o is None: continue
                        for s, x in ((side, o[0]), ("w" if side == "v" else "v", o[1])):
                            harness.frame(frames.X(s, x, "opener"), [], .005); sent[s] += 1
                    mid = counters()
                    verdict = harness.frame(frames.X(side, f, name), [], .01)
                    sent[side] += 1; n += 1
                    where = f"{name} packet {i + 1} {'from the VM' if side == 'v' else 'from the wire'}{' on a live flow' if flow else ''}"
                    if verdict.startswith("E"): sent[side] -= 1; continue
                    after = counters()
                    bad = malformed(f)
                    if bad and verdict[0] in "FM": leaks.append(f"{where}: {bad}, yet it came out ({verdict})")
                    reasons = diff(mid[way], after[way])
                    if name in CONTROL and set(reasons) & CALLED_MALFORMED: slandered.append(f"{where}: called {reasons}")
                    got = {"v": total(after["out"]) - total(before["out"]), "w": total(after["in"]) - total(before["in"])}
                    if got != sent: uncounted.append(f"{where}: sent {sent}, counted {got} {reasons}")
    say(not leaks, f"no malformed frame comes out ({n} replays of {len(files)} captures, both sides, with and without a flow)", leaks)
    say(not slandered, "the control captures are parsed, not called malformed", slandered)
    say(not uncounted, "the counters add up: frames in = passed + dropped", uncounted)
    bad = [w for w in open(dfw.DIR + "/dfwd.log").read().splitlines() if any(x in w.lower() for x in ("verifier", "error", "failed"))]
    say(not bad, "dfwd's log has no error", bad)
    say(dfw.DFWD.poll() is None, "dfwd lives")
    total_internal = counters()
    internal = {w: c.get("internal", 0) for w, c in total_internal.items()}
    say(not any(internal.values()), "no drop for an internal reason", [repr(internal)] if any(internal.values()) else [])
    return 1 if failed else 0

if __name__ == "__main__":
    import signal
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try: status = main()
    finally:
        try: dfw.teardown()
        finally: harness.down()
    sys.exit(status)
