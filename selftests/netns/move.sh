#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# VMs move between hosts, and their connections with them: strict TCP under iperf3, idle connections, UDP that only the other
# end still sends. By command, without one, back again; with a daemon killed in each phase.
# shellcheck source=selftests/cluster_lib.sh disable=SC2015,SC2119,SC2317
. "$(dirname "$0")/../cluster_lib.sh"
need_root
[[ -x $DFWSYNCD ]] || skip_all "dfwsyncd is not built in $BUILD"

IDLE=1000

policy() {
    apply_on a --wait 60 <<EOP
profile tight { max-flows ${1:-65536} }
group web { tag app=web }
default in drop
default out drop
tier move {
    ping: allow service icmp-echo, icmp6-echo
    web:  allow in service tcp 7000, tcp 5201
    time: allow out service udp 7100
    bell: allow to web service udp 7200-7209
}
EOP
}

# ---- the VM's ways ---------------------------------------------------------------------------------------------------

unplug() { ip -n "${VM[$1]}" link del eth0; }
# plug HOST N: resumed there, and announced as QEMU does it
plug() {
    vm_cable "$1" "$2" && in_vm "$2" /usr/bin/python3 "$HERE/netns/peer.py" announce eth0
}
# vport N on HOST: does its kernel enforce it?
active_on() { [[ $(ctl_on "$1" -j vport list 2>/dev/null | jq -r --arg v "vm$2" '.[] | select(.name == $v) | "\(.host) \(.held)"') == "$1 false" ]]; }
becomes_active() {
    until_true "${3:-30}" active_on "$1" "$2" ||
        because "vm$2 is not active on $1: $(ctl_on "$1" migrate status "vm$2" 2>&1 | tail -n 1); $(ctl_on "$1" -j vport list | jq -c 'map([.name, .host, .held])')"
}
phase() { ctl_on "$1" -j migrate status "vm$2" 2>/dev/null | jq -r .phase; }
phase_is() { [[ $(phase "$1" "$2") == "$3" ]]; }
role() { ctl_on "$1" -j migrate status "vm$2" 2>/dev/null | jq -r .role; }
role_is() { [[ $(role "$1" "$2") == "$3" ]] || because "vm$2 is $(role "$1" "$2") on host $1, not $3"; }
migrate() {
    local host=$1
    shift
    ctl_on "$host" migrate "$@" >"$TMP/out" 2>&1 || because "migrate $*: $(cat "$TMP/out")"
}
# move FROM TO N [options]: as a hook would, while its traffic goes on
move() {
    local from=$1 to=$2 n=$3
    shift 3
    migrate "$from" prepare "vm$n" --to "$to" "$@" && unplug "$n" && migrate "$from" start "vm$n" && plug "$to" "$n" &&
        becomes_active "$to" "$n"
}

# ---- traffic ---------------------------------------------------------------------------------------------------------

hold_idle() {
    background idle exec ip netns exec "$WIRE" /usr/bin/python3 "$HERE/netns/peer.py" hold "${VM_IP[1]}" 7000 "$IDLE"
    IDLE_PID=$LAST
    until_true 30 grep -q "^$IDLE$" "$TMP/idle" || because "no $IDLE connections: $(tail -n 1 "$TMP/idle")"
}
alive_told() { (($(grep -c alive "$TMP/idle") > $1)); }
idle_alive() {
    local before
    before=$(grep -c alive "$TMP/idle")
    kill -USR1 "$IDLE_PID"
    until_true 40 alive_told "$before" || because "no answer" || return 1
    [[ $(tail -n 1 "$TMP/idle") == "alive $IDLE" ]] || because "of $IDLE connections: $(tail -n 1 "$TMP/idle")"
}
begin_udp() {
    background pulse exec ip netns exec "$WIRE" /usr/bin/python3 "$HERE/netns/peer.py" pulse 7100
    until_true 30 grep -q ready "$TMP/pulse" || because "no server" || return 1
    background talk-udp exec ip netns exec "${VM[1]}" /usr/bin/python3 "$HERE/netns/peer.py" hear "$WIRE_IP" 7100
    until_true 30 grep -q . "$TMP/talk-udp" || because "nothing is heard"
}
# Not by connecting: iperf3 takes who does for its client.
listens() { [[ -n $(in_vm 1 ss -Hltn "sport = :$1") ]]; }
# Slow enough that windows that are anchored anew still reach what was sent without a vport (DFW_RESYNC_WINDOW), on a busy
# machine: the stream makes up at once for the seconds in which it stood still.
begin_iperf() {
    background iperf-server exec ip netns exec "${VM[1]}" iperf3 -s -p 5201
    until_true 30 listens 5201 || because "no iperf3 server" || return 1
    background iperf exec ip netns exec "$WIRE" iperf3 -c "${VM_IP[1]}" -p 5201 -t 1200 -i 0.2 -l 16K --forceflush -b 10M
    until_true 30 grep -q bits/sec "$TMP/iperf" || because "iperf3: $(tail -n 2 "$TMP/iperf")"
}
iperf_runs() {
    local before
    before=$(grep -c bits/sec "$TMP/iperf")
    # shellcheck disable=SC2317
    goes_on() { (($(grep bits/sec "$TMP/iperf" | tail -n +$((before + 1)) | grep -vc ' 0.00 bits/sec') >= 3)); }
    until_true 30 goes_on || because "iperf3 stands still: $(tail -n 2 "$TMP/iperf")"
}
all_alive_on() {
    talks tcp && talks udp && iperf_runs && idle_alive || return 1
    (($(ctl_on "$1" -j flow list --vport vm1 | jq length) >= IDLE)) || because "host $1 has $(ctl_on "$1" -j flow list --vport vm1 | jq length) flows"
}

begin() {
    vm_on a 1 --tag app=web && policy && listen "${VM[1]}" 7000 && talk tcp "$WIRE" "${VM_IP[1]}" 7000 && begin_udp && begin_iperf && hold_idle
}
must "three hosts, one cluster" cluster_up a b c
must "vm1 on host a: strict TCP under iperf3, $IDLE idle connections, UDP that only the other end sends" begin

# ---- by command ------------------------------------------------------------------------------------------------------

prepared() {
    migrate b prepare vm1 --to b && role_is a 1 active && role_is b 1 prepared && talks tcp &&
        [[ $(ctl_on a -j sync status | jq '.vports[0].peers[] | select(.host == "b") | .safe') == true ]] ||
        because "${FAIL_REASON:-$(ctl_on a sync status)}"
}
it "migrate prepare, said on the destination: it denies there, runs on here, and says that it is safe" prepared
# It denies there.
not_by_others() {
    ! migrate b start vm1 && grep -q "operators' hosts" "$TMP/out" || because "$(cat "$TMP/out")" || return 1
    ! migrate c rollback vm1 && role_is a 1 active && role_is b 1 prepared && talks tcp
}
it "a host that is no operator's cannot have it handed over, and a third one cannot end the move" not_by_others
back() { migrate a rollback vm1 && role_is a 1 active && talks tcp && until_true 30 phase_is a 1 none; }
it "rollback before the start: the vport goes on as if nothing had been" back
moved() { move a b 1 && all_alive_on b; }
it "moved from a to b: not one connection breaks" moved
gone() { [[ $(ctl_on a -j vport list --local | jq length) == 0 ]] || because "$(ctl_on a vport list --local)"; }
it "...host a has it no more" gone
again() { move b c 1 && all_alive_on c && move c a 1 && all_alive_on a; }
it "...and on to c, and back to a" again
# For the group of a rule the VM is always somewhere: its neighbours on the host that it leaves, and on a third one, ring it
# 1,000 times a second, and not one datagram is refused.
RINGING=()
bells() { local port; for port in {7200..7209}; do echo "${VM_IP[1]}/$port"; done; }
ring() {
    local to
    mapfile -t to < <(bells)
    ip -n "${VM[$1]}" neigh replace "${VM_IP[1]}" lladdr "${VM_MAC[1]}" dev eth0 nud permanent &&
        background "ring-$1" exec ip netns exec "${VM[$1]}" /usr/bin/python3 "$HERE/netns/peer.py" trickle "${to[@]}"
    RINGING+=("$LAST")
}
counts() { ctl_on "$1" -j stats "$2" | jq -c '[.[0].out.passed.packets, (.[0].out.reasons | map(select(.reason == "default").packets) | add // 0)]'; }
rings() { [[ $(counts "$1" "$2" | jq '.[0] > 1000 and .[1] == 0') == true ]]; }
never_missing() {
    local path n
    vm_on a 2 && vm_on c 3 && ring 2 && ring 3 && until_true 30 rings a vm2 && until_true 30 rings c vm3 || because "${FAIL_REASON:-passed and refused: $(counts a vm2), $(counts c vm3)}" || return 1
    for path in "a b" "b c" "c a" "a c" "c b" "b a"; do
        # shellcheck disable=SC2086
        move $path 1 || return 1
        sleep 1
    done
    kill "${RINGING[@]}"
    rings a vm2 && rings c vm3 || because "passed and refused: $(counts a vm2) on host a, $(counts c vm3) on host c" || return 1
    for n in 2 3; do ip netns del "${VM[n]}"; done
    ctl_on a vport del vm2 && ctl_on c vport del vm3
}
it "all this way it is in the groups of every host: not one packet to it is refused" never_missing
taken_back() {
    migrate a prepare vm1 --to b && unplug 1 && migrate a start vm1 && role_is a 1 handover && role_is b 1 staged &&
        migrate a rollback vm1 && role_is a 1 active && plug a 1 && all_alive_on a
}
it "rollback after the handing over: the VM goes on where it was, with its connections" taken_back
too_late() {
    move a b 1 && ! migrate b rollback vm1 && all_alive_on b
}
it "rollback when the destination has it: refused" too_late
by_itself() {
    migrate b prepare vm1 --to a && unplug 1 && migrate b start vm1 && vm_cable a 1 && migrate a activate vm1 && all_alive_on a
}
it "activated by command" by_itself

# ---- without a command -----------------------------------------------------------------------------------------------

# add_moved HOST: it says that vm1 is there now
add_moved() {
    ctl_on "$1" vport add vm1 --moved --dev tap1 --mac "${VM_MAC[1]}" --ip "${VM_IP[1]}" --ip "${VM_IP6[1]}" --ip "${VM_LL[1]}" \
        --tag app=web >"$TMP/out" 2>&1 || because "vport add --moved: $(cat "$TMP/out")"
}
# It may hear later of who has the VM now than of who has it no more.
arrives() {
    unplug 1 && vm_cable "$1" 1 && until_true 30 add_moved "$1" && becomes_active "$1" 1
}
# Until the VM sends something, the switch between the hosts sends to the old one.
unannounced() {
    arrives b && in_vm 1 /usr/bin/python3 "$HERE/netns/peer.py" announce eth0 && all_alive_on b && until_true 30 gone
}
it "moved without a word: the destination pulls the flows from the host that had it" unannounced
# Each host tells what passed while it had the VM, not what it was given.
on_and_back() {
    local host
    for host in c b; do
        arrives "$host" && in_vm 1 /usr/bin/python3 "$HERE/netns/peer.py" announce eth0 && all_alive_on "$host" || return 1
    done
}
it "...on to host c, and back" on_and_back
# Nobody looks at what passes until its vport is there: the ends are further then than what the source has handed over.
runs_ahead() {
    unplug 1 && vm_cable c 1 && in_vm 1 /usr/bin/python3 "$HERE/netns/peer.py" announce eth0 && talks tcp && iperf_runs &&
        until_true 30 add_moved c && becomes_active c 1 && all_alive_on c && arrives b && all_alive_on b
}
it "...and so when the VM talks there before its vport is added" runs_ahead
# The source says that the VM is there still, and goes on saying so.
stays_held() {
    ip -n "${HOST_SPACE[c]}" link add tap1 type veth peer name pat1 && until_true 30 add_moved c || return 1
    sleep 4
    role_is c 1 pulling && [[ $(ctl_on c -j migrate status vm1 | jq .held) == true ]] || because "$(ctl_on c migrate status vm1)" || return 1
    role_is b 1 active && talks tcp && ctl_on c vport del vm1 && ip -n "${HOST_SPACE[c]}" link del tap1 && all_alive_on b
}
it "said to have moved while it runs where it was: it denies there, and runs on here" stays_held
# Nobody is there who could end it: that is to be seen, and there is a way out of it.
held_alone() {
    ip -n "${HOST_SPACE[c]}" link add tap1 type veth peer name pat1 && until_true 10 add_moved c && sleep 1 && role_is c 1 pulling || return 1
    syncd_end_on c KILL && sleep 4
    [[ $(ctl_on c -j status | jq -c '[.dfwsyncd, (.held | map([.vport, .ms > 4000, .why]))]') == '[false,[["vm1",true,"it has come from another host, which has not given it up yet"]]]' ]] ||
        because "$(ctl_on c -j status)" || return 1
    ctl_on c status | grep -q 'vm1 denies everything for .*dfwsyncd, which would end that, does not run' || because "$(ctl_on c status)" || return 1
    [[ $(ctl_on c -j vport show vm1 | jq -c '[.held, .held_ms > 4000, .held_why]') == '[true,true,"it has come from another host, which has not given it up yet"]' ]] &&
        ctl_on c vport show vm1 | grep -q 'given it up' && ctl_on c vport list --local | grep -q moving || because "$(ctl_on c vport show vm1)" || return 1
    dfwd_end_on c KILL && dfwd_on c && [[ $(ctl_on c -j status | jq -c '.held | map([.vport, .ms])') == '[["vm1",null]]' ]] || because "$(ctl_on c -j status)"
}
it "...and if its dfwsyncd dies meanwhile: status says what denies, for how long, why, and that nobody would end it" held_alone
way_out() {
    ctl_on c vport del vm1 && add_moved c || return 1
    [[ $(ctl_on c -j vport show vm1 | jq -c '[.held, .held_why]') == '[false,null]' && $(ctl_on c -j status | jq -c .held) == '[]' ]] ||
        because "$(ctl_on c -j vport show vm1)" || return 1
    ctl_on c vport del vm1 && syncd_on c && cluster_whole && until_true 10 add_moved c && sleep 1 && role_is c 1 pulling || return 1
    ctl_on c vport del vm1 && ip -n "${HOST_SPACE[c]}" link del tap1 && role_is b 1 active && all_alive_on b
}
it "...the operator's way out: removed and added again it is in force; or dfwsyncd is started, and asks again" way_out
refused_name() {
    ! ctl_on c vport add vm1 --dev tapx --mac "${VM_MAC[9]}" --ip "${VM_IP[9]}" >"$TMP/out" 2>&1 && grep -q "host b" "$TMP/out" ||
        because "$(cat "$TMP/out")"
}
it "the name of another host's vport is taken, unless it is said to have moved" refused_name

# ---- who dies --------------------------------------------------------------------------------------------------------

# Nobody decides otherwise because a dfwsyncd is dead.
source_dies_preparing() {
    migrate b prepare vm1 --to a && syncd_end_on b KILL && talks tcp && iperf_runs && syncd_on b && cluster_whole &&
        until_true 20 role_is b 1 active && move b a 1 && all_alive_on a
}
it "the source's dfwsyncd is killed while it prepares: it runs on, and moves when it is back" source_dies_preparing
source_dies_handed_over() {
    migrate a prepare vm1 --to b && unplug 1 && migrate a start vm1 && syncd_end_on a KILL && plug b 1 &&
        until_true 30 role_is b 1 active && all_alive_on b && syncd_on a && cluster_whole && until_true 30 gone && role_is b 1 active
}
it "...killed when it has handed over: the destination takes it, and the source gives it up when it is back" source_dies_handed_over
both_die_handed_over() {
    migrate b prepare vm1 --to a && unplug 1 && migrate b start vm1 && syncd_end_on b KILL && syncd_end_on a KILL &&
        syncd_on a && syncd_on b && cluster_whole && role_is b 1 handover && plug a 1 &&
        becomes_active a 1 && until_true 60 talks tcp && all_alive_on a
}
# The pause was long: TCP tries again after a dozen seconds only.
it "...source and destination, when it was handed over: offered again from the kernel's flows, and taken" both_die_handed_over
# Nobody knows any more whether it was offered, and the VM has not gone: the destination is asked, and has nothing.
both_die_and_it_stays() {
    migrate a prepare vm1 --to b && migrate a start vm1 && syncd_end_on a KILL && syncd_end_on b KILL &&
        syncd_on b && syncd_on a && cluster_whole && becomes_active a 1 && until_true 60 talks tcp && all_alive_on a
}
it "...and if the VM has stayed, and the destination knows nothing: the source brings it into force again by itself" both_die_and_it_stays
destination_dies_preparing() {
    migrate a prepare vm1 --to b && syncd_end_on b KILL && talks tcp && syncd_on b && cluster_whole &&
        until_true 30 not phase_is a 1 preparing && { migrate a rollback vm1 || true; } && role_is a 1 active && move a b 1 && all_alive_on b
}
it "the destination's dfwsyncd is killed while it prepares: the move can be begun anew" destination_dies_preparing
dfwd_dies() {
    migrate b prepare vm1 --to a && dfwd_end_on b KILL && talks tcp && dfwd_on b && unplug 1 && until_true 30 migrate b start vm1 &&
        plug a 1 && becomes_active a 1 && all_alive_on a
}
it "the source's dfwd is killed and started again in the middle of a move" dfwd_dies

# ---- strict ----------------------------------------------------------------------------------------------------------

tight() { ctl_on a vport set vm1 --profile tight >"$TMP/out" 2>&1 && policy 10; }
no_room() {
    ! migrate a prepare vm1 --to b --strict && grep -q "room" "$TMP/out" && role_is a 1 active && talks tcp ||
        because "${FAIL_REASON:-$(cat "$TMP/out")}"
}
it "a profile with room for fewer flows than there are, at the destination" tight
it "...refuses at prepare, and the VM runs on where it is" no_room
