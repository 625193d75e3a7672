#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# dfwd's configuration: vports by the names of devices that come and go; the older hook of tc.
# shellcheck source=selftests/lib.sh disable=SC2015,SC2119,SC2317
. "$(dirname "$0")/../lib.sh"
need_root
host_up
vm_up 1
vm_space 2

cat >"$TMP/dfwd.conf" <<'EOC'
[daemon]
sweep-interval = 1
[vports "tap*"]
tag = app=web
EOC
attached() { [[ $(ctl -j vport show "$1" 2>/dev/null | jq -r .attached) == true ]]; }
matches() {
    dfwd_start -c "$TMP/dfwd.conf" && attached tap1 && not attached up0 && no_ping "${VM[1]}" "$WIRE_IP" && no_ping "$WIRE" "${VM_IP[1]}" || because "$(ctl vport list)"
}
must "a device whose name matches is a vport once dfwd is ready, and denies" matches
comes() { vm_plug 2 && until_true 30 attached tap2 && no_ping "${VM[2]}" "$WIRE_IP" || because "$(ctl vport list)"; }
it "one that comes later too" comes
given() {
    apply <<EOP
group web { tag app=web }
default in drop
default out drop
tier test {
    web-out: allow out from web service ping
}
EOP
    ctl vport set tap1 --mac "${VM_MAC[1]}" --ip "${VM_IP[1]}" --ip "${VM_IP6[1]}" --ip "${VM_LL[1]}" >"$TMP/out" 2>&1 && pings "${VM[1]}" "$WIRE_IP" && no_ping "$WIRE" "${VM_IP[1]}" || because "$FAIL_REASON $(cat "$TMP/out")"
}
it "given its addresses it is decided by the policy, its tags by the configuration" given
listed() { ctl -j vport list | jq -e --arg n "$1" 'any(.[]; .name == $n)' >/dev/null; }
tag_of() { ctl -j vport show "$1" | jq -r '.tags.app'; }
reloaded() { # reloaded CONFIGURATION
    local before
    before=$(grep -c "configuration read again" "$LOG")
    echo "$1" >"$TMP/dfwd.conf" && kill -HUP "$DFWD_PID" || return 1
    # shellcheck disable=SC2317
    again() { (($(grep -c "configuration read again" "$LOG") > before)); }
    until_true 30 again || because "it does not read"
}
others() {
    ip -n "$HOST" link add other0 type veth peer name other1 && reloaded '[vports "tap*"]
tag = app=db
[vports "other0"]' && listed other0 && [[ $(tag_of tap2) == web ]] || because "$(ctl vport list) $(tag_of tap2)" || return 1
    reloaded '[vports "tap*"]
tag = app=db' && listed other0 && dfwd_end TERM && dfwd_start -c "$TMP/dfwd.conf" && listed other0 && [[ $(tag_of tap2) == web ]] || because "$(ctl vport list) $(tag_of tap2)" || return 1
    ip -n "$HOST" link del other0
    until_true 30 not listed other0 && ip -n "$HOST" link del tap2 && until_true 30 not listed tap2 && vm_plug 2 && until_true 30 attached tap2 &&
        [[ $(tag_of tap2) == db ]] || because "$(ctl vport list) $(tag_of tap2)"
}
it "a reload makes vports that a section wants now; those that are there stay as they are until their device goes" others
goes() { ip -n "$HOST" link del tap2 && until_true 30 not listed tap2 || because "$(ctl vport list)"; }
it "a device that goes takes its vport with it" goes
wrong() {
    printf '[daemon]\nsweep-interval = never\n[vports "x*"]\nnonsense = 1\n' >"$TMP/wrong.conf"
    unchanged refuses "1,2" "wrong.conf:2:[0-9]+: .*never" nsenter --net="/run/netns/$HOST" timeout 60 "$DFWD" -i "${ID}c" -c "$TMP/wrong.conf" && grep -q "wrong.conf:4:" "$TMP/err" || because "$FAIL_REASON $(cat "$TMP/err")"
}
it "errors of the configuration are told as file:line:column, all of them" wrong
# wrong_line NUMBER PATTERN: the configuration on stdin has this error and no other
wrong_line() {
    cat >"$TMP/wrong.conf"
    unchanged refuses "1,2" "wrong.conf:$1:[0-9]+: .*$2" nsenter --net="/run/netns/$HOST" timeout 60 "$DFWD" -i "${ID}c" -c "$TMP/wrong.conf" || return 1
    [[ $(grep -c wrong.conf "$TMP/err") == 1 && ! -e /run/dfw/${ID}c && ! -e /var/lib/dfw/${ID}c ]] || because "$(cat "$TMP/err"; ls -d "/run/dfw/${ID}c" "/var/lib/dfw/${ID}c" 2>&1)"
}
twice() {
    wrong_line 3 sweep-interval <<<$'[daemon]\nsweep-interval = 1\nsweep-interval = 2' && wrong_line 5 log-limit <<<$'[daemon]\nlog-limit = 1\n[vports "x*"]\n[daemon]\nlog-limit = 1' &&
        wrong_line 3 profile <<<$'[vports "x*"]\nprofile = a\nprofile = a' && wrong_line 3 mode <<<$'[uplinks "eth0"]\nmode = auto\nmode = native'
}
it "a key that is given twice is an error, also in two pieces of [daemon]" twice
tags() { wrong_line 4 '"a"' <<<$'[vports "x*"]\ntag = a=b\ntag = b=b\ntag = a = c'; }
it "two values of one tag are an error" tags
patterns() {
    local pattern
    # shellcheck disable=SC1003
    for pattern in 'a/*' 'a:*' 'a b' '[/]*' '[[:space:]]x' 'x\'; do
        wrong_line 2 "no name that a device can have" <<<$'\n[vports "'"$pattern"'"]' || return 1
    done
}
it "a pattern that no name of a device can match is an error" patterns
right() {
    local pattern
    for pattern in '*' 'x?' '[a-c/]*' '[[:alpha:]]*' 'x[!y]' '[]x]*' 'x[' 'x\*' '[[:space:]x]*'; do
        printf '[vports "%s"]\ntag = a=b\ntag = b=b\n' "$pattern"
    done >"$TMP/right.conf"
    printf '[uplinks "eth0"]\nfast-path = on\n[uplinks "eth1"]\nfast-path = on\n[daemon]\nhook = auto\n[daemon]\nlog-limit = 0\nnonsense = 1\n' >>"$TMP/right.conf"
    # The last line alone is wrong, or a daemon would start.
    unchanged refuses "1,2" "right.conf:36:1: .*nonsense" nsenter --net="/run/netns/$HOST" timeout 60 "$DFWD" -i "${ID}c" -c "$TMP/right.conf" && [[ $(grep -c right.conf "$TMP/err") == 1 ]] || because "$FAIL_REASON $(cat "$TMP/err")"
}
it "...all others are taken, and keys and tags again in another section" right

printf '[daemon]\nhook = clsact\n' >"$TMP/clsact.conf"
clsact() {
    ctl shutdown --detach >/dev/null && until_true 30 not kill -0 "$DFWD_PID" && DFWD_PID= || because "dfwd does not end" || return 1
    rm -rf "$STATE"
    dfwd_start -c "$TMP/clsact.conf" && vport_add 1 && apply_open 7000 && listen "${VM[1]}" 7000 && listen "${VM[1]}" 7001 && opens "$WIRE" "${VM_IP[1]}" 7000 && closed "$WIRE" "${VM_IP[1]}" 7001 &&
        grep -q bpf <(in_host tc filter show dev tap1 ingress) || because "$FAIL_REASON $(in_host tc filter show dev tap1 ingress)"
}
it "hook = clsact: the same by tc's older hook" clsact
clsact_kill() {
    talk one "$WIRE" "${VM_IP[1]}" 7000 && dfwd_end KILL && talks one && closed "$WIRE" "${VM_IP[1]}" 7001 && dfwd_start -c "$TMP/clsact.conf" && talks one && opens "$WIRE" "${VM_IP[1]}" 7000 &&
        [[ $(in_host tc filter show dev tap1 ingress | grep -c 'direct-action') == 1 ]] || because "$FAIL_REASON $(in_host tc filter show dev tap1 ingress)"
}
it "...killed and started again it goes on, with one filter and not two" clsact_kill
detach() {
    dfwd_end KILL && nsenter --net="/run/netns/$HOST" "$DFWD" -i "$ID" --detach >"$TMP/out" 2>&1 && opens "$WIRE" "${VM_IP[1]}" 7001 && [[ ! -e $PINS ]] || because "$(cat "$TMP/out")"
}
it "dfwd --detach ends what a dead daemon left" detach
