#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Law 5: a verdict belongs to a policy generation.
# shellcheck source=selftests/lib.sh disable=SC2015,SC2119,SC2317
. "$(dirname "$0")/../lib.sh"
need_root
host_up
vm_up 1
ip -n "$WIRE" addr add 10.77.0.201/24 dev w0
ip -n "$WIRE" addr add 10.77.0.202/24 dev w0

# Two policies with the same names for other things: of the four pairs of address and port each allows one, and half of
# the one with half of the other would allow one of the two that neither does.
swap() {
    apply <<EOP
group peer { $1 }
service app { udp $2 }
default in drop
default out drop
tier test {
    app: allow out to peer service app
}
EOP
}
begin() { dfwd_start && vport_add 1 && swap 10.77.0.201 7001; }
must "a vport and a policy" begin
whole() {
    local all=(10.77.0.201/7001 10.77.0.202/7002 10.77.0.201/7002 10.77.0.202/7001) count flood
    background count in_wire /usr/bin/python3 "$HERE/netns/peer.py" count "${all[@]}"
    count=$LAST
    until_true 30 grep -q ready "$TMP/count" || return 1
    background flood in_vm 1 /usr/bin/python3 "$HERE/netns/peer.py" flood "${all[@]}"
    flood=$LAST
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        swap 10.77.0.202 7002 && swap 10.77.0.201 7001 || return 1
    done
    sleep 0.2
    kill "$flood"
    sleep 0.2
    kill "$count"
    until_true 20 grep -q 10.77.0.202/7001 "$TMP/count" || return 1
    [[ $(awk '/201.7001 |202.7002 / && $2 > 0' "$TMP/count" | wc -l) == 2 ]] || { because "allowed ones did not arrive: $(tr '\n' ' ' <"$TMP/count")"; return 1; }
    [[ $(awk '/201.7002 |202.7001 / { n += $2 } END { print n }' "$TMP/count") == 0 ]] || because "half a policy: $(tr '\n' ' ' <"$TMP/count")"
}
it "apply under traffic: no packet sees half a policy (20 changes under a flood)" whole
count_as() { [[ $(generation) == "$1" ]] || because "generation $(generation), not $1"; }
it "every apply is a generation" count_as 21

established() {
    apply_open 7000 && listen "${VM[1]}" 7000 && listen "$WIRE" 7000 && talk in "$WIRE" "${VM_IP[1]}" 7000 && talk out "${VM[1]}" "$WIRE_IP" 7000 && talks in
}
it "connections in and out, established" established
same() { apply_open 7000 && talks in && talks out && apply_open 7000 7001 && talks in && talks out; }
it "the same policy again, and one with another rule: they run on" same
illegal() { apply_open 7001 && silent in && talks out; }
it "a policy that makes an established flow illegal stops it on its next packet, and only it" illegal
legal() { apply_open 7000 && opens "$WIRE" "${VM_IP[1]}" 7000 && silent in && talks out; }
it "the old policy again: new connections open, what was ended stays ended" legal
udp() {
    [[ $(in_wire /usr/bin/python3 "$HERE/netns/peer.py" udp "${VM_IP[1]}" 7000 3) == 3 ]] || { because "no UDP before"; return 1; }
    apply_open 7001
    [[ $(in_wire /usr/bin/python3 "$HERE/netns/peer.py" udp "${VM_IP[1]}" 7000 1) == 0 ]] || because "UDP still answered"
}
it "UDP likewise" udp
keep() {
    apply <<EOP
default in drop
default out drop
tier test {
    old: allow in service tcp 7000 on-change keep
}
EOP
    talk kept "$WIRE" "${VM_IP[1]}" 7000 && apply_open 7001 && talks kept && closed "$WIRE" "${VM_IP[1]}" 7000
}
it "on-change keep: the flow outlives its rule, new ones are refused" keep
kill_() {
    apply <<EOP
default in drop
default out drop
tier test {
    new: allow in service tcp 7000 on-change kill
}
EOP
    talk killed "$WIRE" "${VM_IP[1]}" 7000 && talks killed || return 1
    apply <<EOP
default in drop
default out drop
tier test {
    new: allow in service tcp 7000 on-change kill
    other: allow in service tcp 9
}
EOP
    silent killed && opens "$WIRE" "${VM_IP[1]}" 7000
}
it "on-change kill: a change ends the flow though the rule still allows it, new ones open" kill_
tagged() {
    apply <<EOP
group web { tag app=web }
default in drop
default out drop
tier test {
    web-in: allow in to web service tcp 7000
}
EOP
    closed "$WIRE" "${VM_IP[1]}" 7000 && ctl vport set vm1 --tag app=web >/dev/null && opens "$WIRE" "${VM_IP[1]}" 7000 &&
        talk tagged "$WIRE" "${VM_IP[1]}" 7000 && talks tagged && ctl vport set vm1 --tag app=db >/dev/null && silent tagged
}
it "a tag opens a group's port and closes it again: membership counts as a change" tagged
back() {
    local now
    apply_open 7000 && now=$(generation) && apply_open 7001 && ctl policy rollback >/dev/null && opens "$WIRE" "${VM_IP[1]}" 7000 &&
        ctl policy rollback "$now" >/dev/null && opens "$WIRE" "${VM_IP[1]}" 7000 &&
        (($(generation) > now)) && (($(ctl -j policy history | jq length) >= 4)) || because "generation $(generation), history $(ctl -j policy history | jq -c . | head -c 300)"
}
it "rollback brings the policy before back, and one by its number, as new generations; history shows them" back
never() {
    local good
    apply_open 7000 && good=$(generation) && killed_at fsync "$STATE/policy" apply_open 7001 && count_as "$good" && opens "$WIRE" "${VM_IP[1]}" 7000 &&
        apply_open 7002 && closed "$WIRE" "${VM_IP[1]}" 7000 && ctl policy rollback >/dev/null && opens "$WIRE" "${VM_IP[1]}" 7000
}
if command -v strace >/dev/null; then
    it "rollback goes to no policy that was never in force, since dfwd was killed before it was" never
else
    skip "rollback goes to no policy that was never in force" "needs strace"
fi
gone() {
    apply_open 7000 && talk closing "$WIRE" "${VM_IP[1]}" 7000 && talks closing && (($(ctl -j flow kill --vport vm1 --proto tcp --port 7000 | jq .killed) >= 1)) &&
        silent closing
}
it "flow kill ends a connection" gone
reads_back() {
    apply <<EOP
group office { 10.77.0.0/24, fd77::/64 }
default in drop
default out drop
tier test {
    ssh-in: allow in from office service tcp 7000 log
    no-mail: reject out service tcp 25
}
EOP
    ctl rules vm1 >"$TMP/rules" && grep -q ssh-in "$TMP/rules" && grep -q no-mail "$TMP/rules" && opens "$WIRE" "${VM_IP[1]}" 7000 &&
        ctl -j rules vm1 | jq -e '[.. | objects | select((.name? // "") | tostring | test("ssh-in")) | .. | .packets? // empty | select(. > 0)] | length > 0' >/dev/null ||
        because "$(cat "$TMP/rules"; ctl -j rules vm1 | jq -c .)"
}
it "rules shows the realised rules with hits" reads_back
json() {
    ctl -j policy show >"$TMP/policy.json" && ctl policy check "$TMP/policy.json" >"$TMP/out" 2>&1 && ctl policy apply "$TMP/policy.json" >"$TMP/out" 2>&1 &&
        ctl -j policy show | cmp -s - "$TMP/policy.json" || because "the JSON form does not come back: $(head -c 300 "$TMP/out")"
}
it "the policy as JSON means the same when it comes back" json
