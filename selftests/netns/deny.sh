#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Law 2: no policy means deny, from the moment the device is known.
# shellcheck source=selftests/lib.sh disable=SC2015,SC2119,SC2317
. "$(dirname "$0")/../lib.sh"
need_root
host_up
vm_up 1

before() { dfwd_start && listen "$WIRE" 7000 && listen "${VM[1]}" 7000 && opens "$WIRE" "${VM_IP[1]}" 7000; }
must "a device that is no vport is left alone" before
none() { vport_add 1 && no_ping "${VM[1]}" "$WIRE_IP" && no_ping "$WIRE" "${VM_IP6[1]}" && closed "$WIRE" "${VM_IP[1]}" 7000; }
it "a vport without a policy denies, in and out, both families" none
reason() { (($(dropped vm1 not-ready) > 0)) || because "no drop for not-ready: $(ctl stats vm1)"; }
it "...and counts the drops with their reason" reason
arp() { ip -n "$WIRE" neigh flush dev w0 && resolves "$WIRE" "${VM_IP[1]}" "${VM_MAC[1]}"; }
it "...but ARP of its own address is answered" arp
nd() { ip -n "$WIRE" -6 neigh flush dev w0 && resolves "$WIRE" "${VM_IP6[1]}" "${VM_MAC[1]}"; }
it "...and so is neighbour discovery" nd
realised() { apply_open 7000 && opens "$WIRE" "${VM_IP[1]}" 7000 && pings "${VM[1]}" "$WIRE_IP6"; }
it "with a policy it is decided" realised

# The VM sends from the first moment that its cable is there, and need not ask for the wire's MAC before.
plug_2() { vm_plug 2 neigh add "$WIRE_IP" lladdr "$WIRE_MAC" nud permanent dev eth0; }
one_port() {
    apply <<EOP
default in drop
default out drop
tier test {
    allowed: allow out service udp 7010
}
EOP
}
attached() { [[ $(ctl -j vport show "$1" | jq -r .attached) == true ]]; }
watch_2() { leak_watch "${VM[2]}" "$WIRE" "$WIRE_IP" 7010 7011; }
early() {
    vm_space 2
    one_port && vport_add 2 || return 1
    not attached vm2 || because "a missing device is said to be attached" || return 1
    watch_2 && plug_2 && until_true 30 attached vm2 && no_leak
}
it "a vport added before its device exists is enforced from the first packet after it appears" early
replug() {
    ip -n "$HOST" link del tap2
    until_true 30 not attached vm2 || because "attached without its device" || return 1
    watch_2 && plug_2 && until_true 30 attached vm2 && no_leak
}
it "a device that goes and comes again is enforced again, from the first packet" replug
# dfwd looks at all devices when the kernel could not tell it of some; what was told before that comes behind it.
overrun() {
    local before r
    before=$(wc -l <"$LOG")
    kill -STOP "$DFWD_PID"
    ip -n "$HOST" link del tap2 && vm_plug 2 && ip -n "$HOST" link del tap2 && much_to_tell && vm_plug 2
    r=$?
    kill -CONT "$DFWD_PID"
    ((r == 0)) || because "cannot plug" || return 1
    until_true 30 told "$before" "looking at all of them" && until_true 30 attached vm2 || because "it does not look" || return 1
    # An answer comes behind what was read of the kernel before.
    ctl vport show vm2 >/dev/null && sleep 0.5
    (($(tail -n +$((before + 1)) "$LOG" | grep -c "vm2: device tap2 is enforced") == 1)) && not told "$before" "cannot attach" ||
        because "$(tail -n +$((before + 1)) "$LOG" | tr '\n' ' ')"
}
it "messages about devices that have been do not end what is enforced now" overrun
absent() {
    dfwd_end TERM && ip -n "$HOST" link del tap2
    plug_2 && dfwd_start && attached vm2 || because "not attached once status says ready" || return 1
    watch_2 && no_leak
}
it "a device that appears before dfwd is up again is enforced once dfwd is ready" absent
last_good() {
    dfwd_end KILL && rm -rf "$PINS" && opens "$WIRE" "${VM_IP[1]}" 7000 && dfwd_start && closed "$WIRE" "${VM_IP[1]}" 7000 && closed "${VM[1]}" "$WIRE_IP" 7000 &&
        [[ $(ctl -j status | jq -r .vports) == 2 ]] || because "not as before: $(ctl -j status)"
}
it "a boot (pins gone, state on disk): vports and last good policy are realised before dfwd is ready" last_good

# A boot with a file that is damaged: dfwd ends, and what it knows of is not open. Devices by the names that the configuration has
# are known as soon as those of the uplinks are.
printf '[vports "tap3"]\n' >"$TMP/dfwd.conf"
dfwd_refuses() { refuses 1 "$1" nsenter --net="/run/netns/$HOST" timeout 60 "$DFWD" -i "$ID" -c "$TMP/dfwd.conf"; }
damaged() { # damaged FILE TEXT PATTERN [VPORT]
    rm -rf "$PINS"
    opens "$WIRE" "${VM_IP[1]}" 7000 && opens "$WIRE" "${VM_IP[3]}" 7000 && mv "$STATE/$1" "$TMP/whole" && printf %s "$2" >"$STATE/$1" || return 1
    dfwd_refuses "$3" && closed "$WIRE" "${VM_IP[1]}" 7000 && { (($# < 4)) || closed "$WIRE" "${VM_IP[3]}" 7000; }
    local r=$?
    mv "$TMP/whole" "$STATE/$1"
    return $r
}
all_damaged() {
    vm_up 3 && listen "${VM[3]}" 7000 && echo "group test { 10.0.0.1 }" | cat - "$TMP/policy.dfw" >"$TMP/more.dfw" && ctl policy apply "$TMP/more.dfw" >/dev/null &&
        ctl group add test 10.0.0.2 >/dev/null && ctl uplink add later0 >/dev/null && dfwd_end KILL || return 1
    damaged "policy/$(cat "$STATE/policy/active").json" "" "policy/[0-9]+.json" tap3 && damaged policy/active $'\n' "policy/active" tap3 &&
        damaged groups.journal $'garbage\n' "groups.journal" tap3 && damaged uplinks.json '{"uplinks": [' "uplinks.json:1:[0-9]+:"
}
it "a boot with a damaged policy, journal or list of uplinks: dfwd names the file and ends, vports deny" all_damaged
replugged() {
    rm -rf "$PINS"
    dfwd_start && dfwd_end KILL && listen "${VM[2]}" 7000 && ip -n "$HOST" link del tap2 && plug_2 && opens "$WIRE" "${VM_IP[2]}" 7000 || return 1
    mv "$STATE/groups.journal" "$TMP/whole" && echo garbage >"$STATE/groups.journal" && dfwd_refuses groups.journal && closed "$WIRE" "${VM_IP[2]}" 7000 || return 1
    mv "$TMP/whole" "$STATE/groups.journal" && dfwd_start && attached vm1 && attached vm2
}
it "...and a device that appeared without dfwd is enforced by what is in force, until dfwd can start" replugged
