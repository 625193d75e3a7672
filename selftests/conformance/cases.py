# SPDX-License-Identifier: GPL-2.0
"""The conformance cases: data only.  C(mark, id, family, what, steps, expected, source[, need]).

mark      P, in the catalogue.
steps     frames in order: v: from the VM, w: from the wire.  O/O6 a TCP flow the VM opens to :80, I/I6 one the outside
          opens to the VM's :22; U/U6 and D/D6 the same for UDP :53; c() the opener's packets, s() the other end's.
expected  one verdict a step: F forwarded unchanged, Fn n frames released by this step, D dropped, R refused in due form;
          'x/y' either at that step; ' or ' another whole sequence; 'allF' F at every step.
need      cli: the case changes the policy or restarts the product while flows live; reassembly: only for a firewall that
          holds fragments back (adapters say so by REASSEMBLES)."""
from frames import *

POLICY = """
# neutral text of the reference policy; the first rule that matches counts, what none allows is dropped, both ways
# profile: TCP strict; addresses guarded; IPv4 options, VLAN tags and EtherTypes other than IPv4, IPv6, ARP, RARP dropped;
# a live flow is judged anew when the policy changes
mac 02:00:00:00:02:02
ip  10.2.0.2
ip  fd02::2
ip  fe80::ff:fe00:202
# every vport also has, for its own addresses only: ARP, the RARP announce of a migrated VM, ND, MLD reports, DHCP and DHCPv6 client
out reject tcp 25
out reject udp 25
out allow tcp                 # new flows by a lone SYN only
out allow udp
out allow icmp echo           # ICMP and ICMPv6
out allow sctp                # new associations by a lone INIT only
out allow gre
out allow esp
in  allow tcp 22              # in rules open the VM's own unicast addresses
in  allow tcp 8080 from 10.1.0.0/24
in  allow tcp 8080 from fd01::/64
in  allow udp 53
in  allow icmp echo
in  reject tcp 113
in  reject udp 113
"""
def without(line): return "\n".join(x for x in POLICY.splitlines() if not " ".join(x.split("#")[0].split()).startswith(line))

class Case:
    def __init__(self, mark, id, fam, what, steps, exp, src, need=None):
        self.mark, self.id, self.fam, self.what, self.exp, self.src, self.need = mark, id, fam, what, exp, src, need
        flat = lambda s: [y for x in s for y in (flat(x) if isinstance(x, list) else [x])]
        self.steps, self.words = flat(steps), [x.say for x in ([steps] if isinstance(steps, Grp) else steps)]
CASES = []
def C(*a, **k):
    CASES.append(Case(*a, **k)); N[0] += 1

# ---- TCP: opening a flow
C("P", "T01", "tcp.open", "three-way handshake, data, both FINs", O.hs() + [O.c("PA", 1001, 5001, 100), O.s("A", 5001, 1101), O.c("FA", 1101, 5001), O.s("A", 5001, 1102), O.s("FA", 5001, 1102), O.c("A", 1102, 5002)], "allF", "RFC 9293 3.5-3.6; OVS system-traffic 'conntrack - IPv4 HTTP'")
C("P", "T02", "tcp.open", "SYN from outside to a port the policy does not open", [I.c("S", 9, dport=8081)], "D", "RFC 6092 REC-34; RFC 5382 REQ-4")
C("P", "T03", "tcp.open", "SYN/ACK from outside, no flow", [O.s("SA", 5000, 1001, opt=MSS, say="80>eph")], "D", "van Rooij 2001; backscatter")
C("P", "T04", "tcp.open", "ACK from outside, no flow (ACK scan of a closed and of an open port)", [O.s("A", 5000, 1001, say="80>eph"), I.c("A", 5000, 1001, say="eph>22")], "D D", "nmap -sA; RFC 2979")
C("P", "T05", "tcp.open", "VM sends data with no flow: no mid-stream pickup", [O.c("PA", 1001, 5001, 10)], "D", "nf_conntrack_tcp_loose=0; Suricata tcp-session-midstream-policy")
C("P", "T07", "tcp.open", "simultaneous open", [O.c("S", 1000, opt=MSS), O.s("S", 5000, opt=MSS), O.c("SA", 1000, 5001, opt=MSS), O.s("SA", 5000, 1001, opt=MSS), O.c("PA", 1001, 5001, 5), O.s("A", 5001, 1006)], "allF", "RFC 9293 3.5 fig 7; RFC 5382 REQ-2a; RFC 6092 REC-31")
C("P", "T08", "tcp.open", "split handshake (bare ACK, then SYN, from the server): as simultaneous open, or the server's SYN stays out", [O.c("S", 1000, opt=MSS), O.s("A", 5000, 1001), O.s("S", 5000, opt=MSS), O.c("SA", 1000, 5001, opt=MSS), O.s("A", 5001, 1001), O.c("PA", 1001, 5001, 5)], "F F/D F F F F or F F/D D F/D F/D F/D", "Beardsley+Qian split handshake 2010; NSS Labs 2011")
C("P", "T09", "tcp.open", "SYN sent three times, then SYN/ACK", [O.c("S", 1000, opt=MSS)] * 3 + [O.s("SA", 5000, 1001, opt=MSS), O.c("A", 1001, 5001)], "allF", "RFC 9293; Calico TestNormalSYNRetryForcePolicy")
C("P", "T11", "tcp.open", "SYN met by a challenge ACK, RST, SYN again", [O.c("S", 1000, opt=MSS), O.s("A", 145824453, 643160523), O.c("R", 643160523), O.c("S", 1000, opt=MSS), O.s("SA", 0, 1001, opt=MSS), O.c("A", 1001, 1)], "allF", "Linux selftest conntrack_syn_challenge_ack.pkt; RFC 5961 4")
C("P", "T12", "tcp.open", "SYN refused by RST/ACK, tried again", [O.c("S", 1000, opt=MSS), O.s("RA", 0, 1001), O.c("S", 2000, opt=MSS), O.s("SA", 7000, 2001, opt=MSS), O.c("A", 2001, 7001)], "allF", "RFC 9293 3.10.7.3")
C("P", "T13", "tcp.open", "RST to a SYN with a wrong ack is not believed", [O.c("S", 1000, opt=MSS), O.s("RA", 0, 99999), O.s("SA", 5000, 1001, opt=MSS), O.c("A", 1001, 5001)], "F D F F", "RFC 5961 3; RFC 9293 3.10.7.3")
C("P", "T34", "tcp.open", "SYN with data (TCP Fast Open)", [O.c("S", 1000, n=20, opt=MSS), O.s("SA", 5000, 1021, opt=MSS), O.c("A", 1021, 5001)], "allF", "RFC 7413")
C("P", "T35", "tcp.open", "ECN-setup SYN and SYN/ACK (ECE, CWR)", [O.c("SEC", 1000, opt=MSS), O.s("SAE", 5000, 1001, opt=MSS), O.c("A", 1001, 5001)], "allF", "RFC 3168 6.1.1; RFC 9768")
C("P", "T53", "tcp.open", "SYN/ACK sent twice, ACK once", [O.c("S", 1000, opt=MSS), O.s("SA", 5000, 1001, opt=MSS), O.s("SA", 5000, 1001, opt=MSS), O.c("A", 1001, 5001), O.s("PA", 5001, 1001, 9)], "allF", "RFC 9293 3.8.1")
C("P", "T41", "tcp.open", "TCP port 0, as source and as destination", [O.c("S", 1000, sport=0), O.c("S", 1000, dport=0)], "D D", "RFC 6335 6 (reserved); pf and OVS drop it")
C("P", "T44", "tcp.open", "SYN with a bad checksum makes no flow", [O.c("S", 1000, chksum=0xdead), O.s("SA", 5000, 1001, opt=MSS)], "F/D D", "Ptacek-Newsham 1998 insertion; nf_conntrack_checksum")
C("P", "T45", "tcp.open", "SYN option of kind 3 length 0: no loop, and no scaling taken from it", [X("v", eth("v") / ip("v") / TCP(sport=O.base + N[0], dport=80, flags="S", seq=1000, dataofs=6) / Raw(b"\x03\x00\x07\x00"), "SYN 1000, option bytes 03 00 07 00"), O.s("SA", 5000, 1001, opt=WS(7)), O.c("A", 1001, 5001), O.s("PA", 205001, 1001, 10)], "F F F D or D D D D", "RFC 9293 3.1 option lengths; tcpdump option-loop pcaps")
C("P", "T48", "tcp.open", "VM opens from source port 22: its own out rule, not the in rule reversed", [Tcp("v", 50000, sport=22).c("S", 1)], "F", "direction of a rule")

# ---- TCP: flows from outside
C("P", "T47", "tcp.in", "SSH from outside: handshake, data both ways, close", I.hs() + [I.s("PA", 5001, 1001, 40), I.c("A", 1001, 5041), I.c("PA", 1001, 5041, 40), I.s("A", 5041, 1041), I.s("FA", 5041, 1041), I.c("FA", 1041, 5042), I.s("A", 5042, 1042)], "allF", "RFC 9293; OVS 'conntrack - IPv4 HTTP'")
C("P", "T60", "tcp.in", ":8080 from 10.1.0.2, then from 203.0.113.9", [Tcp("w", 8080, base=50000).c("S", 1000), Tcp("w", 8080, base=50000, peer=X4).c("S", 1000)], "F D", "source prefix of a rule")
C("P", "T62", "tcp.in", ":22 from anywhere, IPv4 and IPv6", [Tcp("w", 22, base=50000, peer=X4).c("S", 1000), Tcp("w", 22, 6, base=50000, peer=X6).c("S", 1000)], "F F", "reference policy")
C("P", "T63", "tcp.in", "FIN, NULL, XMAS, SYN+FIN, FIN/ACK scans of the open port 22", [I.c(f, 1000, a) for f, a in (("F", 0), ("", 0), ("FPU", 0), ("SF", 0), ("FA", 99))], "D D D D D", "nmap -sF -sN -sX -sM; RFC 2979")
C("P", "T65", "tcp.in", "VM sends SYN/ACK from :22 with no SYN seen (reflector)", [I.s("SA", 5000, 1001, opt=MSS)], "D", "RFC 4987; Suricata midstream policy")
C("P", "T67", "tcp.in", "VM refuses (RST/ACK) on :22, then accepts a new SYN", [I.c("S", 1000), I.s("RA", 0, 1001), I.c("S", 90000), I.s("SA", 5000, 90001, opt=MSS), I.c("A", 90001, 5001)], "allF", "RFC 9293 3.10.7.1")
C("P", "T69", "tcp.in", "outside flow: RST from the VM far out of window, then exact", I.hs() + [I.s("R", 9005001, 0, win=0), I.c("PA", 1001, 5001, 5), I.s("A", 5001, 1006), I.s("R", 5001, 0, win=0), I.c("PA", 1006, 5001, 5)], "F F F D F F F D", "RFC 5961 3; Linux conntrack_rst_invalid.pkt")
C("P", "T71", "tcp.in", "outside sends a second SYN with another sequence; the VM's answer to the last one passes", [I.c("S", 1000), I.c("S", 700000), I.s("SA", 5000, 700001, opt=MSS), I.c("A", 700001, 5001)], "allF", "RFC 9293 3.10.7.4; RFC 4987")
C("P", "T72", "tcp.in", "SYN to :22 from a multicast, a broadcast and the VM's own address", [Tcp("w", 22, base=50000, peer=p).c("S", 1) for p in ("224.0.0.5", "255.255.255.255", V4)], "D D D", "RFC 1122 3.2.1.3; RFC 9293 3.9.2.3 (SYN to or from multicast); CVE-1999-0016 LAND")
C("P", "T21", "tcp.in", "SYN by the server on an ESTABLISHED tuple of the VM's: not a new flow", O.hs() + [O.s("S", 900000, opt=MSS), O.s("PA", 5001, 1001, 5)], "F F F D F", "RFC 5961 4")

# ---- TCP: windows
C("P", "T22", "tcp.win", "data beyond the receiver's window (1000)", [O.c("S", 1000, opt=MSS, win=1000), O.s("SA", 5000, 1001, opt=MSS), O.c("A", 1001, 5001, win=1000), O.s("PA", 10001, 1001, 100), O.s("PA", 5001, 1001, 100)], "F F F D F", "van Rooij III; nf tcp_in_window I")
C("P", "T23", "tcp.win", "ACK of data never sent", O.hs() + [O.s("A", 5001, 101001)], "F F F D", "van Rooij IV; RFC 5961 5")
C("P", "T55", "tcp.win", "old data far below the window (150 kB behind)", O.hs() + O.bulk(17, 8900) + [O.c("PA", 1001, 5001, 1400)], "F*37 D", "van Rooij II; nf tcp_in_window II")
C("P", "T24", "tcp.win", "data already acknowledged is sent again (lost ACKs)", O.hs() + O.bulk(20, 1460) + [O.c("PA", 1001, 5001, 1460)], "allF", "Linux selftest conntrack_ack_loss_stall.pkt")
C("P", "T25", "tcp.win", "window scale 7 both ways: data 1,000,000 ahead", O.hs(co=WS(7), so=WS(7)) + [O.c("A", 1001, 5001), O.s("PA", 1005001, 1001, 100)], "allF", "RFC 7323 2.2")
C("P", "T26", "tcp.win", "window scale from the client only: no scaling", O.hs(co=WS(7), so=MSS) + [O.c("A", 1001, 5001, win=1000), O.s("PA", 205001, 1001, 100)], "F F F F D", "RFC 7323 2.2")
C("P", "T27", "tcp.win", "window scale 255 counts as 14", O.hs(co=WS(255), so=WS(255)) + [O.c("A", 1001, 5001), O.s("PA", 1005001, 1001, 100)], "allF", "RFC 7323 2.3")
C("P", "T28", "tcp.win", "sequence numbers wrap", O.hs(ci=0xFFFFFFF0, si=0xFFFFFF00) + [O.c("PA", 0xFFFFFFF1, 0xFFFFFF01, 100), O.s("PA", 0xFFFFFF01, 0xFFFFFFF1 + 100, 500), O.c("A", 0xFFFFFFF1 + 100, 0xFFFFFF01 + 500)], "allF", "RFC 9293 3.4")
C("P", "T29", "tcp.win", "zero window, one-byte probe", O.hs() + [O.c("A", 1001, 5001, win=0), O.s("PA", 5001, 1001, 1), O.c("A", 1001, 5001, win=0)], "allF", "RFC 9293 3.8.6.1")
C("P", "T30", "tcp.win", "keep-alive (seq one below next) and its answer", O.hs() + [O.c("PA", 1001, 5001, 5), O.s("A", 5001, 1006), O.c("A", 1005, 5001, 1), O.s("A", 5001, 1006)], "allF", "RFC 9293 3.8.4")
C("P", "T43", "tcp.win", "data with a bad checksum: dropped, or passed and not believed", O.hs() + [O.c("PA", 1001, 5001, 5, chksum=0xdead), O.s("A", 5001, 1001)], "F F F F/D F", "Ptacek-Newsham 1998; nf_conntrack_checksum")
C("P", "T50", "tcp.win", "Ethernet padding behind the IP length is not data", O.hs() + [X("v", O.c("A", 1001, 5001).frame + b"\xee" * 20, "ACK 1001/5001 and 20 pad bytes"), O.s("A", 5001, 1001)], "allF", "RFC 894")
C("P", "T39", "tcp.win", "data offset 4", O.hs() + [O.c("A", 1001, 5001, dataofs=4)], "F F F D", "RFC 9293 3.1; tcpdump tcp_header_heapoverflow.pcap")

# ---- TCP: flags
for m, i, fl, nm in (("P", "a", "", "NULL"), ("P", "b", "FPU", "XMAS"), ("P", "c", "SF", "SYN+FIN"), ("P", "f", "FSRPAU", "all flags")):
    C(m, "T32" + i, "tcp.flags", "VM sends " + nm + ", no flow", [O.c(fl, 1000)], "D", "nmap scans; RFC 2979; nf tcp_valid_flags")
C("P", "T31", "tcp.flags", "ESTABLISHED: FIN without ACK", O.hs() + [O.c("F", 1001), O.c("PA", 1001, 5001, 5)], "F F F D F", "RFC 9293 3.10.7.4; nf tcp_valid_flags")
C("P", "T33", "tcp.flags", "ESTABLISHED: data with no flags", O.hs() + [O.c("", 1001, 0, 5)], "F F F D", "RFC 9293 3.10.7.4; FreeBSD pf tests")
C("P", "T76", "tcp.flags", "ESTABLISHED: ECE, CWR, AE on data pass", O.hs() + [O.c("PAE", 1001, 5001, 5), O.s("AC", 5001, 1006), O.s("A", 5001, 1006, reserved=1, say="AE")], "allF", "RFC 3168; RFC 9768 AccECN")

# ---- TCP: RST and SYN on live flows
C("P", "T14", "tcp.rst", "RST far out of window", O.hs() + [O.s("R", 1005001, 0, win=0), O.c("PA", 1001, 5001, 5), O.s("A", 5001, 1006)], "F F F D F F", "Linux selftest conntrack_rst_invalid.pkt; RFC 5961 3")
C("P", "T15", "tcp.rst", "RST in window, not exact: dropped, or passed for a challenge ACK; the flow lives", O.hs() + [O.c("PA", 1001, 5001, 5), O.s("A", 5001, 1006), O.s("R", 5042, 0, win=0), O.s("PA", 5001, 1006, 5)], "F F F F F F/D F", "RFC 5961 3.2; Linux conntrack_rst_invalid.pkt")
C("P", "T16", "tcp.rst", "exact RST closes: nothing more from the server", O.hs() + [O.s("RA", 5001, 1001, win=0), O.s("PA", 5001, 1001, 5)], "F F F F D", "RFC 5961 3.2; RFC 9293 3.10.7.4")
C("P", "T17", "tcp.rst", "FIN seen, RST/ACK, then a lower RST from the other end", O.hs() + [O.s("FA", 5001, 1001), O.c("A", 1001, 5002), O.c("RA", 1001, 5002), O.s("R", 4901, 0, win=0)], "F F F F F F F/D", "Linux selftest conntrack_inexact_rst.pkt")
C("P", "T18", "tcp.rst", "forged RST/ACK, ack 0, behind the SYN's sequence", O.hs(ci=2**24) + [O.c("RA", 2**24 - 30000, 0), O.s("PA", 5001, 2**24 + 1, 5)], "F F F D F", "OpenBSD pf_state/fakeack_rst.py")
C("P", "T20", "tcp.rst", "client lost its state: SYN on ESTABLISHED, challenge ACK, RST, SYN", O.hs() + [O.c("PA", 1001, 5001, 100), O.s("A", 5001, 1101), O.c("S", 200000, opt=MSS), O.s("A", 5001, 1101), O.c("R", 1101), O.c("S", 200000, opt=MSS), O.s("SA", 7000, 200001, opt=MSS)], "allF", "RFC 5961 4; Linux conntrack_synack_reuse.pkt; OpenBSD challenge_ack.py")
C("P", "T42", "tcp.rst", "RST carrying data, exact", O.hs() + [O.s("RA", 5001, 1001, data=b"gone")], "allF", "RFC 9293 3.5.3; Suricata bug-6244")
C("P", "T79", "tcp.rst", "exact RST with a bad checksum does not close", O.hs() + [O.s("RA", 5001, 1001, chksum=0xdead), O.s("PA", 5001, 1001, 5), O.c("A", 1001, 5006)], "F F F F/D F F", "Ptacek-Newsham 1998 insertion; nf_conntrack_checksum")

# ---- TCP: closing and reuse
C("P", "T36", "tcp.close", "half-close: the server goes on sending", O.hs() + [O.c("FA", 1001, 5001), O.s("A", 5001, 1002)] + [y for i in range(5) for y in (O.s("PA", 5001 + 100 * i, 1002, 100), O.c("A", 1002, 5101 + 100 * i))], "allF", "RFC 9293 3.6")
C("P", "T37", "tcp.close", "simultaneous close", O.hs() + [O.c("FA", 1001, 5001), O.s("FA", 5001, 1001), O.c("A", 1002, 5002), O.s("A", 5002, 1002)], "allF", "RFC 9293 3.6 fig 13")
C("P", "T38", "tcp.close", "TIME_WAIT: the tuple used again by a new SYN", O.hs() + [O.c("FA", 1001, 5001), O.s("FA", 5001, 1002), O.c("A", 1002, 5002), O.c("S", 300000, opt=MSS), O.s("SA", 800000, 300001, opt=MSS), O.c("A", 300001, 800001)], "allF", "RFC 9293 3.6.1; Calico TestTCPRecycleClosedConn")
C("P", "T82", "tcp.close", "after both FINs the server sends new data", O.hs() + O.bye() + [O.s("PA", 5002, 1002, 100)], "F F F F F F F D", "RFC 9293 3.10.7.4: no data after FIN")
C("P", "T84", "tcp.close", "outside reuses its tuple to :22 from TIME_WAIT", I.hs() + I.bye() + [I.c("S", 700000, opt=MSS), I.s("SA", 800000, 700001, opt=MSS), I.c("A", 700001, 800001)], "allF", "RFC 6191; RFC 9293 3.6.1")
C("P", "T85", "tcp.close", "data of the first life after the tuple was used again", O.hs() + O.bye() + [O.c("S", 50000000, opt=MSS), O.s("SA", 90000000, 50000001, opt=MSS), O.c("A", 50000001, 90000001), O.s("PA", 5001, 1002, 10)], "F F F F F F F F F F D", "RFC 9293 3.6.1; RFC 1337")

# ---- UDP
C("P", "U01", "udp", "VM asks, outside answers", [U.c(), U.s()], "F F", "RFC 4787 REQ-8; RFC 768")
C("P", "U02", "udp", "unasked from outside, port closed", [D.c(dport=9999)], "D", "RFC 6092 2.2")
C("P", "U17", "udp", "outside asks :53, VM answers", [D.c(), D.s()], "F F", "reference policy")
C("P", "U03", "udp", "answer from another port of the same host", [U.c(), U.s(sport=5353)], "F D", "RFC 4787 REQ-8 (address and port dependent filtering)")
C("P", "U04", "udp", "answer from another host", [U.c(), U.s("from 203.0.113.9", l3=dict(src=X4))], "F D", "RFC 4787 REQ-8; RFC 6092 REC-17")
C("P", "U20", "udp", "datagrams of no payload", [U.c(n=0), U.s(n=0)], "F F", "RFC 768")
C("P", "U05", "udp", "checksum 0 over IPv4", [U.c(chksum=0), U.s(chksum=0)], "F F", "RFC 768")
C("P", "U06", "udp", "checksum 0 over IPv6, both ways", [U6.c(chksum=0), U6.c(), U6.s(chksum=0)], "D F D", "RFC 8200 8.1; RFC 6935")
C("P", "U07", "udp", "bad checksum makes no flow", [U.c("bad checksum", chksum=0xdead), U.s()], "F/D D", "nf_conntrack_checksum; Ptacek-Newsham 1998")
C("P", "U08", "udp", "UDP length 4", [U.c(len=4)], "D", "RFC 768; nf udp_error")
C("P", "U09", "udp", "UDP length beyond the IP payload", [U.c(len=500)], "D", "RFC 768; tcpdump udp-length-heapoverflow.pcap")
C("P", "U16", "udp", "source port 0 to the open :53", [D.c(sport=0)], "F", "RFC 768 (source port is optional)")
C("P", "U10", "udp", "UDP-Lite answer to a UDP flow", [U.c(), pkt("w", Raw(ulp("w", UDP(sport=53, dport=40000 + N[0]) / Raw(b"y" * 8))), "UDP-Lite 53>eph", proto=136)], "F D", "RFC 3828; RFC 6092 REC-20")

# ---- other protocols
C("P", "K01", "other", "GRE out, GRE back", [pkt("v", Raw(b"\0\0\x08\0" + b"z" * 20), "GRE", proto=47), pkt("w", Raw(b"\0\0\x08\0" + b"z" * 20), "GRE", proto=47)], "F F", "RFC 2784; OVS 'generic IP protocol'")
C("P", "K03", "other", "ESP out, ESP back with another SPI", [pkt("v", Raw(b"\0\0\0\1\0\0\0\1" + b"z" * 20), "ESP spi 1", proto=50), pkt("w", Raw(b"\0\0\0\2\0\0\0\1" + b"z" * 20), "ESP spi 2", proto=50)], "F F", "RFC 6092 REC-22, REC-25; RFC 4303")
C("P", "K05", "other", "protocol 0, protocol 255, then UDP", [pkt("v", Raw(b"z" * 20), "proto 0", proto=0), pkt("v", Raw(b"z" * 20), "proto 255", proto=255), U.c()], "D D F", "CVE-2023-1668 (OVS proto 0)")
C("P", "K06", "other", "IP in IP and IPv6 in IP hide a SYN", [pkt("v", ip("v") / TCP(dport=80, flags="S"), "proto 4", 4), pkt("v", ip("v", 6) / TCP(dport=80, flags="S"), "proto 41"), pkt("v", ip("v") / TCP(dport=80, flags="S"), "nh 4", 6)], "D D D", "RFC 4891; Suricata ipv6_over_ipv4; CERT VU#199397")
C("P", "K08", "other", "UDP-Lite, DCCP, OSPF, L2TP, PIM from outside", [pkt("w", Raw(b"\x9c\x40\0\x16" + b"\0" * 20), f"proto {p}", proto=p) for p in (136, 33, 89, 115, 103)], "D D D D D", "deny by default")

# ---- SCTP
C("P", "S01", "sctp", "four-way handshake, DATA both ways", SC.up() + [SC.c(222, DATA, "DATA"), SC.s(111, DATA, "DATA")], "allF", "RFC 9260 5.1; RFC 6092 REC-38")
C("P", "S02", "sctp", "INIT with a verification tag", [SC.c(5, INIT(111), "INIT")], "D", "RFC 9260 8.5.1")
C("P", "S03", "sctp", "INIT bundled with DATA", [SC.c(0, INIT(111) + DATA, "INIT+DATA")], "D", "RFC 9260 6.10; nf sctp_new")
C("P", "S04", "sctp", "DATA with a wrong tag", SC.up() + [SC.s(999, DATA, "DATA")], "F F F F D", "RFC 9260 8.5")
C("P", "S05", "sctp", "ABORT with a wrong tag does not close", SC.up() + [SC.s(999, ABORT, "ABORT"), SC.s(111, DATA, "DATA")], "F F F F D F", "RFC 9260 8.5.1; CVE-2021-3772")
C("P", "S06", "sctp", "INIT with a bad CRC32c makes no association", [SC.c(0, INIT(111), "INIT, bad CRC", crc=1), SC.s(111, INITACK(222), "INIT_ACK")], "F/D D", "RFC 9260 6.8; nf sctp_error")
C("P", "S07", "sctp", "INIT collision; a stale INIT_ACK after it", [SC.c(0, INIT(111), "INIT(111)"), SC.s(0, INIT(222), "INIT(222)"), SC.c(222, INITACK(111), "INIT_ACK(111)"), SC.s(111, CECHO, "COOKIE_ECHO"), SC.c(222, CACK, "COOKIE_ACK"), SC.s(111, INITACK(333), "INIT_ACK(333)"), SC.c(222, DATA, "DATA")], "F F F F F F/D F", "RFC 9260 5.2.1-5.2.3; Linux selftest conntrack_sctp_collision.sh")
C("P", "S18", "sctp", "after an association, INIT from outside between the same hosts on other ports", SC.up() + [SCI.c(0, INIT(77), "INIT")], "F F F F D", "RFC 9260 3.1: ports are part of the association")
C("P", "S10", "sctp", "orderly shutdown", SC.up() + [SC.c(222, SHUT, "SHUTDOWN"), SC.s(111, SHACK, "SHUTDOWN_ACK"), SC.c(222, SHCOMP, "SHUTDOWN_COMPLETE")], "allF", "RFC 9260 9.2")
C("P", "S11", "sctp", "no association: HEARTBEAT, DATA, COOKIE_ECHO from the VM; INIT_ACK, DATA from outside", [SC.c(222, HB, "HEARTBEAT"), SC.c(223, DATA, "DATA"), SC.c(224, CECHO, "COOKIE_ECHO"), SC.s(111, INITACK(222), "INIT_ACK"), SC.s(111, DATA, "DATA")], "D D D D D", "reference policy (INIT only); RFC 9260 8.4")

# ---- ICMP
C("P", "I01", "icmp", "VM pings, is answered", [echo("v", 8), echo("w", 0)], "F F", "RFC 5508 REQ-1; OVS 'conntrack - IPv4 ping'")
C("P", "I25", "icmp", "VM is pinged, answers", [echo("w", 8), echo("v", 0)], "F F", "reference policy")
C("P", "I02", "icmp", "echo reply unasked, from outside and from the VM", [echo("w", 0), echo("v", 0, id=77)], "D D", "RFC 2979; ICMP covert channels")
C("P", "I03", "icmp", "echo reply of another id", [echo("v", 8), echo("w", 0, "other id", id=9)], "F D", "RFC 5508 3.1")
C("P", "I04", "icmp", "port unreachable for the VM's UDP", [U.c(), err("w", 3, 3, U.c())], "F F", "RFC 5508 REQ-4; OVS 'conntrack - ICMP related'; Calico TestICMPRelatedPlain")
C("P", "I05", "icmp", "port unreachable, no such flow", [err("w", 3, 3, U.c(sport=1, dport=2), "a flow that is not")], "D", "RFC 5508 REQ-4; OVS 'ICMP related 2'")
C("P", "I06", "icmp", "quotes a live flow, outer destination another host", [U.c(), err("w", 3, 3, U.c(), dst="10.2.0.77")], "F D", "CVE-2019-5598 (pf)")
C("P", "I07", "icmp", "quotes hosts that are not the flow's", [U.c(), err("w", 3, 3, bytes(IP(src="4.3.2.1", dst="1.2.3.4") / UDP(sport=40000 + N[0], dport=53)), "4.3.2.1>1.2.3.4")], "F D", "CVE-2019-5598; FreeBSD CVE-2019-5598.py")
C("P", "I08", "icmp", "frag-needed from a router on the path", [U.c(), err("w", 3, 4, U.c(), mtu=1400, src=R4)], "F F", "RFC 1191; OVS 'ICMP from different source related'")
C("P", "I09", "icmp", "time exceeded from a router on the path (traceroute)", [U.c(), err("w", 11, 0, U.c(), src=R4)], "F F", "RFC 5508 REQ-4; Calico TestICMPttlExceeded")
C("P", "I10", "icmp", "hard error on a TCP flow passes and does not close it", O.hs() + [err("w", 3, 2, O.c("A", 1001, 5001).l3[:28], "8 bytes of the ACK"), O.s("PA", 5001, 1001, 5)], "allF", "RFC 5382 REQ-10; RFC 6092 REC-37; RFC 5927 6")
C("P", "I11", "icmp", "hard error quoting a TCP sequence out of window", O.hs() + [err("w", 3, 2, O.c("A", 9001001, 5001).l3[:28], "seq 9 MB ahead")], "F F F D", "RFC 5927 4.1")
C("P", "I12", "icmp", "quotes an IP header only", [U.c(), err("w", 3, 3, U.c().l3[:20], "20 bytes")], "F D", "RFC 792; tcpdump icmp-icmp_print-oobr")
C("P", "I15", "icmp", "quotes a later fragment", [U.c(), err("w", 3, 4, bytes(IP(src=V4, dst=W4, proto=17, frag=100, id=9) / Raw(b"\0" * 8)), "a non-first fragment", mtu=1400)], "F D", "RFC 5508 3.2")
C("P", "I16", "icmp", "error with a bad ICMP checksum", [U.c(), err("w", 3, 3, U.c(), chk=0xdead)], "F D", "RFC 5508 REQ-3")
C("P", "I17", "icmp", "error about an error", [U.c(), err("w", 3, 3, bytes(IP(src=V4, dst=W4) / ICMP(type=3, code=3) / Raw(U.s().l3)), "an ICMP error")], "F D", "RFC 1122 3.2.2")
C("P", "I18", "icmp", "redirect", [U.c(), err("w", 5, 1, U.c())], "F D", "RFC 1812 5.2.7.2; RFC 5927")
C("P", "I20", "icmp", "timestamp, mask and information requests from outside", [pkt("w", ICMP(type=13, id=1) / Raw(b"\0" * 12), "ICMP 13"), pkt("w", ICMP(type=17, id=1) / Raw(b"\0" * 4), "ICMP 17"), pkt("w", ICMP(type=15, id=1), "ICMP 15")], "D D D", "RFC 6918; CVE-1999-0524")
C("P", "I21", "icmp", "VM's error about an answer it got", [U.c(), U.s(), err("v", 3, 3, U.s())], "F F F", "RFC 5508 REQ-5; OVS 'ICMP related to original direction'")
C("P", "I30", "icmp", "VM's errors about no flow and about a neighbour's", [err("v", 3, 3, D.c(dport=9999), "a datagram never let in"), err("v", 3, 3, bytes(IP(src=W4, dst=N4) / UDP(sport=5, dport=53)), "a packet to the neighbour")], "D D", "RFC 5508 REQ-5; CVE-2019-5598")
C("P", "I22", "icmp", "frag-needed with an MTU of 40", [U.c(), err("w", 3, 4, U.c(), mtu=40)], "F D", "RFC 1191 3 (never below 68); RFC 5927 7.2")
C("P", "I35", "icmp", "time exceeded on the way back of an outside flow (quotes the VM's SYN/ACK)", [I.c("S", 1000), I.s("SA", 5000, 1001, opt=MSS), err("w", 11, 0, I.s("SA", 5000, 1001, opt=MSS).l3[:28], "the SYN/ACK", src=R4)], "F F F", "RFC 5508 REQ-4")
C("P", "I23", "icmp", "ICMP header of 4 bytes", [pkt("w", Raw(b"\x03\x03\x00\x00"), "4 bytes of ICMP", proto=1), pkt("v", Raw(b"\x08\x00\xf7\xff"), "4 bytes of ICMP", proto=1)], "D D", "RFC 792; tcpdump icmp-cksum-oobr")
C("P", "I14", "icmp", "packet with Router Alert out and an error quoting it: both or neither", [U.c("router alert", l3=dict(options=[IPOption(b"\x94\x04\0\0")])), err("w", 3, 4, U.c(l3=dict(options=[IPOption(b"\x94\x04\0\0")])), mtu=1400)], "F F or D D", "RFC 7126 4.8; Calico TestICMPTooBigIPOptions")

# ---- ICMPv6 (neighbour discovery is in 'nd')
C("P", "J01", "icmp6", "VM pings, is answered; is pinged, answers", [echo("v", 128, v=6), echo("w", 129, v=6), echo("w", 128, v=6, id=9), echo("v", 129, v=6, id=9)], "allF", "RFC 4890 4.3.1")
C("P", "J02", "icmp6", "packet too big from a router on the path", [U6.c(), err6("w", 2, 0, U6.c(), src=R6)], "F F", "RFC 4890 4.3.1; RFC 8201; Linux conntrack_icmp_related.sh")
C("P", "J03", "icmp6", "packet too big, no flow", [err6("w", 2, 0, U6.c(sport=1, dport=2), "a flow that is not")], "D", "RFC 6092 REC-10")
C("P", "J04", "icmp6", "unreachable 1/4 1/1, time exceeded 3/0, parameter problem 4/1 4/2", [U6.c(), err6("w", 1, 4, U6.c()), err6("w", 1, 1, U6.c()), err6("w", 3, 0, U6.c()), err6("w", 4, 1, U6.c()), err6("w", 4, 2, U6.c())], "allF", "RFC 4890 4.3.1")
C("P", "J06", "icmp6", "echo with a bad checksum makes no flow", [echo("v", 128, "bad checksum", v=6, chk=0xdead), echo("w", 129, v=6)], "F/D D", "RFC 4443 2.3")
C("P", "J07", "icmp6", "node information query from outside", [pkt("w", ICMPv6NIQueryIPv6(data=V6), "NI query", 6)], "D", "RFC 4890 4.3.5")
C("P", "J09", "icmp6", "packet too big with an MTU below 1280", [U6.c(), err6("w", 2, 0, U6.c(), mtu=576)], "F D", "RFC 8201 4; RFC 8021")
C("P", "J13", "icmp6", "error about an error", [U6.c(), err6("w", 1, 4, bytes(ip("v", 6) / ICMPv6DestUnreach(code=4) / Raw(U6.s().l3)), "an ICMPv6 error")], "F D", "RFC 4443 2.4 (e)")
C("P", "J15", "icmp6", "outside error quoting its own packet; outer destination another host", [U6.c(), U6.s(), err6("w", 1, 4, U6.s(), "the answer it sent itself"), err6("w", 1, 4, U6.c(), dst="fd02::77")], "F F D D", "CVE-2019-5598; RFC 4890")
C("P", "J17", "icmp6", "VM refuses an outside datagram to :53 (1/4); and one never let in", [D6.c(), err6("v", 1, 4, D6.c()), err6("v", 1, 4, D6.c(dport=99), "a datagram never let in")], "F F D", "RFC 4890 4.3.1")

# ---- IPv4 fragments.  A firewall may hold and release (D F2) or follow the first fragment (F F).
B = ulp("v", UDP(sport=40000, dport=53) / Raw(b"q" * 1472))
BA = ulp("w", UDP(sport=53, dport=40000) / Raw(b"q" * 1472))
BI, BX = (ulp("w", UDP(sport=50000, dport=p) / Raw(b"q" * 1472)) for p in (53, 9999))
TB = ulp("v", TCP(sport=41000, dport=80, flags="S", seq=1000) / Raw(b"z" * 32))
TI = {p: ulp("w", TCP(sport=51000, dport=p, flags="S", seq=1000) / Raw(b"z" * 32)) for p in (22, 8081)}
C("P", "F01", "frag4", "two fragments in order", [frag("v", 17, B, 0, 1400, 1), frag("v", 17, B, 1400, 9999, 0)], "F F or D F2", "RFC 791; OVS 'conntrack - fragmentation'")
C("P", "F02", "frag4", "two fragments out of order: the later one never goes first", [frag("v", 17, B, 1400, 9999, 0), frag("v", 17, B, 0, 1400, 1)], "D F2 or D F", "RFC 1858; OVS 'fragmentation out of order'")
C("P", "F14", "frag4", "from outside to :53 in two fragments; to :9999 in two", [frag("w", 17, BI, 0, 1400, 1), frag("w", 17, BI, 1400, 9999, 0), frag("w", 17, BX, 0, 1400, 1, id=7), frag("w", 17, BX, 1400, 9999, 0, id=7)], "F F D D or D F2 D D", "RFC 1858")
C("P", "F03", "frag4", "overlap by 8; the right second fragment after it", [frag("v", 17, B, 0, 1408, 1), frag("v", 17, B, 1400, 9999, 0), frag("v", 17, B, 1408, 9999, 0)], "D D D or F D D", "RFC 5722 read for IPv4; OVS 'overlapping fragments'")
C("P", "F04", "frag4", "SYN whose flags are in the second fragment (first has 8 bytes)", [frag("v", 6, TB, 0, 8, 1), frag("v", 6, TB, 8, 99, 0)], "D D or D F2", "RFC 1858 3 tiny fragment; RFC 3128")
C("P", "F05", "frag4", "SYN to :22, then a fragment at offset 8 over its flags", [frag("w", 6, TI[22], 0, 24, 1), frag("w", 6, TI[22], 8, 99, 0)], "D D or F D", "RFC 1858 4 overlapping; RFC 3128")
C("P", "F06", "frag4", "a later fragment alone, from the VM and from outside", [frag("v", 17, B, 1400, 9999, 0), frag("w", 17, BI, 1400, 9999, 0)], "D D", "RFC 1858; OVS 'fragmentation expiry'")
C("P", "F07", "frag4", "ping of death (65528 + 100)", [frag("v", 1, ulp("v", ICMP(id=1) / Raw(b"z" * 800)), 0, 800, 1), X("v", eth("v") / ip("v", proto=1, id=1000 + N[0], frag=8191) / Raw(b"z" * 100), "frag [65528,65628) last")], "D D or F D", "CVE-1999-0128; Suricata defrag")
C("P", "F08", "frag4", "the first fragment twice", [frag("v", 17, B, 0, 1400, 1), frag("v", 17, B, 0, 1400, 1), frag("v", 17, B, 1400, 9999, 0)], "D D F2 or F F F or F D F or D D F3", "RFC 791; Linux ip_frag duplicate rule")
C("P", "F09", "frag4", "same id, other protocol in the second", [frag("v", 17, B, 0, 1400, 1), frag("v", 6, B, 1400, 9999, 0)], "D D or F D", "RFC 791 reassembly key")
C("P", "F10", "frag4", "reserved flag bit set", [U.c("reserved bit", l3=dict(flags=4))], "F", "RFC 1812 4.2.2.3 (must not be checked)")
C("P", "F12", "frag4", "middle fragment of a length not a multiple of 8", [frag("v", 17, B, 0, 1401, 1), frag("v", 17, B, 1408, 9999, 0)], "D D", "RFC 791 3.2")
C("P", "F22", "frag4", "middle fragment lost: what can be sent is only what the first allows", [frag("v", 17, ulp("v", UDP(sport=40000, dport=53) / Raw(b"q" * 3000)), a, b, m) for a, b, m in ((0, 1000, 1), (2000, 9999, 0))], "D D or F F/D", "RFC 791; RFC 1858")
C("P", "F23", "frag4", "three fragments, first one first, the other two swapped", [frag("v", 17, ulp("v", UDP(sport=40000, dport=53) / Raw(b"q" * 3000)), a, b, m) for a, b, m in ((0, 1000, 1), (2000, 9999, 0), (1000, 2000, 1))], "F F F or D D F3", "RFC 791; RFC 4787 REQ-14")

# ---- IPv6 fragments
B6 = ulp("v", UDP(sport=40000, dport=53) / Raw(b"q" * 1472), 6)
BI6, BX6 = (ulp("w", UDP(sport=50000, dport=p) / Raw(b"q" * 1472), 6) for p in (53, 9999))
TB6 = ulp("v", TCP(sport=41000, dport=80, flags="S", seq=1000), 6)
C("P", "G01", "frag6", "two fragments in order", [frag6("v", 17, B6, 0, 1400, 1), frag6("v", 17, B6, 1400, 9999, 0)], "F F or D F2", "RFC 8200 4.5; OVS 'IPv6 fragmentation'")
C("P", "G02", "frag6", "two fragments out of order: the later one never goes first", [frag6("v", 17, B6, 1400, 9999, 0), frag6("v", 17, B6, 0, 1400, 1)], "D F2 or D F", "RFC 7112; OVS 'IPv6 fragmentation out of order'")
C("P", "G22", "frag6", "from outside to :53 in two fragments; to :9999 in two", [frag6("w", 17, BI6, 0, 1400, 1), frag6("w", 17, BI6, 1400, 9999, 0), frag6("w", 17, BX6, 0, 1400, 1, id=7), frag6("w", 17, BX6, 1400, 9999, 0, id=7)], "F F D D or D F2 D D", "RFC 7112")
C("P", "G03", "frag6", "overlap by 8; the right second fragment after it", [frag6("v", 17, B6, 0, 1408, 1), frag6("v", 17, B6, 1400, 9999, 0), frag6("v", 17, B6, 1408, 9999, 0)], "D D D or F D D", "RFC 5722; RFC 8200 4.5")
C("P", "G04", "frag6", "atomic fragment", [frag6("v", 17, B6, 0, 9999, 0)], "F", "RFC 6946")
C("P", "G06", "frag6", "the first fragment lacks the TCP header", [frag6("v", 60, bytes(IPv6ExtHdrDestOpt(nh=6, options=[PadN(optdata=b"\0" * 4)])) + TB6, 0, 8, 1), frag6("v", 60, bytes(IPv6ExtHdrDestOpt(nh=6, options=[PadN(optdata=b"\0" * 4)])) + TB6, 8, 99, 0)], "D D", "RFC 7112; RFC 8200 4.5")
C("P", "G15", "frag6", "first fragment of a length not a multiple of 8", [frag6("v", 17, B6, 0, 1401, 1)], "D", "RFC 8200 4.5 (parameter problem)")
C("P", "G24", "frag6", "a later fragment alone, both ways", [frag6("v", 17, B6, 1400, 9999, 0), frag6("w", 17, BI6, 1400, 9999, 0)], "D D", "RFC 7112")
C("P", "G14", "frag6", "later fragment behind an AH header", [frag6("v", 17, B6, 0, 1400, 1), X("v", eth("v") / ip("v", 6, nh=51) / Raw(b"\x2c\x01" + b"\0" * 10) / IPv6ExtHdrFragment(nh=17, offset=175, m=0, id=1000 + N[0]) / Raw(B6[1400:]), "AH, frag [1400,1480) last")], "D D or F D", "CVE-2019-5597 (pf); RFC 8200 4.5")

# ---- IPv6 header chains and addresses
SYN6 = lambda: TCP(sport=40000 + N[0], dport=80, flags="S", seq=1000)
C("P", "G07", "ext6", "routing header type 0 before TCP", [pkt("v", IPv6ExtHdrRouting(type=0, segleft=1, addresses=["fd02::3"]) / SYN6(), "RH0, SYN", 6)], "D", "RFC 5095; RFC 6092 REC-4")
C("P", "G08", "ext6", "hop-by-hop header not first", [pkt("v", IPv6ExtHdrDestOpt() / IPv6ExtHdrHopByHop() / SYN6(), "dst-opts, hop-by-hop, SYN", 6)], "D", "RFC 8200 4.1")
C("P", "G09", "ext6", "20 destination option headers, then SYN", [pkt("v", eval("/".join(["IPv6ExtHdrDestOpt()"] * 20)) / SYN6(), "20 x dst-opts, SYN", 6)], "D", "RFC 8504 5.3; FreeBSD pf header.py")
C("P", "G10", "ext6", "dst-opts then SYN; the answer is plain", [pkt("v", IPv6ExtHdrDestOpt() / SYN6(), "dst-opts, SYN 1000", 6), O6.s("SA", 5000, 1001)], "F F", "RFC 7045; OVS 'multiple extension headers'")
C("P", "G11", "ext6", "unknown next header 253 with a TCP-looking tail", [pkt("v", Raw(b"\x06\0" + b"z" * 30), "nh 253", 6, nh=253)], "D", "RFC 7045 2.1; RFC 6564; reference policy")
C("P", "G12", "ext6", "no next header (59) with a SYN behind it", [pkt("v", Raw(TB6), "nh 59, SYN bytes", 6, nh=59), pkt("w", Raw(ulp("w", TCP(sport=5, dport=22, flags="S"), 6)), "nh 59, SYN bytes", 6, nh=59)], "D D", "RFC 8200 4.7; tcpdump ipv6_no_next_header.pcap")
C("P", "G16", "ext6", "multicast source, from the VM and from outside", [U6.c(l3=dict(src="ff02::1")), D6.c(l3=dict(src="ff02::1"))], "D D", "RFC 4291 2.7; RFC 6092 REC-1")
C("P", "G17", "ext6", "::1, :: or a v4-mapped source", [x for a in ("::1", "::", "::ffff:10.1.0.2") for x in (U6.c(l3=dict(src=a)), D6.c(l3=dict(src=a)))], "D D D D D D", "RFC 4291 2.5.3, 2.5.2; RFC 6092 REC-3")
C("P", "G18", "ext6", "payload length beyond the frame", [U6.c(l3=dict(plen=500)), D6.c(l3=dict(plen=500))], "D D", "RFC 8200 3; tcpdump ipv6_invalid_length.pcap")
C("P", "G19", "ext6", "payload length 0, no jumbo option", [U6.c(l3=dict(plen=0))], "D", "RFC 2675; tcpdump ipv6_missing_jumbo_payload_option.pcap")
C("P", "G30", "ext6", "hop limit 1 and 0", [U6.c(l3=dict(hlim=1)), U6.c(l3=dict(hlim=0))], "F F/D", "RFC 8200 3 (a bridge does not count hops)")

# ---- parsing and IPv4 addresses
UV = lambda **k: ip("v", **k) / UDP(sport=40000 + N[0], dport=53) / Raw(b"y" * 8)
C("P", "P01", "parse", "IHL 4", [X("v", bytes(eth("v")) + b"\x44" + bytes(UV())[1:], "IHL 4")], "D", "RFC 791; Calico malformed; tcpdump ipv4_invalid_hdr_length.pcap")
C("P", "P02", "parse", "IHL beyond the total length", [X("v", bytes(eth("v")) + b"\x4f" + bytes(UV())[1:], "IHL 15")], "D", "Calico TestMalformedIP")
C("P", "P03", "parse", "total length beyond the frame", [U.c(l3=dict(len=900)), D.c(l3=dict(len=900))], "D D", "tcpdump ipv4_invalid_total_length.pcap; CVE-2016-10377 (OVS)")
C("P", "P04", "parse", "total length below the header", [U.c(l3=dict(len=12))], "D", "CVE-2016-10377; tcpdump ipv4_invalid_total_length_2.pcap")
C("P", "P05", "parse", "version 6 in an 0x0800 frame", [X("v", eth("v", type=0x800) / Raw(bytes(ip("v", 6) / UDP(sport=5, dport=53))), "IPv6 as 0x0800")], "D", "Suricata bug-7964")
C("P", "P07", "parse", "bad IP header checksum makes no flow", [U.c("bad IP checksum", l3=dict(chksum=0xdead)), U.s()], "D D", "RFC 1812 5.2.2")
C("P", "P08", "parse", "UDP with no header; with 7 bytes", [pkt("v", b"", "UDP, 0 bytes", proto=17), pkt("v", Raw(b"\x9c\x40\0\x35\0\x08\0"), "UDP, 7 bytes", proto=17)], "D D", "Calico TestMalformedIP")
C("P", "P09", "parse", "TCP header cut at 10 and at 19 bytes", [pkt("v", Raw(TB[:n]), f"TCP, {n} bytes", proto=6) for n in (10, 19)], "D D", "RFC 3128; Calico")
C("P", "P10", "parse", "LSRR and SSRR options, from the VM and from outside to :53", [U.c("LSRR", l3=dict(options=[IPOption_LSRR(routers=["10.2.0.9"])])), U.c("SSRR", l3=dict(options=[IPOption_SSRR(routers=["10.2.0.9"])])), D.c("LSRR", l3=dict(options=[IPOption_LSRR(routers=["10.2.0.9"])]))], "D D D", "RFC 7126 4.3-4.4")
C("P", "P11", "parse", "record route option", [U.c("record route", l3=dict(options=[IPOption_RR(routers=["0.0.0.0"] * 3)]))], "D", "RFC 7126 4.5; OpenBSD pf_opts")
C("P", "P13", "parse", "LAND: source = destination, sent by the VM and to the VM", [pkt("v", TCP(sport=80, dport=80, flags="S"), "SYN 10.2.0.2>10.2.0.2", dst=V4), pkt("w", TCP(sport=22, dport=22, flags="S"), "SYN 10.2.0.2>10.2.0.2", src=V4)], "D D", "CVE-1999-0016")
C("P", "P14", "parse", "VM sends from 127/8, 224/4, 255.255.255.255, 0/8", [U.c(l3=dict(src=a)) for a in ("127.0.0.1", "224.0.0.1", "255.255.255.255", "0.1.2.3")], "D D D D", "RFC 1812 5.3.7; RFC 6890")
C("P", "P19", "parse", "TTL 1 and 0", [U.c(l3=dict(ttl=1)), U.c(l3=dict(ttl=0))], "F F/D", "RFC 791 (a bridge does not count hops); RFC 1122 3.2.1.7")
C("P", "P20", "parse", "frames cut at 14, 15, 20, 30, 33 bytes", [X("v", bytes(eth("v") / UV())[:n], f"{n} bytes") for n in (14, 15, 20, 30, 33)], "D D D D D", "Suricata decode-too-small")

# ---- link layer: addresses of the VM
C("P", "L01", "mac", "VM sends from another MAC", [U.c(l2=dict(src=NB)), U6.c(l2=dict(src=NB))], "D D", "libvirt nwfilter no-mac-spoofing; Neutron 'IPtables firewall prevent ICMPv6 spoofing'")
C("P", "L02", "mac", "VM sends from the gateway's, a multicast and the broadcast MAC", [U.c(l2=dict(src=m)) for m in (GW, "03:00:00:00:02:02", BC)], "D D D", "IEEE 802-2014 8.2.2; libvirt no-mac-spoofing")
C("P", "L03", "mac", "VM sends from its neighbour's IPv4 and IPv6 address", [U.c(l3=dict(src=N4)), U6.c(l3=dict(src=N6)), I.s("SA", 1, 1, l3=dict(src=N4))], "D D D", "RFC 2827; Calico TestWorkloadSpoof; libvirt no-ip-spoofing")
C("P", "L05", "mac", "flooded frame for the neighbour's MAC does not reach the VM", [D.c(l2=dict(dst=NB)), I.c("S", 1, l2=dict(dst=NB))], "D D", "bridge flooding; RFC 1122 3.3.6")
C("P", "L07", "mac", "outside sends from the VM's own IPv4 and IPv6 address, and its MAC", [D.c(l3=dict(src=V4)), D6.c(l3=dict(src=V6)), D.c(l2=dict(src=VM))], "D D D", "RFC 1122 3.2.1.3; LAND")

# ---- ARP and RARP
C("P", "A01", "arp", "VM asks for the gateway, is answered", [arp("v", 1, "ARP who-has 10.2.0.1"), arp("w", 2, "ARP reply", tha=VM)], "F F", "RFC 826")
C("P", "A02", "arp", "outside asks for the VM, is answered", [arp("w", 1, "ARP who-has 10.2.0.2"), arp("v", 2, "ARP reply", tha=GW)], "F F", "RFC 826")
C("P", "A03", "arp", "VM's ARP with a foreign sender IP: request, reply, gratuitous", [arp("v", 1, "request, spa 10.2.0.3", spa=N4), arp("v", 2, "reply, spa 10.2.0.1", spa=G4, tha=NB, tpa=N4), arp("v", 1, "gratuitous for 10.2.0.1", spa=G4, tpa=G4)], "D D D", "libvirt no-arp-ip-spoofing; Neutron bug 1274034 prevent_arp_spoofing; RFC 5227")
C("P", "A04", "arp", "VM's ARP with a foreign sender MAC; with a foreign Ethernet source", [arp("v", 1, "sha foreign", sha=NB), arp("v", 1, "Ethernet source foreign", l2=dict(src=NB))], "D D", "libvirt no-arp-mac-spoofing")
C("P", "A05", "arp", "VM's probe (sender 0.0.0.0) and announcement of its own address", [arp("v", 1, "probe", spa="0.0.0.0", tpa=V4), arp("v", 1, "announcement", tpa=V4)], "F F", "RFC 5227 2.1.1, 2.3")
C("P", "A07", "arp", "outside claims the VM's address", [arp("w", 1, "gratuitous for 10.2.0.2", spa=V4, tpa=V4), arp("w", 2, "reply, spa 10.2.0.2", spa=V4, tpa=V4, tha=VM)], "D D", "RFC 5227 2.4")
C("P", "A09", "arp", "RARP announce of a migrated VM; with another MAC", [X("v", eth("v", dst=BC, type=0x8035) / ARP(op=3, hwsrc=VM, hwdst=VM, psrc="0.0.0.0", pdst="0.0.0.0"), "RARP 3, own MAC"), X("v", eth("v", dst=BC, type=0x8035) / ARP(op=3, hwsrc=NB, hwdst=NB, psrc="0.0.0.0", pdst="0.0.0.0"), "RARP 3, foreign MAC")], "F D", "libvirt nwfilter qemu-announce-self-rarp")

# ---- neighbour discovery
SN, SNV = "ff02::1:ff00:1", "ff02::1:ff00:2"
C("P", "N01", "nd", "VM solicits the gateway, is answered; is solicited, answers", [nd("v", ICMPv6ND_NS(tgt=G6) / ICMPv6NDOptSrcLLAddr(lladdr=VM), "NS fd02::1", V6, SN, dict(dst=mc6(SN))), nd("w", ICMPv6ND_NA(tgt=G6, S=1) / ICMPv6NDOptDstLLAddr(lladdr=GW), "NA fd02::1", G6, V6), nd("w", ICMPv6ND_NS(tgt=V6) / ICMPv6NDOptSrcLLAddr(lladdr=GW), "NS fd02::2", GL, SNV, dict(dst=mc6(SNV))), nd("v", ICMPv6ND_NA(tgt=V6, S=1) / ICMPv6NDOptDstLLAddr(lladdr=VM), "NA fd02::2", V6, GL)], "allF", "RFC 4861; RFC 4890 4.4.1")
C("P", "N02", "nd", "VM advertises the gateway's address, the neighbour's", [nd("v", ICMPv6ND_NA(tgt=t, O=1) / ICMPv6NDOptDstLLAddr(lladdr=VM), "NA " + t, V6, "ff02::1", dict(dst=mc6("ff02::1"))) for t in (G6, N6)], "D D", "RFC 3756 4.1.1; Neutron prevent_arp_spoofing for ND; OVS nd_target")
C("P", "N03", "nd", "VM's NS and NA with a foreign link-layer option", [nd("v", ICMPv6ND_NS(tgt=G6) / ICMPv6NDOptSrcLLAddr(lladdr=NB), "NS, SLLA foreign", V6, SN, dict(dst=mc6(SN))), nd("v", ICMPv6ND_NA(tgt=V6, O=1) / ICMPv6NDOptDstLLAddr(lladdr=NB), "NA, TLLA foreign", V6, "ff02::1", dict(dst=mc6("ff02::1")))], "D D", "RFC 3756 4.1.1")
C("P", "N05", "nd", "VM's duplicate detection for its own addresses passes; for the neighbour's not", [nd("v", ICMPv6ND_NS(tgt=V6), "NS from :: for own", "::", SNV, dict(dst=mc6(SNV))), nd("v", ICMPv6ND_NS(tgt=VL), "NS from :: for own link-local", "::", "ff02::1:ff00:202", dict(dst=mc6("ff02::1:ff00:202"))), nd("v", ICMPv6ND_NS(tgt=N6), "NS from :: for fd02::3", "::", "ff02::1:ff00:3", dict(dst=mc6("ff02::1:ff00:3")))], "F F D", "RFC 4862 5.4; RFC 3756 4.1.3")
C("P", "N06", "nd", "VM sends router advertisement and redirect", [nd("v", ICMPv6ND_RA() / ICMPv6NDOptPrefixInfo(prefix="2001:db8::"), "RA", VL, "ff02::1", dict(dst=mc6("ff02::1"))), nd("v", ICMPv6ND_Redirect(tgt=V6, dst=X6), "redirect", VL, N6)], "D D", "RFC 6104; RFC 6105 RA-Guard")
C("P", "N07", "nd", "VM solicits routers, RA from the gateway", [nd("v", ICMPv6ND_RS(), "RS", VL, "ff02::2", dict(dst=mc6("ff02::2"))), nd("w", ICMPv6ND_RA() / ICMPv6NDOptSrcLLAddr(lladdr=GW), "RA", GL, "ff02::1", dict(dst=mc6("ff02::1")))], "F F", "RFC 4861 6; RFC 4890 4.4.1")
C("P", "N08", "nd", "from outside: RA with hop limit 64, RA from a global address, redirect", [nd("w", ICMPv6ND_RA(), "RA, hlim 64", GL, "ff02::1", dict(dst=mc6("ff02::1")), 64), nd("w", ICMPv6ND_RA(), "RA from fd01::2", W6, V6), nd("w", ICMPv6ND_Redirect(tgt=N6, dst=X6), "redirect", GL, V6)], "D D D", "RFC 4861 6.1.2, 8.1; RFC 4890 4.3.5")
C("P", "N10", "nd", "outside claims the VM's IPv6 address", [nd("w", ICMPv6ND_NA(tgt=V6, O=1) / ICMPv6NDOptDstLLAddr(lladdr=NB), "NA fd02::2", V6, "ff02::1", dict(dst=mc6("ff02::1"), src=NB)), nd("w", ICMPv6ND_NA(tgt=V6, O=1) / ICMPv6NDOptDstLLAddr(lladdr=NB), "NA fd02::2 from fd02::3", N6, "ff02::1", dict(dst=mc6("ff02::1"), src=NB))], "D D", "RFC 4862 5.4.4; RFC 3756 4.1.3")
C("P", "N11", "nd", "VM hides an RA behind dst-opts, in a fragment, behind hop-by-hop", [X("v", eth("v", dst=mc6("ff02::1")) / IPv6(src=VL, dst="ff02::1", hlim=255) / h / ICMPv6ND_RA(), w + ", RA") for h, w in ((IPv6ExtHdrDestOpt(), "dst-opts"), (IPv6ExtHdrFragment(nh=58, id=9), "atomic fragment"), (IPv6ExtHdrHopByHop(), "hop-by-hop"))], "D D D", "RFC 7113; RFC 6980; CVE-2021-27853")
C("P", "N14", "nd", "VM's MLDv2 report; outside's MLD query", [nd("v", IPv6ExtHdrHopByHop(options=[RouterAlert()]) / ICMPv6MLReport2(records=[ICMPv6MLDMultAddrRec(dst=SNV)]), "MLDv2 report", VL, "ff02::16", dict(dst=mc6("ff02::16")), 1), nd("w", IPv6ExtHdrHopByHop(options=[RouterAlert()]) / ICMPv6MLQuery2(), "MLD query", GL, "ff02::1", dict(dst=mc6("ff02::1")), 1)], "F F", "RFC 4890 4.4.1; RFC 3810")

# ---- DHCP
C("P", "H01", "dhcp", "VM discovers, offer by broadcast and by unicast", [dhcp("v", "discover", "DHCP discover", 68, 67, dict(dst=BC), src="0.0.0.0", dst="255.255.255.255"), dhcp("w", "offer", "offer, broadcast", 67, 68, dict(dst=BC), src=G4, dst="255.255.255.255"), dhcp("w", "offer", "offer, unicast", 67, 68, src=G4)], "F F F", "RFC 2131 4.1; libvirt nwfilter allow-dhcp")
C("P", "H02", "dhcp", "VM plays the DHCP server", [dhcp("v", "offer", "offer, broadcast", 67, 68, dict(dst=BC), dst="255.255.255.255"), dhcp("v", "ack", "ack to the neighbour", 67, 68, dict(dst=NB), dst=N4)], "D D", "CVE-2016-5362 (Neutron); DHCP snooping")
C("P", "H04", "dhcp", "DHCPv6: VM solicits, reply from the link-local server; VM plays the server", [pkt("v", UDP(sport=546, dport=547) / DHCP6_Solicit(trid=1), "solicit", 6, dict(dst=mc6("ff02::1:2")), src=VL, dst="ff02::1:2"), pkt("w", UDP(sport=547, dport=546) / DHCP6_Advertise(trid=1), "advertise", 6, src=GL, dst=VL), pkt("v", UDP(sport=547, dport=546) / DHCP6_Advertise(trid=1), "advertise", 6, dict(dst=NB), src=VL, dst="fe80::3")], "F F D", "RFC 8415; RFC 7610 DHCPv6-Shield")

# ---- VLAN, LLC, other EtherTypes
VU = lambda: ip("v") / UDP(sport=40000 + N[0], dport=53) / Raw(b"y" * 8)
SI = lambda p: ip("w") / TCP(sport=50000 + N[0], dport=p, flags="S", seq=1)
C("P", "V01", "vlan", "VM (access port) tags: VLAN 100, 0x88a8+0x8100, 0x9100", [X("v", eth("v") / Dot1Q(vlan=100) / VU(), "802.1Q 100, UDP"), X("v", eth("v", type=0x88a8) / Dot1Q(vlan=100, type=0x8100) / Dot1Q(vlan=10) / VU(), "QinQ, UDP"), X("v", eth("v", type=0x9100) / Dot1Q(vlan=100, type=0x800) / VU(), "0x9100, UDP")], "D D D", "IEEE 802.1Q; VLAN hopping; tcpdump 802.1ad_QinQ.pcap")
C("P", "V02", "vlan", "priority tag (VLAN 0) does not hide a closed port, either way", [X("w", eth("w") / Dot1Q(vlan=0) / SI(8081), "VLAN 0, SYN to :8081"), X("w", eth("w") / Dot1Q(vlan=0) / Dot1Q(vlan=0) / SI(8081), "VLAN 0 twice, SYN to :8081"), X("v", eth("v") / Dot1Q(vlan=0) / ip("v", src=N4) / UDP(sport=5, dport=53), "VLAN 0, from 10.2.0.3")], "D D D", "CVE-2021-27853; CERT VU#855201")
C("P", "V04", "vlan", "802.3 LLC/SNAP carries IP: from the VM, to the VM", [X("v", Dot3(src=VM, dst=GW) / LLC(dsap=0xaa, ssap=0xaa, ctrl=3) / SNAP(code=0x800) / VU(), "SNAP, UDP"), X("w", Dot3(src=GW, dst=VM) / LLC(dsap=0xaa, ssap=0xaa, ctrl=3) / SNAP(code=0x800) / SI(8081), "SNAP, SYN to :8081")], "D D", "CVE-2021-27854; CVE-2021-27862; CERT VU#855201")
C("P", "V06", "vlan", "VM sends STP BPDU, LLDP, EAPOL, MPLS, PPPoE, 0x88e5, unknown 0x1234", [X("v", Dot3(src=VM, dst="01:80:c2:00:00:00") / LLC(dsap=0x42, ssap=0x42, ctrl=3) / Raw(b"\0" * 35), "BPDU")] + [X("v", eth("v", dst=d, type=t) / Raw(b"\x45" + b"\0" * 45), w) for t, d, w in ((0x88cc, "01:80:c2:00:00:0e", "LLDP"), (0x888e, "01:80:c2:00:00:03", "EAPOL"), (0x8847, GW, "MPLS"), (0x8864, GW, "PPPoE"), (0x88e5, GW, "MACsec"), (0x1234, GW, "0x1234"))], "D D D D D D D", "deny by default; IEEE 802.1D BPDU guard")

# ---- multicast and broadcast
MD = dict(dst="01:00:5e:00:00:fb")
C("P", "B01", "cast", "VM asks by mDNS multicast; a unicast answer of the neighbour is not its flow", [U.c(sport=5353, dport=5353, l3=dict(dst="224.0.0.251"), l2=MD), D.c(sport=5353, dport=5353, l3=dict(src=N4), l2=dict(src=NB))], "F D", "RFC 6762 6.7; RFC 4787 REQ-8")
C("P", "B02", "cast", "VM's UDP to 255.255.255.255, to 10.2.0.255, to ff02::fb", [U.c(dport=9999, l3=dict(dst="255.255.255.255"), l2=dict(dst=BC)), U.c(dport=9999, l3=dict(dst="10.2.0.255"), l2=dict(dst=BC)), U6.c(dport=5353, l3=dict(dst="ff02::fb"), l2=dict(dst=mc6("ff02::fb")))], "F F F", "reference policy (out allow udp)")
C("P", "B03", "cast", "outside broadcasts and multicasts to :53", [D.c(l3=dict(dst="255.255.255.255"), l2=dict(dst=BC)), D.c(l3=dict(dst="10.2.0.255"), l2=dict(dst=BC)), D.c(l3=dict(dst="224.0.0.251"), l2=MD), D6.c(l3=dict(dst="ff02::fb"), l2=dict(dst=mc6("ff02::fb")))], "D D D D", "the rule opens the VM's own address; RFC 2644")
C("P", "B05", "cast", "SYN to a multicast and to a broadcast address, both ways", [O.c("S", 1, l3=dict(dst="224.0.0.9"), l2=dict(dst="01:00:5e:00:00:09")), O.c("S", 1, l3=dict(dst="255.255.255.255"), l2=dict(dst=BC)), I.c("S", 1, l3=dict(dst="224.0.0.9"), l2=dict(dst="01:00:5e:00:00:09")), I6.c("S", 1, l3=dict(dst="ff02::9"), l2=dict(dst=mc6("ff02::9")))], "D D D D", "RFC 1122 4.2.3.10; RFC 9293 3.9.2.3")

# ---- reject
T113, U113 = Tcp("w", 113, base=50000), Udp("w", 113, base=50000)
T113_6, U113_6 = Tcp("w", 113, 6, base=50000), Udp("w", 113, 6, base=50000)
C("P", "R01", "reject", "SYN to :113 is refused by RST/ACK; SYN with data too", [T113.c("S", 1000), T113.c("S", 1000, n=20)], "R R", "RFC 9293 3.10.7.1; RFC 1122")
C("P", "R02", "reject", "UDP to :113 is refused by ICMP unreachable", [U113.c()], "R", "RFC 1122 3.2.2.1; RFC 1812 5.2.7.1")
C("P", "R03", "reject", "the same over IPv6", [T113_6.c("S", 1000), U113_6.c()], "R R", "RFC 4443 3.1; RFC 9293 3.10.7.1")
C("P", "R05", "reject", "no answer to a RST, to a broadcast, to a bad checksum", [T113.c("R", 1000), U113.c(l3=dict(dst="255.255.255.255"), l2=dict(dst=BC)), T113.c("S", 1000, chksum=0xdead), U113.c(chksum=0xdead)], "D D D D", "RFC 1122 3.2.2; RFC 9293 3.10.7.1; nf nf_reject_ip_csum")
T25, U25, T25_6, U25_6 = Tcp("v", 25), Udp("v", 25), Tcp("v", 25, 6), Udp("v", 25, 6)
C("P", "R07", "reject", "VM's SYN to :25 and UDP to :25 are refused, other ports go out", [T25.c("S", 1000), U25.c(), O.c("S", 1000)], "R R F", "RFC 9293 3.10.7.1; RFC 1812 5.2.7.1")

# ---- big frames and streams
C("P", "Z01", "bulk", "8000-byte datagrams (MTU 9000), both ways, IPv4 and IPv6", [U.c(n=8000), U.s(n=8000), U6.c(n=8000), U6.s(n=8000)], "allF", "XDP needs frags for jumbo frames")
STREAM = lambda who, port, v, mtu: Step("-", b"", f"{16} MiB each way, {'VM' if who == 'v' else 'outside'} opens :{port}, IPv{v}, MTU {mtu}, TSO on, hashes compared", ("stream", who, port, v, 16, mtu))
C("P", "Z02", "bulk", "TCP stream opened by the VM", [STREAM("v", 80, 4, 1500)], "F", "segmentation offload: packets of 64 kB, partial checksums")
C("P", "Z03", "bulk", "TCP stream opened from outside", [STREAM("w", 22, 4, 1500)], "F", "segmentation offload")

# ---- policy changes and restarts on live flows
NEW = lambda text, say: ctl(("policy", text), say)
C("P", "Q01", "live", ":22 is closed while a session lives: its next packet is dropped", I.hs() + [NEW(without("in allow tcp 22"), "policy without 'in allow tcp 22'"), I.c("PA", 1001, 5001, 5), I.s("PA", 5001, 1001, 5), NEW(POLICY, "reference policy")], "F F F D D", "revalidation of live flows; Neutron blueprint conntrack-in-security-group", need="cli")
C("P", "Q02", "live", "'out allow udp' goes: no more packets of a live UDP flow", [U.c(), U.s(), NEW(without("out allow udp"), "policy without 'out allow udp'"), U.c(), U.s(), NEW(POLICY, "reference policy")], "F F D D", "revalidation of live flows", need="cli")
C("P", "Q04", "live", "a rule is added: it holds from the next packet on", [I.c("S", 1000, dport=8443), NEW(POLICY + "in allow tcp 8443\n", "policy with 'in allow tcp 8443'"), I.c("S", 1000, dport=8443), NEW(POLICY, "reference policy")], "D F", "policy takes hold", need="cli")
C("P", "Q05", "live", "the same policy is loaded again, and another rule changed: live flows stay", O.hs() + [NEW(POLICY, "reference policy"), O.c("PA", 1001, 5001, 5), NEW(without("in allow udp 53"), "policy without 'in allow udp 53'"), O.s("A", 5001, 1006), O.s("PA", 5001, 1006, 5), NEW(POLICY, "reference policy")], "allF", "no state lost on commit", need="cli")
C("P", "Q06", "live", "the agent restarts: live flows stay, deny stays", O.hs() + [ctl(("restart",), "agent restarts"), O.c("PA", 1001, 5001, 5), O.s("A", 5001, 1006), I.c("S", 1, dport=8081)], "F F F F F D", "state outlives the agent", need="cli")
