#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Restart and upgrade adopt pins: no packet is decided wrongly, no connection is lost.
# shellcheck source=selftests/lib.sh disable=SC2015,SC2119,SC2317
. "$(dirname "$0")/../lib.sh"
need_root
command -v iperf3 >/dev/null || skip_all "needs iperf3"
host_up
vm_up 1
vm_up 2

begin() { dfwd_start && vport_add 1 && vport_add 2 && apply_open 5201 7000 && listen "${VM[1]}" 7000 && listen "${VM[1]}" 7001; }
must "two vports and a policy" begin
stream() {
    local before
    before=$(carried)
    background server in_vm 1 iperf3 -s -1 -p 5201
    SERVER=$LAST
    until_true 30 in_vm 1 bash -c 'ss -tln | grep -q :5201' || return 1
    background client in_vm 2 iperf3 -c "${VM_IP[1]}" -p 5201 -t 600
    CLIENT=$LAST
    streams "$before"
}
# What its connections have carried, and that it grows: one that is cut never does again.
carried() { ctl -j flow list --vport vm1 --port 5201 | jq '[.[].bytes.orig] | add // 0'; }
streams() {
    more() { (($(carried) > $1 + 1000000)); }
    until_true 30 more "$1" || because "the stream stands still at $(carried): $(tail -n 2 "$TMP/client")"
}
survived() {
    streams "$(carried)" || return 1
    kill "$CLIENT"
    wait "$CLIENT" "$SERVER" 2>/dev/null
    return 0
}
ids() { bpftool map show pinned "$PINS/vports/vm1/flows" 2>/dev/null | sed -n 1p; }
restart() {
    local before
    stream && before=$(ids) || return 1
    for how in TERM KILL TERM; do
        dfwd_end "$how" && closed "${VM[2]}" "${VM_IP[1]}" 7001 && dfwd_start && opens "${VM[2]}" "${VM_IP[1]}" 7000 || return 1
    done
    [[ $before == "$(ids)" ]] || { because "another map: $before, then $(ids)"; return 1; }
    survived
}
it "three restarts under iperf3: the stream goes on, the maps are the same" restart

layout_version() { printf '%02x' "$(bpftool map dump pinned "$PINS/layout" | sed -n 's/.*"version": \([0-9]*\).*/\1/p')"; }
# Another build of the same version: the programs are loaded anew and exchanged under the pinned links.
upgrade() {
    local old new program
    stream || return 1
    program=$PINS/programs/in
    old=$(bpftool prog show pinned "$program" 2>/dev/null | sed -n 1p)
    dfwd_end TERM || return 1
    # What a build leaves in the pins is its version; pins of an older build are upgraded at start.
    # shellcheck disable=SC2046
    bpftool map update pinned "$PINS/layout" key hex 00 00 00 00 value hex $(layout_version) 00 00 00 00 00 00 00 30 2e 30 2e 30 $(printf '00 %.0s' $(seq 51)) 2>"$TMP/bpftool" ||
        because "cannot say that the pins are of build 0.0.0: $(cat "$TMP/bpftool")" || return 1
    dfwd_start || return 1
    new=$(bpftool prog show pinned "$program" | sed -n 1p)
    [[ $old != "$new" ]] || { because "the programs are still those of the old build: $new"; return 1; }
    not grep -q 0.0.0 <(bpftool map dump pinned "$PINS/layout") || because "the layout still tells of build 0.0.0" || return 1
    opens "${VM[2]}" "${VM_IP[1]}" 7000 && closed "${VM[2]}" "${VM_IP[1]}" 7001 && survived
}
it "upgrade from another build under iperf3: new programs under the same links, no connection lost" upgrade

leak() {
    apply_open 7020 && leak_watch "$WIRE" "${VM[1]}" "${VM_IP[1]}" 7020 7021 || return 1
    for how in TERM KILL TERM KILL; do
        dfwd_end "$how" && dfwd_start || return 1
    done
    no_leak
}
it "four restarts under a flood to a closed port: nothing comes through" leak

# Names and indices of devices mean others in another namespace; here they are the same on purpose.
OTHER=${ID}o
space_add "$OTHER"
ip -n "$OTHER" link add tap2 index "$(in_host cat /sys/class/net/tap2/ifindex)" type veth peer name other2
in_other() { nsenter --net="/run/netns/$OTHER" timeout 60 "$@"; }
in_force() { opens "$WIRE" "${VM_IP[2]}" 7020 && closed "$WIRE" "${VM_IP[2]}" 7001; }
refused_there() { refuses 1 "another network namespace" in_other "$DFWD" -i "$ID" "$@" && in_force; }
elsewhere() {
    listen "${VM[2]}" 7020 && listen "${VM[2]}" 7001 && dfwd_end KILL && refused_there || return 1
    ip -n "$OTHER" link del tap2 && refused_there && refused_there --detach
}
it "started or detached in another network namespace dfwd refuses, and enforcement goes on" elsewhere
detach_here() { nsenter --net="/run/netns/$HOST" timeout 60 "$DFWD" -i "$ID" --detach >"$TMP/out" 2>&1 || because "$(cat "$TMP/out")"; }
filters() {
    printf '[daemon]\nhook = clsact\n' >"$TMP/clsact.conf"
    detach_here && dfwd_start -c "$TMP/clsact.conf" && dfwd_end KILL && refused_there --detach && detach_here && opens "$WIRE" "${VM_IP[2]}" 7001
}
it "...also with the filters of the older hook" filters
# Of the host nothing is left but pins and state; what was the other namespace is the host then.
moved_in() {
    dfwd_start && dfwd_end KILL && ip netns del "$HOST" && until_true 30 no_device vm1 && until_true 30 no_device vm2 || because "the devices stay" || return 1
    HOST=$OTHER
    ip link add eth0 netns "${VM[2]}" address "${VM_MAC[2]}" type veth peer name tap2 netns "$HOST" && ip -n "$HOST" addr add "$WIRE_IP/24" dev tap2 &&
        ip -n "$HOST" link set tap2 up && ip -n "${VM[2]}" addr add "${VM_IP[2]}/24" dev eth0 && ip -n "${VM[2]}" link set eth0 up || return 1
    dfwd_start && opens "$HOST" "${VM_IP[2]}" 7020 && closed "$HOST" "${VM_IP[2]}" 7001 && dfwd_end TERM && dfwd_start
}
no_device() { "$DFWCTL" -i "$ID" -j vport show "$1" | jq -e ".attached == false"; }
it "when that namespace has gone with its devices, the pins are taken over" moved_in
