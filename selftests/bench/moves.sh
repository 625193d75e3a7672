#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Moves a vport with many flows between two hosts again and again: lost flows, the time that the firewall adds to a
# switch-over, flows a second. moves.sh [RUNS [FLOWS [DELTA]]]; REPLICAS=1: the destination has a copy already.
# shellcheck source=selftests/cluster_lib.sh disable=SC2015
. "$(dirname "$0")/../cluster_lib.sh"
need_root
[[ -x $DFWSYNCD && -x $BUILD/selftests/bench/moves ]] || skip_all "not built: make build/selftests/bench/moves"

RUNS=${1:-20}
FLOWS=${2:-100000}
DELTA=${3:-10000}
REPLICAS=${REPLICAS:-0}

begin() {
    local host
    cluster_hosts a b
    for host in a b; do
        dfwd_on "$host" && syncd_on "$host" && ip -n "${HOST_SPACE[$host]}" link add tap1 type veth peer name vm1 &&
            ip -n "${HOST_SPACE[$host]}" link set tap1 up || return 1
    done
    ctl_on a cluster init --name a --address "${HOST_ADDRESS[a]}" --replicas "$REPLICAS" >"$TMP/out" 2>&1 || because "$(cat "$TMP/out")" || return 1
    cluster_join a b && cluster_whole
}
must "two hosts" begin
policy() {
    apply_on a --wait 10 <<EOP
profile big { max-flows 1000000; flow-table 131072 }
default in drop
default out drop
tier move { web: allow in service tcp 7000 }
EOP
}
must "a policy" policy
vport() {
    ctl_on a vport add vm1 --dev tap1 --mac "${VM_MAC[1]}" --ip "${VM_IP[1]}" --profile big >"$TMP/out" 2>&1 || because "$(cat "$TMP/out")" || return 1
    until_true 10 grep -q '"active"' <(ctl_on a -j migrate status vm1)
}
must "a vport" vport
# Hosts share no processors: else both ends may wait for one of two while the other idles.
apart() {
    local cpu=0 host
    (($(nproc) > 1)) || return 0
    for host in a b; do
        taskset -acp $((cpu++)) "${SYNCD_PIDS[$host]}" >"$TMP/out" 2>&1 || because "$(cat "$TMP/out")" || return 1
    done
}
must "a processor for each host" apart
"$BUILD/selftests/bench/moves" "$RUNS" "$FLOWS" "$DELTA" vm1 \
    "a:${HOST_INSTANCE[a]}:${HOST_SPACE[a]}:tap1:${SYNCD_PIDS[a]}" "b:${HOST_INSTANCE[b]}:${HOST_SPACE[b]}:tap1:${SYNCD_PIDS[b]}" || {
    tail -n 5 "${SYNCD_LOG[a]}" "${SYNCD_LOG[b]}"
    FAILED=1
}
