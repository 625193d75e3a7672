#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# A certified host whose dfwsyncd stands still, or is slow, while flows come and go: what waits for it on the others is bounded.
# shellcheck source=selftests/cluster_lib.sh disable=SC2015,SC2119,SC2317
. "$(dirname "$0")/../cluster_lib.sh"
need_root
[[ -x $DFWSYNCD ]] || skip_all "dfwsyncd is not built in $BUILD"

GREW=65536 # KiB that a dfwsyncd may grow by

begin() {
    cluster_up a b && ctl_on a -j cluster status >/dev/null && vm_on a 1 && vm_on a 2 && apply_on a --wait 20 <<EOP
default in drop
default out drop
tier t { open: allow service tcp 7000, udp 7000 }
EOP
}
must "two hosts are one cluster, two VMs are on one of them" begin
must "a server" listen "${VM[2]}" 7000

in_kb() { awk '$1 == "VmRSS:" { print $2 }' "/proc/${SYNCD_PIDS[$1]}/status"; }
counted() { ctl_on "$1" -j sync counters | jq -r --arg c "$2" '.network[$c]'; }
# Connections that are made, live for three seconds and end, without end
churn() {
    # shellcheck disable=SC2016
    background churn in_vm 1 bash -c 'while :; do timeout 3 /usr/bin/python3 "$1" many "$2" 7000 3000; done' churn "$HERE/netns/peer.py" "${VM_IP[2]}"
    CHURN=$LAST
}
replicates() { ctl_on a -j sync status | jq -e '[.vports[].peers[] | select(.changes >= 0)] | length > 0' >/dev/null; }
loaded() { churn && until_true 30 replicates && sleep 10; }
it "flows come and go, and are told to the other host" loaded

# watch SECONDS: how much host a's dfwsyncd takes at most
watch_kb() {
    local i kb most=0
    for ((i = 0; i < $1; i++)); do
        kb=$(in_kb a)
        ((kb > most)) && most=$kb
        sleep 1
    done
    echo "$most"
}
# Three questions about all flows at once, each of which this host answers for itself while it waits for the other
ask_b() {
    local i
    for ((i = 0; i < 3; i++)); do
        timeout 5 nsenter --net="/run/netns/${HOST_SPACE[a]}" "$DFWCTL" -i "${HOST_INSTANCE[a]}" flow find --port 7000 >/dev/null 2>&1 &
        PIDS+=("$!")
        disown "$!"
    done
}
stands_still() {
    local before most
    before=$(in_kb a)
    kill -STOP "${SYNCD_PIDS[b]}"
    ask_b
    most=$(watch_kb 30)
    kill -CONT "${SYNCD_PIDS[b]}"
    echo "# dfwsyncd of host a: $before KiB before, $most at most in 30 s; $(ctl_on a -j sync counters | jq -c '.network | {frames_unsent, frames_lost, no_room}')"
    ((most < before + GREW)) || because "it grew from $before to $most KiB"
}
it "the other one stands still for 30 s: what waits for it is bounded" stands_still
it "...and when it goes on it is a member" until_true 60 all_alive a b
# Ten milliseconds of each hundred, for as long as 20 s
crawl() {
    local i
    for ((i = 0; i < 200; i++)); do
        kill -CONT "$1"
        sleep .01
        kill -STOP "$1"
        sleep .09
    done
    kill -CONT "$1"
}
is_slow() {
    local before most
    before=$(in_kb a)
    crawl "${SYNCD_PIDS[b]}" &
    PIDS+=("$!")
    most=$(watch_kb 20)
    wait "$!"
    echo "# dfwsyncd of host a: $before KiB before, $most at most in 20 s"
    ((most < before + GREW)) || because "it grew from $before to $most KiB"
}
it "the other one is slow: the same" is_slow
caught_up() { ctl_on a -j sync status | jq -e '[.vports[].peers[] | .safe] | all and length > 0' >/dev/null; }
goes_on() { pid_end "$CHURN" KILL; until_true 60 all_alive a b && until_true 60 caught_up || because "$(ctl_on a -j sync status | jq -c '.vports')"; }
it "...and when all is quiet it has everything" goes_on
