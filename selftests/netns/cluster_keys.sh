#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Who is a member: keys, certificates, revocation, new keys for old ones, strangers, and that nothing crosses in plain text.
# shellcheck source=selftests/cluster_lib.sh disable=SC2015,SC2119,SC2317
. "$(dirname "$0")/../cluster_lib.sh"
need_root
[[ -x $DFWSYNCD ]] || skip_all "dfwsyncd is not built in $BUILD"

folder() { echo "/var/lib/dfw/${HOST_INSTANCE[$1]}/cluster"; }
ca_folder() { echo "/var/lib/dfw/${HOST_INSTANCE[$1]}/ca"; }
status_of() { ctl_on "$1" -j cluster status 2>/dev/null; }

# ---- becoming a member -----------------------------------------------------------------------------------------------

daemons() {
    local host
    cluster_hosts a b c d
    for host in a b c d; do
        dfwd_on "$host" && syncd_on "$host" || return 1
    done
}
must "four hosts that know nothing of each other" daemons

bad_init() {
    refuses 2 "address" ctl_on a cluster init || return 1
    refuses 2 "is no address" ctl_on a cluster init --address example.org || return 1
    refuses 2 "is no address" ctl_on a cluster init --address 10.9.0.1:99999 || return 1
    refuses 2 "is no name of a host" ctl_on a cluster init --address 10.9.0.1 --name a/b || return 1
    refuses 2 "is not 0, 1 or 2" ctl_on a cluster init --address 10.9.0.1 --replicas 3 || return 1
    refuses 1 "CA is not on this host" ctl_on a cluster invite b || return 1
    refuses 1 "in no cluster" ctl_on a cluster rotate || return 1
    [[ ! -e $(ca_folder a)/ca.key && ! -e $(folder a)/cluster.json ]] || because "something was made"
}
it "wrong input makes nothing" bad_init
must "a makes the cluster" cluster_init a
again() {
    refuses 1 "in a cluster already" ctl_on a cluster init --address "${HOST_ADDRESS[a]}" || return 1
    [[ $(stat -c %a:%U "$(ca_folder a)" "$(ca_folder a)/ca.key" | tr '\n' ' ') == "700:root 600:root " ]] ||
        because "$(stat -c %n:%a:%U "$(ca_folder a)"/*)" || return 1
    [[ $(stat -c %a "$(folder a)"/host.key) == 600 ]] || because "host.key can be read by others"
}
it "a second one is refused; the CA's key is root's alone" again

must "b joins by an invitation" cluster_join a b
asks() {
    ctl_on c cluster request c >"$TMP/request" 2>"$TMP/err" || because "$(cat "$TMP/err")" || return 1
    ctl_on c cluster request c | cmp -s - "$TMP/request" || because "a second request asks for another key" || return 1
    refuses 2 "is a request of c, not of x" ctl_on a cluster invite x --request "$TMP/request" || return 1
    sed 's/"name": "c"/"name": "x"/' "$TMP/request" >"$TMP/forged"
    refuses 2 "signature is wrong" ctl_on a cluster invite x --request "$TMP/forged" || return 1
    ctl_on a cluster invite c --request - --out "$TMP/for-c" <"$TMP/request" || return 1
    [[ $(stat -c %a "$TMP/for-c") == 600 ]] || because "the invitation can be read by others" || return 1
    jq -e '.invitation | has("certificate") and (has("secret") | not)' "$TMP/for-c" >/dev/null || because "a secret left host a" || return 1
    refuses 2 "another key" ctl_on d cluster join "$TMP/for-c" --address "${HOST_ADDRESS[d]}" || return 1
    ctl_on c cluster join "$TMP/for-c" --address "${HOST_ADDRESS[c]}" >"$TMP/out" 2>&1 || because "$(cat "$TMP/out")"
}
it "c asks for a certificate; its key stays where it is, and nobody else can use the invitation" asks
HOSTS=(a b c)
must "the three see each other" cluster_whole

bad_join() {
    refuses 1 "no such file" ctl_on d cluster join "$TMP/nothing" --address "${HOST_ADDRESS[d]}" 2>/dev/null ||
        refuses 2 "o such file" ctl_on d cluster join "$TMP/nothing" --address "${HOST_ADDRESS[d]}" || return 1
    echo '{"invitation": {}}' >"$TMP/empty"
    refuses 2 "is no invitation" ctl_on d cluster join "$TMP/empty" --address "${HOST_ADDRESS[d]}" || return 1
    ctl_on a cluster invite d --out "$TMP/for-d" || return 1
    refuses 2 "address is needed" ctl_on d cluster join "$TMP/for-d" || return 1
    jq '.invitation.certificate |= (.[0:60] + "AAAA" + .[64:])' "$TMP/for-d" >"$TMP/changed"
    refuses 2 "is no invitation" ctl_on d cluster join "$TMP/changed" --address "${HOST_ADDRESS[d]}" || return 1
    refuses 1 "of a cluster already" ctl_on b cluster join "$TMP/for-d" --address "${HOST_ADDRESS[b]}" || return 1
    refuses 2 "there is a host b already" ctl_on a cluster invite b || return 1
    refuses 1 "CA is not on this host" ctl_on b cluster invite x || return 1
    [[ ! -e $(folder d)/cluster.json && ! -e $(folder d)/host.cert ]] || because "something was made: $(ls "$(folder d)")"
}
it "what is no invitation, or was changed, or is for another host, changes nothing" bad_join

# ---- strangers -------------------------------------------------------------------------------------------------------

strange() {
    ctl_on d cluster init --name d --address "${HOST_ADDRESS[d]}" >/dev/null || return 1
    jq --arg a "${HOST_ADDRESS[a]}:7472" '.seeds = [$a]' "$(folder d)/cluster.json" >"$TMP/config" || return 1
    cat "$TMP/config" >"$(folder d)/cluster.json"
    member() { status_of d | jq -e '.hosts | length > 0' >/dev/null; }
    until_true 30 member || because "d does not start" || return 1
    sleep 4
    [[ $(status_of d | jq -c '[.hosts[].host]') == '["d"]' ]] || because "d knows $(status_of d | jq -c '[.hosts[].host]')" || return 1
    [[ $(status_of a | jq -c '[.hosts[].host] | sort') == '["a","b","c"]' ]] || because "a knows $(status_of a | jq -c '[.hosts[].host]')"
}
it "a host of another cluster learns nothing, and is heard by nobody" strange

MARK=xyzzymark
plain() {
    local pid
    in_space "$SWITCH" timeout 300 tcpdump -i mgmt -w "$TMP/wire.pcap" -U 2>/dev/null &
    pid=$!
    PIDS+=("$pid")
    until_true 20 test -s "$TMP/wire.pcap" || because "tcpdump does not start" || return 1
    ctl_on b vport add "$MARK" --dev "tap-mark" --mac 02:00:00:00:66:01 --ip 10.66.0.1 --tag "$MARK=$MARK" >/dev/null || return 1
    apply_on a --wait 60 <<EOP || return 1
tier $MARK { $MARK: allow service tcp 1234 }
default in drop
EOP
    known() { ctl_on c -j vport list | jq -e --arg m "$MARK" '.[] | select(.name == $m)' >/dev/null; }
    until_true 30 known || because "c does not know the vport" || return 1
    sleep 1
    pid_end "$pid" INT
    [[ $(stat -c %s "$TMP/wire.pcap") -gt 5000 ]] || because "nothing was captured" || return 1
    ! grep -qa "$MARK" "$TMP/wire.pcap" || because "policy and vports can be read on the wire"
}
it "nothing crosses in plain text" plain

# ---- new keys for old ones -------------------------------------------------------------------------------------------

# What a host shows of another one's certificate
shown() { status_of "$1" | jq -r --arg h "$2" --arg f "$3" '.hosts[] | select(.host == $h) | .certificate[$f]'; }
follows() {
    local before
    before=$(generation_of a)
    apply_on a --wait 60 <<<"default in drop # $RANDOM" && [[ $(generation_of c) == $((before + 1)) ]] || because "the policy does not follow: $(generation_of a), $(generation_of b), $(generation_of c)"
}
own_key() {
    local before
    before=$(shown b a serial)
    ctl_on a cluster rotate >"$TMP/out" 2>&1 || because "$(cat "$TMP/out")" || return 1
    newer() { [[ $(shown b a serial) -gt $before && $(shown c a serial) -gt $before ]]; }
    until_true 30 newer || because "the others still see certificate $(shown b a serial)" || return 1
    cluster_whole && follows || return 1
    ctl_on a cluster revoke a --old >"$TMP/out" 2>&1 || because "$(cat "$TMP/out")" || return 1
    sleep 2
    cluster_whole && follows
}
it "the operator's host gets a new key, and the old one is revoked, without downtime" own_key
other_key() {
    local before
    before=$(shown a b serial)
    refuses 1 "cluster request b" ctl_on b cluster rotate || return 1
    cp "$(folder b)/host.key" "$TMP/old-key"
    ctl_on b cluster request b | ctl_on a cluster invite b --request - >"$TMP/for-b" && ctl_on b cluster join "$TMP/for-b" >"$TMP/out" 2>&1 || because "$(cat "$TMP/out")" || return 1
    cmp -s "$TMP/old-key" "$(folder b)/host.key" && because "the key is the old one" && return 1
    refuses 2 "as new, or newer" ctl_on b cluster join "$TMP/for-b" || return 1
    newer() { [[ $(shown a b serial) -gt $before && $(shown c b serial) -gt $before ]]; }
    until_true 30 newer || because "the others still see certificate $(shown a b serial)" || return 1
    cluster_whole && follows
}
it "so does another host, by a request" other_key
ca_key() {
    local before
    before=$(shown a b issuer)
    ctl_on a cluster rotate --ca >"$TMP/out" 2>&1 || because "$(cat "$TMP/out")" || return 1
    renewed() {
        local host
        for host in a b c; do
            [[ $(shown a "$host" issuer) != "$before" ]] || return 1
        done
    }
    until_true 30 renewed || because "still the old CA's: $(status_of a | jq -c '[.hosts[] | [.host, .certificate.issuer]]')" || return 1
    cluster_whole && follows || return 1
    ctl_on a cluster rotate --ca --retire >"$TMP/out" 2>&1 || because "$(cat "$TMP/out")" || return 1
    sleep 2
    cluster_whole && follows
}
it "the CA gets a new key, all hosts new certificates, and the old key is retired, without downtime" ca_key
asleep() {
    syncd_end_on c KILL || return 1
    ctl_on a cluster rotate --ca >"$TMP/out" 2>&1 || because "$(cat "$TMP/out")" || return 1
    sleep 3
    refuses 1 "host c has no certificate of the new key" ctl_on a cluster rotate --ca --retire || return 1
    syncd_on c && cluster_whole || return 1
    retired() { ctl_on a cluster rotate --ca --retire >"$TMP/out" 2>&1; }
    until_true 30 retired || because "$(cat "$TMP/out")" || return 1
    sleep 2
    cluster_whole && follows
}
it "a key is not retired while a host sleeps that has no certificate of the new one" asleep

# ---- revocation ------------------------------------------------------------------------------------------------------

revoked() {
    local generation
    refuses 2 "there is no host nobody" ctl_on a cluster revoke nobody || return 1
    refuses 2 "is this host" ctl_on a cluster revoke a || return 1
    generation=$(generation_of c)
    ctl_on a cluster revoke c >"$TMP/out" 2>&1 || because "$(cat "$TMP/out")" || return 1
    out() { sees a c dead && sees b c dead; }
    until_true 30 out || because "a sees c as $(state_of a c), b as $(state_of b c)" || return 1
    apply_on a --wait 60 <<<"default in drop # after" || return 1
    ctl_on b vport add after --dev tap-after --mac 02:00:00:00:66:02 --ip 10.66.0.2 >/dev/null || return 1
    sleep 4
    until_true 30 all_alive a b || because "a and b do not see each other" || return 1
    [[ $(generation_of c) == "$generation" ]] || because "c got a policy after it was revoked" || return 1
    ctl_on c -j vport list 2>/dev/null | jq -e '.[] | select(.name == "after")' >/dev/null && because "c got to know a vport" && return 1
    return 0
}
it "a revoked host is out on all hosts, learns nothing more, and keeps the policy that it has" revoked
revoked_again() {
    syncd_end_on c KILL && syncd_on c || return 1
    sleep 5
    [[ $(state_of a c) == dead && $(state_of b c) == dead ]] || because "it came back: $(state_of a c)"
}
it "and stays out when it starts anew" revoked_again
back() {
    local before
    before=$(status_of a | jq '.hosts | map(.id) | max')
    ctl_on c cluster leave >"$TMP/out" 2>&1 || because "$(cat "$TMP/out")" || return 1
    [[ ! -e $(folder c)/host.key ]] || because "its key is still there" || return 1
    cluster_join a c || return 1
    in_again() { status_of a | jq -e --argjson b "$before" '.hosts[] | select(.host == "c" and .state == "alive" and .id > $b)' >/dev/null; }
    until_true 20 in_again || because "$(status_of a | jq -c '[.hosts[] | [.host, .id, .state]]')" || return 1
    follows
}
it "with a new invitation it is a new host, of an id that nobody had" back
