#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Law 1: enforcement needs no living process.
# shellcheck source=selftests/lib.sh disable=SC2015,SC2119,SC2317
. "$(dirname "$0")/../lib.sh"
need_root
host_up
vm_up 1
vm_up 2

begin() {
    dfwd_start && vport_add 1 && vport_add 2 && apply_open 7000 && listen "$WIRE" 7000 && listen "${VM[1]}" 7000 &&
        listen "${VM[1]}" 7001 && talk out "${VM[1]}" "$WIRE_IP" 7000 && talk in "$WIRE" "${VM_IP[1]}" 7000 &&
        talk vms "${VM[2]}" "${VM_IP6[1]}" 7000
}
must "two vports, a policy, three running TCP connections" begin

killed() { dfwd_end KILL && refuses 3 "" ctl status; }
it "kill -9 of dfwd: status says at once that it is not there (exit 3)" killed
go_on() { talks out && talks in && talks vms; }
it "kill -9 of dfwd: running TCP goes on, out, in, and between two vports" go_on
decided() { opens "${VM[1]}" "$WIRE_IP" 7000 && opens "$WIRE" "${VM_IP[1]}" 7000 && closed "$WIRE" "${VM_IP[1]}" 7001; }
it "kill -9 of dfwd: new connections are decided, allowed ones open, others do not" decided
pinged() { pings "$WIRE" "${VM_IP[1]}" && pings "${VM[1]}" "${VM_IP6[2]}"; }
it "kill -9 of dfwd: ping in and out, both families" pinged
read_only() {
    local command
    for command in "vport list" "vport show vm1" "policy show" "rules vm1" "flow list" "stats vm1" "stats"; do
        # shellcheck disable=SC2086
        ctl $command >"$TMP/out" 2>&1 || { because "$command: $(cat "$TMP/out")"; return 1; }
        # shellcheck disable=SC2086
        ctl -j $command | jq -e . >/dev/null || { because "-j $command is no JSON"; return 1; }
    done
    (($(flows --vport vm1) >= 3)) || because "flow list shows $(flows --vport vm1) flows"
}
it "kill -9 of dfwd: what only reads works from the pinned maps" read_only
no_writing() {
    refuses 3 "dfwd|running|reach" ctl flow kill && refuses 3 "dfwd|running|reach" ctl policy rollback &&
        refuses 3 "dfwd|running|reach" ctl vport del vm1 && refuses 3 "dfwd|running|reach" ctl policy apply "$TMP/policy.dfw"
}
it "kill -9 of dfwd: what writes says that dfwd is not reachable (exit 3)" no_writing
again() { dfwd_start && go_on && decided; }
it "started again after kill -9: the same connections run, new ones are decided" again
names() { ctl -j vport list | jq -r '[.[].name] | join(" ")'; }
lists() { [[ $(names) == "$1" && $(cd "$PINS/vports" && echo *) == "$1" ]] || because "listed: $(names); pinned: $(cd "$PINS/vports" && echo *)"; }
interrupted_add() {
    killed_at rename "$STATE/vports.json.new" vport_add 3 && lists "vm1 vm2" && vport_add 3 && lists "vm1 vm2 vm3" && decided
}
interrupted_del() {
    killed_at rename "$STATE/vports.json.new" ctl vport del vm3 && lists "vm1 vm2 vm3" && killed_at fsync "$STATE" ctl vport del vm3 && lists "vm1 vm2" && decided
}
if command -v strace >/dev/null; then
    it "killed between kernel and disk: a vport that was being added is removed, and can be added" interrupted_add
    it "...one that was being removed is there, or is not" interrupted_del
else
    skip "killed between kernel and disk" "needs strace"
fi
termed() { dfwd_end TERM && go_on && decided; }
it "SIGTERM leaves enforcement in place" termed
detached() {
    dfwd_start && ctl shutdown --detach >/dev/null && until_true 30 not kill -0 "$DFWD_PID" && DFWD_PID= &&
        opens "$WIRE" "${VM_IP[1]}" 7001 && [[ ! -e $PINS ]] || because "pins are still there, or traffic is still filtered"
}
it "shutdown --detach takes everything away: nothing is filtered, no pin is left" detached
