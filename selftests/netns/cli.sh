#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The command line: every error path has its exit status (1 failed, 2 wrong usage or input, 3 dfwd not reachable), says
# what is wrong, and changes nothing.
# shellcheck source=selftests/lib.sh disable=SC2015,SC2119,SC2317
. "$(dirname "$0")/../lib.sh"
need_root
host_up
vm_up 1
vm_up 2

cat >"$TMP/good.dfw" <<EOP
default in drop
default out allow
tier test {
    ssh-in: allow in service tcp 22
}
EOP

absent() {
    refuses 3 "dfwd|running|reach" ctl status && refuses 3 "dfwd|running|reach" ctl status --wait 1 &&
        refuses 3 "dfwd|running|reach" ctl vport add vm1 --dev tap1 --mac "${VM_MAC[1]}" --ip "${VM_IP[1]}" &&
        refuses 3 "dfwd|running|reach" ctl policy apply "$TMP/good.dfw" && refuses 3 "dfwd|running|reach" ctl policy rollback &&
        refuses 3 "dfwd|running|reach" ctl flow kill && refuses 3 "dfwd|running|reach" ctl shutdown
}
it "no dfwd: what needs it exits 3 and says so" absent
absent_wrong() {
    printf 'tier t {\n    a: alow in\n}\n' >"$TMP/wrong.dfw"
    refuses 2 "wrong.dfw:2:8: .*alow" ctl policy apply "$TMP/wrong.dfw" &&
        refuses 2 "wrong.dfw:2:8" ctl -j policy apply "$TMP/wrong.dfw" &&
        { jq -e '.valid == false and .errors[0].line == 2' "$TMP/out" >/dev/null || because "$(cat "$TMP/out")"; }
}
it "no dfwd: a policy with a mistake is refused for that" absent_wrong
never() { refuses "1,3" "." ctl flow list && refuses "1,3" "." ctl rules vm1 && refuses "1,3" "." ctl stats && refuses "1,3" "." ctl policy show; }
it "no dfwd has ever run: reading fails and says so" never
checks() { ctl policy check "$TMP/good.dfw" >/dev/null 2>"$TMP/err" || because "policy check without dfwd: $(cat "$TMP/err")"; }
it "policy check needs no dfwd" checks

absent_directories() {
    refuses 1 "nosuch.conf" nsenter --net="/run/netns/$HOST" timeout 60 "$DFWD" -i "${ID}n" -c "$TMP/nosuch.conf" && [[ ! -e /run/dfw/${ID}n && ! -e /var/lib/dfw/${ID}n ]] ||
        because "${FAIL_REASON:-a folder is left}"
}
it "a dfwd whose configuration is not there leaves no folder of its instance" absent_directories

begin() { dfwd_start && vport_add 1 --tag app=web && ctl policy apply "$TMP/good.dfw" >/dev/null; }
must "a vport and a policy" begin

usage() {
    local -a words
    local bad=""
    while IFS='|' read -r pattern line; do
        read -r -a words <<<"$line"
        refuses 2 "$pattern" ctl ${words[@]+"${words[@]}"} || bad+="[$line] $FAIL_REASON; "
    done <<EOL
command|
unknown|nonsense
command|vport
unknown|vport nonsense
name|vport add
dev|vport add vm9
vport/9|vport add vport/9 --dev tap9
nonsense|vport add vm9 --dev tap9 --nonsense
mac|vport add vm9 --dev tap9 --mac 02:00:00:00:77 --ip 10.77.0.9
mac|vport add vm9 --dev tap9 --mac 03:00:00:00:77:09 --ip 10.77.0.9
300|vport add vm9 --dev tap9 --mac 02:00:00:00:77:09 --ip 10.77.0.300
fd77|vport add vm9 --dev tap9 --mac 02:00:00:00:77:09 --ip fd77::1::2
tag|vport add vm9 --dev tap9 --mac 02:00:00:00:77:09 --tag =web
tap-with-a-long-name|vport add vm9 --dev tap-with-a-long-name --mac 02:00:00:00:77:09
file|policy apply
file|policy check
good.dfw|policy check $TMP/good.dfw $TMP/good.dfw
nonsense|policy rollback nonsense
70000|flow list --port 70000
nonsense|flow list --proto nonsense
10.77.0.300|flow list --addr 10.77.0.300
nonsense|status --wait nonsense
nonsense|status --nonsense
VPORT|rules
EOL
    [[ -z $bad ]] || because "$bad"
}
it "wrong usage: exit 2, the word in question is named, nothing changes" unchanged usage
instance() { refuses 2 "instance" "$DFWCTL" -i "../x" status && refuses 2 "instance" "$DFWCTL" -i "" status && refuses 2 "instance" timeout 60 "$DFWD" -i "a/b"; }
it "an instance name with a slash, an empty one: exit 2, dfwd and dfwctl" instance
unknown() {
    unchanged refuses 2 nosuch ctl vport show nosuch && unchanged refuses 2 nosuch ctl vport del nosuch && unchanged refuses 2 nosuch ctl vport set nosuch --tag a=b &&
        unchanged refuses 2 nosuch ctl rules nosuch && unchanged refuses 2 nosuch ctl stats nosuch && unchanged refuses 2 nosuch ctl flow list --vport nosuch &&
        unchanged refuses 2 nosuch ctl flow kill --vport nosuch
}
it "an unknown vport is named in the error" unknown
twice() { unchanged refuses "1,2" "vm1" ctl vport add vm1 --dev tap2 --mac "${VM_MAC[2]}" --ip "${VM_IP[2]}"; }
it "a vport that is already there" twice
address() { unchanged refuses "1,2" "${VM_IP[1]}.*vm1|vm1.*${VM_IP[1]}" ctl vport add vm2 --dev tap2 --mac "${VM_MAC[2]}" --ip "${VM_IP[1]}"; }
it "an address in two vports: the error names both" address
device() { unchanged refuses "1,2" "tap1" ctl vport add vm2 --dev tap1 --mac "${VM_MAC[2]}" --ip "${VM_IP[2]}"; }
it "a device of two vports" device
profile() { unchanged refuses "1,2" "nosuch" ctl vport set vm1 --profile nosuch; }
it "a profile that the policy does not have" profile
refused() {
    printf 'profile vm { strict off }\n' | cat "$TMP/good.dfw" - >"$TMP/with.dfw"
    ctl policy apply "$TMP/with.dfw" >/dev/null && ctl vport set vm1 --profile vm >/dev/null || return 1
    unchanged refuses 2 "unknown profile 'vm'" ctl -j policy apply "$TMP/good.dfw" &&
        { jq -se --arg file "$TMP/good.dfw" 'length == 1 and (.[0] | .valid == false and .unreported == 0 and (.errors | length) == 1 and (.errors[0] | .file == $file and .line == 0 and (.text | test("vm1: unknown profile"))))' "$TMP/out" >/dev/null || because "$(cat "$TMP/out")"; } || return 1
    printf 'include "good.dfw"\n' >"$TMP/includes.dfw"
    unchanged refuses 2 "unknown profile 'vm'" ctl -j policy apply "$TMP/includes.dfw" && { jq -se 'length == 1 and .[0].valid == false' "$TMP/out" >/dev/null || because "of several files: $(cat "$TMP/out")"; } || return 1
    ctl vport set vm1 --profile default >/dev/null && ctl -j policy apply "$TMP/good.dfw" | jq -se 'length == 1 and (.[0] | has("generation") and (has("valid") | not))' >/dev/null
}
it "-j policy apply: what is wrong for the vports there are is the object of policy check" refused
generation_999() { unchanged refuses "1,2" "999" ctl policy rollback 999; }
it "rollback to a generation that never was" generation_999
missing() { unchanged refuses "1,2" "nosuch.dfw" ctl policy apply "$TMP/nosuch.dfw" && unchanged refuses "1,2" "$TMP" ctl policy apply "$TMP"; }
it "a policy file that does not exist, a directory" missing
waiting() {
    ctl vport add vm9 --dev nosuch0 --mac 02:00:00:00:77:09 --ip 10.77.0.9 >"$TMP/out" 2>&1 || { because "$(cat "$TMP/out")"; return 1; }
    [[ $(ctl -j vport show vm9 | jq -r .attached) == false ]] && ctl vport list | grep vm9 >/dev/null && ctl vport del vm9 >/dev/null || because "$(ctl vport show vm9)"
}
it "a device that does not exist: the vport waits for it and says so" waiting
sets() {
    ctl vport set vm1 --tag app=db --tag zone=a --ip "${VM_IP[1]}" >/dev/null && ctl -j vport show vm1 | jq -e '.tags == {"app": "db", "zone": "a"} and (.ips | length) == 1' >/dev/null ||
        because "$(ctl -j vport show vm1)"
}
it "vport set replaces what it is given and keeps the rest" sets
json() {
    local command
    for command in status "vport list" "vport show vm1" "policy show" "policy history" "rules vm1" "flow list" "stats vm1" stats; do
        # shellcheck disable=SC2086
        ctl -j $command | jq -e . >/dev/null || { because "-j $command"; return 1; }
        # shellcheck disable=SC2086
        ctl $command >/dev/null || { because "$command"; return 1; }
    done
}
it "every reading command in both forms" json
plain() { not grep -q $'\033' <(ctl vport list; ctl rules vm1; ctl status); }
it "no colour where there is no terminal" plain
helps() { "$DFWCTL" --help | grep -q "vport add" && "$DFWD" --help | grep -q -- "-i" && "$DFWCTL" vport add --help | grep -q -- "--mac"; }
it "--help tells the commands and their options" helps
closed_pipe() {
    local status
    mkfifo "$TMP/pipe"
    exec 7<>"$TMP/pipe"
    exec 8>"$TMP/pipe" 7<&-
    ctl policy show >&8
    status=$?
    exec 8>&-
    # By SIGPIPE, or by saying so where that is ignored.
    ((status == 141 || status == 1)) || because "exit status $status"
}
it "a reader that goes away is no crash" closed_pipe
full_out() { refuses "1" "space|write" bash -c "nsenter --net=/run/netns/$HOST '$DFWCTL' -i '$ID' policy show >/dev/full"; }
it "output that cannot be written is a failure, not silence" full_out
full_out_done() {
    local before
    before=$(generation)
    refuses 1 "space|write" bash -c "nsenter --net=/run/netns/$HOST '$DFWCTL' -i '$ID' policy apply '$TMP/good.dfw' >/dev/full" && (($(generation) == before + 1)) || because "${FAIL_REASON:-generation $(generation) after $before}"
}
it "...of a change that is made all the same" full_out_done
full_out_cause() {
    local command
    {
        cat "$TMP/good.dfw"
        for ((i = 0; i < 500; i++)); do echo "group g$i { 10.0.0.1 }"; done
    } >"$TMP/groups.dfw"
    for ((i = 0; i < 20; i++)); do printf 'nonsense-%0500d\n' "$i"; done >"$TMP/long.dfw"
    ctl policy apply "$TMP/groups.dfw" >/dev/null || return 1
    for command in "group list" "policy check $TMP/long.dfw"; do
        refuses "1,2" "cannot write the output: No space left" bash -c "'$DFWCTL' -i '$ID' -j $command >/dev/full" || return 1
        not grep -q memory "$TMP/err" || because "$command: $(grep memory "$TMP/err")" || return 1
    done
}
it "...with -j, where it is long: for that cause and no other" full_out_cause
no_bpffs() {
    local command
    for command in "vport list" "vport show vm1" "-j vport list" "rules vm1" "stats" "flow list"; do
        # $1 is the shell's that unshare begins.
        # shellcheck disable=SC2016
        refuses 1 "no bpf file system is mounted" unshare -m sh -c 'while umount /sys/fs/bpf 2>/dev/null; do :; done; exec $1' sh "nsenter --net=/run/netns/$HOST $DFWCTL -i $ID $command" || return 1
    done
}
it "no bpffs: what reads the kernel says so; it does not take vports for not realised" no_bpffs

# ---- completion ------------------------------------------------------------------------------------------------------

# completes LINE WORDS: what bash offers behind it, sorted. bash parts --name=value in three.
completes() {
    local got
    # shellcheck disable=SC2016
    got=$("$BASH" --norc -c '
        . "$1"
        line=${2//=/ = }
        read -r -a COMP_WORDS <<<"$line"
        [[ $2 == *[\ =] && $2 != *= ]] && COMP_WORDS+=("")
        COMP_WORDS[0]=$3 COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        _dfwctl 2>/dev/null
        printf "%s\n" "${COMPREPLY[@]}" | sort | tr "\n" " "' completion "$TMP/completion" "$1" "$DFWCTL")
    [[ ${got% } == "$2" ]] || because "\"$1\" offers \"${got% }\", not \"$2\""
}
"$DFWCTL" --bash-completion >"$TMP/completion"
mkdir -p "$TMP/files" && touch "$TMP/files/base.dfw" "$TMP/files/other.dfw"
words() {
    completes "dfwctl vp" vport && completes "dfwctl -j vport s" "set show" && completes "dfwctl cluster " "init invite join leave request revoke rotate status store takeover"
}
it "completion: commands, all of a group" words
files() { completes "dfwctl policy apply $TMP/files/b" "$TMP/files/base.dfw" && completes "dfwctl policy apply --wait $TMP/files/b" "$TMP/files/base.dfw" && completes "dfwctl policy apply --wait 5 $TMP/files/o" "$TMP/files/other.dfw"; }
it "completion: a file, behind a --wait without a value too" files
needed() { completes "dfwctl status --wait " "" && completes "dfwctl policy apply --wait=" "" && completes "dfwctl policy rollback --wait --n" "--no-color"; }
it "completion: nothing for a number, options behind one that is left out" needed
of_instance() {
    local way
    for way in "-i $ID" "-i$ID" "-ji $ID" "-ji$ID" "--instance $ID" "--instance=$ID"; do
        completes "dfwctl $way vport show v" vm1 && completes "dfwctl vport $way show vm" vm1 && completes "dfwctl flow list --vport=v $way --proto ud" "udp udplite" || return 1
    done
    completes "dfwctl -i ${ID%?}" "$ID" && completes "dfwctl -ji${ID%?}" "-ji$ID" && completes "dfwctl --instance=${ID%?}" "$ID" && completes "dfwctl -i $ID vport set vm1 --de" "--dev"
}
it "completion: what is the instance's, however that is given" of_instance
values() {
    printf 'profile vm { strict off }\ngroup web { tag app=web }\ngroup west { 10.1.0.0/16 }\ngroup db { 10.2.0.1 }\n' | cat "$TMP/good.dfw" - >"$TMP/with.dfw"
    ctl policy apply "$TMP/with.dfw" >/dev/null || return 1
    completes "dfwctl uplink set up0 --mode " "auto generic native" && completes "dfwctl uplink add up0 --fast-path=o" "off on" && completes "dfwctl -i $ID group show we" "web west" &&
        completes "dfwctl -i$ID group add d" db && completes "dfwctl -i $ID vport set vm1 --profile " "default vm" && completes "dfwctl vport set vm1 --dev lo" lo
}
it "completion: values of options, groups and profiles of the policy" values
