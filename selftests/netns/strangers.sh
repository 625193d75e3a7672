#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Strangers flood the ports of a cluster's hosts: garbage, messages of every shape, handshakes that have to be looked at closely,
# connections that are held. No packet is decided differently, the cluster goes on, memory is bounded, every drop has a name.
# shellcheck source=selftests/cluster_lib.sh disable=SC2015,SC2119,SC2317
. "$(dirname "$0")/../cluster_lib.sh"
need_root
[[ -x $DFWSYNCD ]] || skip_all "dfwsyncd is not built in $BUILD"
HANDSHAKES=$BUILD/selftests/handshakes
[[ -x $HANDSHAKES ]] || skip_all "needs make unit-tests"

GREW=65536  # KiB that a dfwsyncd may grow by
HELD=1000 # connections to each of two ports

# ---- a cluster, and a host that is not of it -----------------------------------------------------------------------------

begin() {
    local host
    cluster_hosts a b c d x
    HOSTS=(a b c)
    for host in a b c; do dfwd_on "$host" && syncd_on "$host" || return 1; done
    cluster_init a && cluster_join a b && cluster_join a c && cluster_whole
}
must "three hosts are one cluster, a fourth is a stranger on its network" begin
policy() {
    apply_on a --wait 20 <<EOP
default in drop
default out drop
tier t {
    ping: allow service icmp-echo, icmp6-echo
    open: allow service tcp 7000, udp 7002
    ${1:-}
}
EOP
}
vms() { vm_on a 1 && vm_on b 2 && vm_on c 3 && policy && listen "${VM[2]}" 7000 && listen "${VM[3]}" 7000; }
must "VMs on the three, and a policy" vms
watched() { talk lives "${VM[1]}" "${VM_IP[2]}" 7000 && leak_watch "${VM[2]}" "${VM[3]}" "${VM_IP[3]}" 7002 7003 trickle; }
must "a connection, and datagrams of which the policy lets one kind through" watched

# ---- the flood -------------------------------------------------------------------------------------------------------

in_kb() { awk -v f="$2:" '$1 == f { print $2 }' "/proc/${SYNCD_PIDS[$1]}/status"; }
ticks() { awk '{ print $14 + $15 }' "/proc/${SYNCD_PIDS[$1]}/stat"; }
files() { find "/proc/${SYNCD_PIDS[$1]}/fd" -mindepth 1 | wc -l; }
# load HOST SECONDS: its dfwsyncd's, in percent of a CPU
load() {
    local before
    before=$(ticks "$1")
    sleep "$2"
    echo $((($(ticks "$1") - before) * 100 / $2 / $(getconf CLK_TCK)))
}
counted() { ctl_on "$1" -j sync counters | jq -r --arg c "$2" '.network[$c]'; }
# floods HOW PLANE [more]: at hosts a and b; ends with flood_ends. A stranger's machine is his own: he takes what ours have left.
FLOODS=()
floods() {
    local how=$1 plane=$2 host
    shift 2
    for host in a b; do
        background "flood-$how-$plane-$host" on x nice -n 10 /usr/bin/python3 "$HERE/netns/stranger.py" "$how" "${HOST_ADDRESS[$host]}" $((7472 + plane)) "$@"
        FLOODS+=("$LAST")
    done
}
flood_ends() {
    local pid
    for pid in "${FLOODS[@]}"; do pid_end "$pid" KILL || return 1; done
    FLOODS=()
}
# What must hold at any time: packets are decided as ever, a policy is realised, the members see each other.
decides() { talks lives && opens "${VM[1]}" "${VM_IP[3]}" 7000 && closed "${VM[1]}" "${VM_IP[3]}" 7001; }
goes_on() {
    local before
    decides || return 1
    before=$(generation_of c)
    policy "more: allow service tcp $((8000 + before))" && [[ $(generation_of c) == $((before + 1)) ]] || because "the policy: ${FAIL_REASON:-generation $(generation_of c)}" || return 1
    all_alive a b c || because "$(ctl_on a -j cluster status | jq -c '[.hosts[] | .host + ":" + .state]')" || return 1
    decides
}
# flooded COUNTERS command..: for some seconds; each of these counters of host a must rise
flooded() {
    local counters=$1 counter rss=() host load
    local -A before=()
    shift
    for host in a b; do rss+=("$(in_kb "$host" VmRSS)"); done
    for counter in $counters; do before[$counter]=$(counted a "$counter"); done
    "$@" || return 1
    load=$(load a 3)
    goes_on || return 1
    echo "# dfwsyncd of host a: $load % of a CPU, $(in_kb a VmRSS) KiB, ${rss[0]} before; $(for counter in $counters; do echo "$counter +$(($(counted a "$counter") - before[$counter]))"; done | paste -sd' ')"
    for counter in $counters; do
        (($(counted a "$counter") > before[$counter])) || because "$counter does not count" || return 1
    done
    for host in a b; do
        (($(in_kb "$host" VmRSS) < rss[0] + GREW)) || because "dfwsyncd of host $host grew from ${rss[0]} to $(in_kb "$host" VmRSS) KiB" || return 1
    done
    flood_ends && calm
}
idle() { (($(load a 1) < 25)); }
calm() { until_true 30 idle || because "dfwsyncd of host a still takes $(load a 2) % of a CPU"; }

garbage() { floods bytes 0 && floods bytes 1 && floods lengths 0 && floods lengths 1; }
it "garbage, and messages said to be longer than any" flooded "" garbage
shapes() { floods messages 0 && floods messages 1; }
it "messages of every shape: dropped and counted by name" flooded "truncated oversized unknown_type wrong_cluster" shapes
looked_at() {
    "$HANDSHAKES" "${HOST_STATE[b]}/cluster" 2000 >"$TMP/handshakes" && floods handshakes 0 "$TMP/handshakes"
}
it "handshakes as of members, and of hosts that nobody knows: few are looked at" flooded "flooded bad_certificate bad_signature" looked_at
held() { floods hold 0 "$HELD" && floods hold 1 "$HELD"; }
it "$HELD connections to each port from one address, made anew when they are closed" flooded "strangers_refused" held
few() { (($(files a) < 100)); }
let_go() { until_true 30 few || because "host a has $(files a) files"; }
it "...of which it keeps a few, and none in the end" let_go

# An attacker with a network of his own: each connection from another address.
NETWORK=10.99.4.0/22
scattered() {
    local host
    on x ip route add local "$NETWORK" dev lo || return 1
    for host in a b c d; do on "$host" ip route add "$NETWORK" via "${HOST_ADDRESS[x]}" || return 1; done
    floods hold 0 "$HELD" "$NETWORK" && floods hold 1 "$HELD" "$NETWORK" && until_true 30 refuses || because "nothing is refused" || return 1
    refused=$(counted a strangers_refused)
}
refuses() { (($(counted a strangers_refused) > refused + HELD)); }
refused=$(counted a strangers_refused)
must "$HELD to each port from a thousand addresses, made anew when they are closed" scattered
comes_back() {
    syncd_end_on c KILL && until_true 60 sees a c dead && syncd_on c && until_true 30 all_alive a b c || because "$(ctl_on a -j cluster status | jq -c '[.hosts[] | .host + ":" + .state]')"
}
it "...a host that they know, and that was dead, is back at once" comes_back
joins() {
    local began=$SECONDS
    dfwd_on d && syncd_on d && cluster_join a d && until_true 60 all_alive a b c d || because "$(ctl_on a -j cluster status | jq -c '[.hosts[] | .host + ":" + .state]')" || return 1
    echo "# after $((SECONDS - began)) s; host a: $(files a) files, $(in_kb a VmRSS) KiB, $(ctl_on a -j sync counters | jq -c '.network | {strangers_refused, strangers_expired, connections_refused}')"
}
it "...one that nobody knows yet joins" joins
# More may have come for a moment, when the machine had no time for the door. Without one it were thousands, all the time.
few_taken() { (($(files a) < 600 && $(files b) < 600)); }
spared() { until_true 30 few_taken || because "hosts a and b have $(files a) and $(files b) files" || return 1; goes_on && flood_ends && calm; }
it "...few files are taken, and the cluster goes on" spared

few_files() {
    local DFWSYNCD=$TMP/few-files
    printf '#!/bin/sh\nexec prlimit --nofile=300 %q "$@"\n' "$BUILD/dfwsyncd" >"$DFWSYNCD" && chmod +x "$DFWSYNCD" || return 1
    syncd_end_on a KILL && syncd_on a && cluster_whole
}
exhausted() {
    floods hold 0 "$HELD" "$NETWORK" && floods hold 1 "$HELD" "$NETWORK" && until_true 30 refuses && comes_back && goes_on && flood_ends && calm
}
refused=0
must "a dfwsyncd that may have 300 files" few_files
it "...takes in who they know, and answers, with more connections than that at its door" exhausted

# ---- and afterwards --------------------------------------------------------------------------------------------------

it "afterwards all is as before" goes_on

# ---- a stolen host -------------------------------------------------------------------------------------------------------

# Its dfwd and its VM go on.
stolen() {
    syncd_end_on c KILL || return 1
    background liar on c "$BUILD/selftests/liar" "${HOST_STATE[c]}/cluster" "${HOST_ADDRESS[c]}:7472" "${HOST_ADDRESS[a]}:7472"
    LIAR=$LAST
    until_true 60 grep -q member "$TMP/liar" || because "it is no member: $(cat "$TMP/liar" "/proc/$LIAR/status" 2>&1 | grep -v '^[A-Z][a-z]*_' | head -n 4 | tr '\n' ' ')" || return 1
    until_true 30 sees a c alive || because "host a does not see it: $(ctl_on a cluster status | grep 10.99.0.3)" || return 1
    # shellcheck disable=SC2317
    crowded() { (($(ctl_on "$1" -j sync counters | jq .core.crowded) > 0)); }
    until_true 30 crowded a && until_true 30 crowded b || because "nothing is refused: $(ctl_on a -j sync counters | jq -c .core)"
}
must "a member that was stolen says what no host says: vports of no name, members without end" stolen
unharmed() {
    local host
    for host in a b; do
        kill -0 "${SYNCD_PIDS[$host]}" && kill -0 "${DFWD_PIDS[$host]}" || because "a daemon of host $host has died: $(tail -n 2 "${SYNCD_LOG[$host]}")" || return 1
        (($(in_kb "$host" VmRSS) < 3 * GREW)) || because "dfwsyncd of host $host takes $(in_kb "$host" VmRSS) KiB" || return 1
        sees "$host" a alive && sees "$host" b alive || return 1
    done
    for host in a b; do
        ! LC_ALL=C grep -q '[[:cntrl:]]' "${HOST_LOG[$host]}" "${SYNCD_LOG[$host]}" || because "a name acts on who reads the log of host $host" || return 1
        (($(cat "${HOST_LOG[$host]}" "${SYNCD_LOG[$host]}" | wc -l) < 3000)) || because "the logs of host $host have no end" || return 1
    done
    echo "# dfwsyncd of host a: $(in_kb a VmRSS) KiB, $(ctl_on a -j cluster status | jq '.hosts | length') hosts; refused: $(ctl_on a -j sync counters | jq -c '.core | {crowded}')"
    decides
}
it "...the others live, remember no more than there can be, and decide as ever" unharmed
hears() {
    vm_on b 4 --tag app=late && listen "${VM[1]}" 7001 || return 1
    # The stolen one follows nothing, and is named alone.
    ! policy 'late: allow from tag app=late to any-vport service tcp 7001' && [[ $(<"$TMP/out") == *"host c has not realised"* && $(wc -l <"$TMP/out") == 1 ]] ||
        because "apply says: $(head -n 3 "$TMP/out")" || return 1
    until_true 30 opens "${VM[4]}" "${VM_IP[1]}" 7001 && closed "${VM[2]}" "${VM_IP[1]}" 7001
}
it "...and hear of each other's new VMs" hears
revoked() {
    ctl_on a cluster revoke c >"$TMP/out" 2>&1 || because "$(cat "$TMP/out")" || return 1
    until_true 100 sees a c dead && pid_end "$LIAR" KILL && decides
}
it "...until it is revoked" revoked
it "through all of this no forbidden datagram came through" no_leak
