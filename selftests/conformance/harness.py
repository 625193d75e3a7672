# SPDX-License-Identifier: GPL-2.0
"""Frames in, verdicts out.  Three network namespaces of this run: wire -- host -- vm; an adapter fills the host's middle."""
import atexit, ctypes, hashlib, os, random, select, socket, struct, subprocess, threading, time
from frames import VM, GW, V4, W4, V6, W6

LIBC = ctypes.CDLL("libc.so.6", use_errno=True)
PF, MTU = f"cf{os.getpid()}", 9000
WIRE, HOST, VMNS = PF + "w", PF + "h", PF + "v"
SOCK, PF_HOST, PF_OUT = {}, 0, 4
AUXDATA, SOL_PACKET, VLAN_VALID, TPID_VALID, CSUMNOTREADY = 8, 263, 1 << 4, 1 << 6, 1 << 3

def sh(c, check=True, inp=None):
    r = subprocess.run(c, shell=True, capture_output=True, text=True, input=inp)
    if check and r.returncode:
        raise RuntimeError(f"{c}: {r.stderr.strip()}")
    return r.stdout
def inns(ns, fn):                                  # fn() inside a namespace, in this process
    me, fd = os.open("/proc/self/ns/net", os.O_RDONLY), os.open("/run/netns/" + ns, os.O_RDONLY)
    try:
        if LIBC.setns(fd, 0): raise OSError("setns " + ns)
        return fn()
    finally:
        LIBC.setns(me, 0); os.close(me); os.close(fd)

def up():
    atexit.register(down)
    for n in (WIRE, HOST, VMNS):
        sh(f"ip netns add {n}")
        sh(f"ip netns exec {n} sysctl -qw net.ipv6.conf.default.disable_ipv6=1 net.ipv6.conf.all.disable_ipv6=1")
    sh(f"ip link add w0 netns {WIRE} address {GW} mtu {MTU} type veth peer name up0 netns {HOST}")
    sh(f"ip link add eth0 netns {VMNS} address {VM} mtu {MTU} type veth peer name tap0 netns {HOST}")
    for n, d in ((WIRE, "w0"), (VMNS, "eth0"), (HOST, "up0"), (HOST, "tap0"), (HOST, "lo")):
        sh(f"ip -n {n} link set {d} up" + (f" mtu {MTU}" if d != "lo" else ""))
    for side, n, d in (("w", WIRE, "w0"), ("v", VMNS, "eth0")):
        def mk():
            s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            s.bind((d, 0)); s.setsockopt(SOL_PACKET, AUXDATA, 1); s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
            return s
        SOCK[side] = inns(n, mk)
def down():
    for s in SOCK.values(): s.close()
    SOCK.clear()
    for n in (WIRE, HOST, VMNS):
        subprocess.run(["ip", "netns", "del", n], capture_output=True)

def recv(s, t):
    """Frames that come within t seconds, and 4 ms after the first; (bytes, checksum left to offload)."""
    out, end = [], time.monotonic() + t
    while True:
        if not select.select([s], [], [], max(0, end - time.monotonic()))[0]: return out
        d, anc, _, a = s.recvmsg(70000, 256)
        if a[2] == PF_OUT: continue
        st = 0
        for lv, ty, x in anc:
            if lv == SOL_PACKET and ty == AUXDATA:
                st, _, _, _, _, tci, tpid = struct.unpack("IIIHHHH", x[:20])
                if st & VLAN_VALID: d = d[:12] + struct.pack("!HH", tpid if st & TPID_VALID else 0x8100, tci) + d[12:]
        if not out: end = min(end, time.monotonic() + .004) if t else end
        out.append((d, bool(st & CSUMNOTREADY)))

def canon(d):                                      # the frame without its padding
    o = 12
    while d[o:o + 2] in (b"\x81\x00", b"\x88\xa8") and len(d) > o + 6: o += 4
    e, p = d[o:o + 2], o + 2
    if e == b"\x08\x00" and len(d) >= p + 20: return d[:p + max(20, struct.unpack_from("!H", d, p + 2)[0])]
    if e == b"\x86\xdd" and len(d) >= p + 40: return d[:p + 40 + struct.unpack_from("!H", d, p + 4)[0]] if d[p + 4:p + 6] != b"\0\0" else d
    if e == b"\x08\x06": return d[:p + 28]
    if len(e) == 2 and struct.unpack("!H", e)[0] < 0x600: return d[:p + struct.unpack("!H", e)[0]]
    return d

def datagram(frames):
    """What the fragments (or the whole packet) in frames carry: (src, dst, proto, payload), or None."""
    parts, key = {}, None
    for d in frames:
        d = canon(d)
        if d[12:14] == b"\x08\x00" and len(d) >= 34:
            h, fo = (d[14] & 15) * 4, struct.unpack_from("!H", d, 20)[0]
            k, off, more, body = (d[26:30], d[30:34], d[23]), (fo & 0x1fff) * 8, fo & 0x2000, d[14 + h:]
        elif d[12:14] == b"\x86\xdd" and len(d) >= 54:
            nh, o = d[20], 54
            while nh in (0, 60) and len(d) > o + 8: nh, o = d[o], o + (d[o + 1] + 1) * 8
            off = more = 0
            if nh == 44 and len(d) >= o + 8:
                fo = struct.unpack_from("!H", d, o + 2)[0]
                nh, off, more, o = d[o], fo & 0xfff8, fo & 1, o + 8
            k, body = (d[22:38], d[38:54], nh), d[o:]
        else: return None
        if key not in (None, k): return None
        key = k
        parts.setdefault(off, (body, more))
    out = b""
    while len(out) in parts:
        body, more = parts[len(out)]
        out += body
        if not more: return key + (out,)
        if not body: break
    return None

def ocsum(b):
    b += b"\0" * (len(b) & 1)
    s = sum(struct.unpack(f"!{len(b) // 2}H", b))
    while s >> 16: s = (s & 0xffff) + (s >> 16)
    return s
def rejects(sent, got, partial):
    """Is got the right refusal of sent?  RST by RFC 9293 3.10.7.1, else ICMP unreachable quoting it; checksums right."""
    try:
        v6 = sent[12:14] == b"\x86\xdd"
        if got[12:14] != sent[12:14] or got[:6] != sent[6:12]: return False
        H = 40 if v6 else 20
        s, g = sent[14:], canon(got)[14:]
        sp, gp = (s[6], g[6]) if v6 else (s[9], g[9])
        sa, da = (s[8:24], s[24:40]) if v6 else (s[12:16], s[16:20])
        ga, gd = (g[8:24], g[24:40]) if v6 else (g[12:16], g[16:20])
        l4 = g[H:]
        if gd != sa: return False
        if not partial:
            ph = b"" if gp == 1 else ga + gd + (struct.pack("!IHBB", len(l4), 0, 0, gp) if v6 else struct.pack("!BBH", 0, gp, len(l4)))
            if ocsum(ph + l4) != 0xffff: return False
            if not v6 and ocsum(g[:20]) != 0xffff: return False
        if sp == 6:
            t, r = s[H:], l4
            tl = (struct.unpack_from("!H", s, 4)[0] if v6 else struct.unpack_from("!H", s, 2)[0] - 20) - (t[12] >> 4) * 4
            sq, ak, fl = *struct.unpack_from("!II", t, 4), t[13]
            if gp != 6 or ga != da or r[:2] != t[2:4] or r[2:4] != t[:2] or not r[13] & 4: return False
            if fl & 16: return struct.unpack_from("!I", r, 4)[0] == ak
            return r[13] & 16 and struct.unpack_from("!II", r, 4) == (0, (sq + tl + (fl & 1) + (fl >> 1 & 1)) & 0xffffffff)
        q = l4[8:]
        return gp == (58 if v6 else 1) and l4[0] == (1 if v6 else 3) and len(q) >= H + 8 and q[H:H + 8] == s[H:H + 8] and q[H - 8:H] == s[H - 8:H]
    except (struct.error, IndexError):
        return False

PATIENCE = 2                                       # seconds, of which a busy machine may need some
def frame(step, known, wait, wanted=()):
    """Send one frame; the verdict: F forwarded whole (Fn: n frames came; fragments may be cut anew), M something else came out, R refused, D nothing.
    What comes later than usual is waited for while the verdict is none of those wanted (if there are such)."""
    tx, rx = SOCK[step.side], SOCK["v" if step.side == "w" else "w"]
    recv(tx, 0); recv(rx, 0)
    if not step.forged: known.append(canon(step.frame))
    try: tx.send(step.frame)
    except OSError as e: return "E%d" % e.errno
    macs, got, back, end = {k[6:12] for k in known} | {step.frame[6:12]}, [], [], time.monotonic() + PATIENCE
    while True:
        got += [d for d, _ in recv(rx, wait) if d[6:12] in macs]
        back += recv(tx, 0)
        v = verdict(step, known, macs, got, back)
        if not wanted or v in wanted or time.monotonic() >= end: return v
def verdict(step, known, macs, got, back):
    if got:
        same = all(canon(d) in known for d in got) or (datagram(got) is not None and datagram(got) in (datagram(known), datagram([step.frame])))
        return ("F" if same else "M") + (str(len(got)) if len(got) > 1 else "")
    if any(rejects(step.frame, d, p) for d, p in back): return "R"
    for d, _ in back:
        if d[12:14] == b"\x08\x00" and d[23] == 1 and d[34] in (3, 4, 5, 11, 12): return "r"   # a refusal, but not a right one
        if d[12:14] == b"\x86\xdd" and d[20] == 58 and d[54] in (1, 2, 3, 4): return "r"
        if d[12:14] in (b"\x08\x00", b"\x86\xdd") and d[23 if d[12] == 8 else 20] == 6 and d[6:12] not in macs: return "r"
    return "D"

def stream(opener, port, v, mb, mtu):
    """A real TCP connection with segmentation offload on: mb MiB each way, checked by hash.  F intact, M damaged, D stalled."""
    cns, sns, sip = (VMNS, WIRE, W4 if v == 4 else W6) if opener == "v" else (WIRE, VMNS, V4 if v == 4 else V6)
    fam = socket.AF_INET if v == 4 else socket.AF_INET6
    conf = ((VMNS, "eth0", V4 if v == 4 else V6, W4 if v == 4 else W6, GW), (WIRE, "w0", W4 if v == 4 else W6, V4 if v == 4 else V6, VM))
    for n, d, me, him, mac in conf:
        sh(f"ip netns exec {n} sysctl -qw net.ipv6.conf.{d}.disable_ipv6={0 if v == 6 else 1} net.ipv6.conf.{d}.accept_dad=0 net.ipv6.conf.{d}.router_solicitations=0")
        sh(f"ip -n {n} link set {d} mtu {mtu}; ip -n {n} addr add {me}/{32 if v == 4 else 128} dev {d} {'nodad' if v == 6 else ''}; ip -n {n} route add {him} dev {d}")
        sh(f"ip -n {n} neigh replace {him} lladdr {mac} dev {d} nud permanent")
    blob = random.Random(7).randbytes(mb << 20)
    want = hashlib.sha256(blob).hexdigest()
    def pump(s):
        def push():
            try: s.sendall(blob); s.shutdown(socket.SHUT_WR)
            except OSError: pass                    # the other end tells
        h, n, th = hashlib.sha256(), 0, threading.Thread(target=push, daemon=True)
        th.start()
        while True:
            d = s.recv(1 << 18)
            if not d: break
            h.update(d); n += len(d)
        th.join(); return n == len(blob) and h.hexdigest() == want
    def child(ns, fn):
        r, w = os.pipe(); pid = os.fork()
        if pid: os.close(w); return pid, r
        try:
            fd = os.open("/run/netns/" + ns, os.O_RDONLY); LIBC.setns(fd, 0); os.write(w, b"F" if fn() else b"M")
        except BaseException: os.write(w, b"D")
        os._exit(0)
    lst = inns(sns, lambda: socket.socket(fam, socket.SOCK_STREAM)); lst.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        lst.bind((sip, port)); lst.listen(1); lst.settimeout(60)
        def srv(): c, _ = lst.accept(); c.settimeout(60); return pump(c)
        def cli():
            c = socket.socket(fam, socket.SOCK_STREAM); c.settimeout(60); c.connect((sip, port)); return pump(c)
        kids = [child(sns, srv), child(cns, cli)]; res = []
        for pid, r in kids:
            ok = select.select([r], [], [], 200)[0]
            res.append(os.read(r, 1).decode() if ok else "D")
            if not ok: os.kill(pid, 9)
            os.close(r); os.waitpid(pid, 0)
    finally:
        lst.close()
        for n, d, me, him, mac in conf:
            sh(f"ip -n {n} neigh del {him} dev {d}; ip -n {n} addr flush dev {d}; ip netns exec {n} sysctl -qw net.ipv6.conf.{d}.disable_ipv6=1; ip -n {n} link set {d} mtu {MTU}", check=False)
    return "F" if res == ["F", "F"] else "M" if "M" in res else "D"

def alternatives(exp, n):
    """'F F/D or D*2' -> [[{F},{F,D}], [{D},{D}]]"""
    out = []
    for alt in exp.split(" or "):
        toks = []
        for t in alt.split():
            if t == "allF": toks += [{"F"}] * n
            elif "*" in t: toks += [set(t.split("*")[0].split("/"))] * int(t.split("*")[1])
            else: toks.append(set(t.split("/")))
        out.append(toks)
    return out

def run(case, ad):
    """The verdicts of a case's steps, or None where the adapter has no way to do one of them."""
    if case.need == "reassembly" and not getattr(ad, "REASSEMBLES", False): return None
    if getattr(ad, "flush", None): ad.flush()
    v, known, wait = [], [], getattr(ad, "WAIT", .03)
    alts = alternatives(case.exp, sum(1 for st in case.steps if st.ctl is None or st.ctl[0] == "stream"))
    for st in case.steps:
        if st.ctl is None: v.append(frame(st, known, wait, set().union(*(a[len(v)] for a in alts if len(a) > len(v)))))
        elif st.ctl[0] == "sleep": time.sleep(st.ctl[1])
        elif st.ctl[0] == "stream": v.append(stream(*st.ctl[1:]))
        elif not getattr(ad, "ctl", None) or ad.ctl(*st.ctl) is False: return None
    return v

def parse_policy(text):
    """The neutral policy text -> dict(mac, ips, rules=[(dir, action, proto, port or None, source or None)])."""
    p = dict(mac=None, ips=[], rules=[])
    for ln in text.splitlines():
        w = ln.split("#")[0].split()
        if not w: continue
        if w[0] == "mac": p["mac"] = w[1]
        elif w[0] == "ip": p["ips"].append(w[1])
        elif w[0] in ("in", "out"):
            src = w[w.index("from") + 1] if "from" in w else None
            p["rules"].append((w[0], w[1], w[2], next((x for x in w[3:4] if x != "from"), None), src))
    return p
