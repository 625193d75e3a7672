#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Uplinks and the fast path: real clients, and everything that must send them back to the bridge.
# shellcheck source=selftests/lib.sh disable=SC2015,SC2119,SC2317
. "$(dirname "$0")/../lib.sh"
need_root
host_up
vm_up 1
vm_up 2
# A second cable to the same bridge, for what moves.
ip link add w1 netns "$WIRE" type veth peer name up1 netns "$HOST"
in_host sysctl -qw net.ipv6.conf.up1.disable_ipv6=1
ip -n "$HOST" link set up1 master br0 up
ip -n "$WIRE" link set w1 up

must "dfwd starts" dfwd_start
must "a vport" vport_add 1
must "another" vport_add 2
must "a policy" apply_open 7000 5201
listen "${VM[1]}" 7000 && listen "${VM[2]}" 7000 && listen "$WIRE" 7000 || exit 1

# ---- the commands ----------------------------------------------------------------------------------------------------

it "no uplink: the list is empty" test "$(ctl -j uplink list)" == "[]"
it "a wrong mode is refused" unchanged refuses 2 "mode" ctl uplink add up0 --mode fast
it "a wrong name is refused" unchanged refuses 2 "no name of a network device" ctl uplink add up/0
it "an uplink that is not there cannot be changed" refuses 2 "no uplink" ctl uplink set up0 --fast-path off
it "...nor removed" refuses 2 "no uplink" ctl uplink del up0
it "a vport's device is no uplink" unchanged refuses 2 "that of vport vm1" ctl uplink add tap1
it "uplink add" ctl uplink add up0
it "twice is once too often" refuses 2 "already" ctl uplink add up0
it "an uplink is no vport's device" unchanged refuses 2 "is an uplink" ctl vport add vm9 --dev up0 --mac 02:00:00:00:77:99 --ip 10.77.0.99
it "on a veth pair auto does without XDP, and says why" test "$(ctl -j uplink list | jq -r '.[0] | .hook + " " + .cause')" == "tc veth"
later() {
    ctl uplink add later0 >/dev/null && [[ $(hook_of later0) == none ]] || because "$(ctl uplink list)" || return 1
    ip -n "$HOST" link add later0 type veth peer name later1 || return 1
    until_true 30 hooked later0 tc || because "$(ctl uplink list)" || return 1
    ip -n "$HOST" link del later0
    until_true 30 hooked later0 none || because "$(ctl uplink list)" || return 1
    ctl uplink del later0 >/dev/null && [[ -z $(hook_of later0) ]] || because "$(ctl uplink list)"
}
it "a device may come later, and go" later

# ---- the fast path in tc ---------------------------------------------------------------------------------------------

talk in "$WIRE" "${VM_IP[1]}" 7000 && talk out "${VM[1]}" "$WIRE_IP" 7000 && talk across "${VM[2]}" "${VM_IP6[1]}" 7000 || exit 1
both_talk() { talks in && talks out; }
all_talk() { talks in && talks out && talks across; }
it "established packets from the wire go straight to their port" grows up0 tc direct talks in
it "...those of a VM straight to the wire, or to another VM" grows vports tc direct talks across
both_count() {
    local before after
    before=$(ctl -j stats vm1 | jq '.[0].in.passed.packets')
    talks in || return 1
    after=$(ctl -j stats vm1 | jq '.[0].in.passed.packets')
    ((after > before)) || because "in: $before, then $after"
}
it "...and their vport counts them" both_count
it "what no rule allows stays out" closed "$WIRE" "${VM_IP[1]}" 7001
it "a path is a second old at most: then one packet takes the bridge" grows up0 tc expired sleep 1.5
quiet() { ctl uplink set up0 --fast-path off >/dev/null && stays up0 tc direct all_talk; }
it "--fast-path off: all take the bridge" quiet
loud() { ctl uplink set up0 --fast-path on >/dev/null && grows up0 tc direct all_talk; }
it "--fast-path on: they go past it again" loud

# ---- back to the bridge ----------------------------------------------------------------------------------------------

# The station behind up0 is now behind up1, and says so.
move_to() {
    local dev=$1 old=w0
    [[ $dev == w0 ]] && old=w1
    ip -n "$WIRE" addr flush dev "$old"
    ip -n "$WIRE" link set "$old" address 02:00:00:00:77:f"${old: -1}"
    ip -n "$WIRE" link set "$dev" address "$WIRE_MAC"
    ip -n "$WIRE" addr add "$WIRE_IP/24" dev "$dev"
    in_wire ping -n -q -c 1 -W 1 "${VM_IP[2]}" >/dev/null 2>&1
}
moves() {
    move_to w1
    talks out && talks in || return 1
    move_to w0
    talks out && talks in
}
it "a station that moves to a port without dfw is followed" moves
mtu() {
    ip -n "$HOST" link set tap1 mtu 1400 || return 1
    talks in && grows up0 tc mtu no_big_ping && talks in || return 1
    ip -n "$HOST" link set tap1 mtu 1500
    in_wire ping -n -q -c 2 -W 10 -i 0.2 -s 1450 "${VM_IP[1]}" >/dev/null || because "no large ping with the large MTU"
}
no_big_ping() {
    in_wire ping -n -q -c 1 -W 1 -s 100 "${VM_IP[1]}" >/dev/null || because "no small ping" || return 1
    ! in_wire ping -n -q -c 2 -W 1 -i 0.2 -s 1450 -M "do" "${VM_IP[1]}" >/dev/null || because "a packet above the MTU passes"
}
it "a packet above the target's MTU meets the bridge, which drops it" mtu
down() {
    ip -n "$HOST" link set tap2 down && silent across || return 1
    ip -n "$HOST" link set tap2 up && talks across && talks in
}
it "a port's device that goes down and comes up again" down
gone() {
    ip -n "$HOST" link del tap2 && talks in && talks out || return 1
    vm_plug 2 && pings "${VM[2]}" "${VM_IP[1]}" && talks in
}
it "a device that goes, and another that comes in its place" gone

# ---- without dfwd ----------------------------------------------------------------------------------------------------

killed() { dfwd_end KILL && grows up0 tc direct talks in && talks out; }
it "dfwd killed: the fast path goes on" killed
moves_alone() {
    move_to w1
    talks out && talks in || return 1
    move_to w0
    talks out && talks in
}
it "...and still follows a station that moves" moves_alone
background iperf-server in_wire iperf3 -s -p 5201
until_true 30 in_wire bash -c 'ss -tln | grep -q :5201'
stream() {
    background iperf in_vm 1 iperf3 -c "$WIRE_IP" -p 5201 -t 4 -J
    local client=$LAST
    sleep 1
    dfwd_start && grows up0 tc direct talks in || return 1
    wait "$client"
    (($(jq '.end.sum_received.bytes // 0' "$TMP/iperf") > 1000000)) || because "$(jq -c "[.error, .end.sum_received, [.intervals[].sum.bytes]]" "$TMP/iperf")"
}
it "a start under a TCP stream: it is taken over, the stream goes on" stream
it "the uplink is known after the restart" test "$(hook_of up0)" == tc

# ---- XDP -------------------------------------------------------------------------------------------------------------

# A veth device takes frames from XDP when its other end has GRO on; XDP sees whole sums when the sender makes them.
in_vm 1 ethtool -K eth0 gro on
in_wire ethtool -K w0 tx off >/dev/null
program() { in_host ip -j link show up0 | jq '.[0].xdp.prog.id // 0'; }
strips() { in_host ethtool -k up0 | awk '$1 == "rx-vlan-offload:" { print $2 }'; }
native() {
    [[ $(strips) == on ]] || because "rx-vlan-offload: $(strips)" || return 1
    ctl uplink set up0 --mode native >/dev/null && hooked up0 native && (($(program) > 0)) || because "$(ctl uplink list)" || return 1
    [[ $(strips) == off ]] || because "rx-vlan-offload: $(strips): tags that XDP does not see"
}
must "--mode native: a program at the driver, which sees VLAN tags" native
it "established packets go from the driver straight to the port" grows up0 xdp direct talks in
it "...and connections of all kinds go on" both_talk
to_the_other() { talk wire2 "$WIRE" "${VM_IP[2]}" 7000 && talks wire2; }
it "a port whose device takes no frames from XDP gets them from tc" grows up0 xdp no-xmit to_the_other
flood() {
    in_wire /usr/bin/python3 -c '
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for i in range(500): s.sendto(b"%d" % i, ("'"${VM_IP[1]}"'", 7001)); time.sleep(.0005)'
}
denied() {
    local before after
    before=$(dropped vm1 default)
    grows up0 xdp dropped flood || return 1
    after=$(dropped vm1 default)
    ((after == before + 500)) || because "500 datagrams, $((after - before)) counted as dropped"
}
it "what a rule denies is dropped at the driver, and counted by its vport" denied
partial() {
    in_wire ethtool -K w0 tx on >/dev/null
    grows up0 xdp not-plain talks in && talks out || return 1
    in_wire ethtool -K w0 tx off >/dev/null
    grows up0 xdp direct talks in
}
it "a sum that is not made yet is left to tc" partial
lost_gro() {
    in_vm 1 ethtool -K eth0 gro off
    talks in && grows up0 xdp no-xmit talks in || return 1
    in_vm 1 ethtool -K eth0 gro on
    until_true 20 grows up0 xdp direct talks in
}
it "a device that stops to take frames from XDP is noticed" lost_gro
moves_native() {
    move_to w1
    talks out && talks in || return 1
    move_to w0
    talks out && talks in
}
it "a station that moves is followed" moves_native
native_kill() { dfwd_end KILL && grows up0 xdp direct talks in && talks out && closed "$WIRE" "${VM_IP[1]}" 7001; }
it "dfwd killed: XDP goes on" native_kill
native_restart() {
    local before
    before=$(program)
    dfwd_start && hooked up0 native && talks in && talks out || return 1
    [[ $(program) != "$before" && $(program) != 0 ]] || because "program $before, then $(program)" || return 1
    [[ $(in_host bpftool -j net show dev up0 | jq '[.[].xdp[]] | length') == 1 ]] || because "$(in_host bpftool net show dev up0)"
}
it "a restart puts its own program in the place of the former one" native_restart
returns() {
    ip -n "$HOST" link del up0 && until_true 30 hooked up0 none || because "$(ctl uplink list)" || return 1
    ip link add w0 netns "$WIRE" address "$WIRE_MAC" type veth peer name up0 netns "$HOST"
    ip -n "$HOST" link set up0 master br0 up
    ip -n "$WIRE" addr add "$WIRE_IP/24" dev w0
    ip -n "$WIRE" link set w0 up
    in_wire ethtool -K w0 tx off >/dev/null
    until_true 30 hooked up0 native && grows up0 xdp direct talks in
}
it "a device that goes and comes again gets it again" returns
generic() { ctl uplink set up0 --mode generic >/dev/null && hooked up0 generic && talks in && talks out && denied; }
it "--mode generic: the same on skbs" generic
foreign() {
    ctl uplink set up0 --mode auto >/dev/null || return 1
    clang-19 -O2 -target bpf -x c -c -o "$TMP/pass.o" - <<<'__attribute__((section("xdp"), used)) int pass(void *c) { return 2; }' &&
        in_host ip link set up0 xdpdrv obj "$TMP/pass.o" sec xdp || because "cannot attach a program" || return 1
    refuses 1,2 "another XDP program" ctl uplink set up0 --mode native && hooked up0 tc && talks in || return 1
    in_host ip link set up0 xdpdrv off
    ctl uplink set up0 --mode native >/dev/null && hooked up0 native && talks in
}
it "a program of somebody else that does not share is left alone" foreign
deleted() {
    ctl uplink del up0 >/dev/null && stays vports tc direct both_talk || return 1
    [[ $(ctl -j uplink list) == "[]" && $(program) == 0 && $(strips) == on ]] || because "$(ctl uplink list) program $(program), rx-vlan-offload $(strips)"
}
it "uplink del: all take the bridge, connections go on, nothing stays" deleted
configured() {
    printf '[uplinks "up0"]\nmode = native\n[uplinks "eth77"]\nfast-path = off\n' >"$TMP/dfwd.conf"
    dfwd_end TERM && dfwd_start -c "$TMP/dfwd.conf" && hooked up0 native && hooked eth77 none && grows up0 xdp direct talks in &&
        refuses 2 "made by .*dfwd.conf" ctl uplink del up0 || return 1
    printf '[daemon]\nfast-path = off\n[uplinks "up0"]\n' >"$TMP/dfwd.conf"
    kill -HUP "$DFWD_PID"
    until_true 30 hooked up0 tc && [[ -z $(hook_of eth77) ]] && stays up0 tc direct both_talk || because "$FAIL_REASON $(ctl uplink list)"
}
it "the configuration makes uplinks, and takes them away again" configured
detached() {
    printf '[uplinks "up0"]\nmode = native\n' >"$TMP/dfwd.conf"
    kill -HUP "$DFWD_PID"
    until_true 30 hooked up0 native && dfwd_end KILL && nsenter --net="/run/netns/$HOST" "$DFWD" -i "$ID" --detach >"$TMP/out" 2>&1 &&
        opens "$WIRE" "${VM_IP[1]}" 7000 && [[ ! -e $PINS && $(program) == 0 ]] || because "$FAIL_REASON $(cat "$TMP/out") program $(program)"
}
it "dfwd --detach ends XDP, too" detached
