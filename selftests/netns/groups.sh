#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Groups whose members come and go at run time: what is enforced at once, what no packet may see, what stays.
# shellcheck source=selftests/lib.sh disable=SC2015,SC2119,SC2317
. "$(dirname "$0")/../lib.sh"
need_root
CHURN=$BUILD/selftests/bench/churn
[[ -x $CHURN ]] || make -s -C "$ROOT" build/selftests/bench/churn || skip_all "churn cannot be built"
host_up
for n in 1 2; do vm_up "$n"; done
for n in 201 202 203 204; do ip -n "$WIRE" addr add "10.77.0.$n/24" dev w0; done

policy() {
    apply <<EOP
default in drop
default out allow
group guests { }
group nets { 10.99.0.0/16 }
group all { guests, nets }
group web { tag role=web }
$1
tier test {
    peers: allow in from web service tcp 7001
    mixed: allow in from all to all service tcp 9999
    guests-in: allow in from guests service tcp 7001-7003, udp 7011, icmp-echo, icmp6-echo
    others: allow in from $WIRE_IP service tcp 7002, udp 7010, icmp-echo
}
EOP
}
begin() {
    dfwd_start && vport_add 1 && vport_add 2 && policy "" || return 1
    for port in 7001 7002 7003; do listen "${VM[1]}" "$port" || return 1; done
}
must "two vports and a policy with groups" begin

status() { ctl -j status | jq ".$1"; }
in_place() { status changes_in_place; }
staged() { status changes_staged; }
# pings_from ADDRESS, no_ping_from ADDRESS
pings_from() { in_wire ping -n -q -c 1 -W 10 -I "$1" "${VM_IP[1]}" >/dev/null 2>&1 || because "$1 cannot ping"; }
no_ping_from() { ! in_wire ping -n -q -c 1 -W 1 -I "$1" "${VM_IP[1]}" >/dev/null 2>&1 || because "$1 can ping"; }
# What the wire says to VM 1 comes from ADDRESS from now on.
speak_from() { ip -n "$WIRE" route replace "${VM_IP[1]}/32" dev w0 src "$1"; }
group() { ctl group "$@" >"$TMP/out" 2>&1 || because "group $*: $(cat "$TMP/out")"; }
# quietly COMMAND...: without anything being staged
quietly() {
    local before after
    before=$(staged)
    "$@" || return 1
    after=$(staged)
    ((before == after)) || because "$((after - before)) changes were staged"
}

# ---- at once ---------------------------------------------------------------------------------------------------------

outside() { no_ping_from 10.77.0.201; }
it "who is in no group does not get in" outside
joins() { quietly group add guests 10.77.0.201 && pings_from 10.77.0.201 && (($(in_place) > 0)); }
it "an added address gets in at once, without a rule set being made" joins
talking() {
    speak_from 10.77.0.201 && talk guest "$WIRE" "${VM_IP[1]}" 7003 && talks guest
}
it "...and talks" talking
leaves() { quietly group del guests 10.77.0.201 && silent guest && no_ping_from 10.77.0.201; }
it "a removed one stops with its next packet, in the middle of a connection" leaves
back() { quietly group add guests 10.77.0.201 && talk guest2 "$WIRE" "${VM_IP[1]}" 7003 && talks guest2; }
it "...and may come back" back
wide() { quietly group add guests 10.77.0.202/31 && pings_from 10.77.0.202 && pings_from 10.77.0.203 && no_ping_from 10.77.0.204; }
it "a prefix brings in what lies in it, and nothing more" wide
nested() {
    group add guests 10.77.0.200/29 && pings_from 10.77.0.204 && group del guests 10.77.0.202/31 &&
        pings_from 10.77.0.202 && group del guests 10.77.0.200/29 && no_ping_from 10.77.0.204 &&
        no_ping_from 10.77.0.202 && pings_from 10.77.0.201 && talks guest2
}
it "prefixes in each other: each counts for itself" nested
both_ends() {
    local before
    before=$(staged)
    group add nets 10.77.0.0/24 && group del nets 10.77.0.0/24 && talks guest2 || return 1
    (($(staged) > before)) || because "it was not staged"
}
it "what packets could see half of is staged: a prefix with others in it that rules name at both ends" both_ends
six() {
    ip -n "$WIRE" addr add fd77::201/64 dev w0 nodad
    ! in_wire ping -n -q -c 1 -W 1 -I fd77::201 "${VM_IP6[1]}" >/dev/null 2>&1 || because "in before it was added" || return 1
    quietly group add guests fd77::201 && in_wire ping -n -q -c 1 -W 10 -I fd77::201 "${VM_IP6[1]}" >/dev/null 2>&1 || because "fd77::201 cannot ping"
}
it "IPv6 alike" six

# ---- vports ----------------------------------------------------------------------------------------------------------

tags() {
    in_vm 2 nc -z -w 1 "${VM_IP[1]}" 7001 && { because "in before it had the tag"; return 1; }
    quietly ctl vport set vm2 --tag role=web >/dev/null && in_vm 2 nc -z -w 10 "${VM_IP[1]}" 7001 || because "not in by its tag: ${FAIL_REASON:-}"
}
it "a tag that brings a vport into a group changes the tables in place" tags
untagged() {
    quietly ctl vport set vm2 --tag role=none >/dev/null && ! in_vm 2 nc -z -w 1 "${VM_IP[1]}" 7001 || because "still in: ${FAIL_REASON:-}"
}
it "...and the one that takes it out" untagged
third() {
    quietly ctl vport add late --dev none9 --mac 02:00:00:00:99:09 --ip 10.77.0.204 --tag role=web >/dev/null || return 1
    in_wire nc -z -w 10 -s 10.77.0.204 "${VM_IP[1]}" 7001 || because "its address is not in the group" || return 1
    quietly ctl vport del late >/dev/null && ! in_wire nc -z -w 1 -s 10.77.0.204 "${VM_IP[1]}" 7001 || because "still in: ${FAIL_REASON:-}"
}
it "a vport that comes and goes, with rules that others have, too" third

# ---- no mixture ------------------------------------------------------------------------------------------------------

# A stream of each kind while other addresses of the same group change: 1,000 a second, by chance.
undisturbed() {
    local lost opened=0 churn
    speak_from "$WIRE_IP" && talk other "$WIRE" "${VM_IP[1]}" 7002 && talks other || return 1
    background churn "$CHURN" --instance "$ID" --rate 1000 --seconds 4 --addresses 5000 --clear guests
    churn=$LAST
    background ping in_wire ping -q -n -i 0.001 -c 3000 -I 10.77.0.201 "${VM_IP[1]}"
    PING=$LAST
    while kill -0 "$PING" 2>/dev/null; do
        in_wire nc -z -w 10 -s 10.77.0.201 "${VM_IP[1]}" 7003 || { because "a connection did not open, after $opened that did"; return 1; }
        in_wire nc -z -w 10 "${VM_IP[1]}" 7002 || { because "a connection of another rule did not open"; return 1; }
        opened=$((opened + 1))
    done
    lost=$(sed -n 's/.* \([0-9.]*\)% packet loss.*/\1/p' "$TMP/ping")
    [[ $lost == 0 ]] || because "$lost% of the pings were lost" || return 1
    ((opened > 3)) || because "only $opened connections were tried" || return 1
    talks other && talks guest2 || return 1
    wait "$churn" || because "$(cat "$TMP/churn")" || return 1
    echo "# $(cat "$TMP/churn")"
    (($(jq .changes "$TMP/churn") > 500)) || because "$(cat "$TMP/churn")"
}
it "up to 1,000 changes a second of other members: no ping, connection or stream of those who are in suffers" quietly undisturbed
leak_free() {
    leak_watch "$WIRE" "${VM[1]}" "${VM_IP[1]}" 7010 7011 || return 1
    "$CHURN" --instance "$ID" --rate 1000 --seconds 2 --addresses 5000 --clear guests >/dev/null || return 1
    no_leak
}
it "...and nothing of those who are not gets in" leak_free
elements() {
    local id
    id=$(for fd in /proc/"$DFWD_PID"/fdinfo/*; do
        awk '/^map_type:/ { type = $2 } /^key_size:/ { key = $2 } /^map_id:/ { id = $2 } END { if (type == 1 && key == 16) print id }' "$fd" 2>/dev/null
    done)
    [[ -n $id ]] && bpftool map dump id "$id" -j 2>/dev/null | jq length
}
few() { (($(elements) < 20)); }
given_back() { until_true 20 few || because "$(elements) elements are left"; }
it "...and memory is given back" given_back

# ---- many ------------------------------------------------------------------------------------------------------------

many() {
    local before
    before=$(status changes_no_room)
    for i in $(seq 0 9999); do echo "10.66.$((i / 250)).$((i % 250)) # number $i"; done >"$TMP/list"
    echo 10.77.0.204 >>"$TMP/list"
    group add guests --file "$TMP/list" && pings_from 10.77.0.204 || return 1
    (($(status changes_no_room) == before + 1)) || because "changes_no_room is $(status changes_no_room), not $((before + 1))"
}
it "10,001 addresses of a file; what does not fit the tables is staged, and counted" many
more() {
    quietly group add guests 10.67.0.1 10.67.0.2 && [[ $(ctl -j group show guests | jq length) == 10005 ]] ||
        because "${FAIL_REASON:-$(ctl -j group show guests | jq length) members}"
}
it "...behind that there is room again" more

# ---- what stays ------------------------------------------------------------------------------------------------------

shown() {
    [[ $(ctl -j group list | jq -c '[.[] | [.name, .policy, .added]]') == '[["guests",0,10005],["nets",1,0],["all",2,0],["web",1,0]]' ]] || because "$(ctl -j group list)"
}
it "group list counts what the policy names and what was added" shown
survives() {
    policy "group new { 10.98.0.0/16 }" && pings_from 10.77.0.201 && talks guest2 && [[ $(ctl -j group show guests | jq length) == 10005 ]]
}
it "members stay when a policy comes that has the group" survives
dead() {
    dfwd_end KILL && pings_from 10.77.0.201 && no_ping_from 10.77.0.203 &&
        [[ $(ctl -j group show guests | jq length) == 10005 ]] && ctl group list >/dev/null || because "${FAIL_REASON:-without dfwd}"
}
it "with dfwd dead the members are enforced, and can be listed" dead
refused_dead() { refuses 3 "not running|no dfwd|dfwd" ctl group add guests 10.1.1.1; }
it "...but not changed" refused_dead
torn() {
    printf '+ 10.77.0.20' >>"$STATE/groups.journal"
    dfwd_start && pings_from 10.77.0.201 && no_ping_from 10.77.0.203 && group del guests --file "$TMP/list" && no_ping_from 10.77.0.204 && talks guest2
}
it "a new dfwd knows them, and passes over a line that a crash has cut" torn
short() {
    group add guests 10.1.2.3 && until_true 30 is_short || because "$(wc -l <"$STATE/groups.journal") lines for $(ctl -j group show guests | jq length) members"
}
is_short() { (($(wc -l <"$STATE/groups.journal") < 100)); }
it "a journal of which most is over is written anew" short
gone() {
    apply <<<"group nets { 10.99.0.0/16 }
web: allow in from nets" && policy "" && [[ $(ctl -j group show guests | jq length) == 0 ]] && no_ping_from 10.77.0.201
}
it "who was in a group that is gone is not in one that comes with its name" gone

# ---- errors ----------------------------------------------------------------------------------------------------------

it "an unknown group is wrong input" unchanged refuses 2 "no group.*nosuch" ctl group add nosuch 10.1.1.1
it "...in show, too" refuses 2 "no group.*nosuch" ctl group show nosuch
it "so is what is no address" unchanged refuses 2 "10.1.1.300" ctl group add guests 10.1.1.1 10.1.1.300
it "...in a file, by its line" unchanged refuses 2 ":2: '10.1.1.0/33'" ctl group add guests --file <(printf '10.1.1.1\n10.1.1.0/33\n')
it "...and bits behind the length" unchanged refuses 2 "behind its prefix length" ctl group add guests 10.1.1.1/24
it "no address at all" unchanged refuses 2 "no address is given" ctl group add guests
it "who is not in cannot be taken out, and nobody else is" unchanged refuses 2 "no member 10.9.9.9" ctl group del nets 10.9.9.9
it "what the policy names cannot be taken out" unchanged refuses 2 "no member 10.99.0.0/16" ctl group del nets 10.99.0.0/16
twice() {
    group add guests 10.5.5.5 10.5.5.5 && [[ $(cat "$TMP/out") == *"1 member added, 1 at run time now"* ]] || because "$(cat "$TMP/out")" || return 1
    group add guests 10.5.5.5 && [[ $(cat "$TMP/out") == *"0 members added, 1 at run time now"* ]] || because "$(cat "$TMP/out")"
}
it "what is in already is no error" twice
