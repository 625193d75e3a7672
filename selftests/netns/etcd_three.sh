#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The policy store on three etcds: members that die, hang, and are too few.
# shellcheck disable=SC2015

# shellcheck source=selftests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
# shellcheck source=selftests/etcd/lib.sh
. "$HERE/etcd/lib.sh"

MEMBERS=a=http://127.0.0.1:2381,b=http://127.0.0.1:2383,c=http://127.0.0.1:2385
declare -A URLS=([a]=http://127.0.0.1:2380 [b]=http://127.0.0.1:2382 [c]=http://127.0.0.1:2384)
declare -A PEERS=([a]=http://127.0.0.1:2381 [b]=http://127.0.0.1:2383 [c]=http://127.0.0.1:2385)
declare -A ETCDS

member_start() {
    etcd_member "$1" "${URLS[$1]}" "${PEERS[$1]}" "$MEMBERS"
    ETCDS[$1]=$LAST
}
member_end() {
    disown "${ETCDS[$1]}" 2>/dev/null
    kill -9 "${ETCDS[$1]}" && until_true 30 not kill -0 "${ETCDS[$1]}"
}
healthy_at() { in_host curl -sf --max-time 1 "${URLS[$1]}/health"; }
leader() {
    local name
    for name in a b c; do
        in_host env ETCDCTL_API=3 etcdctl --endpoints "${URLS[$name]}" endpoint status -w json 2>/dev/null |
            jq -e '.[0].Status | .leader == .header.member_id' >/dev/null && echo "$name"
    done
}
has_leader() { [[ -n $(leader) ]]; }
spoken_to() {
    local url name
    url=$(counter "$1" endpoint)
    for name in a b c; do
        [[ $url == "${URLS[$name]}" ]] && echo "$name"
    done
}

three() {
    local name
    for name in a b c; do
        member_start "$name"
    done
    for name in a b c; do
        until_true 20 healthy_at "$name" || because "etcd $name: $(tail -n 2 "$TMP/etcd-$name")" || return 1
    done
    host 1 -- "${URLS[a]}" "${URLS[b]}" "${URLS[c]}"
    host 2 -- "${URLS[b]}" "${URLS[c]}" "${URLS[a]}"
    host 3 -- "${URLS[c]}" "${URLS[a]}" "${URLS[b]}"
    until_true 30 reachable 1 && until_true 30 reachable 2 && until_true 30 reachable 3 || because "no store" || return 1
    apply_on 1 0 && all_active "$GENERATION" 1 2 3
}
must "a generation applied by way of one etcd comes to hosts that speak to others" three

again() {
    apply_on "$1" 0 && all_active "$GENERATION" 1 2 3
}

dies() {
    local gone
    gone=$(spoken_to 1)
    member_end "$gone"
    until_true 30 again 2 || return 1
    [[ $(spoken_to 1) != "$gone" ]] || because "host 1 still speaks to $gone" || return 1
    until_true 30 again 1 || return 1
    member_start "$gone"
    until_true 20 healthy_at "$gone"
}
it "the etcd that a host speaks to dies: the host goes to the next one" dies

hangs() {
    local hung r
    hung=$(spoken_to 2)
    kill -STOP "${ETCDS[$hung]}"
    until_true 40 again 1 || { kill -CONT "${ETCDS[$hung]}"; return 1; }
    [[ $(spoken_to 2) != "$hung" ]] || because "host 2 still speaks to $hung"
    r=$?
    kill -CONT "${ETCDS[$hung]}"
    ((r == 0)) || return 1
    counts 2 timeouts || because "not counted"
}
it "the etcd that a host speaks to hangs: the same" hangs

leader_dies() {
    local gone
    until_true 20 has_leader || because "no leader" || return 1
    gone=$(leader)
    member_end "$gone"
    until_true 40 again 3 || return 1
    member_start "$gone"
    until_true 20 healthy_at "$gone"
}
it "the leader dies: the next apply takes a while, and is in force everywhere" leader_dies

too_few() {
    local before=$GENERATION
    member_end a
    member_end b
    apply_on 1 EHOSTUNREACH || apply_on 1 ETIMEDOUT || return 1
    is_active 1 "$before" && is_active 2 "$before" && is_active 3 "$before" || because "a host left its generation" || return 1
    member_start a
    until_true 40 again 2
}
it "one of three left: nothing can be applied, nothing changes; two are enough again" too_few
