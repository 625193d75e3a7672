#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Two routers on two hosts are a pair: what a client behind them sends leaves through the one, and the answers come back
# through the other. Strict TCP; each host sees half of each connection.
#
#     client 10.88.0.1 ---+--- VM 1 (host a) --->  wire 10.77.0.254      towards the wire
#                         +--- VM 2 (host b) <---                       and back
#
# shellcheck source=selftests/cluster_lib.sh disable=SC2015,SC2119,SC2317
. "$(dirname "$0")/../cluster_lib.sh"
need_root
[[ -x $DFWSYNCD ]] || skip_all "dfwsyncd is not built in $BUILD"

CLIENT=${ID}in
CLIENT_IP=10.88.0.1

# router N: between the client's network and the wire
router() {
    cable "$CLIENT" "in$1" "${VM[$1]}" in0 && ip -n "$CLIENT" link set "in$1" master inside &&
        ip -n "${VM[$1]}" addr add "10.88.0.1$1/24" dev in0 &&
        in_vm "$1" sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 \
            net.ipv4.conf.eth0.rp_filter=0 net.ipv4.conf.in0.rp_filter=0 net.ipv4.conf.all.send_redirects=0 \
            net.ipv4.conf.eth0.send_redirects=0 net.ipv4.conf.in0.send_redirects=0
}
# The client sends through router N; what is sent to it comes through router M.
ways() {
    ip -n "$CLIENT" route replace default via "10.88.0.1$1" && ip -n "$WIRE" route replace 10.88.0.0/24 via "${VM_IP[$2]}"
}
pair() {
    cluster_up a b || return 1
    space_add "$CLIENT"
    bridge_up "$CLIENT" inside && ip -n "$CLIENT" addr add "$CLIENT_IP/24" dev inside || return 1
    vm_on a 1 --ip "$CLIENT_IP" && router 1 && vm_on b 2 --ip "$CLIENT_IP" && router 2 && ways 1 2
}
policy() {
    apply_on a --wait 60 <<EOP
default in drop
default out drop
tier pair {
    ${1:-web: allow out service tcp 7000, udp 7000, tcp 5201}
}
EOP
}
share() {
    ctl_on a vport set vm1 --share "$1" >"$TMP/out" 2>&1 && ctl_on b vport set vm2 --share "$1" >"$TMP/out" 2>&1 ||
        because "vport set --share: $(cat "$TMP/out")"
}
# The flows of HOST's member, one a line: protocol, state
flows_of() { ctl_on "$1" -j flow list --addr "$CLIENT_IP" "${@:2}" 2>/dev/null | jq -r '.[] | "\(.proto) \(.state)"' | sort; }
has_flow() { flows_of "$1" | grep -q "$2"; }
# shares HOST: its vport's flows go to a member on the other
shares() { ctl_on "$1" -j sync status | jq -e '.vports[] | select(.share == "edge") | .peers[] | select(.shares and .changes == 0)' >/dev/null; }
drops_of() { ctl_on "$1" -j stats "$2" | jq --arg r "$3" '[.. | objects | select(.reason? == $r) | .packets] | add // 0'; }

# ---- without, and with ---------------------------------------------------------------------------------------------

must "two hosts, one cluster, two routers" pair
must "policy: out only, strict" policy
must "a server on the wire" listen "$WIRE" 7000

active_on() { ctl_on "$1" -j vport list --local | jq -e '.[0] | .ready and .attached' >/dev/null && ctl_on "$1" -j migrate status "$2" | jq -e '.role == "active" and (.held | not)' >/dev/null; }
alone() {
    until_true 30 active_on a vm1 && until_true 30 active_on b vm2 || because "not active" || return 1
    closed "$CLIENT" "$WIRE_IP" 7000 || return 1
    (($(drops_of b vm2 tcp-no-flow) > 0)) || because "$(ctl_on b stats vm2)"
}
it "without a share group the answer that comes back through the other host drops, as of no flow" alone

refuses_names() {
    refuses 2 "share group" ctl_on a vport set vm1 --share 'two words' && [[ $(ctl_on a -j vport show vm1 | jq -r .share) == "" ]]
}
it "a name that is none is refused" refuses_names
joined() {
    share edge && until_true 30 shares a && until_true 30 shares b || because "$(ctl_on a sync status; ctl_on b sync status)"
}
must "both become members of one group" joined
shown() {
    [[ $(ctl_on b -j vport list | jq -c 'map([.name, .share, .conflict])') == '[["vm1","edge",null],["vm2","edge",null]]' ]] ||
        because "$(ctl_on b -j vport list | jq -c 'map([.name, .share, .conflict])')" || return 1
    [[ $(ctl_on a -j vport show vm1 | jq -r .share) == edge ]] && ctl_on a vport show vm1 | grep -q 'share group.*edge' &&
        ctl_on a vport list | grep -q 'SHARE' && ctl_on a sync status | grep -q 'edge' || because "$(ctl_on a sync status)"
}
it "vport list, vport show and sync status show it; an address of both is no conflict" shown

known() {
    until_true 30 listed a 2 && until_true 30 listed b 1 || because "a: $(grep remote "${HOST_LOG[a]}" | tail -n 2)"
}
# listed HOST N: dfwd of HOST has taken VM n's vport over from the other host
listed() { jq -e --arg v "vm$2" --arg a "$CLIENT_IP" 'any(.vports[]; .name == $v and .share == "edge" and (.ips | index($a)))' "${HOST_STATE[$1]}/remote-vports.json" >/dev/null; }
it "each host's dfwd takes the other member over, with the address that is its own vport's too" known

together() {
    talk tcp "$CLIENT" "$WIRE_IP" 7000 && talks tcp || because "$FAIL_REASON; a: $(flows_of a); b: $(flows_of b)"
}
must "with it TCP opens, and goes on" together
on_both() {
    until_true 20 has_flow a "tcp tcp-established" && until_true 20 has_flow b "tcp tcp-established" ||
        because "a: $(flows_of a); b: $(flows_of b)"
}
it "both hosts have the flow, established" on_both
many() {
    local n
    for n in 1 2 3 4 5; do
        opens "$CLIENT" "$WIRE_IP" 7000 || return 1
    done
    ways 2 1
    for n in 1 2 3 4 5; do
        opens "$CLIENT" "$WIRE_IP" 7000 || return 1
    done
    talks tcp && ways 1 2 && talks tcp
}
it "...and others, also when the ways change: out through b, back through a" many
udp() {
    [[ $(in_space "$CLIENT" /usr/bin/python3 "$HERE/netns/peer.py" udp "$WIRE_IP" 7000 5) -ge 3 ]] || because "no answers"
}
it "UDP" udp
listens() { [[ -n $(in_wire ss -Hltn "sport = :$1") ]]; }
stream() {
    background iperf-server in_wire iperf3 -s -p 5201
    # Not by connecting: iperf3 takes who does for its client.
    until_true 30 listens 5201 || because "no iperf3 server" || return 1
    in_space "$CLIENT" iperf3 -c "$WIRE_IP" -p 5201 -t 3 -J >"$TMP/iperf.json" 2>&1 || because "$(tail -n 3 "$TMP/iperf.json")" || return 1
    echo "# $(jq -r '(.end.sum_received.bits_per_second / 1e6 | floor | tostring) + " Mbit/s, " + (.end.sum_sent.retransmits | tostring) + " sent again"' "$TMP/iperf.json")"
    # What waits for the other host's news gets a window each time, some Mbit/s; what does not, some thousand.
    (($(jq '.end.sum_received.bits_per_second | floor' "$TMP/iperf.json") > 20000000)) || because "it is throttled"
}
it "a stream whose acknowledgements come through the other host is not throttled by what this one knows" stream

# ---- ends ------------------------------------------------------------------------------------------------------------

# More than one, since what is killed may be in the middle of anything.
crowd() {
    local n
    for n in 1 2 3 4 5 6 7 8 9 10; do
        talk "crowd$n" "$CLIENT" "$WIRE_IP" 7000 || return 1
    done
    until_true 20 has_flows b 11 || because "b: $(flows_of b)"
}
has_flows() { (($(flows_of "$1" --proto tcp | grep -c established) >= $2)); }
killed() {
    crowd || return 1
    ctl_on a flow kill --vport vm1 --proto tcp >"$TMP/out" 2>&1 || because "$(cat "$TMP/out")" || return 1
    until_true 20 not has_flow b tcp || because "b still has: $(flows_of b)" || return 1
    # The ends go on sending, each through a member.
    sleep 2
    [[ -z $(flows_of a --proto tcp)$(flows_of b --proto tcp) ]] || because "a: $(flows_of a); b: $(flows_of b)"
}
it "flows killed on one member are gone on the other, and do not come back" killed
# Nobody else uses the locks of flows that no packet comes for.
killed_late() {
    local pins talker
    pins=/sys/fs/bpf/dfw/${HOST_INSTANCE[b]}/vports/vm2
    talk late "$CLIENT" "$WIRE_IP" 7000 && talker=$LAST && until_true 5 has_flow b "tcp tcp-established" || return 1
    kill -STOP "$talker" && sleep 0.5 && lock_flows "$pins" 0x01 && ctl_on a flow kill --vport vm1 --proto tcp >/dev/null || return 1
    sleep 1
    has_flow b "tcp tcp-established" || because "b has ended a flow that another CPU holds" || return 1
    lock_flows "$pins" 0x00 && until_true 5 not has_flow b tcp && (($(ctl_on b -j sync status | jq .counters.ended_late) > 0)) ||
        because "b: $(flows_of b), $(ctl_on b -j sync status | jq -c .counters)" || return 1
    kill -CONT "$talker" && silent late && [[ -z $(flows_of a --proto tcp)$(flows_of b --proto tcp) ]] ||
        because "a: $(flows_of a); b: $(flows_of b)"
}
it "...also if another CPU holds one on the other member: it ends as soon as that lets go" killed_late
no_tcp() { [[ -z $(flows_of a --proto tcp)$(flows_of b --proto tcp) ]]; }
# stays_dead NAME: within 20 s no member has a flow of it, and none has one again, though its ends go on sending
stays_dead() {
    until_true 20 no_tcp || because "a: $(flows_of a); b: $(flows_of b)" || return 1
    sleep 3
    no_tcp && silent "$1" || because "it comes back: a: $(flows_of a); b: $(flows_of b)"
}
kill_on_a() { ctl_on a flow kill --vport vm1 --proto tcp >"$TMP/out" 2>&1 || because "$(cat "$TMP/out")"; }
talks_on_both() { talk "$1" "$CLIENT" "$WIRE_IP" 7000 && until_true 10 has_flow a "tcp tcp-established" && until_true 10 has_flow b "tcp tcp-established"; }
# Only the kernel knows of it.
killed_alone() {
    talks_on_both alone && syncd_end_on a KILL && kill_on_a && sleep 1 && [[ -z $(flows_of a --proto tcp) ]] && has_flow b "tcp tcp-established" ||
        because "$FAIL_REASON; a: $(flows_of a); b: $(flows_of b)" || return 1
    syncd_on a && stays_dead alone
}
it "flows killed while dfwsyncd is dead end on the other member when it is back, and do not come back" killed_alone
whole() { until_true 20 all_alive a b && until_true 30 shares a && until_true 30 shares b; }
killed_last() {
    whole && talks_on_both quick && kill_on_a && syncd_end_on a KILL && syncd_on a && stays_dead quick
}
it "...also those that were killed in its last moments" killed_last
graves_of() { bpftool -j map dump pinned "/sys/fs/bpf/dfw/${HOST_INSTANCE[$1]}/graves" | jq length; }
killed_again() {
    local before
    whole && talks_on_both again && before=$(graves_of b) && kill_on_a && until_true 5 not has_flow b tcp || because "$FAIL_REASON; b: $(flows_of b)" || return 1
    (($(graves_of b) == before + 1)) || because "b has $(graves_of b) graves after $before" || return 1
    syncd_end_on b KILL && syncd_end_on a KILL && syncd_on b && syncd_on a && stays_dead again
}
it "...or before both were started again: each kernel remembers what the other member has killed, too" killed_again
# b is cut off when a kills it, and a is started again before b is heard of.
killed_apart() {
    whole && talks_on_both apart && ways 2 2 && part a b && talks apart && kill_on_a && sleep 1 && syncd_end_on a KILL && syncd_on a && talks apart || because "$FAIL_REASON; b: $(flows_of b)" || return 1
    heal && until_true 30 all_alive a b && stays_dead apart && ways 1 2
}
it "...and those that a member tells of which was cut off when they were killed" killed_apart
anew() { whole && opens "$CLIENT" "$WIRE_IP" 7000 && talk again "$CLIENT" "$WIRE_IP" 7000 && talks again; }
it "new connections of the same ends open" anew
revalidated() {
    policy "web: allow out service udp 7000" || return 1
    until_true 20 not has_flow a "tcp tcp-established" || because "a: $(flows_of a)" || return 1
    # Packets of it pass host a still, host b none.
    local left
    left=$(flows_of a --proto tcp)
    policy || return 1
    ! grep -q established <<<"$left" || because "a: $left"
}
it "a policy that does not allow it any more ends it on each member that sees its packets" revalidated

# ---- a member's host dies -------------------------------------------------------------------------------------------

goes_on() {
    talk last "$CLIENT" "$WIRE_IP" 7000 && talks last && until_true 20 has_flow b "tcp tcp-established" || return 1
    host_die a && ip -n "$SWITCH" link set fa down && ways 2 2 && talks last
}
it "a member's host dies: the connections go on through the other" goes_on
comes_back() {
    ip -n "$SWITCH" link set fa up && host_rise a && until_true 20 all_alive a b && until_true 30 shares b && until_true 30 shares a &&
        until_true 30 has_flow a "tcp tcp-established" && ways 1 1 && talks last
}
it "it comes back and has them too" comes_back
left() {
    ways 1 2 && share '' && until_true 20 no_group && closed "$CLIENT" "$WIRE_IP" 7000
}
no_group() { [[ $(ctl_on a -j vport list | jq -c 'map(.share)') == '["",""]' ]]; }
it "without the group it is as before: the answer drops" left
