#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# What a change does to live flows: on-change of the rule, membership of groups, flow kill; and to what rules have counted.
# shellcheck source=selftests/lib.sh disable=SC2015,SC2119,SC2317
. "$(dirname "$0")/../lib.sh"
need_root
host_up
for n in 1 2 3; do vm_up "$n"; done

# choices TAIL: one rule for each choice, and what else is in the tier
choices() {
    apply <<EOP
default in drop
default out allow
tier test {
    kept: allow in service tcp 7001 on-change keep
    again: allow in service tcp 7002
    killed: allow in service tcp 7003 on-change kill
    $1
}
EOP
}
# flow_of PORT FIELD: of vm1's flow to that port
flow_of() { ctl -j flow list --vport vm1 --port "$1" | jq -r "[.[] | select(.dport == $1)][0].$2"; }
# hits DIRECTION NAME: packets
hits() { ctl -j rules vm1 | jq "[.[] | select(.direction == \"$1\" and .name == \"test/$2\") | .packets] | add // 0"; }
# closed_event REASON PORT: the event that told of a flow's end
closed_event() {
    until_true 30 jq -ne "[inputs | select(.event == \"flow-closed\" and .reason == \"$1\" and .dport == $2 and .dst == \"${VM_IP[1]}\" and .src == \"$WIRE_IP\")] | length > 0" "$TMP/watch" ||
        because "no flow-closed for $1 of port $2: $(grep closed "$TMP/watch" | tail -n 2)"
}

begin() {
    dfwd_start && vport_add 1 && vport_add 2 --tag role=peer && vport_add 3 && choices "" || return 1
    watch_events --flows
    for port in 7001 7002 7003; do listen "${VM[1]}" "$port" && talk "$port" "$WIRE" "${VM_IP[1]}" "$port" || return 1; done
    talks 7001 && talks 7002 && talks 7003
}
must "three connections under rules with on-change keep, revalidate, kill" begin

# ---- on-change -------------------------------------------------------------------------------------------------------

still() { choices "other: allow in service tcp 9" && silent 7003 && talks 7001 && talks 7002; }
it "a change after which all are still allowed ends the flow of kill, the others run on" still
counted() { (($(dropped vm1 flow-killed) > 0)) && closed_event flow-killed 7003 || because "${FAIL_REASON:-$(ctl stats vm1)}"; }
it "...counted as flow-killed, and told by an event" counted
stamped() { [[ $(flow_of 7002 generation) == "$(generation)" ]] || because "generation $(flow_of 7002 generation), not $(generation)"; }
it "...what was decided anew carries the new generation" stamped
anew() { opens "$WIRE" "${VM_IP[1]}" 7003 && talk again "$WIRE" "${VM_IP[1]}" 7003 && talks again; }
it "...and a new connection of the rule with kill opens" anew
unchanged_apply() { choices "other: allow in service tcp 9" && talks 7001 && talks 7002; }
it "the same policy again: keep and revalidate run on" unchanged_apply
renamed() {
    apply <<EOP
default in drop
default out allow
tier test {
    kept: allow in service tcp 7001 on-change keep
    renamed: allow in service tcp 7000-7002
}
EOP
    talks 7001 && talks 7002 && [[ $(flow_of 7002 rule) == test/renamed && $(flow_of 7001 rule) == test/kept ]] || because "rules $(flow_of 7002 rule) and $(flow_of 7001 rule)"
}
it "revalidate: the flow goes over to the rule that allows it now; keep: it stays with its own" renamed
became_keep() {
    # The choice is that of the rule that decided last.
    apply <<EOP
default in drop
default out allow
tier test {
    changed: allow in service tcp 7002 on-change keep
}
EOP
    talks 7002 && talks 7001 && apply <<<"default in drop
default out allow" && talks 7002 && talks 7001 && closed "$WIRE" "${VM_IP[1]}" 7002 && closed "$WIRE" "${VM_IP[1]}" 7001
}
it "keep outlives the rule, and every later policy; new connections are refused" became_keep
replies() {
    # The next packet may be one of the other direction: a stream from the VM only.
    apply_open 7004 && background sink in_wire /usr/bin/python3 "$HERE/netns/peer.py" sink 7004 && until_true 30 grep -q ready "$TMP/sink" || return 1
    background pour in_vm 1 /usr/bin/python3 -c "
import socket, time
s = socket.create_connection(('$WIRE_IP', 7004))
while True: s.sendall(b'x' * 1000); print('sent', flush=True); time.sleep(.02)"
    until_true 30 grep -q sent "$TMP/pour" && apply <<<"default in allow
default out drop" || return 1
    until_true 30 drops && until_true 30 no_flow 7004 || because "the flow lives: $(ctl flow list --vport vm1 --port 7004)"
}
drops() { (($(dropped vm1 default) > 0)); }
no_flow() { [[ $(flows --vport vm1 --port "$1") == 0 ]]; }
it "a flow out that is no longer allowed ends, whichever side sends next" replies

# ---- membership ------------------------------------------------------------------------------------------------------

members() {
    apply <<EOP
group peers { tag role=peer }
default in drop
default out allow
tier test {
    from-peers: allow in from peers service tcp 7001, udp 7001
    kept: allow in from peers service tcp 7002 on-change keep
    killed: allow in from peers service tcp 7003 on-change kill
    from-wire: allow in from $WIRE_IP service tcp 7001
}
EOP
}
joined() {
    members && closed "${VM[3]}" "${VM_IP[1]}" 7001 && talk peer "${VM[2]}" "${VM_IP[1]}" 7001 && talk peer6 "${VM[2]}" "${VM_IP6[1]}" 7001 &&
        talk peer-kept "${VM[2]}" "${VM_IP[1]}" 7002 && talk wire "$WIRE" "${VM_IP[1]}" 7001 && talks peer && talks peer6 && talks peer-kept && talks wire
}
it "a vport of the group may connect, another may not" joined
tags() { ctl vport set "$@" >"$TMP/out" 2>&1 || because "vport set: $(cat "$TMP/out")"; }
unrelated() { tags vm3 --tag role=other && talks peer && talks peer6 && talks peer-kept; }
it "a tag that moves nobody into or out of the group changes nothing for live flows" unrelated
left() { tags vm2 --tag role=none && silent peer && silent peer6 && talks wire; }
it "vport set --tag of the other vport takes effect on the next packet of live flows, both families" left
left_kept() { talks peer-kept && closed "${VM[2]}" "${VM_IP[1]}" 7002; }
it "...but for those of a rule with on-change keep; new ones are refused" left_kept
back() { tags vm2 --tag role=peer && opens "${VM[2]}" "${VM_IP[1]}" 7001 && talk returned "${VM[2]}" "${VM_IP[1]}" 7001 && talks returned; }
it "the tag comes back: new connections open" back
address() {
    tags vm2 --ip "${VM_IP6[2]}" --ip "${VM_LL[2]}" && silent returned && tags vm2 --ip "${VM_IP[2]}" --ip "${VM_IP6[2]}" --ip "${VM_LL[2]}" && opens "${VM[2]}" "${VM_IP[1]}" 7001
}
it "an address that a vport loses leaves the groups with it" address
killed() {
    talk peer-killed "${VM[2]}" "${VM_IP[1]}" 7003 && talks peer-killed && tags vm3 --tag role=peer && silent peer-killed && opens "${VM[2]}" "${VM_IP[1]}" 7003
}
it "on-change kill: a change of membership ends the flow" killed
removed() { talk last "${VM[3]}" "${VM_IP[1]}" 7001 && talks last && ctl vport del vm3 >/dev/null && silent last; }
it "a vport that is deleted leaves its groups: live flows with it stop" removed
without_dfwd() { talks wire && dfwd_end KILL && talks wire && dfwd_start && talks wire; }
it "a restart of dfwd is no change: on-change touches nothing" without_dfwd

# ---- flow kill -------------------------------------------------------------------------------------------------------

kill_one() {
    local before
    members && talk k1 "$WIRE" "${VM_IP[1]}" 7001 && talk k2 "${VM[2]}" "${VM_IP[1]}" 7001 && talks k1 && talks k2 || return 1
    before=$(ctl -j vport show vm1 | jq .flows)
    KILLED=$(ctl -j flow kill --vport vm1 --addr "$WIRE_IP" --port 7001 | jq .killed)
    ((KILLED >= 1)) && silent k1 && talks k2 && (($(ctl -j vport show vm1 | jq .flows) == before - KILLED)) && closed_event flow-killed 7001 ||
        because "${FAIL_REASON:-killed $KILLED of $before, $(ctl -j vport show vm1 | jq .flows) left}"
}
it "flow kill ends what matches and nothing else; the number of flows follows, an event tells" kill_one
kill_families() {
    ctl -j flow list --addr ::/0 >"$TMP/before" && ctl -j flow kill --addr ::/0 >"$TMP/out" && ctl flow kill --addr ::/1 >/dev/null && talks k2 || because "${FAIL_REASON:-$(cat "$TMP/out")}" || return 1
    not grep -q "${VM_IP[1]}" "$TMP/before" || because "$(grep "${VM_IP[1]}" "$TMP/before")"
}
it "flow kill by a prefix of IPv6 leaves flows of IPv4, ::/0 too" kill_families
kill_all() {
    talks k2 && ctl flow kill --vport vm1 >/dev/null && silent k2 && [[ $(ctl -j vport show vm1 | jq .flows) == 0 && $(flows --vport vm1) == 0 ]] ||
        because "${FAIL_REASON:-$(ctl -j vport show vm1 | jq .flows) flows; $(ctl flow list --vport vm1)}"
}
it "flow kill of all: none is left, and the number says so" kill_all
kill_held() {
    local status=0
    talk k3 "$WIRE" "${VM_IP[1]}" 7001 && talks k3 && lock_flows "$PINS/vports/vm1" 0x01 || return 1
    ctl -j flow kill --vport vm1 --port 7001 >"$TMP/out" 2>"$TMP/err" || status=$?
    [[ $status == 1 && $(jq -c . "$TMP/out") == '{"killed":0,"busy":1}' ]] && grep -q "could not be killed" "$TMP/err" ||
        because "exit status $status, $(cat "$TMP/out" "$TMP/err")" || return 1
    lock_flows "$PINS/vports/vm1" 0x00 && [[ $(ctl -j flow kill --vport vm1 --port 7001 | jq -c .) == '{"killed":1,"busy":0}' ]] && silent k3
}
it "flow kill of one that another CPU holds: it is tried again, and what is left is counted (exit 1)" kill_held

# ---- hits ------------------------------------------------------------------------------------------------------------

both_ways() {
    apply <<EOP
default in drop
default out drop
tier test {
    both: allow service udp 7001, tcp 7001
    $1
}
EOP
}
hits_apart() {
    local in out
    # Nobody is at 10.77.0.199.
    ip -n "${VM[1]}" neigh replace 10.77.0.199 lladdr 02:00:00:00:77:c7 dev eth0
    both_ways "" && in_vm 1 /usr/bin/python3 -c "
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(50): s.sendto(b'x', ('10.77.0.199', 7001))" && [[ $(in_wire /usr/bin/python3 "$HERE/netns/peer.py" udp "${VM_IP[1]}" 7001 3) == 3 ]] || return 1
    in=$(hits in both) out=$(hits out both)
    ((in == 6 && out == 50)) || because "in $in, out $out before" || return 1
    both_ways "other: allow in service tcp 9" && both_ways "" && [[ $(hits in both) == "$in" && $(hits out both) == "$out" ]] ||
        because "in $in, out $out; after two policies in $(hits in both), out $(hits out both)"
}
it "a rule that stands in both directions has hits for each, also after the policy has changed" hits_apart
