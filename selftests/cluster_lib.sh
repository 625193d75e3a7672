# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2015,SC2031,SC2119
#
# Helpers of the tests with many hosts, on top of lib.sh: hosts named a, b, c ... are namespaces with a dfwd and a dfwsyncd
# each, of an instance of their own. Two switches in a namespace of their own join them: one for what the daemons
# say to each other, one for the VMs, which all are in one subnet and may move from host to host.
#
#       10.99.0.1 [m0]--[mgmt]--[m0] 10.99.0.2           VM n: 10.77.0.n, as in lib.sh
#       host a  br0[up0]--[fabric]--[up0]br0  host b     wire: 10.77.0.254, outside of all hosts
#              [tap1]
#       VM 1    [eth0]
#
# What is made here goes with lib.sh's cleanup: namespaces, processes, and the instances by their names.

# shellcheck source=selftests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

DFWSYNCD=$BUILD/dfwsyncd
SWITCH=${ID}s
HOSTS=()
declare -A DFWD_PIDS=() SYNCD_PIDS=()

# ---- names -----------------------------------------------------------------------------------------------------------

# Of host a, b, ...: ready made, as those of the VMs.
declare -A HOST_NUMBER=() HOST_SPACE=() HOST_INSTANCE=() HOST_ADDRESS=() HOST_STATE=() HOST_LOG=() SYNCD_LOG=()
# shellcheck disable=SC2034
for host in {a..z}; do
    HOST_NUMBER[$host]=$((${#HOST_NUMBER[@]} + 1))
    HOST_SPACE[$host]=${ID}h$host
    HOST_INSTANCE[$host]=$ID$host
    HOST_ADDRESS[$host]=10.99.0.${HOST_NUMBER[$host]}
    HOST_STATE[$host]=/var/lib/dfw/$ID$host
    HOST_LOG[$host]=$TMP/dfwd-$host.log
    SYNCD_LOG[$host]=$TMP/dfwsyncd-$host.log
done
unset host

in_space() {
    local space=$1
    shift
    $EXEC ip netns exec "$space" "$@"
}
# on HOST command...: in its namespace, with the mounts of this one
on() {
    local host=$1
    shift
    $EXEC nsenter --net="/run/netns/${HOST_SPACE[$host]}" "$@"
}
# ctl_on HOST arguments of dfwctl
ctl_on() {
    local host=$1
    shift
    on "$host" "$DFWCTL" -i "${HOST_INSTANCE[$host]}" "$@"
}

# ---- the network -----------------------------------------------------------------------------------------------------

# cable SPACE1 DEVICE1 SPACE2 DEVICE2
cable() {
    ip link add "$2" netns "$1" type veth peer name "$4" netns "$3" || return 1
    ip -n "$1" link set dev "$2" up
    ip -n "$3" link set dev "$4" up
}

no_ipv6() { in_space "$1" sysctl -qw "net.ipv6.conf.$2.disable_ipv6=1"; }

bridge_up() {
    ip -n "$1" link add "$2" type bridge mcast_snooping 0 || return 1
    no_ipv6 "$1" "$2"
    ip -n "$1" link set dev "$2" up
}

# cluster_hosts a b c: the switches and the hosts, without daemons
cluster_hosts() {
    local host space
    HOSTS=("$@")
    space_add "$SWITCH"
    bridge_up "$SWITCH" mgmt
    bridge_up "$SWITCH" fabric
    space_add "$WIRE"
    cable "$WIRE" w0 "$SWITCH" wire
    ip -n "$WIRE" link set w0 address "$WIRE_MAC"
    ip -n "$SWITCH" link set wire master fabric
    ip -n "$WIRE" addr add "$WIRE_IP/24" dev w0
    ip -n "$WIRE" addr add "$WIRE_IP6/64" dev w0 nodad
    for host in "$@"; do
        space=${HOST_SPACE[$host]}
        space_add "$space"
        bridge_up "$space" br0
        cable "$space" m0 "$SWITCH" "m$host"
        cable "$space" up0 "$SWITCH" "f$host"
        ip -n "$SWITCH" link set dev "m$host" master mgmt
        ip -n "$SWITCH" link set dev "f$host" master fabric
        no_ipv6 "$space" up0
        ip -n "$space" link set up0 master br0
        ip -n "$space" addr add "${HOST_ADDRESS[$host]}/24" dev m0
    done
}

# silence FROM TO: what host FROM sends to host TO does not arrive. Both ways, and it is a partition.
silence() {
    on "$2" nft -f - <<EOF
table ip silence {
    chain in {
        type filter hook input priority -300; policy accept;
        ip saddr ${HOST_ADDRESS[$1]} drop
    }
}
EOF
}
# part "a" "b c": neither hears the other
part() {
    local one other
    for one in $1; do
        for other in $2; do
            silence "$one" "$other" && silence "$other" "$one" || return 1
        done
    done
}
heal() {
    local host
    for host in "${HOSTS[@]}"; do
        on "$host" nft delete table ip silence 2>/dev/null
    done
    return 0
}

# ---- daemons ---------------------------------------------------------------------------------------------------------

# dfwd_on HOST [options]: started and ready. DFWD_WAIT: seconds for that, where the kernel takes its time
dfwd_on() {
    local host=$1 log
    shift
    log=${HOST_LOG[$host]}
    # Not by `on`: the number must be the daemon's own.
    nsenter --net="/run/netns/${HOST_SPACE[$host]}" "$DFWD" -i "${HOST_INSTANCE[$host]}" "$@" >>"$log" 2>&1 </dev/null &
    DFWD_PIDS[$host]=$!
    PIDS+=("$!")
    until_true "${DFWD_WAIT:-120}" ctl_on "$host" status --wait 1 || because "dfwd of host $host does not come up: $(tail -n 3 "$log")"
}

# SYNCD_TIME: a time namespace for it
syncd_on() {
    local host=$1 log
    shift
    log=${SYNCD_LOG[$host]}
    nsenter --net="/run/netns/${HOST_SPACE[$host]}" ${SYNCD_TIME:+"--time=$SYNCD_TIME"} "$DFWSYNCD" -i "${HOST_INSTANCE[$host]}" "$@" >>"$log" 2>&1 </dev/null &
    SYNCD_PIDS[$host]=$!
    PIDS+=("$!")
    until_true 30 test -S "/run/dfw/${HOST_INSTANCE[$host]}/sync-control.sock" || because "dfwsyncd of host $host does not come up: $(tail -n 3 "$log")"
}

# pid_end PID SIGNAL: and wait until it is gone
pid_end() {
    disown "$1" 2>/dev/null # or the shell would tell of its death
    kill "-$2" "$1" || because "process $1 is not there" || return 1
    until_true 30 not kill -0 "$1" || because "process $1 does not end by SIG$2"
}
dfwd_end_on() { pid_end "${DFWD_PIDS[$1]}" "$2" && unset "DFWD_PIDS[$1]"; }
syncd_end_on() { pid_end "${SYNCD_PIDS[$1]}" "$2" && unset "SYNCD_PIDS[$1]"; }

# Both daemons of a host die; its namespace, its pins and its VMs stay.
host_die() {
    syncd_end_on "$1" KILL && dfwd_end_on "$1" KILL
}
host_rise() {
    dfwd_on "$1" && syncd_on "$1"
}

# ---- the cluster -----------------------------------------------------------------------------------------------------

# cluster_init HOST: the first one, operator and writer
cluster_init() {
    ctl_on "$1" cluster init --name "$1" --address "${HOST_ADDRESS[$1]}" >"$TMP/out" 2>&1 || because "cluster init: $(cat "$TMP/out")"
}
# cluster_join OPERATOR HOST
cluster_join() {
    ctl_on "$1" cluster invite "$2" >"$TMP/invitation-$2" 2>"$TMP/out" || because "cluster invite: $(cat "$TMP/out")" || return 1
    ctl_on "$2" cluster join "$TMP/invitation-$2" --address "${HOST_ADDRESS[$2]}" >"$TMP/out" 2>&1 || because "cluster join: $(cat "$TMP/out")"
}

# How HOST sees another one: alive, suspect, dead, left
state_of() {
    ctl_on "$1" -j cluster status 2>/dev/null | jq -r --arg h "$2" '.hosts[] | select(.host == $h) | .state'
}
sees() { [[ $(state_of "$1" "$2") == "$3" ]]; }
# all_alive HOST...: each sees each
all_alive() {
    local one other
    for one in "$@"; do
        for other in "$@"; do
            sees "$one" "$other" alive || return 1
        done
    done
}
cluster_whole() {
    until_true 60 all_alive "${HOSTS[@]}" || because "not all hosts see each other: $(ctl_on "${HOSTS[0]}" cluster status 2>&1 | tail -n 5)"
}

# cluster_up a b c: hosts, daemons, all of them members of one cluster whose first is a
cluster_up() {
    local host
    cluster_hosts "$@"
    for host in "$@"; do
        dfwd_on "$host" && syncd_on "$host" || return 1
    done
    cluster_init "$1" || return 1
    for host in "${@:2}"; do
        cluster_join "$1" "$host" || return 1
    done
    cluster_whole
}

generation_of() { ctl_on "$1" -j status | jq -r .generation; }

# apply_on HOST [options]: the policy on stdin
apply_on() {
    local host=$1
    shift
    cat >"$TMP/policy-$host.dfw"
    ctl_on "$host" policy apply "$TMP/policy-$host.dfw" "$@" >"$TMP/out" 2>&1 || because "policy apply on $host: $(cat "$TMP/out")"
}

# ---- VMs -------------------------------------------------------------------------------------------------------------

# vm_cable HOST N: its cable, tapN on the host's bridge. A VM that has one elsewhere is unplugged there.
vm_cable() {
    local space
    space=${HOST_SPACE[$1]}
    ip -n "${VM[$2]}" link del eth0 2>/dev/null
    ip link add eth0 netns "${VM[$2]}" address "${VM_MAC[$2]}" type veth peer name "tap$2" netns "$space" || return 1
    no_ipv6 "$space" "tap$2"
    ip -n "$space" link set "tap$2" master br0 up
    ip -n "${VM[$2]}" addr add "${VM_IP[$2]}/24" dev eth0
    ip -n "${VM[$2]}" addr add "${VM_IP6[$2]}/64" dev eth0 nodad
    ip -n "${VM[$2]}" link set eth0 up
}
# vm_on HOST N [options of vport add]: VM n with its vport "vmN"
vm_on() {
    local host=$1 n=$2
    shift 2
    vm_space "$n"
    vm_cable "$host" "$n" || return 1
    ctl_on "$host" vport add "vm$n" --dev "tap$n" --mac "${VM_MAC[n]}" --ip "${VM_IP[n]}" --ip "${VM_IP6[n]}" \
        --ip "${VM_LL[n]}" "$@" >"$TMP/out" 2>&1 || because "vport add on $host: $(cat "$TMP/out")"
}
