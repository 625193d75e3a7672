#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Three hosts whose policy lies in etcd: the operators' hosts, a and b, may write; without etcd all goes on.
# shellcheck disable=SC2015,SC2317

# shellcheck source=selftests/cluster_lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../cluster_lib.sh"
need_root
[[ -x $DFWSYNCD ]] && "$DFWCTL" help cluster init >/dev/null 2>&1 || skip_all "dfwsyncd is not built in $BUILD"
command -v etcd etcdctl >/dev/null || skip_all "no etcd-server, etcd-client"

# ---- etcd: in the switch's namespace, at 10.99.0.100 -----------------------------------------------------------------

URL=http://10.99.0.100:2379
ETCD_PID=
etcd_up() {
    ip -n "$SWITCH" addr replace 10.99.0.100/24 dev mgmt
    background etcd exec ip netns exec "$SWITCH" etcd --name a --data-dir "$TMP/etcd.data" --logger zap --log-level error \
        --listen-client-urls "$URL" --advertise-client-urls "$URL" --listen-peer-urls http://127.0.0.1:2380 \
        --initial-advertise-peer-urls http://127.0.0.1:2380 --initial-cluster a=http://127.0.0.1:2380
    ETCD_PID=$LAST
    until_true 20 in_space "$SWITCH" curl -sf --max-time 1 "$URL/health" || because "etcd: $(tail -n 3 "$TMP/etcd")"
}
etcd_down() { pid_end "$ETCD_PID" KILL; }

# As in cluster_lib.sh, but b is an operator's too.
cluster_join() {
    local options=()
    [[ $2 != b ]] || options=(--operator)
    ctl_on "$1" cluster invite "$2" ${options[@]+"${options[@]}"} >"$TMP/invitation-$2" 2>"$TMP/out" ||
        because "cluster invite: $(cat "$TMP/out")" || return 1
    ctl_on "$2" cluster join "$TMP/invitation-$2" --address "${HOST_ADDRESS[$2]}" >"$TMP/out" 2>&1 ||
        because "cluster join: $(cat "$TMP/out")"
}

store_of() { ctl_on "$1" -j cluster status 2>/dev/null | jq -r "$2"; }
stores_reachable() {
    local host
    for host in "${HOSTS[@]}"; do
        [[ $(store_of "$host" .etcd.reachable) == "$1" ]] || return 1
    done
}
# policy PORT: web servers may be reached on it
policy() {
    cat <<END
group web { tag app=web }
default in drop
default out allow
tier t {
    ping: allow service icmp-echo, icmp6-echo
    web:  allow in from any to web service tcp $1
}
END
}
generations() {
    local host all=
    for host in "${HOSTS[@]}"; do
        all+=" $(generation_of "$host")"
    done
    echo "${all# }"
}
all_at() { [[ $(generations) == "$1 $1 $1" ]]; }
everywhere() { until_true 20 all_at "$1" || because "generations $(generations), not $1"; }
apply_works() {
    policy "$2" | apply_on "$1" --wait 60 && GENERATION=$(generation_of "$1") && everywhere "$GENERATION"
}

# ---- tests -----------------------------------------------------------------------------------------------------------

must "three hosts, one cluster, with the local store" cluster_up a b c
vms() { vm_on b 2 --tag app=web && vm_on c 3 && listen "${VM[2]}" 80 && listen "${VM[2]}" 81; }
must "a VM with a web server on b, another VM on c" vms
must "a policy in the local store" apply_works a 80

moves_to_etcd() {
    local host before=$GENERATION
    etcd_up || return 1
    for host in "${HOSTS[@]}"; do
        ctl_on "$host" cluster store "etcd=$URL" >"$TMP/out" 2>&1 || because "cluster store on $host: $(cat "$TMP/out")" || return 1
    done
    until_true 20 stores_reachable true || because "etcd is not spoken to: $(tail -n 3 "${SYNCD_LOG[a]}")" || return 1
    cluster_whole && everywhere "$before" || return 1
    until_true 30 in_etcd || because "nothing lies in etcd" || return 1
    opens "${VM[3]}" "${VM_IP[2]}" 80 && closed "${VM[3]}" "${VM_IP[2]}" 81
}
in_etcd() {
    in_space "$SWITCH" env ETCDCTL_API=3 etcdctl --endpoints "$URL" get --prefix /dfw/ --keys-only | grep -q manifest
}
must "the cluster takes its policy along to etcd" moves_to_etcd

any_operator() {
    apply_works b 81 && [[ $(store_of c .writer) == b && $(store_of c .store) == etcd ]] || because "the writer is $(store_of c .writer)" || return 1
    closed "${VM[3]}" "${VM_IP[2]}" 80 && opens "${VM[3]}" "${VM_IP[2]}" 81 || return 1
    apply_works a 80 && opens "${VM[3]}" "${VM_IP[2]}" 80
}
it "any operator's host may apply a policy, and it is in force on all" any_operator

no_operator() {
    policy 81 >"$TMP/policy.dfw"
    refuses 1,2 "only a host that is an operator" ctl_on c policy apply "$TMP/policy.dfw" && everywhere "$GENERATION"
}
it "another host may not" no_operator

at_once() {
    local host pids=() status=0
    for host in a b; do
        policy "$((8000 + HOST_NUMBER[$host]))" >"$TMP/at-once-$host.dfw"
    done
    for host in a b; do
        ctl_on "$host" policy apply "$TMP/at-once-$host.dfw" --wait 60 >"$TMP/at-once-$host" 2>&1 &
        pids+=("$!")
    done
    for host in "${pids[@]}"; do
        wait "$host" || status=1
    done
    ((status == 0)) || because "$(cat "$TMP"/at-once-?)" || return 1
    GENERATION=$((GENERATION + 2))
    everywhere "$GENERATION"
}
it "of two at once each gets a generation of its own, one after the other" at_once

invalid() {
    local before=$GENERATION
    echo "tier {" | apply_on b 2>/dev/null
    all_at "$before" || because "generations $(generations)"
}
it "a policy with errors changes nothing" invalid

without_etcd() {
    apply_works a 80 && talk mine "${VM[3]}" "${VM_IP[2]}" 80 || return 1
    etcd_down || return 1
    until_true 30 stores_reachable false || because "nobody notices" || return 1
    talks mine && opens "${VM[3]}" "${VM_IP[2]}" 80 && closed "${VM[3]}" "${VM_IP[2]}" 81 || return 1
    policy 81 >"$TMP/policy.dfw"
    refuses 1 "policy store does not answer.*nothing was changed" ctl_on b policy apply "$TMP/policy.dfw" || return 1
    everywhere "$GENERATION" && opens "${VM[3]}" "${VM_IP[2]}" 80
}
it "without etcd everything goes on, and an apply says why it cannot" without_etcd

boots_without_etcd() {
    host_die b || return 1
    talks mine && opens "${VM[3]}" "${VM_IP[2]}" 80 || return 1
    host_rise b || return 1
    cluster_whole && everywhere "$GENERATION" && talks mine && closed "${VM[3]}" "${VM_IP[2]}" 81
}
it "a host that boots without etcd has its last good generation" boots_without_etcd

back() {
    etcd_up && until_true 30 stores_reachable true || because "etcd is not taken up again" || return 1
    apply_works b 81 && opens "${VM[3]}" "${VM_IP[2]}" 81
}
it "etcd comes back, and the next policy is in force on all hosts" back

misses_it() {
    local host
    syncd_end_on c KILL || return 1
    apply_works_without_c || return 1
    syncd_on c && cluster_whole && everywhere "$GENERATION"
}
apply_works_without_c() {
    policy 80 | apply_on a || return 1
    GENERATION=$(generation_of a)
    until_true 20 b_follows || because "b is at $(generation_of b)"
}
b_follows() { [[ $(generation_of b) == "$GENERATION" ]]; }
it "a host whose dfwsyncd was away catches up by etcd" misses_it

local_again() {
    local host
    for host in "${HOSTS[@]}"; do
        ctl_on "$host" cluster store local >"$TMP/out" 2>&1 || because "cluster store on $host: $(cat "$TMP/out")" || return 1
    done
    until_true 20 all_local || because "not local" || return 1
    cluster_whole && until_true 30 ctl_on a cluster takeover || because "no takeover" || return 1
    apply_works a 81 && refuses 1,2 "on host a" ctl_on b policy apply "$TMP/policy.dfw"
}
all_local() { [[ $(store_of a .store)$(store_of b .store)$(store_of c .store) == locallocallocal ]]; }
it "the way back to the local store: takeover says who writes" local_again
