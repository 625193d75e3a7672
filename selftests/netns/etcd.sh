#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The policy store on etcd: what happens to one etcd, and to what lies in it.
# shellcheck disable=SC2015,SC2016

# shellcheck source=selftests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

# shellcheck source=selftests/etcd/lib.sh
. "$HERE/etcd/lib.sh"

# ---- tests -----------------------------------------------------------------------------------------------------------

must "etcd starts" etcd_start
host 1 -- "$URL"
host 2 -- "$URL"

first_generation() {
    until_true 30 watching 1 && until_true 30 watching 2 || because "no watch" || return 1
    apply_on 1 0 && all_active "$GENERATION" 1 2
}
it "a generation applied on one host becomes active on all" first_generation

any_writer() { apply_on 2 0 && all_active "$GENERATION" 1 2; }
it "any host may be the writer" any_writer

large_object() {
    apply_on 1 0 1300000 large || return 1
    all_active "$GENERATION" 2 || return 1
    diff <(cd "$TMP/disk1" && ls object-*) <(cd "$TMP/disk2" && ls object-*) >/dev/null || because "other objects" || return 1
    (($(etcdctl get --prefix "$PREFIX"object/ --keys-only | grep -c '/0002$') == 1)) || because "not in three chunks"
}
it "an object larger than a request is cut into chunks, and arrives whole" large_object

two_at_once() {
    local round results
    for round in 1 2 3; do
        kill -STOP "$ETCD_PID"
        say 1 "apply 100 one$round"
        say 2 "apply 100 two$round"
        # An answer to what was said later: both are writing by now.
        counter 1 reachable >/dev/null && counter 2 reachable >/dev/null || because "no counters" || return 1
        kill -CONT "$ETCD_PID"
        # shellcheck disable=SC2317
        both() { (($(cat "$TMP/h1" "$TMP/h2" | grep -c '^applied') >= $1)); }
        until_true 20 both $((3 + 2 * round)) || because "no answer" || return 1
        results=$(for n in 1 2; do grep '^applied' "$TMP/h$n" | tail -n 1 | cut -d' ' -f3; done | sort | tr '\n' ' ')
        [[ $results == "0 EAGAIN " ]] || because "round $round: $results" || return 1
        GENERATION=$((3 + round))
        all_active "$GENERATION" 1 2 || return 1
    done
}
it "of two writers at once exactly one wins" two_at_once

compaction() {
    local revision
    kill -STOP "${HOSTS[2]}"
    for _ in 1 2 3; do
        apply_on 1 0 && all_active "$GENERATION" 1 || return 1
    done
    revision=$(etcdctl get / --write-out json | jq .header.revision)
    etcdctl compact "$revision" --physical >/dev/null || return 1
    kill -CONT "${HOSTS[2]}"
    all_active "$GENERATION" 2 && apply_on 2 0 && all_active "$GENERATION" 1 2
}
it "a compaction takes nothing that anybody needs" compaction

eaten_events() {
    background proxy in_host /usr/bin/python3 "$HERE/netns/etcd_proxy.py" 2400 "$URL"
    until_true 30 grep -q ready "$TMP/proxy" || because "no proxy" || return 1
    host 3 -- http://127.0.0.1:2400
    all_active "$GENERATION" 3 || return 1
    until_true 30 watching 3 || because "no watch" || return 1
    apply_on 1 0 && all_active "$GENERATION" 1 2 3 || return 1
    counts 3 lost_events || because "not counted" || return 1
    host_end 3
}
it "a host that hears no events reads by itself, and counts what it did not hear" eaten_events

hanging() {
    local before=$GENERATION
    kill -STOP "$ETCD_PID"
    until_true 20 not reachable 1 || because "host 1 does not notice" || return 1
    apply_on 1 EHOSTUNREACH || return 1
    counts 1 timeouts || because "not counted" || return 1
    is_active 1 "$before" || because "host 1 left its generation" || return 1
    kill -CONT "$ETCD_PID"
    until_true 20 reachable 1 && until_true 20 reachable 2 || because "they do not come back" || return 1
    GENERATION=$(active 1)
    # What was sent before it hung may have come into force.
    until_true 20 settled
}
settled() {
    apply_on 1 0 && all_active "$GENERATION" 1 2
}
it "an etcd that hangs changes nothing, and is taken up again" hanging

down_and_back() {
    local before=$GENERATION
    etcd_end KILL
    until_true 20 not reachable 2 || because "host 2 does not notice" || return 1
    apply_on 2 EHOSTUNREACH || return 1
    is_active 1 "$before" && is_active 2 "$before" || because "a host left its generation" || return 1
    etcd_start || return 1
    until_true 20 reachable 1 && until_true 20 reachable 2 || because "they do not come back" || return 1
    until_true 20 settled
}
it "an etcd that dies and comes back is taken up again; meanwhile an apply says why not" down_and_back

last_good() {
    etcd_end KILL
    host_end 2
    host 2 -- "$URL"
    all_active "$GENERATION" 2
}
it "with etcd away a host boots into its last good generation" last_good

wiped() {
    rm -rf "$TMP/etcd.data"
    etcd_start || return 1
    until_true 20 counts 1 store_behind || because "not counted" || return 1
    until_true 20 mended || because "nobody writes" || return 1
    host 4 -- "$URL"
    all_active "$GENERATION" 1 2 4 && apply_on 4 0 && all_active "$GENERATION" 1 2 4
}
mended() { [[ -n $(etcdctl get "$PREFIX"manifest --keys-only) ]]; }
it "a store that lost everything gets it back from the hosts" wiped

garbage() {
    etcdctl put "$PREFIX"manifest $'\1\1nonsense' >/dev/null || return 1
    until_true 30 anybody_counts bad_records || because "not counted" || return 1
    until_true 30 readable || because "nobody puts it right" || return 1
    until_true 20 settled && all_active "$GENERATION" 4
}
anybody_counts() { counts 1 "$1" || counts 2 "$1" || counts 4 "$1"; }
readable() { ! etcdctl get "$PREFIX"manifest | grep -aq nonsense; }
it "garbage in the place of the manifest is counted and put right" garbage

forged() {
    local before=$GENERATION
    host 5 --key 1000 -- "$URL"
    all_active "$before" 5 || return 1
    apply_on 5 0 || return 1
    until_true 30 anybody_counts bad_signatures || because "not counted" || return 1
    host_end 5
    is_active 1 "$before" && is_active 2 "$before" || because "it was believed" || return 1
    until_true 20 rightly_signed || because "nobody puts it right"
}
rightly_signed() {
    local refused
    refused=$(counter 2 bad_signatures)
    sleep 0.5
    apply_on 2 0 && is_active 1 "$GENERATION" && [[ $(counter 2 bad_signatures) == "$refused" ]]
}
forged_and_on() { forged && until_true 20 settled; }
it "a manifest that is not signed by its writer is counted, not followed, and put right" forged_and_on

bad_object() {
    local key
    apply_on 1 0 100 original || return 1
    all_active "$GENERATION" 1 2 4 || return 1
    key=$(etcdctl get --prefix "$PREFIX"object/ --keys-only --sort-by MODIFY --order DESCEND | grep -m 1 '/0000$')
    etcdctl put "$key" "$(head -c 100 /dev/zero | tr '\0' x)" >/dev/null || return 1
    host 6 -- "$URL"
    until_true 30 counts 6 bad_objects || because "not counted" || return 1
    [[ -z $(active 6) ]] || because "host 6 has taken it" || return 1
    host_end 6
}
it "an object whose hash is another than its name is counted and not taken" bad_object

pruned() {
    for _ in {1..20}; do
        apply_on 1 0 && all_active "$GENERATION" 1 || return 1
    done
    until_true 30 few_left || because "$(etcdctl get --prefix "$PREFIX"generation/ --keys-only | grep -c .) are left" || return 1
    until_true 30 few_objects || because "$(objects_left) objects are left" || return 1
    until_true 20 listed || because "says $(grep ^list "$TMP/h1" | tail -n 1)"
}
listed() {
    say 1 list
    sleep 0.1
    grep -q "^list.* $GENERATION/1 " "$TMP/h1"
}
few_left() { (($(etcdctl get --prefix "$PREFIX"generation/ --keys-only | grep -c .) <= 16)); }
objects_left() { etcdctl get --prefix "$PREFIX"object/ --keys-only | grep -c '/0000$'; }
few_objects() { (($(objects_left) <= 17)); }
it "old generations and their objects go" pruned

failover() {
    host 7 -- http://127.0.0.1:9 "$URL"
    all_active "$GENERATION" 7 || return 1
    counts 7 failovers && [[ $(counter 7 endpoint) == "$URL" ]] || because "at $(counter 7 endpoint)" || return 1
    host_end 7
}
it "an endpoint that is dead is passed over" failover

users() {
    echo "dfw:secret" >"$TMP/password"
    chmod 600 "$TMP/password"
    etcdctl user add root:topsecret && etcdctl role add dfw && etcdctl role grant-permission dfw --prefix=true readwrite /dfw/ &&
        etcdctl user add dfw:secret && etcdctl user grant-role dfw dfw && etcdctl role add root &&
        etcdctl user grant-role root root && etcdctl auth enable || because "etcd has no users" || return 1
    until_true 20 counts 1 refused || because "host 1 is let in without a name" || return 1
    host 8 --password "$TMP/password" -- "$URL"
    all_active "$GENERATION" 8 && apply_on 8 0 && all_active "$GENERATION" 8 || return 1
    counts 8 watches || because "no watch" || return 1
    host_end 8
    etcdctl --user root:topsecret auth disable
}
with_users() { users >"$TMP/users" 2>&1; }
it "a user with a password gets in, others do not" with_users

tls() {
    etcd_end KILL
    URL=https://127.0.0.1:2379
    etcd_start --auto-tls || return 1
    host 9 --ca "$TMP/etcd.data/fixtures/client/cert.pem" -- "$URL"
    all_active "$GENERATION" 9 || return 1
    host_end 9
    echo nonsense >"$TMP/ca"
    host 9 --ca "$TMP/ca" -- "$URL"
    until_true 30 counts 9 bad_answers || because "any CA will do" || return 1
    ! reachable 9 || because "any CA will do"
}
it "TLS: who is not certified by the CA is not spoken to" tls
