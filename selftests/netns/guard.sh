#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# SpoofGuard, VLAN tags, and what else a VM may not send.
# shellcheck source=selftests/lib.sh disable=SC2015,SC2119,SC2317
. "$(dirname "$0")/../lib.sh"
need_root
host_up
vm_up 1
vm_up 2

begin() {
    dfwd_start && vport_add 1 && vport_add 2 && apply <<<"default in allow
default out allow" && pings "${VM[1]}" "$WIRE_IP" && pings "${VM[1]}" "$WIRE_IP6" && pings "${VM[1]}" "${VM_IP[2]}"
}
must "two vports, everything allowed" begin
foreign_ip() {
    ip -n "${VM[1]}" addr add 10.77.0.77/24 dev eth0
    ip -n "$WIRE" neigh replace 10.77.0.77 lladdr "${VM_MAC[1]}" dev w0
    not in_vm 1 ping -n -q -c 2 -i 0.2 -W 1 -I 10.77.0.77 "$WIRE_IP" >/dev/null 2>&1 && (($(dropped vm1 source-address) > 0)) || because "it gets through, or is not counted: $(ctl stats vm1)"
}
it "a foreign IPv4 address does not get out, counted as source-address" foreign_ip
foreign_ip6() {
    local before
    before=$(dropped vm1 source-address)
    ip -n "${VM[1]}" addr add fd77::77/64 dev eth0 nodad
    ip -n "$WIRE" neigh replace fd77::77 lladdr "${VM_MAC[1]}" dev w0
    not in_vm 1 ping -n -q -c 2 -i 0.2 -W 1 -I fd77::77 "$WIRE_IP6" >/dev/null 2>&1 && (($(dropped vm1 source-address) > before)) || because "$(ctl stats vm1)"
}
it "a foreign IPv6 address likewise" foreign_ip6
arp() {
    ip -n "$WIRE" neigh del 10.77.0.77 dev w0 2>/dev/null
    in_wire ping -n -q -c 1 -W 1 10.77.0.77 >/dev/null 2>&1
    not grep -q "${VM_MAC[1]}" <(ip -n "$WIRE" neigh show 10.77.0.77) && (($(dropped vm1 arp-spoof) > 0)) || because "$(ip -n "$WIRE" neigh show 10.77.0.77; ctl stats vm1)"
}
it "ARP for a foreign address is not answered" arp
nd() {
    ip -n "$WIRE" neigh del fd77::77 dev w0 2>/dev/null
    in_wire ping -n -q -c 1 -W 1 fd77::77 >/dev/null 2>&1
    not grep -q "${VM_MAC[1]}" <(ip -n "$WIRE" neigh show fd77::77) && (($(dropped vm1 nd-spoof) + $(dropped vm1 nd) > 0)) || because "$(ctl stats vm1)"
}
it "neither is neighbour solicitation" nd
added() {
    ctl vport set vm1 --ip "${VM_IP[1]}" --ip "${VM_IP6[1]}" --ip "${VM_LL[1]}" --ip 10.77.0.77 >/dev/null && in_vm 1 ping -n -q -c 4 -i 0.5 -W 10 -I 10.77.0.77 "$WIRE_IP" >/dev/null || because "still dropped"
}
it "vport set --ip makes it its own: it passes at once" added
foreign_mac() {
    ip -n "${VM[2]}" link set eth0 address 02:00:00:00:77:99
    local before
    before=$(dropped vm2 source-mac)
    no_ping "${VM[2]}" "$WIRE_IP" || return 1
    (($(dropped vm2 source-mac) > before)) || because "$(ctl stats vm2)"
}
it "a foreign MAC does not get out, counted as source-mac" foreign_mac
ip -n "${VM[2]}" link set eth0 address "${VM_MAC[2]}"
if ! ip -n "${VM[1]}" link add link eth0 name eth0.100 type vlan id 100 2>/dev/null; then
    skip "tagged frames from and to an access port" "this kernel has no VLAN devices (conformance sends tagged frames)"
    skip "an access port behind a VLAN-aware bridge" "this kernel has no VLAN devices"
    exit
fi
tagged() {
    local before
    before=$(dropped vm1 vlan)
    ip -n "${VM[1]}" addr add 10.78.0.1/24 dev eth0.100
    ip -n "${VM[1]}" link set eth0.100 up
    ip -n "$WIRE" link add link w0 name w0.100 type vlan id 100
    ip -n "$WIRE" addr add 10.78.0.254/24 dev w0.100
    ip -n "$WIRE" link set w0.100 up
    no_ping "${VM[1]}" 10.78.0.254 && no_ping "$WIRE" 10.78.0.1 && (($(dropped vm1 vlan) > before)) || because "$(ctl stats vm1)"
}
it "tagged frames from and to an access port do not pass, counted as vlan" tagged
access() {
    # The VM is on an access port of VLAN 100: what the VM sends untagged leaves tagged.
    ip -n "${VM[1]}" link del eth0.100
    ip -n "$HOST" link set br0 type bridge vlan_filtering 1
    bridge -n "$HOST" vlan add dev tap1 vid 100 pvid untagged
    bridge -n "$HOST" vlan del dev tap1 vid 1
    bridge -n "$HOST" vlan add dev up0 vid 100
    ip -n "$WIRE" addr add 10.77.1.254/24 dev w0.100
    ip -n "${VM[1]}" addr add 10.77.1.1/24 dev eth0
    ctl vport set vm1 --ip 10.77.1.1 --ip "${VM_LL[1]}" >/dev/null && pings "${VM[1]}" 10.77.1.254 && pings "$WIRE" 10.77.1.1 &&
        listen "${VM[1]}" 7000 && opens "$WIRE" 10.77.1.1 7000 && apply <<<"default in drop
default out allow" && closed "$WIRE" 10.77.1.1 7000 && pings "${VM[1]}" 10.77.1.254
}
it "behind a VLAN-aware bridge an access port is decided as any other" access
