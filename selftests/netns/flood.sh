#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# A flood of SYNs from random addresses at one port, as fast as one CPU makes them.
# shellcheck source=selftests/lib.sh disable=SC2015,SC2119,SC2317
. "$(dirname "$0")/../lib.sh"
need_root
TOOLS=$TMP/tools
make -s -C "$HERE/bench" "B=$TOOLS" >"$TMP/make" 2>&1 || { cat "$TMP/make"; exit 1; }
host_up
vm_up 1
vm_up 2
vm_up 3
# The VM answers each SYN, and the answers leave.
for n in 1 2 3; do ip -n "${VM[n]}" route add default via "$WIRE_IP"; done
# Nobody asks the flood's frames who they are.
ip -n "$WIRE" route add blackhole 11.0.0.0/8

arrived() { ctl -j stats vm1 | jq '[.[0].in.passed.packets, .[0].in.dropped.packets] | add'; }
HOOK=
flood_begin() {
    # shellcheck disable=SC2086 # HOOK is a word or none
    background flood exec nsenter --net="/run/netns/$HOST" taskset -c 0 "$TOOLS/inject" "$TOOLS/inject.bpf.o" flood --dev up0 --outside "$WIRE_MAC" \
        --mac "${VM_MAC[1]}" --ip "${VM_IP[1]}" --udp 7000 --from 11.0.0.0 --seconds "$1" $HOOK
    FLOOD=$LAST
    FLOOD_BEGIN=$SECONDS
    local before
    before=$(arrived)
    # shellcheck disable=SC2317
    arriving() { (($(arrived) > $1 + 20000)); }
    until_true 30 arriving "$before" || because "no flood: $(cat "$TMP/flood")"
}
flood_runs() { kill -0 "$FLOOD" 2>/dev/null || because "the flood has ended: $(cat "$TMP/flood")"; }
map_of() { bpftool -j map show pinned "$PINS/vports/vm1/$1" | jq -c "[.id, .max_entries$2]"; }
opens_slowly() {
    # Four retransmissions of a SYN take 15 seconds.
    ip netns exec "$1" nc -z -w 20 "$2" "$3" >/dev/null 2>&1 || because "$1 cannot open $2:$3"
}

begin() {
    dfwd_start && vport_add 1 && vport_add 2 && vport_add 3 && apply_open 7000 && listen "${VM[1]}" 7000 && listen "${VM[2]}" 7000 && listen "$WIRE" 7000 &&
        talk in "$WIRE" "${VM_IP[1]}" 7000 && talk out "${VM[1]}" "$WIRE_IP" 7000 && talk vms "${VM[3]}" "${VM_IP[1]}" 7000 && talk other "$WIRE" "${VM_IP[2]}" 7000 || return 1
    # One that says nothing for as long as the flood lasts.
    background idle in_wire /usr/bin/python3 -c "
import os, socket, time
s = socket.create_connection(('${VM_IP[1]}', 7000)); s.sendall(b'before'); print(s.recv(99), flush=True)
while not os.path.exists('$TMP/over'): time.sleep(.1)
s.settimeout(10); s.sendall(b'after'); print(s.recv(99), flush=True)"
    until_true 30 grep -q before "$TMP/idle" && talks in && talks out && talks vms && talks other
}
must "three vports, connections in and out of one, one of another" begin
HALF_OPEN=$(map_of half_open ", .bytes_memlock")
FLOWS=$(map_of flows "")
CONFIRMED=$(ctl -j vport show vm1 | jq .flows)
established() { talks in && talks out && talks vms && flood_runs; }
others() { talks other && opens "$WIRE" "${VM_IP[2]}" 7000 && opens "${VM[2]}" "$WIRE_IP" 7000 && pings "$WIRE" "${VM_IP[2]}" && flood_runs; }
new_out() { opens_slowly "${VM[1]}" "$WIRE_IP" 7000 && flood_runs; }
new_in() {
    for _ in 1 2 3; do opens_slowly "$WIRE" "${VM_IP[1]}" 7000 || return 1; done
    opens_slowly "${VM[3]}" "${VM_IP[1]}" 7000 && flood_runs
}
bounded() {
    [[ $(map_of half_open ", .bytes_memlock") == "$HALF_OPEN" ]] || because "half_open was $HALF_OPEN, is $(map_of half_open ", .bytes_memlock")" || return 1
    [[ $(map_of flows "") == "$FLOWS" ]] || because "flows was $FLOWS, is $(map_of flows "")" || return 1
    # What is confirmed are the connections of this test, whatever the flood sends.
    (($(ctl -j vport show vm1 | jq .flows) <= CONFIRMED + 20)) || because "$CONFIRMED confirmed flows before, $(ctl -j vport show vm1 | jq .flows) now"
}
without_dfwd() {
    dfwd_end KILL && talks in && talks other && opens_slowly "$WIRE" "${VM_IP[1]}" 7000 && flood_runs && dfwd_start
}
lasted() {
    while ((SECONDS - FLOOD_BEGIN < 10)); do sleep 0.5; done
    talks in && talks out && talks other && flood_runs || return 1
    kill "$FLOOD"
    until_true 30 grep -q . "$TMP/flood" || because "the injector does not end" || return 1
    echo "# $1: $(cat "$TMP/flood") SYNs a second for $((SECONDS - FLOOD_BEGIN)) s"
    (($(cat "$TMP/flood") > 0)) || because "$(cat "$TMP/flood")"
}
holds() {
    must "$1: a flood of SYNs begins" flood_begin 120
    it "$1: its established connections go on: in, out, and between VMs" established
    it "$1: other vports feel nothing: connections go on, new ones open" others
    it "$1: new connections of the flooded VM open" new_out
    it "$1: new connections to the flooded port open, within TCP's own retransmissions" new_in
    it "$1: memory is bounded: the tables have the size they had, no flow of the flood is confirmed" bounded
    it "$1: all the same with dfwd dead" without_dfwd
    it "$1: after 10 seconds and more of it they still run" lasted "$1"
}
holds "the VM answers each"
# Faster than the stack of a VM: its card loses the flood, behind the firewall.
in_vm 1 tc qdisc add dev eth0 clsact
in_vm 1 tc filter add dev eth0 ingress bpf direct-action object-file "$TOOLS/inject.bpf.o" program swallow
holds "the VM answers none"
# At the driver of the uplink, as fast as it can: there a flood's senders are asked whether they exist.
HOOK=--hook
in_vm 1 ethtool -K eth0 gro on
in_wire ethtool -K w0 tx off >/dev/null
in_wire ip link set w0 xdpdrv object "$TOOLS/inject.bpf.o" program swallow_answers
driver() { ctl uplink add up0 --mode native >/dev/null && until_true 30 hooked up0 native && talks in && talks other; }
must "XDP on the uplink" driver
holds "at the driver"
idle() { touch "$TMP/over" && until_true 30 grep -q after "$TMP/idle" || because "$(tail -n 1 "$TMP/idle")"; }
it "a connection that was silent all the while goes on" idle
