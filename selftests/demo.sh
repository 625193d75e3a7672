#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Shows the firewall at work, in plain words and with real output: three hosts, six VMs (all namespaces), one policy, a VM that
# moves with its connections, a host that dies.
# shellcheck source=selftests/cluster_lib.sh disable=SC2015,SC2119,SC2317
. "$(dirname "$0")/cluster_lib.sh"
[[ $(id -u) == 0 ]] || { echo "demo: needs root (sudo make demo)" >&2; exit 1; }
[[ -x $DFWD && -x $DFWCTL && -x $DFWSYNCD ]] || { echo "demo: build first (make)" >&2; exit 1; }
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
    printf '   %s%s%s\n' "$DIM" "$1" "$NORMAL"
    shift
    "$@" 2>&1 | sed 's/^/     /'
}
# on_host HOST arguments of dfwctl
on_host() {
    local host=$1
    shift
    run "$host\$ dfwctl $*" ctl_on "$host" "$@"
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
# talks, for what should not: it does not wait for long
talks_shortly() { not silent "$1"; }
reach() { ip netns exec "$1" nc -z -w 1 "$2" "$3"; }
end_demo() {
    echo "${BOLD}The demo cannot go on: $FAIL_REASON$NORMAL"
    exit 1
}

# vport HOST N NAME APP: VM n of that host, as its vport
vport() {
    vm_space "$2"
    vm_cable "$1" "$2"
    ctl_on "$1" vport add "$3" --dev "tap$2" --mac "${VM_MAC[$2]}" --ip "${VM_IP[$2]}" --tag "app=$4" >/dev/null || end_demo
}

echo "${BOLD}dfw: one stateful firewall for many hosts, one port per VM, decided in the kernel$NORMAL"
words "Three hosts, a, b and c, are network namespaces, each with a bridge, dfwd and dfwsyncd; so are their six VMs, and" \
    "\"outside\", at $WIRE_IP. What you would type on a host is shown behind its name." \
    "The hosts' instances of dfw are called ${ID}a, ${ID}b and ${ID}c: their \"-i\" is left out in what follows."

step "Three hosts become one firewall"
cluster_hosts a b c
for host in a b c; do dfwd_on $host && syncd_on $host || end_demo; done
on_host a cluster init --name a --address "${HOST_ADDRESS[a]}"
for host in b c; do
    cluster_join a $host || end_demo
    words "${DIM}a\$ dfwctl cluster invite $host > invitation; $host\$ dfwctl cluster join invitation --address ${HOST_ADDRESS[$host]}$NORMAL"
done
cluster_whole || end_demo
on_host c cluster status

step "Six VMs become its ports; any host knows them all"
vport a 1 web1 web
vport b 2 web2 web
vport b 3 db1 db
vport c 4 db2 db
vport c 5 dev1 dev
vport a 6 dev2 dev
OUT=$WIRE WEB1=${VM[1]} WEB2=${VM[2]} DEV1=${VM[5]} DEV2=${VM[6]}
mkdir -p "$TMP/www" && echo "hello from web1" >"$TMP/www/index.html"
background web in_vm 1 /usr/bin/python3 -m http.server 80 --bind :: --directory "$TMP/www"
for n in 3 4; do listen "${VM[n]}" 5432 || end_demo; done
listen "${VM[3]}" 22 && listen "$OUT" 25 || end_demo
until_true 10 in_vm 1 bash -c 'ss -tln | grep -q ":80 "'
knows_six() { (($(ctl_on b -j vport list | jq length) == 6)); }
until_true 10 knows_six
on_host b vport list
words "" "A port without a policy denies: nothing fails open."
expect NO "outside opens the web page of web1" fetch "$OUT" 10.77.0.1

step "One policy, applied once: groups by tag reach over all hosts, rules in order, the first that matches decides"
cat >"$TMP/policy.dfw" <<'EOP'
group web   { tag app=web }
group db    { tag app=db }
group world { 10.77.0.254 }

tier infra {
    ping:    allow service ping
}
tier app {
    web-in:  allow in from world to web service http log
    web-db:  allow from web to db service tcp 5432
    no-ssh:  reject in to db service ssh
    no-mail: reject out service smtp
}
default in drop log
default out drop
EOP
sed 's/^/     | /' "$TMP/policy.dfw"
run "a\$ dfwctl policy apply policy.dfw --wait" ctl_on a policy apply "$TMP/policy.dfw" --wait 20
expect YES "outside opens the web page of web1 (host a)" fetch "$OUT" 10.77.0.1
expect YES "web1 (host a) opens the database db1 (host b)" reach "$WEB1" 10.77.0.3 5432
expect YES "web2 (host b) opens the database db2 (host c)" reach "$WEB2" 10.77.0.4 5432
expect NO "dev1 (host c) opens the database db2, on the same host" reach "$DEV1" 10.77.0.4 5432
expect NO "outside opens the database db1" reach "$OUT" 10.77.0.3 5432
words "" "'reject' answers at once, so that a client need not wait:"
run "outside\$ nc -vz 10.77.0.3 22" ip netns exec "$OUT" nc -vz -w 2 10.77.0.3 22

step "Nobody lies about who he is: dev2 takes the address of web1"
ip -n "$DEV2" addr add 10.77.0.1/24 dev eth0
expect NO "dev2 talks to outside from web1's address" ip netns exec "$DEV2" ping -q -c 1 -W 1 -I 10.77.0.1 "$WIRE_IP"
ip -n "$DEV2" addr del 10.77.0.1/24 dev eth0
on_host a stats dev2

step "Who talks to whom, asked on any host; and which rule let it"
talk session "$WEB1" 10.77.0.3 5432 && talks session || end_demo
on_host c flow find --port 5432
on_host b rules db1
words "" "A port is a folder of pinned maps, which any tool can read:"
run "b\$ ls $PINS""b/vports/db1" ls -x -T 0 -w 100 "${PINS}b/vports/db1"

step "db1 moves from host b to host c, with its connections: strict TCP, and c never saw their SYNs"
on_host b migrate prepare db1 --to c
words "Its VM is paused and its memory moved; the cable is pulled here. Then the ports change hands:"
ip -n "${VM[3]}" link del eth0
on_host b migrate start db1
words "The VM runs on host c and announces itself, as QEMU does:"
vm_cable c 3
in_vm 3 /usr/bin/python3 "$HERE/netns/peer.py" announce eth0
expect YES "the open connection of web1 to db1 goes on" talks session
on_host a flow find --port 5432
expect YES "web2 opens a new connection to db1, where it is now" reach "$WEB2" 10.77.0.3 5432
expect NO "dev1, now on the same host as db1, opens it" reach "$DEV1" 10.77.0.3 5432

step "A live change, for all hosts at once: web may no longer reach db"
sed -i 's/web-db:  allow/web-db:  drop/' "$TMP/policy.dfw"
run "a\$ dfwctl policy apply policy.dfw --wait" ctl_on a policy apply "$TMP/policy.dfw" --wait 20
expect NO "the open connection of web1 to db1 goes on" talks_shortly session
sed -i 's/web-db:  drop/web-db:  allow/' "$TMP/policy.dfw"
run "a\$ dfwctl policy apply policy.dfw --wait    (the drop is an allow again)" ctl_on a policy apply "$TMP/policy.dfw" --wait 20
expect YES "web1 opens a new connection to db1" talk session2 "$WEB1" 10.77.0.3 5432

step "Host a dies: both its daemons are killed (kill -9). No packet is decided differently"
host_die a
run "a\$ dfwctl status" ctl_on a status
expect YES "the open connection of web1 (host a) to db1 goes on" talks session2
expect YES "outside opens the web page of web1: a new connection" fetch "$OUT" 10.77.0.1
expect NO "outside opens the database db1" reach "$OUT" 10.77.0.3 5432
expect NO "dev2 (host a) opens the database db1" reach "$DEV2" 10.77.0.3 5432
until_true 30 not sees b a alive
until_true 30 not sees b a suspect
on_host b cluster status

step "It comes back and takes over what is there"
host_rise a && until_true 30 sees b a alive || end_demo
on_host a status
expect YES "the open connection of web1 to db1 goes on" talks session2
for host in a b c; do ctl_on $host shutdown --detach >/dev/null; done
words "${DIM}a\$ dfwctl shutdown --detach    (and so on b and c: enforcement ends)$NORMAL"
expect YES "outside opens the database db1, as before" reach "$OUT" 10.77.0.3 5432

step "What is left of all this"
# shellcheck disable=SC2119
(cleanup)
trap - EXIT
left() {
    ip netns list | grep "^$ID"
    ls -d "$PINS"[abc] "$STATE"[abc] "/run/dfw/$ID"[abc] "$TMP" 2>/dev/null
    for pid in "${PIDS[@]}"; do kill -0 "$pid" 2>/dev/null && echo "process $pid"; done
    return 0
}
gone() { [[ -z $(left) ]]; }
until_true 5 gone
LEFT=$(left)
words "${LEFT:-nothing: no namespace, no process, no file, no pinned map}"
[[ -z $LEFT ]] || FAILED=$((FAILED + 1))

echo
if ((FAILED)); then
    echo "${BOLD}$FAILED of the above did not go as it should.$NORMAL"
    exit 1
fi
echo "${BOLD}All of it went as it should.$NORMAL"
