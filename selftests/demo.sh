#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Shows the firewall at work, in plain words and with real output: three VMs (namespaces) on one bridge, one policy.
# shellcheck source=selftests/lib.sh disable=SC2015,SC2119,SC2317
. "$(dirname "$0")/lib.sh"
[[ $(id -u) == 0 ]] || { echo "demo: needs root (sudo make demo)" >&2; exit 1; }
[[ -x $DFWD && -x $DFWCTL ]] || { echo "demo: build first (make)" >&2; exit 1; }
mountpoint -q /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf

BOLD="" DIM="" NORMAL=""
[[ -t 1 ]] && { BOLD=$'\033[1m' DIM=$'\033[2m' NORMAL=$'\033[0m'; }
STEP=0

step() {
    STEP=$((STEP + 1))
    printf '\n%s%d. %s%s\n' "$BOLD" "$STEP" "$1" "$NORMAL"
}
words() {
    local line
    for line in "$@"; do echo "${line:+   $line}"; done
}
# What a person would type, then what it prints.
run() {
    printf '   %s$ %s%s\n' "$DIM" "$1" "$NORMAL"
    shift
    "$@" 2>&1 | sed 's/^/     /'
}
# expect YES|NO "in words" command...: runs it and says what came of it
expect() {
    local want=$1 text=$2 got=NO
    shift 2
    "$@" >/dev/null 2>&1 && got=YES
    if [[ $got == "$want" ]]; then
        printf '   %-66s %s\n' "$text" "$([[ $got == YES ]] && echo passes || echo "is stopped")"
    else
        printf '   %-66s %s\n' "$text" "WRONG: $([[ $got == YES ]] && echo "it passes" || echo "it is stopped")"
        FAILED=$((FAILED + 1))
    fi
}
fetch() { ip netns exec "$1" curl -sf -m 2 "http://$2/"; }
ping_once() { ip netns exec "$1" ping -q -c 1 -W 2 "$2"; }
# talks, for what should not: it does not wait for long
talks_shortly() { not silent "$1"; }
reach() { ip netns exec "$1" nc -z -w 1 "$2" "$3"; }

echo "${BOLD}dfw: one stateful firewall, one port per VM, decided in the kernel$NORMAL"
words "Three VMs (network namespaces) hang on one bridge; a fourth namespace is the world outside." \
    "web is 10.77.0.1, db is 10.77.0.2, dev is 10.77.0.3, outside is $WIRE_IP." \
    "The firewall is an instance of its own, $ID: \"-i $ID\" is left out in what follows."

host_up
for n in 1 2 3; do vm_up $n; done
WEB=$(vm 1) DB=$(vm 2) DEV=$(vm 3)
mkdir -p "$TMP/www" && echo "hello from web" >"$TMP/www/index.html"
background web in_vm 1 /usr/bin/python3 -m http.server 80 --bind :: --directory "$TMP/www"
listen "$DB" 5432 && listen "$DB" 22 && listen "$WIRE" 25
until_true 10 in_vm 1 bash -c 'ss -tln | grep -q ":80 "'

step "Without a firewall everything reaches everything"
expect YES "outside opens the web page of web" fetch "$WIRE" 10.77.0.1
expect YES "outside opens the database of db" reach "$WIRE" 10.77.0.2 5432

step "The agent starts, and the three VMs become ports of the firewall"
dfwd_start || exit 1
vport() { ctl vport add "$1" --dev "tap$2" --mac "$(vm_mac "$2")" --ip "$(vm_ip "$2")" --ip "$(vm_ip6 "$2")" --ip "$(vm_ll "$2")" --tag "app=$3"; }
run "dfwctl vport add web --dev tap1 --mac $(vm_mac 1) --ip 10.77.0.1 ... --tag app=web" vport web 1 web
vport db 2 db >/dev/null
vport dev 3 dev >/dev/null
run "dfwctl vport list" ctl vport list
words "" "A port without a policy denies: nothing fails open."
expect NO "outside opens the web page of web" fetch "$WIRE" 10.77.0.1

step "A policy: groups by tag, services, rules in order; the first that matches decides"
cat >"$TMP/policy.dfw" <<'EOP'
group web    { tag app=web }
group db     { tag app=db }
group world  { 10.77.0.254, fd77::fe }
service pg   { tcp 5432 }

tier infra {
    ping:     allow in service ping
    ping-out: allow out service ping
}
tier app {
    web-in:   allow in from world to web service http log
    web-db:   allow from web to db service pg
    no-ssh:   reject in to db service ssh
    no-mail:  reject out service smtp
}
default in drop log
default out drop
EOP
sed 's/^/     | /' "$TMP/policy.dfw"
run "dfwctl policy apply policy.dfw" ctl policy apply "$TMP/policy.dfw"
run "curl http://10.77.0.1/          (outside)" ip netns exec "$WIRE" curl -sS -m 2 http://10.77.0.1/
run "curl -m 2 http://10.77.0.1/     (dev: it is not in 'world')" ip netns exec "$DEV" curl -sS -m 2 http://10.77.0.1/
expect YES "outside opens it over IPv6" fetch "$WIRE" "[fd77::1]"
expect YES "web opens the database of db" reach "$WEB" 10.77.0.2 5432
expect NO "dev opens the database of db (no rule allows it)" reach "$DEV" 10.77.0.2 5432
expect NO "outside opens the database of db" reach "$WIRE" 10.77.0.2 5432
expect YES "outside pings db" ping_once "$WIRE" 10.77.0.2
words "" "'reject' answers at once, so that a client need not wait:"
run "nc -vz 10.77.0.2 22           (outside to db)" ip netns exec "$WIRE" nc -vz -w 2 10.77.0.2 22
run "nc -vz $WIRE_IP 25         (web sends mail)" ip netns exec "$WEB" nc -vz -w 2 "$WIRE_IP" 25

step "Nobody lies about who he is: dev takes the address of web"
ip -n "$DEV" addr add 10.77.0.1/24 dev eth0
expect NO "dev talks to outside from web's address" ip netns exec "$DEV" ping -q -c 1 -W 1 -I 10.77.0.1 "$WIRE_IP"
ip -n "$DEV" addr del 10.77.0.1/24 dev eth0
run "dfwctl stats dev" ctl stats dev

step "Events as they come: outside opens the page of web and tries its port 8080 (both rules say log)"
background watch ctl watch --seconds 3
WATCH=$LAST
sleep 0.5
fetch "$WIRE" 10.77.0.1 >/dev/null
reach "$WIRE" 10.77.0.1 8080
wait "$WATCH"
run "dfwctl watch --seconds 3" cat "$TMP/watch"

step "What the kernel has: the rules of db with their hits, and the live flows"
talk session "$WEB" 10.77.0.2 5432
talks session
run "dfwctl rules db" ctl rules db
run "dfwctl flow list --vport db" ctl flow list --vport db
words "" "A port is a folder of pinned maps, which any tool can read:"
run "ls $PINS/vports/db" ls -x -T 0 -w 100 "$PINS/vports/db"
run "bpftool map dump pinned $PINS/vports/db/state" bpftool map dump pinned "$PINS/vports/db/state"

step "A live change: web may no longer reach db"
sed -i 's/web-db:   allow/web-db:   drop/' "$TMP/policy.dfw"
words "web still holds a connection to db; the policy is edited to say:"
run "grep web-db policy.dfw" grep web-db "$TMP/policy.dfw"
run "dfwctl policy apply policy.dfw" ctl policy apply "$TMP/policy.dfw"
expect NO "the open connection of web to db goes on" talks_shortly session
run "dfwctl policy rollback" ctl policy rollback
expect YES "after the rollback web opens a new connection to db" talk session "$WEB" 10.77.0.2 5432

step "The agent is killed (kill -9): the kernel goes on by itself"
dfwd_end KILL
run "dfwctl status" ctl status
expect YES "the open connection of web to db goes on" talks session
expect YES "outside opens the web page of web: a new connection" fetch "$WIRE" 10.77.0.1
expect NO "outside opens the database of db" reach "$WIRE" 10.77.0.2 5432
expect NO "dev opens the database of db" reach "$DEV" 10.77.0.2 5432
run "dfwctl flow list --vport web     (reads the pinned maps)" ctl flow list --vport web

step "It starts again and takes over what is there"
dfwd_start || exit 1
run "dfwctl status" ctl status
expect YES "the open connection of web to db goes on" talks session
run "dfwctl shutdown --detach        (takes everything away)" ctl shutdown --detach
until_true 10 not kill -0 "$DFWD_PID"
DFWD_PID=
expect YES "outside opens the database of db, as before" reach "$WIRE" 10.77.0.2 5432

step "What is left of all this"
# shellcheck disable=SC2119
(cleanup)
trap - EXIT
left() {
    ip netns list | grep "^$ID"
    ls -d "$PINS" "$STATE" "/run/dfw/$ID" "$TMP" 2>/dev/null
    for pid in "${PIDS[@]}"; do kill -0 "$pid" 2>/dev/null && echo "process $pid"; done
    return 0
}
LEFT=$(left)
words "${LEFT:-nothing: no namespace, no process, no file, no pinned map}"
[[ -z $LEFT ]] || FAILED=$((FAILED + 1))

echo
if ((FAILED)); then
    echo "${BOLD}$FAILED of the above did not go as it should.$NORMAL"
    exit 1
fi
echo "${BOLD}All of it went as it should.$NORMAL"
