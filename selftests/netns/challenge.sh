#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# While SYNs come faster than half-open flows may turn over, their senders must show that they exist.
# shellcheck source=selftests/lib.sh disable=SC2015,SC2119,SC2317
. "$(dirname "$0")/../lib.sh"
need_root
host_up
vm_up 1
vm_up 2
ip -n "${VM[1]}" route add default via "$WIRE_IP"

# A client behind a NAT that tracks connections, on the wire.
HIDDEN=${ID}n
hidden_up() {
    space_add "$HIDDEN"
    ip link add eth0 netns "$HIDDEN" type veth peer name nat0 netns "$WIRE" &&
        ip -n "$WIRE" addr add 192.168.77.1/24 dev nat0 && ip -n "$WIRE" link set nat0 up &&
        ip -n "$HIDDEN" addr add 192.168.77.2/24 dev eth0 && ip -n "$HIDDEN" link set eth0 up &&
        ip -n "$HIDDEN" route add default via 192.168.77.1 && in_wire sysctl -qw net.ipv4.ip_forward=1 &&
        in_wire nft -f - <<<"table ip nat {
 chain post { type nat hook postrouting priority srcnat; ip saddr 192.168.77.0/24 masquerade; }
 chain forward { type filter hook forward priority 0; ct state invalid drop; }
}" || because "no NAT"
}
begin() {
    dfwd_start && vport_add 1 && vport_add 2 && policy on && listen "${VM[1]}" 7000 && talk live "$WIRE" "${VM_IP[1]}" 7000
}
# Of 16 half-open flows, 8 may begin at once and 4 a second.
policy() {
    apply <<EOP
profile default { max-half-open 16; syn-challenge $1 }
default in drop
default out drop
tier test {
    all-out: allow out
    open:    allow in service tcp 7000
}
EOP
}
# flood N: that many SYNs to an open port, by IPv4 and IPv6 in turn, each from another address; 0: until it is killed
flood() {
    exec ip netns exec "$WIRE" /usr/bin/python3 - "$1" "${VM_MAC[1]}" "$WIRE_MAC" "${VM_IP[1]}" "${VM_IP6[1]}" < <(cat <<'PY'
import sys, time
from scapy.all import Ether, IP, IPv6, TCP, conf
n, mac, own, ip, ip6 = int(sys.argv[1]), *sys.argv[2:]
s = conf.L2socket(iface="w0")
def syn(i):
    net = IPv6(src=f"2001:db8::{i:x}", dst=ip6) if i & 1 else IP(src=f"11.0.{i >> 8}.{i & 255}", dst=ip)
    return bytes(Ether(src=own, dst=mac) / net / TCP(sport=1024 + i, dport=7000, seq=i * 7919, flags="S", options=[("MSS", 1460)]))
frames = [syn(i) for i in range(n or 2000)]
while True:
    for frame in frames:
        s.send(frame)
        time.sleep(.001)
    if n: break
PY
    )
}
challenged() { (($(dropped vm1 syn-challenge) >= $1)) || because "$(dropped vm1 syn-challenge) SYNs were challenged, not $1"; }
begins() { must "a vport with room for 16 half-open flows" begin && must "a client behind a NAT" hidden_up; }
begins
few() {
    (flood 6) && opens "$WIRE" "${VM_IP[1]}" 7000 || return 1
    (($(dropped vm1 syn-challenge) == 0)) || because "challenged: $(dropped vm1 syn-challenge)"
}
it "nobody is challenged while SYNs are few" few
many() {
    background flood flood 0
    FLOOD=$LAST
    until_true 30 challenged 1000 || challenged 1000
}
it "a flood is challenged" many
# It goes on all the while: no client gets in because the bucket has rested.
under_flood() { kill -0 "$FLOOD" 2>/dev/null && "$@" || because "${FAIL_REASON:-the flood has ended: $(tail -n 1 "$TMP/flood")}"; }
real() {
    local before
    before=$(dropped vm1 syn-proven)
    under_flood opens "$WIRE" "${VM_IP[1]}" 7000 || return 1
    (($(dropped vm1 syn-proven) > before)) || because "it opened, but not by proving itself"
}
it "a real client resets the challenge, is proven, and its next SYN opens" real
it "who is proven is not asked again" under_flood opens "$WIRE" "${VM_IP[1]}" 7000
it "so does a client behind a NAT" under_flood opens "$HIDDEN" "${VM_IP[1]}" 7000
it "and one behind a vport of this firewall" under_flood opens "${VM[2]}" "${VM_IP[1]}" 7000
six() {
    local before
    before=$(dropped vm1 syn-proven)
    ip netns exec "$WIRE" nc -6 -z -w 5 "${VM_IP6[1]}" 7000 || because "does not open" || return 1
    (($(dropped vm1 syn-proven) > before)) || because "it opened, but not by proving itself"
}
it "IPv6 alike" under_flood six
it "connections that are open feel nothing" under_flood talks live
forged() {
    local before
    before=$(dropped vm1 syn-proven)
    in_wire /usr/bin/python3 - "${VM_MAC[1]}" "$WIRE_MAC" "${VM_IP[1]}" <<'PY'
import sys
from scapy.all import Ether, IP, TCP, conf
mac, own, ip = sys.argv[1:]
s = conf.L2socket(iface="w0")
for i in range(200):
    s.send(bytes(Ether(src=own, dst=mac) / IP(src="11.0.0.9", dst=ip) / TCP(sport=1033, dport=7000, seq=i * 21474837, flags="R")))
PY
    (($(dropped vm1 syn-proven) == before)) || because "a forged RST proved an address"
}
it "a RST with another number proves nothing" under_flood forged
refusal() {
    local before
    before=$(dropped vm1 default)
    in_wire nc -z -w 1 "${VM_IP[1]}" 7001 >/dev/null 2>&1 && because "7001 is open" && return 1
    (($(dropped vm1 default) > before)) || because "what the rules drop was asked"
}
it "what the rules drop is dropped, not asked" under_flood refusal
off() {
    local before
    policy off || return 1
    sleep 0.1
    before=$(dropped vm1 syn-challenge)
    sleep 0.5
    (($(dropped vm1 syn-challenge) == before)) || because "challenged all the same"
}
it "syn-challenge off: no questions" under_flood off

# ---- at the driver of the uplink -------------------------------------------------------------------------------------

# A veth device takes frames from XDP when its other end has GRO on; XDP sees whole sums when the sender makes them.
driver() {
    in_wire ethtool -K w0 gro on tx off >/dev/null
    in_vm 1 ethtool -K eth0 gro on
    ip -n "$WIRE" addr add 10.77.0.99/24 dev w0
    ip -n "$WIRE" addr add fd77::99/64 dev w0 nodad
    policy on && ctl uplink add up0 --mode native >/dev/null && until_true 30 hooked up0 native && talks live
}
it "XDP on the uplink" under_flood driver
it "a flood is challenged at the driver" under_flood grows up0 xdp asked sleep 1
# proven_from FAMILY SOURCE DESTINATION: who has not been asked yet
proven_from() {
    local before
    before=$(dropped vm1 syn-proven)
    ip netns exec "$WIRE" nc "$1" -z -w 5 -s "$2" "$3" 7000 || because "does not open" || return 1
    (($(dropped vm1 syn-proven) > before)) || because "it opened, but not by proving itself"
}
it "a real client proves itself all the same" under_flood proven_from -4 10.77.0.99 "${VM_IP[1]}"
it "IPv6 alike" under_flood proven_from -6 fd77::99 "${VM_IP6[1]}"
it "what the rules drop is dropped, not asked, at the driver" under_flood grows up0 xdp dropped refusal
deaf() {
    in_wire ethtool -K w0 gro off
    quiet() { stays up0 xdp asked sleep 0.5; }
    until_true 30 quiet && in_wire ethtool -K w0 gro on && grows up0 xdp asked sleep 2
}
it "an uplink that takes no frames from XDP leaves the question to tc, until it does" under_flood deaf
