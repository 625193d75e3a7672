#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# dfwctl cluster store, and --store of cluster init and join: what they write for dfwsyncd, and what they refuse.
# shellcheck disable=SC2015

# shellcheck source=selftests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

need_root
space_add "$HOST"
FOLDER=$STATE/cluster
mkdir -p "$FOLDER"
chmod 0700 "$FOLDER"
chown nobody "$FOLDER"
echo '{"name": "a", "address": "10.0.0.1:7472", "replicas": 1}' >"$FOLDER/cluster.json"

store() { ctl cluster store "$@" >"$TMP/out" 2>"$TMP/err"; }
shows() {
    store && [[ $(cat "$TMP/out") == "$1" ]] || because "shows $(cat "$TMP/out" "$TMP/err")"
}
it "a cluster without a word about it has the local store" shows local

sets() {
    store etcd=http://10.0.0.7:2379,http://etcd.example:2379/ || because "$(cat "$TMP/err")" || return 1
    shows etcd=http://10.0.0.7:2379,http://etcd.example:2379 || return 1
    [[ $(jq -c . "$FOLDER/cluster.json") == '{"name":"a","address":"10.0.0.1:7472","replicas":1,'*'}' ]] ||
        because "something is lost: $(cat "$FOLDER/cluster.json")" || return 1
    [[ $(stat -c %U:%a "$FOLDER/cluster.json") == nobody:600 ]] || because "it belongs to $(stat -c %U:%a "$FOLDER/cluster.json")"
}
it "a store of etcd is written, all else stays, and it belongs to dfwsyncd's user" sets

before() { find "$FOLDER" -type f -exec md5sum {} + | sort; }
# no STATUS PATTERN arguments: it refuses, and nothing changes
no() {
    local was
    was=$(before)
    refuses "$1" "$2" ctl cluster store "${@:3}" || return 1
    [[ $(before) == "$was" ]] || because "something changed"
}
bad_urls() {
    local url
    for url in etcd etcd= etcd=10.0.0.7:2379 etcd=ftp://a etcd=http://a:0 etcd=http://a:65536 etcd=http://u:p@a \
        etcd=http://a/v3 etcd=http://a?b etcd=http:// etcd=http://[::1 etcd=http://a,,http://b \
        "etcd=$(printf 'http://a,%.0s' {1..8})http://a" Local; do
        no 2 "is neither local nor etcd=URL" "$url" || return 1
    done
}
it "an URL that is none is wrong input, and changes nothing" bad_urls

files() {
    echo pem >"$TMP/pem"
    echo dfw:secret >"$TMP/password"
    no 2 "https needs --etcd-ca" etcd=https://a || return 1
    no 2 "go together" etcd=http://a --etcd-cert "$TMP/pem" || return 1
    no 2 "USER:PASSWORD" etcd=http://a --etcd-password "$TMP/pem" || return 1
    no 2 "no such file" etcd=http://a --etcd-ca "$TMP/pem" --etcd-password "$TMP/nothing" || return 1
    no 2 "has no etcd" local --etcd-ca "$TMP/pem" || return 1
    store etcd=https://a --etcd-ca "$TMP/pem" --etcd-cert "$TMP/pem" --etcd-key "$TMP/pem" --etcd-password "$TMP/password" ||
        because "$(cat "$TMP/err")" || return 1
    [[ $(cd "$FOLDER" && stat -c %n:%U:%a etcd-* | tr '\n' ' ') == "etcd-ca.pem:nobody:600 etcd-cert.pem:nobody:600 $(
    )etcd-key.pem:nobody:600 etcd-password:nobody:600 " ]] || because "there is $(ls -l "$FOLDER")"
}
it "files are copied for dfwsyncd's user alone; what is missing or wrong is wrong input" files

back() {
    store local && shows local || return 1
    [[ $(ls "$FOLDER") == cluster.json ]] || because "left behind: $(ls "$FOLDER")"
}
it "the local store takes the files away" back

alone() {
    rm -rf "$FOLDER"
    refuses 1,2 "in no cluster" ctl cluster store || return 1
    refuses 1,2 "in no cluster" ctl cluster store local
}
it "a host of no cluster has no store" alone

# ---- becoming a member -----------------------------------------------------------------------------------------------

# ctl_of LETTER arguments: of another instance
ctl_of() {
    local instance=$ID$1
    shift
    in_host "$DFWCTL" -i "$instance" "$@"
}
config_of() { jq -c "$2" "/var/lib/dfw/$ID$1/cluster/cluster.json"; }

inits() {
    refuses 2 "https needs --etcd-ca" ctl_of a cluster init --name a --address 10.0.0.1 --store etcd=https://e || return 1
    [[ ! -e /var/lib/dfw/${ID}a/ca ]] || because "a CA was made" || return 1
    ctl_of a cluster init --name a --address 10.0.0.1 --store etcd=https://e:2379 --etcd-ca "$TMP/pem" >"$TMP/out" 2>&1 ||
        because "$(cat "$TMP/out")" || return 1
    [[ $(config_of a .store) == '{"etcd":["https://e:2379"]}' && -f /var/lib/dfw/${ID}a/cluster/etcd-ca.pem ]] || because "$(config_of a .)"
}
it "cluster init --store: what cannot be is refused before anything is made, else it is written" inits

joins() {
    ctl_of a cluster invite b --out "$TMP/invitation" >/dev/null 2>&1 || because "no invitation" || return 1
    refuses 2 "https needs --etcd-ca" ctl_of b cluster join "$TMP/invitation" --address 10.0.0.2 || return 1
    [[ ! -e /var/lib/dfw/${ID}b/cluster/cluster.json ]] || because "it has joined" || return 1
    ctl_of b cluster join "$TMP/invitation" --address 10.0.0.2 --etcd-ca "$TMP/pem" >"$TMP/out" 2>&1 || because "$(cat "$TMP/out")" || return 1
    [[ $(config_of b .store) == '{"etcd":["https://e:2379"]}' ]] || because "$(config_of b .)"
}
it "an invitation carries the store; its files are the new host's" joins

joins_elsewhere() {
    ctl_of a cluster invite c --out "$TMP/invitation-c" >/dev/null 2>&1 || because "no invitation" || return 1
    ctl_of c cluster join "$TMP/invitation-c" --address 10.0.0.3 --store local >"$TMP/out" 2>&1 || because "$(cat "$TMP/out")" || return 1
    [[ $(config_of c .store) == '"local"' ]] || because "$(config_of c .)"
}
it "unless it is told another one" joins_elsewhere

forged() {
    jq '.invitation.store = "etcd=ftp://e"' "$TMP/invitation-c" >"$TMP/invitation-d"
    refuses 2 "the store of the invitation is neither" ctl_of d cluster join "$TMP/invitation-d" --address 10.0.0.4
}
it "a store that is none is refused" forged
