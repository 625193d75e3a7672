#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Twenty hosts, one firewall: joining, a policy of 1,000 rules, a move, hosts that die, a partition; on a network that loses 2 % of
# the packets and, where the kernel can, delays them. Takes some minutes: `make check-long`.
# shellcheck source=selftests/cluster_lib.sh disable=SC2015,SC2119,SC2317
. "$(dirname "$0")/../cluster_lib.sh"
need_root

ALL=(a b c d e f g h i j k l m n o p q r s t)
APPLIES=${APPLIES:-100}

# ---- the cluster -----------------------------------------------------------------------------------------------------

# Loading programs is work: all at once would take no less time, but more memory.
rise() {
    local host
    cluster_hosts "${ALL[@]}"
    for host in "${ALL[@]}"; do dfwd_on "$host" && syncd_on "$host" || return 1; done
}
must "twenty hosts with a dfwd and a dfwsyncd each" rise
joined() {
    local host
    cluster_init a || return 1
    for host in "${ALL[@]:1}"; do cluster_join a "$host" || return 1; done
    all_see a && all_see t
}
# all_see HOST: it sees all twenty alive
alive_at() { [[ $(ctl_on "$1" -j cluster status 2>/dev/null | jq '[.hosts[] | select(.state == "alive")] | length') == "$2" ]]; }
all_see() { until_true 60 alive_at "$1" "${2:-20}" || because "host $1 sees $(ctl_on "$1" -j cluster status | jq -c '[.hosts[] | .host + ":" + .state]')"; }
must "they become one cluster" joined

rules() { # rules N PORT
    local i
    echo "default in drop"
    echo "default out drop"
    echo "tier long {"
    echo "    ping: allow service icmp-echo, icmp6-echo"
    echo "    open: allow service tcp $2"
    for ((i = 2; i < $1; i++)); do echo "    r$i: allow in from 10.$((i / 250)).$((i % 250)).0/24 service tcp $((1000 + i))"; done
    echo "}"
}
vms() { vm_on a 1 && vm_on j 2 && vm_on t 3; }
must "VMs on three of them" vms
# percentile P: of the numbers on stdin
percentile() { sort -n | awk -v p="$1" '{ v[NR] = $1 } END { i = int((NR * p + 99) / 100); print v[i < 1 ? 1 : i] }'; }
applied() {
    local i begin
    for ((i = 0; i < APPLIES; i++)); do
        rules 1000 $((7000 + i % 2)) >"$TMP/policy.dfw"
        begin=$(date +%s%N)
        ctl_on a policy apply "$TMP/policy.dfw" --wait 20 >"$TMP/out" 2>&1 || because "apply $i: $(cat "$TMP/out")" || return 1
        echo $((($(date +%s%N) - begin) / 1000000)) >>"$TMP/applied"
    done
    echo "# 1,000 rules, from apply to realised on 20 hosts, $APPLIES times: p50 $(percentile 50 <"$TMP/applied") ms, p99 $(percentile 99 <"$TMP/applied") ms"
}
it "a policy of 1,000 rules is realised on all twenty, $APPLIES times" applied
# Some kernels are built without netem: then the packets are lost on arrival, and none is delayed.
bad_network() {
    local host
    if ip netns exec "$SWITCH" tc qdisc add dev ma root netem loss 2% delay 2ms 1ms 2>/dev/null; then
        for host in "${ALL[@]:1}"; do ip netns exec "$SWITCH" tc qdisc add dev "m$host" root netem loss 2% delay 2ms 1ms || return 1; done
        return 0
    fi
    echo "# no netem in this kernel: 2 % loss by nftables, no delay"
    for host in "${ALL[@]}"; do
        on "$host" nft -f - <<'END' || because "nft on $host" || return 1
table ip loss {
    chain in {
        type filter hook input priority -310
        iifname "m0" numgen random mod 100 < 2 drop
    }
}
END
    done
}
must "from here on the network loses 2 % of the packets" bad_network
must "a policy that opens a port" apply_on a --wait 30 < <(rules 1000 7000)
servers() { listen "${VM[1]}" 7000 && listen "${VM[2]}" 7000 && listen "${VM[3]}" 7000; }
must "a server in each VM" servers
decided() { opens "${VM[1]}" "${VM_IP[2]}" 7000 && opens "${VM[3]}" "${VM_IP[1]}" 7000 && closed "${VM[1]}" "${VM_IP[2]}" 7001; }
it "VMs of three hosts talk as it says" decided

# ---- what goes wrong -------------------------------------------------------------------------------------------------

moved() {
    talk life "${VM[3]}" "${VM_IP[1]}" 7000 && ctl_on r migrate prepare vm1 --to r >"$TMP/out" 2>&1 || because "$(cat "$TMP/out")" || return 1
    ip -n "${VM[1]}" link del eth0
    ctl_on a migrate start vm1 >"$TMP/out" 2>&1 || because "$(cat "$TMP/out")" || return 1
    vm_cable r 1 && in_vm 1 /usr/bin/python3 "$HERE/netns/peer.py" announce eth0 && talks life
}
it "a VM moves from a to r, its connection goes on" moved
die() {
    local host
    for host in d e f; do host_die $host; done
    all_see a 17 && all_see t 17 && talks life && decided
}
it "three hosts die: the others know, nobody decides otherwise" die
apart() {
    part "a b c g h i j" "k l m n o p q r s t" || return 1
    all_see a 7 && all_see t 10 && talks life && decided
}
it "a partition: each side knows, VMs of both sides go on talking" apart
healed() {
    local host
    heal
    for host in d e f; do host_rise $host || return 1; done
    all_see a && all_see t && all_see e
}
it "healed, and the dead come back: twenty again" healed
converged() { [[ $(ctl_on m -j cluster status | jq '[.hosts[].active] | unique | length') == 1 ]]; }
again() { apply_on a --wait 30 < <(rules 1000 7001) && until_true 20 converged && closed "${VM[2]}" "${VM_IP[1]}" 7000; }
it "a new policy reaches all of them" again
