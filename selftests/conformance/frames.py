# SPDX-License-Identifier: GPL-2.0
"""Frame builders for cases.py.  A step is one frame sent by one side:
v = the VM behind the guarded vport, w = the wire (the outside world, reached through a gateway)."""
import struct
import logging
logging.getLogger("scapy").setLevel(logging.ERROR)
from scapy.all import (Ether, Dot1Q, Dot3, LLC, SNAP, ARP, IP, IPv6, TCP, UDP, ICMP, Raw, IPOption,
    IPOption_LSRR, IPOption_SSRR, IPOption_RR, IPOption_Timestamp, IPv6ExtHdrFragment, IPv6ExtHdrDestOpt,
    IPv6ExtHdrHopByHop, IPv6ExtHdrRouting, PadN, RouterAlert, ICMPv6EchoRequest, ICMPv6EchoReply,
    ICMPv6PacketTooBig, ICMPv6DestUnreach, ICMPv6TimeExceeded, ICMPv6ParamProblem, ICMPv6ND_NS, ICMPv6ND_NA,
    ICMPv6ND_RS, ICMPv6ND_RA, ICMPv6ND_Redirect, ICMPv6NDOptSrcLLAddr, ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptPrefixInfo, ICMPv6NIQueryIPv6, ICMPv6Unknown, ICMPv6MLReport2, ICMPv6MLDMultAddrRec, ICMPv6MLQuery2,
    BOOTP, DHCP, DHCP6_Advertise, DHCP6_Solicit, DHCP6OptClientId, DHCP6OptServerId, DUID_LL)

VM, GW, NB = "02:00:00:00:02:02", "02:00:00:00:01:01", "02:00:00:00:02:03"   # MACs: the VM, the gateway, a neighbour VM
BC = "ff:ff:ff:ff:ff:ff"
V4, W4, X4, R4, N4, G4 = "10.2.0.2", "10.1.0.2", "203.0.113.9", "198.51.100.1", "10.2.0.3", "10.2.0.1"
V6, W6, X6, R6, N6, G6 = "fd02::2", "fd01::2", "2001:db8:9::9", "2001:db8:ff::1", "fd02::3", "fd02::1"
VL, GL = "fe80::ff:fe00:202", "fe80::ff:fe00:101"                             # link-local of the VM, of the gateway
N = [0]                                                                       # number of the case being built

class Step:
    def __init__(self, side, frame, say, ctl=None):
        self.side, self.say, self.ctl, self.forged = side, say, ctl, False
        self.frame = frame if isinstance(frame, bytes) else bytes(frame)
    @property
    def l3(self):
        return self.frame[14:]

class Grp(list):                               # steps told in one phrase
    def __init__(self, steps, say): super().__init__(steps); self.say = say
    def __add__(self, o): return [self] + ([o] if isinstance(o, Grp) else list(o))
    def __radd__(self, o): return list(o) + [self]
def X(side, frame, say):                       # any frame, told in words
    return Step(side, frame, f"{side}: {say}")
def forged(s):                                 # a frame that must not come out, not even later
    s.forged = True
    return s
def ctl(op, say):                              # not a frame: an act on the product (needs its CLI)
    return Step("-", b"", f"[{say}]", op)
def eth(side, **k):
    a = dict(src=VM, dst=GW) if side == "v" else dict(src=GW, dst=VM)
    a.update(k)
    return Ether(**a)
def ip(side, v=4, **k):
    a = ((V4, W4) if v == 4 else (V6, W6)) if side == "v" else ((W4, V4) if v == 4 else (W6, V6))
    d = dict(src=a[0], dst=a[1])
    d.update(k)
    return IP(**d) if v == 4 else IPv6(**d)
NAME = dict(src="from {}", dst="to {}", len="IP length {}", plen="payload length {}", ttl="TTL {}", hlim="hop limit {}")
def tell(say, l2=None, l3=None, l4=None):       # the words, and every field that is not as usual
    w = [NAME[k].format(v) for k, v in (l3 or {}).items() if k in NAME]
    w += ["bad IP checksum"] * ("chksum" in (l3 or {})) + [f"Ethernet {'source' if k == 'src' else 'destination'} {v}" for k, v in (l2 or {}).items() if k in ("src", "dst")]
    for k, v in (l4 or {}).items():
        w += [f"checksum {v}" if v == 0 else "bad checksum"] if k in ("chksum", "cksum") and v is not None else [f"data offset {v}"] if k == "dataofs" else [f"UDP length {v}"] if k == "len" else []
    return say + "".join(", " + x for x in w if x not in say)
def pkt(side, l4, say, v=4, l2=None, **k):     # one IP packet; k: fields of the IP header
    return X(side, eth(side, **(l2 or {})) / ip(side, v, **k) / l4, tell(say, l2, k))

FLAG = dict(S="SYN", A="ACK", P="PSH", F="FIN", R="RST", U="URG", E="ECE", C="CWR")
MSS = [("MSS", 1460)]
WS = lambda n: [("MSS", 1460), ("NOP", None), ("WScale", n)]
M = 1 << 32

class Tcp:
    """A TCP flow; c() is a segment of its opener, s() of the other end."""
    def __init__(self, opener="v", dport=80, v=4, base=40000, peer=None, sport=None):
        self.o, self.d, self.v, self.base, self.peer, self.sp = opener, dport, v, base, peer, sport
    def _seg(self, who, fl, seq, ack=0, n=0, win=65535, opt=None, l3=None, l2=None, data=None, say=None, sport=None, dport=None, **k):
        side = self.o if who == "c" else ("w" if self.o == "v" else "v")
        cp = self.sp if self.sp is not None else self.base + N[0]
        a, b = (cp, self.d) if who == "c" else (self.d, cp)
        l3 = dict(l3 or {})
        if self.peer:
            l3.setdefault("src" if side == "w" else "dst", self.peer)
        p = TCP(sport=a if sport is None else sport, dport=b if dport is None else dport, flags=fl, seq=seq % M, ack=ack % M, window=win, options=opt or [], **k)
        if n or data:
            p = p / Raw(data or b"x" * n)
        w = ",".join(FLAG[c] for c in fl) or "no flags"
        w += f" {seq % M}" + (f"/{ack % M}" if ack else "") + (f" +{n or len(data)}B" if n or data else "") + (f" win {win}" if win != 65535 else "")
        w += "".join(f" wscale {x[1]}" for x in opt or [] if x[0] == "WScale") + (f" ({say})" if say else "")
        if p.sport != cp and who == "c" or p.dport != cp and who == "s" or self.d != (80 if self.o == "v" else 22) or dport is not None or sport is not None:
            n = lambda x: "eph" if x == cp and self.sp is None else x
            w = f"{n(p.sport)}>{n(p.dport)} " + w
        return X(side, eth(side, **(l2 or {})) / ip(side, self.v, **l3) / p, tell(("IPv6 " if self.v == 6 else "") + w, l2, l3, k))
    def c(self, *a, **k): return self._seg("c", *a, **k)
    def s(self, *a, **k): return self._seg("s", *a, **k)
    def hs(self, ci=1000, si=5000, co=MSS, so=MSS, cw=65535, sw=65535, **k):
        ws = lambda o: next((str(x[1]) for x in o if x[0] == "WScale"), "none")
        say = ("IPv6 " if self.v == 6 else "") + f"handshake {ci % M}/{si % M}" + (f" :{self.d}" if self.d not in (22, 80) else "") + (f", windows {cw}/{sw}" if (cw, sw) != (65535, 65535) else "") + (f", wscale {ws(co)}/{ws(so)}" if (ws(co), ws(so)) != ("none", "none") else "")
        return Grp([self.c("S", ci, opt=co, win=cw, **k), self.s("SA", si, ci + 1, opt=so, win=sw, **k), self.c("A", ci + 1, si + 1, win=cw, **k)], f"{self.o}: {say}")
    def bulk(self, n, size, cs=1001, ss=5001):  # n segments of the opener, each acknowledged
        return Grp([x for i in range(n) for x in (self.c("PA", cs + i * size, ss, size), self.s("A", ss, cs + (i + 1) * size))], f"{self.o}: {n} segments of {size} B from {cs}, each acknowledged")
    def bye(self, cs=1001, ss=5001):           # orderly close begun by the opener
        return Grp([self.c("FA", cs, ss), self.s("A", ss, cs + 1), self.s("FA", ss, cs + 1), self.c("A", cs + 1, ss + 1)], f"{self.o}: orderly close (FIN {cs}, ACK, FIN {ss}, ACK)")

class Udp:
    def __init__(self, opener="v", dport=53, v=4, base=40000, peer=None):
        self.o, self.d, self.v, self.base, self.peer = opener, dport, v, base, peer
    def _dg(self, who, say="", n=8, sport=None, dport=None, l3=None, l2=None, **k):
        side = self.o if who == "c" else ("w" if self.o == "v" else "v")
        a, b = (self.base + N[0], self.d) if who == "c" else (self.d, self.base + N[0])
        l3 = dict(l3 or {})
        if self.peer:
            l3.setdefault("src" if side == "w" else "dst", self.peer)
        a, b = a if sport is None else sport, b if dport is None else dport
        return X(side, eth(side, **(l2 or {})) / ip(side, self.v, **l3) / UDP(sport=a, dport=b, **k) / Raw(b"y" * n),
                 tell(f"{'IPv6 ' if self.v == 6 else ''}UDP {'eph' if a == self.base + N[0] else a}>{'eph' if b == self.base + N[0] else b}" + (f" +{n}B" if n != 8 else "") + (f" ({say})" if say else ""), l2, l3, k))
    def c(self, *a, **k): return self._dg("c", *a, **k)
    def s(self, *a, **k): return self._dg("s", *a, **k)

O, O6 = Tcp(), Tcp(v=6)                                         # the VM opens to outside :80
I, I6 = Tcp("w", 22, base=50000), Tcp("w", 22, 6, base=50000)   # the outside opens to the VM's :22
U, U6 = Udp(), Udp(v=6)                                         # the VM asks outside :53
D, D6 = Udp("w", base=50000), Udp("w", v=6, base=50000)         # the outside asks the VM's :53

def echo(side, ty, say=None, id=None, v=4, l2=None, chk=None, **k):
    id = 100 + N[0] if id is None else id
    if v == 4:
        l4 = ICMP(type=ty, id=id, seq=1, **({} if chk is None else dict(chksum=chk)))
    else:
        l4 = (ICMPv6EchoRequest if ty == 128 else ICMPv6EchoReply)(id=id, seq=1, **({} if chk is None else dict(cksum=chk)))
    w = ("echo request" if ty in (8, 128) else "echo reply") + (", bad checksum" if chk and "bad" not in (say or "") else "")
    return pkt(side, l4 / Raw(b"p" * 8), f"ICMP{'v6' if v == 6 else ''} {w}" + (f" ({say})" if say else ""), v, l2, **k)
def err(side, ty, code, quoted, say="", mtu=0, chk=None, **k):   # ICMPv4 error quoting a step, or bytes
    ic = ICMP(type=ty, code=code)
    if mtu: ic.nexthopmtu = mtu
    if chk is not None: ic.chksum = chk
    q = quoted.l3 if isinstance(quoted, Step) else quoted
    return pkt(side, ic / Raw(q), f"ICMP {ty}/{code}{f' MTU {mtu}' if (ty, code) == (3, 4) else ''} quoting " + (say or "it") + (", bad checksum" if chk else ""), **k)
def err6(side, ty, code, quoted, say="", mtu=1280, chk=None, **k):
    q = quoted.l3 if isinstance(quoted, Step) else quoted
    x = {} if chk is None else dict(cksum=chk)
    l4 = {1: lambda: ICMPv6DestUnreach(code=code, **x), 2: lambda: ICMPv6PacketTooBig(mtu=mtu, code=code, **x),
          3: lambda: ICMPv6TimeExceeded(code=code, **x), 4: lambda: ICMPv6ParamProblem(code=code, **x)}[ty]()
    return pkt(side, l4 / Raw(q), f"ICMPv6 {ty}/{code}{f' MTU {mtu}' if ty == 2 else ''} quoting " + (say or "it") + (", bad checksum" if chk else ""), 6, **k)

def ulp(side, l4, v=4, **k):                    # transport bytes with a right checksum
    return bytes(ip(side, v, **k) / l4)[20 if v == 4 else 40:]
def fsay(v, p, body, a, b, more, say, id):
    w = v + {6: "TCP", 17: "UDP", 1: "ICMP", 58: "ICMPv6", 60: "dst-opts"}.get(p, str(p))
    if a == 0 and p in (6, 17): w += " %d>%d" % struct.unpack_from("!HH", body)
    return w + f" frag [{a},{min(b, len(body))}) " + ("more" if more else "last") + (f" id {id}" if id else "") + (f" ({say})" if say else "")
def frag(side, proto, body, a, b, more, say="", id=None, **k):      # IPv4 fragment with bytes a..b of body
    return X(side, eth(side) / ip(side, proto=proto, id=id or 1000 + N[0], flags="MF" if more else 0, frag=a // 8, **k) / Raw(body[a:b]),
             tell(fsay("", proto, body, a, b, more, say, id), None, k))
def frag6(side, nh, body, a, b, more, say="", id=None, pre=None, **k):
    h = ip(side, 6, **k)
    if pre is not None: h = h / pre
    return X(side, eth(side) / h / IPv6ExtHdrFragment(nh=nh, offset=a // 8, m=1 if more else 0, id=id or 1000 + N[0]) / Raw(body[a:b]),
             tell(fsay("IPv6 ", nh, body, a, b, more, say, id), None, k))

def crc32c(b):
    c = 0xffffffff
    for x in b:
        c ^= x
        for _ in range(8): c = (c >> 1) ^ (0x82F63B78 if c & 1 else 0)
    return ~c & 0xffffffff
class Sctp:
    def __init__(self, opener="v", dport=38412, v=4):
        self.o, self.d, self.v = opener, dport, v
    def _p(self, who, tag, chunks, say, crc=None):
        side = self.o if who == "c" else ("w" if self.o == "v" else "v")
        a, b = (40000 + N[0], self.d) if who == "c" else (self.d, 40000 + N[0])
        h = struct.pack("!HHI", a, b, tag)
        c = crc32c(h + b"\0\0\0\0" + chunks) if crc is None else crc
        k = dict(proto=132) if self.v == 4 else dict(nh=132)
        return pkt(side, Raw(h + struct.pack("<I", c) + chunks), f"SCTP vtag {tag} {say}", self.v, **k)
    def c(self, *a, **k): return self._p("c", *a, **k)
    def s(self, *a, **k): return self._p("s", *a, **k)
    def up(self):                               # the four-way handshake, tags 111 and 222
        return Grp([self.c(0, INIT(111), "INIT(111)"), self.s(111, INITACK(222), "INIT_ACK(222)"), self.c(222, CECHO, "COOKIE_ECHO"), self.s(111, CACK, "COOKIE_ACK")], f"{self.o}: four-way handshake, tags 111/222")
INIT = lambda tag: struct.pack("!BBHIIHHI", 1, 0, 20, tag, 65535, 10, 10, 1)
INITACK = lambda tag: struct.pack("!BBHIIHHI", 2, 0, 20, tag, 65535, 10, 10, 1)
CECHO, CACK = struct.pack("!BBH", 10, 0, 8) + b"cook", struct.pack("!BBH", 11, 0, 4)
DATA = struct.pack("!BBHIHHI", 0, 3, 20, 1, 0, 0, 0) + b"data"
ABORT, SHUT, SHACK, SHCOMP = struct.pack("!BBH", 6, 0, 4), struct.pack("!BBHI", 7, 0, 8, 1), struct.pack("!BBH", 8, 0, 4), struct.pack("!BBH", 14, 0, 4)
HB = struct.pack("!BBHHH", 4, 0, 8, 1, 4)
SC, SC6, SCI = Sctp(), Sctp(v=6), Sctp("w")

def arp(side, op, say, sha=None, spa=None, tha=None, tpa=None, l2=None):
    d = dict(v=(VM, V4, G4), w=(GW, G4, V4))[side]
    e = dict(dst=BC) if op == 1 else {}
    e.update(l2 or {})
    return X(side, eth(side, **e) / ARP(op=op, hwsrc=sha or d[0], psrc=spa or d[1], hwdst=tha or "00:00:00:00:00:00", pdst=tpa or d[2]), say)
def nd(side, msg, say, src, dst, l2=None, hlim=255):
    return X(side, eth(side, **(l2 or {})) / IPv6(src=src, dst=dst, hlim=hlim) / msg, say)
def mc6(a):                                     # MAC of an IPv6 multicast group
    import socket
    return "33:33:" + ":".join("%02x" % x for x in socket.inet_pton(socket.AF_INET6, a)[12:])
def dhcp(side, typ, say, sport, dport, l2=None, **k):
    l4 = UDP(sport=sport, dport=dport) / BOOTP(op=1 if sport == 68 else 2, chaddr=bytes.fromhex(VM.replace(":", "")), yiaddr="0.0.0.0" if sport == 68 else V4) / DHCP(options=[("message-type", typ), "end"])
    return pkt(side, l4, say, l2=l2, **k)
