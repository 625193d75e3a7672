#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# What it costs the owner of a port to let its buddy have the flows, and how far behind that is: replicate.sh [FLOWS A SECOND [SECONDS]]
# shellcheck source=selftests/cluster_lib.sh disable=SC2015
. "$(dirname "$0")/../cluster_lib.sh"
need_root
RATE=${1:-10000}
SECONDS_LONG=${2:-20}
TOOLS=$BUILD/selftests/bench
make -s -C "$HERE/bench" "B=$TOOLS" || exit 1

begin() {
    local host
    cluster_hosts a b
    for host in a b; do dfwd_on "$host" && syncd_on "$host" || return 1; done
    ip -n "${HOST_SPACE[a]}" link add tap1 type veth peer name vm1 && ip -n "${HOST_SPACE[a]}" link set tap1 master br0 up &&
        ip -n "${HOST_SPACE[a]}" link set vm1 up || because "no device" || return 1
    ctl_on a cluster init --name a --address "${HOST_ADDRESS[a]}" --replicas 1 >"$TMP/out" 2>&1 || because "$(cat "$TMP/out")" || return 1
    cluster_join a b && cluster_whole || return 1
    apply_on a --wait 10 <<EOP
profile big { max-flows 1000000; max-half-open 65536; timeout udp-new 600s; timeout udp-replied 600s; timeout udp-stream 600s }
default in drop
default out drop
tier test { web: allow in service udp 4000 }
EOP
    ctl_on a vport add vm1 --dev tap1 --mac "${VM_MAC[1]}" --ip "${VM_IP[1]}" --profile big >"$TMP/out" 2>&1 || because "$(cat "$TMP/out")" || return 1
    until_true 10 grep -q '"active"' <(ctl_on a -j migrate status vm1)
}
must "two hosts, a vport whose flows the other one gets" begin

# cpu_ns PID: of a process with its children
cpu_ns() {
    local pid
    for pid in "$1" $(pgrep -P "$1"); do cut -d' ' -f1 "/proc/$pid/task/"*/schedstat 2>/dev/null; done | awk '{ sum += $1 } END { print sum + 0 }'
}
before=$(cpu_ns "${SYNCD_PIDS[a]}")
before_other=$(cpu_ns "${SYNCD_PIDS[b]}")
background flows on a taskset -c 0 "$TOOLS/inject" "$TOOLS/inject.bpf.o" establish --dev up0 --port tap1 --outside "$WIRE_MAC" --mac "${VM_MAC[1]}" \
    --ip "${VM_IP[1]}" --udp 4000 --from 10.90.0.1 --flows $((RATE * SECONDS_LONG)) --rate "$RATE"
injector=$LAST
began=$(date +%s%N)
while kill -0 "$injector" 2>/dev/null; do
    ctl_on a -j sync status | jq -r '.vports[0].peers[] | "\(.changes) \(.ms)"' >>"$TMP/lag"
    sleep 0.1
done
took=$(($(date +%s%N) - began))
sleep 3 # flows younger than two seconds are not copied; what they take counts
after=$(cpu_ns "${SYNCD_PIDS[a]}")
after_other=$(cpu_ns "${SYNCD_PIDS[b]}")
flows=$(ctl_on a -j vport show vm1 | jq .flows)
behind=$(ctl_on a -j sync status | jq -r '.vports[0].peers[0].changes')
sort -n -k2 "$TMP/lag" | awk -v flows="$flows" -v behind="$behind" -v own=$((after - before)) -v other=$((after_other - before_other)) -v took="$took" -v rate="$RATE" '
    { ms[NR] = $2; if ($1 > most) most = $1 }
    END {
        printf "%d flows at %d a second, %d of them not copied at the end\n", flows, rate, behind
        printf "owner: %.2f %% of a core; its buddy: %.2f %%\n", 100 * own / took, 100 * other / took
        printf "lag: p50 %d ms, p99 %d ms, most %d ms; at most %d changes behind (%d looks)\n", ms[int((NR + 1) / 2)], ms[int(NR * .99 + .5)], ms[NR], most, NR
    }'
