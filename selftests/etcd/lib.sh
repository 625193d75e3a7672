# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2015,SC2034,SC2119,SC2120,SC2153
#
# Debian's etcd-server in a namespace of ours, and cores of hosts (build/selftests/etcd_host) that share nothing but it. To be
# sourced behind selftests/lib.sh.

CORE=$BUILD/selftests/etcd_host
PREFIX=/dfw/test/
URL=http://127.0.0.1:2379
ETCD_PID=
declare -A HOSTS INPUT

need_root
[[ -x $CORE ]] || skip_all "$CORE is not built"
command -v etcd etcdctl >/dev/null || skip_all "no etcd-server, etcd-client"
space_add "$HOST"

# ---- etcd and hosts --------------------------------------------------------------------------------------------------

# etcd_member NAME URL PEER-URL MEMBERS [options]: the process is in $LAST, its data in $TMP/NAME.data
etcd_member() {
    background "etcd-$1" in_host etcd --name "$1" --data-dir "$TMP/$1.data" --logger zap --log-level error \
        --listen-client-urls "$2" --advertise-client-urls "$2" --listen-peer-urls "$3" --initial-advertise-peer-urls "$3" \
        --initial-cluster "$4" "${@:5}"
}
# etcd_start [options]: one alone
etcd_start() {
    etcd_member etcd "$URL" http://127.0.0.1:2380 etcd=http://127.0.0.1:2380 "$@"
    ETCD_PID=$LAST
    until_true 20 healthy || because "etcd does not start: $(tail -n 3 "$TMP/etcd-etcd")"
}
healthy() { in_host curl -ksf --max-time 1 "$URL/health"; }
etcd_end() {
    disown "$ETCD_PID" 2>/dev/null
    kill "-${1:-KILL}" "$ETCD_PID" && until_true 30 not kill -0 "$ETCD_PID"
}
etcdctl() { in_host env ETCDCTL_API=3 etcdctl --endpoints "$URL" "$@"; }

# host N [options] -- URL...: one is here from now on; what it says is in $TMP/hN
host() {
    local n=$1 options=() fd
    shift
    while [[ $1 != -- ]]; do
        options+=("$1")
        shift
    done
    shift
    mkdir -p "$TMP/disk$n"
    [[ -p $TMP/in$n ]] || mkfifo "$TMP/in$n"
    exec {fd}<>"$TMP/in$n"
    INPUT[$n]=$fd
    { exec ip netns exec "$HOST" "$CORE" "${options[@]}" "$n" "$PREFIX" "$TMP/disk$n" "$@"; } \
        <"$TMP/in$n" >"$TMP/h$n" 2>"$TMP/log$n" &
    HOSTS[$n]=$!
    PIDS+=("$!")
}
host_end() {
    disown "${HOSTS[$1]}" 2>/dev/null
    kill -9 "${HOSTS[$1]}" && until_true 20 not kill -0 "${HOSTS[$1]}"
}
say() { echo "$2" >&"${INPUT[$1]}"; }
active() { grep '^active ' "$TMP/h$1" | tail -n 1 | cut -d' ' -f2; }
is_active() { [[ $(active "$1") == "$2" ]]; }
all_active() {
    local generation=$1 n
    shift
    for n; do
        until_true 20 is_active "$n" "$generation" ||
            because "host $n is at generation $(active "$n"), not $generation; $(tail -n 2 "$TMP/log$n")" || return 1
    done
}
# counter N NAME
counter() {
    local before
    before=$(grep -c '^counters' "$TMP/h$1")
    say "$1" counters
    # shellcheck disable=SC2317
    told() { (($(grep -c '^counters' "$TMP/h$1") > $2)); }
    until_true 20 told "$1" "$before" || return 1
    grep '^counters' "$TMP/h$1" | tail -n 1 | cut -d' ' -f2- | jq -r ".$2"
}
counts() { (($(counter "$1" "$2") > ${3:-0})); }
# apply_on N RESULT [SIZE [TEXT]]: and GENERATION is its number
apply_on() {
    local n=$1 result=$2 before
    before=$(grep -c '^applied' "$TMP/h$n")
    say "$n" "apply ${3:-100} ${4:-$RANDOM}"
    # shellcheck disable=SC2317
    told() { (($(grep -c '^applied' "$TMP/h$1") > $2)); }
    until_true 20 told "$n" "$before" || because "host $n does not answer: $(tail -n 2 "$TMP/log$n")" || return 1
    read -r _ GENERATION said < <(grep '^applied' "$TMP/h$n" | tail -n 1)
    [[ $said == "$result" ]] || because "apply on host $n: $said, not $result"
}
reachable() { [[ $(counter "$1" reachable) == true ]]; }
watching() { [[ $(counter "$1" watching) == true ]]; }
