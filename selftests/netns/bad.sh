#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Law 8: bad input and bad surroundings get a clear error and change nothing of what is enforced.
# shellcheck source=selftests/lib.sh disable=SC2015,SC2119,SC2317
. "$(dirname "$0")/../lib.sh"
need_root
host_up
vm_up 1
mkdir -p "$STATE"
mount -t tmpfs -o size=2m,mode=700 tmpfs "$STATE" && MOUNTS+=("$STATE")

begin() { dfwd_start && vport_add 1 && apply_open 7000 && listen "${VM[1]}" 7000 && listen "${VM[1]}" 7001 && talk lives "$WIRE" "${VM_IP[1]}" 7000; }
must "a vport, a policy, a connection" begin
still() { talks lives && opens "$WIRE" "${VM_IP[1]}" 7000 && closed "$WIRE" "${VM_IP[1]}" 7001; }

# wrong PATTERN: the policy on stdin is refused by check and by apply, with its place
wrong() {
    cat >"$TMP/wrong.dfw"
    unchanged refuses 2 "wrong.dfw:[0-9]+:[0-9]+: .*$1" ctl policy check "$TMP/wrong.dfw" &&
        unchanged refuses 2 "wrong.dfw:[0-9]+:[0-9]+: .*$1" ctl policy apply "$TMP/wrong.dfw"
}
unknown_group() { wrong "webb" <<<"group web { 10.0.0.1 }
r: allow in from webb"; }
it "policy: an unknown group" unknown_group
unknown_service() { wrong "htp" <<<"r: allow in service htp"; }
it "policy: an unknown service" unknown_service
cycle() { wrong "(cycle|itself|circle)" <<<"group a { group b }
group b { group c }
group c { group a }"; }
it "policy: a cycle in groups" cycle
duplicate() { wrong "(twice|already|duplicate|second)" <<<"tier t {
    same: allow in service tcp 1
    same: drop in service tcp 2
}" && wrong "(twice|already|duplicate|second)" <<<"group g { 10.0.0.1 }
group g { 10.0.0.2 }"; }
it "policy: duplicate names" duplicate
port() { wrong "(65535|65536|port)" <<<"r: allow in service tcp 65536" && wrong "(range|order|90-80|below|greater)" <<<"r: allow in service tcp 90-80"; }
it "policy: a port above 65535, a range from high to low" port
host_bits() { wrong "10.20.0.0/16" <<<"group g { 10.20.1.1/16 }" && wrong "2001:db8::/32" <<<"group g { 2001:db8::1/32 }"; }
it "policy: a prefix with host bits; the error says the right one" host_bits
several() {
    cat >"$TMP/wrong.dfw" <<<"group g { 10.20.1.1/16 }
r: allow in service tcp 99999
s: allow sideways
default in perhaps"
    refuses 2 "wrong.dfw:1:" ctl policy check "$TMP/wrong.dfw" && [[ $(grep -cE "wrong.dfw:[1-4]:" "$TMP/err") -ge 4 ]] || because "$(cat "$TMP/err")"
}
it "policy: several errors in one run" several
included() {
    mkdir -p "$TMP/inc" && echo 'r: allow in service tcp 99999' >"$TMP/inc/part.dfw" && echo 'include "inc/part.dfw"' >"$TMP/main.dfw" &&
        unchanged refuses 2 "part.dfw:1:" ctl policy apply "$TMP/main.dfw" || return 1
    echo 'include "circle.dfw"' >"$TMP/circle.dfw" && unchanged refuses 2 "circle.dfw:1:" ctl policy apply "$TMP/circle.dfw" || return 1
    echo 'include "./circle.dfw"' >"$TMP/circle.dfw" && unchanged refuses 2 "circle.dfw:1:9: '[^']*/circle.dfw' includes itself" ctl policy apply "$TMP/circle.dfw" || return 1
    echo 'include "nosuch.dfw"' >"$TMP/main.dfw" && unchanged refuses 2 "main.dfw:1:[0-9]+:.*nosuch" ctl policy apply "$TMP/main.dfw"
}
it "policy: an error in an included file is told by that file; circles and missing files" included
garbage() {
    head -c 100000 /dev/urandom >"$TMP/wrong.dfw" && unchanged refuses 2 "wrong.dfw:[0-9]+:" ctl policy apply "$TMP/wrong.dfw" || return 1
    head -c 100000 /dev/zero >"$TMP/wrong.dfw" && unchanged refuses 2 "wrong.dfw:[0-9]+:" ctl policy apply "$TMP/wrong.dfw" || return 1
    printf '{"groups": [' >"$TMP/wrong.dfw" && unchanged refuses 2 "wrong.dfw" ctl policy apply "$TMP/wrong.dfw" || return 1
    not grep -qP '[^\x09\x0a\x20-\x7e\x80-\xff]' "$TMP/err" || because "control characters of the file are printed"
}
it "policy: binary garbage, zeros, half a JSON" garbage
# told FILE: check with -j tells of the only error there is, as text that goes through a terminal
told() {
    ctl -j policy check "$1" >"$TMP/told" 2>"$TMP/err"
    [[ $? == 2 ]] && jq -e '(.errors | length) == 1 and .valid == false' "$TMP/told" >/dev/null && iconv -f UTF-8 -t UTF-8 "$TMP/err" >/dev/null &&
        not env LC_ALL=C grep -qP '[^\x09\x0a\x20-\x7e\x80-\xff]' "$TMP/err" || because "$(cat "$TMP/told" "$TMP/err")"
}
cut() {
    printf 'r: allow in %s\n' "$(printf '\342\202\254%.0s' {1..20})" >"$TMP/wrong.dfw" && told "$TMP/wrong.dfw" &&
        printf '{"groups": [{"name": "g", "members": [{"vport": "x%s"}]}]}' "$(printf '\303\251%.0s' {1..90})" >"$TMP/wrong.dfw" && told "$TMP/wrong.dfw" &&
        printf '{"a\\u001b[2J": 1}' >"$TMP/wrong.dfw" && told "$TMP/wrong.dfw"
}
it "policy: an error that quotes a part of a character, or a control character, is told as text and as JSON" cut
by_place() {
    (cd "$TMP" && apply_open 7000 && unchanged refuses 2 "wrong.dfw" ctl policy apply ./wrong.dfw && cp policy.dfw marked.dfw && sed -i $'1s/^/\xef\xbb\xbf/' marked.dfw && ctl policy apply .//marked.dfw >/dev/null && ctl policy show >/dev/null && ctl policy apply ./policy.dfw >/dev/null) || because "not taken: $(cat "$TMP/err")"
}
it "policy: a file is found by './' and '//', and may begin with a byte order mark" by_place
big() {
    yes 'group filler { 10.0.0.1 }' | head -c 50000000 >"$TMP/wrong.dfw"
    unchanged refuses 2 "(large|big|long|more than|bytes|MiB|MB|at most)" ctl policy apply "$TMP/wrong.dfw" && unchanged refuses 2 "." ctl policy check "$TMP/wrong.dfw"
    local r=$?
    rm -f "$TMP/wrong.dfw"
    return $r
}
it "policy: a file of 50 MB" big
it "...after all of it the old policy is enforced and the connection lives" still

two() { unchanged refuses 1 "(running|already|in use|lock|pid)" nsenter --net="/run/netns/$HOST" timeout 60 "$DFWD" -i "$ID" && still; }
it "two daemons on one instance: the second says so and goes" two
elsewhere() { unchanged refuses 1 "(served already|locked)" nsenter --net="/run/netns/$HOST" timeout 60 "$DFWD" -i "$ID" --run-dir "/run/dfw/${ID}r" "$@"; }
two_folders() {
    elsewhere && elsewhere --state-dir "$TMP/state" && elsewhere --detach && mv "/run/dfw/$ID" "/run/dfw/${ID}s" || return 1
    refuses 1 "(served already|locked)" nsenter --net="/run/netns/$HOST" timeout 60 "$DFWD" -i "$ID"
    local r=$?
    rm -rf "/run/dfw/$ID" && mv "/run/dfw/${ID}s" "/run/dfw/$ID" && ((r == 0)) && still
}
it "...also with another run directory, or when that of the first has gone" two_folders
two_at_once() {
    local one two
    background one exec nsenter --net="/run/netns/$HOST" "$DFWD" -i "${ID}f" --run-dir "/run/dfw/${ID}f"
    one=$LAST
    background two exec nsenter --net="/run/netns/$HOST" "$DFWD" -i "${ID}f" --run-dir "/run/dfw/${ID}g" --state-dir "/var/lib/dfw/${ID}f"
    two=$LAST
    until_true 60 one_is_served || because "$(cat "$TMP/one" "$TMP/two")"
    local r=$?
    kill "$one" "$two" 2>/dev/null
    wait "$one" "$two" 2>/dev/null
    nsenter --net="/run/netns/$HOST" "$DFWD" -i "${ID}f" --detach >"$TMP/out" 2>&1
    [[ $r == 0 && ! -e /sys/fs/bpf/dfw/${ID}f && ! -e /sys/fs/bpf/dfw/${ID}f%new ]]
}
one_is_served() { grep -q ready: "$TMP/one" "$TMP/two" && grep -q "served already" "$TMP/one" "$TMP/two"; }
it "...and of two that begin at once" two_at_once
nobody() { unchanged refuses "1,3" "(permission|privilege|root|not permitted|CAP_)" nsenter --net="/run/netns/$HOST" setpriv --reuid 65534 --regid 65534 --clear-groups "$DFWCTL" -i "$ID" status; }
it "no privileges: dfwctl says so" nobody
nobody_daemon() { unchanged refuses 1 "(permission|privilege|root|not permitted|CAP_)" nsenter --net="/run/netns/$HOST" setpriv --reuid 65534 --regid 65534 --clear-groups timeout 60 "$DFWD" -i "${ID}n" && still; }
it "no privileges: dfwd says so" nobody_daemon
no_bpffs() {
    unchanged refuses 1 "(bpffs|/sys/fs/bpf)" unshare -m sh -c "while umount /sys/fs/bpf 2>/dev/null; do :; done; exec nsenter --net=/run/netns/$HOST timeout 60 '$DFWD' -i '${ID}b'" && still && [[ ! -e /run/dfw/${ID}b && ! -e /var/lib/dfw/${ID}b ]] || because "${FAIL_REASON:-a folder is left}"
}
it "a bpffs that is not mounted: dfwd names it and what to do, and leaves no folder behind" no_bpffs
older() {
    local pins=/sys/fs/bpf/dfw/${ID}o
    # shellcheck disable=SC2046
    mkdir -p "$pins" && bpftool map create "$pins/layout" type array key 4 value 64 entries 1 name layout &&
        bpftool map update pinned "$pins/layout" key hex 00 00 00 00 value hex 63 00 00 00 $(printf '00 %.0s' $(seq 60)) 2>"$TMP/out" || { because "$(cat "$TMP/out")"; return 1; }
    refuses 1 "layout" nsenter --net="/run/netns/$HOST" timeout 60 "$DFWD" -i "${ID}o" && [[ -e $pins/layout ]] && refuses "1,3" "layout" ctl_of "${ID}o" flow list
    local r=$?
    rm -rf "$pins" "/var/lib/dfw/${ID}o" "/run/dfw/${ID}o"
    return $r
}
ctl_of() {
    local instance=$1
    shift
    nsenter --net="/run/netns/$HOST" "$DFWCTL" -i "$instance" "$@"
}
it "pins of another layout: dfwd refuses them and leaves them alone" older
full() {
    ctl uplink add up0 >/dev/null || return 1
    dd if=/dev/zero of="$STATE/filler" bs=64k 2>/dev/null
    dd if=/dev/zero of="$STATE/filler2" bs=1 count=8192 2>/dev/null
    sed "s/^tier test {/&\n    extra: allow in service tcp 7001 # $(head -c 20000 /dev/zero | tr '\0' x)/" "$TMP/policy.dfw" >"$TMP/other.dfw"
    unchanged refuses 1 "space" ctl policy apply "$TMP/other.dfw" && unchanged refuses 1 "space" ctl vport add vm8 --dev nosuch0 --mac 02:00:00:00:77:08 --ip 10.77.0.8 &&
        same_uplinks refuses 1 "space" ctl uplink set up0 --mode generic && same_uplinks refuses 1 "space" ctl uplink set up0 --fast-path off &&
        same_uplinks refuses 1 "space" ctl uplink del up0 && same_uplinks refuses 1 "space" ctl uplink add nosuch0 && still
    local r=$?
    rm -f "$STATE/filler" "$STATE/filler2"
    return $r
}
uplinks() { ctl -j uplink list | jq -c 'map({name, hook, fast_path})'; }
same_uplinks() {
    local before
    before=$(uplinks)
    "$@" || return 1
    [[ $(uplinks) == "$before" ]] || because "$before, then $(uplinks)"
}
it "a full disk: a policy, a vport, an uplink are refused, what is enforced stays" full
room() { ctl uplink set up0 --mode generic >/dev/null && hooked up0 generic && ctl uplink del up0 >/dev/null && [[ $(ctl -j uplink list) == "[]" ]] && ctl policy apply "$TMP/other.dfw" >/dev/null && opens "$WIRE" "${VM_IP[1]}" 7001 && apply_open 7000; }
it "...with room again they are taken" room
damaged() {
    dfwd_end TERM && cp "$STATE/vports.json" "$TMP/vports.json" && echo '{"vports": [{' >"$STATE/vports.json" || return 1
    refuses 1 "vports.json" nsenter --net="/run/netns/$HOST" timeout 60 "$DFWD" -i "$ID" && still || return 1
    jq '.vports[0].tags = {"app=web": "x"}' "$TMP/vports.json" >"$STATE/vports.json" && refuses 1 "tag .app=web" nsenter --net="/run/netns/$HOST" timeout 60 "$DFWD" -i "$ID" && still || return 1
    cp "$TMP/vports.json" "$STATE/vports.json" && dfwd_start && still
}
it "a damaged vports.json, or a tag that reads as another: dfwd says so and does not start, enforcement stays; mended it starts" damaged
incomplete() {
    vport_add 2 && dfwd_end TERM && cp "$STATE/vports.json" "$TMP/vports.json" && echo '{"vports": []}' >"$STATE/vports.json" || return 1
    refuses 1 "vports.json lacks 2 of the vports" nsenter --net="/run/netns/$HOST" timeout 60 "$DFWD" -i "$ID" && still || return 1
    jq '.vports |= map(select(.name == "vm2"))' "$TMP/vports.json" >"$STATE/vports.json"
    refuses 1 "vports.json lacks 1 of .* vm1 " nsenter --net="/run/netns/$HOST" timeout 60 "$DFWD" -i "$ID" && still || return 1
    cp "$TMP/vports.json" "$STATE/vports.json" && dfwd_start && still && ctl vport del vm2 >/dev/null
}
it "a vports.json that lacks vports: the same" incomplete
socket_junk() {
    local url=/run/dfw/$ID/control.sock
    [[ -S $url ]] || because "no $url" || return 1
    /usr/bin/python3 - "$url" <<'EOP'
import os, socket, sys
for junk in (b"", b"\0" * 100, b"\xff" * 100000, b"GET / HTTP/1.1\r\n\r\n", b"\0SP\0"):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try: s.connect(sys.argv[1]); s.sendall(junk); s.shutdown(socket.SHUT_WR); s.settimeout(.2); s.recv(100)
    except OSError: pass
    s.close()
EOP
    ctl status >/dev/null && still
}
# (What follows a right handshake is nanomsg's own framing, which it asserts; only root comes so far.)
it "junk on the control socket does not hurt dfwd" socket_junk
pin_missing() {
    dfwd_end TERM && mv "$PINS/row_refs" "$PINS/away" || return 1
    refuses 1 "row_refs" nsenter --net="/run/netns/$HOST" timeout 60 "$DFWD" -i "$ID"
    local r=$?
    mv "$PINS/away" "$PINS/row_refs"
    ((r == 0)) && still && dfwd_start && still
}
it "a pinned map is missing: dfwd names it and does not start, enforcement goes on" pin_missing
