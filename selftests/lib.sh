# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2015,SC2119
#
# Helpers of the end-to-end tests: one host (a namespace with a bridge), VMs and a wire around it (namespaces too), a dfwd
# of an instance of its own. Whatever is made here goes when the script ends, however it ends; processes are killed by
# their number and by nothing else.
#
#       wire 10.77.0.254, fd77::fe        VM n: 10.77.0.n, fd77::n, 02:00:00:00:77:0n
#       [w0]---[up0  br0  tap1]---[eth0]

set -u -o pipefail
umask 022

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$HERE/.." && pwd)
BUILD=${DFW_BUILD:-$ROOT/build}
DFWD=$BUILD/dfwd
DFWCTL=$BUILD/dfwctl
ID=t$$
HOST=${ID}h
WIRE=${ID}w
TMP=$(mktemp -d "/tmp/dfw-$ID.XXXXXX")
LOG=$TMP/dfwd.log
PINS=/sys/fs/bpf/dfw/$ID
STATE=/var/lib/dfw/$ID
DFWD_PID=
PIDS=()
SPACES=()
MOUNTS=()
FAILED=0
FAIL_REASON=
EXEC=

# ---- telling ---------------------------------------------------------------------------------------------------------

# it "what must hold" command...: runs the command, prints one line. The command tells why it fails by `because`.
it() {
    local name=$1
    shift
    FAIL_REASON=
    if "$@"; then
        echo "ok - $name"
    else
        echo "not ok - $name"
        echo "# ${FAIL_REASON:-$* failed}"
        FAILED=$((FAILED + 1))
        [[ -s $LOG ]] && tail -n 5 "$LOG" | sed 's/^/# dfwd: /'
    fi
    return 0
}

# What the rest cannot do without.
must() {
    local before=$FAILED
    it "$@"
    ((FAILED == before)) || exit 1
}

because() {
    FAIL_REASON=$*
    return 1
}

skip() {
    echo "ok - $1 # SKIP $2"
}

skip_all() {
    skip "$(basename "$0")" "$1"
    exit 0
}

# ---- waiting ---------------------------------------------------------------------------------------------------------

# nap SECONDS: a sleep that makes no process, since nobody writes to what it reads.
mkfifo "$TMP/nap" && exec {NAP}<>"$TMP/nap" || exit 1
nap() { read -r -t "$1" -u "$NAP" || :; }

# until_true SECONDS command...: the limit is for what hangs; nothing is measured by it. Each question costs the machine some
# processes, so after the first ones there is more time between them.
until_true() {
    local end=$((SECONDS + $1)) asked=0
    shift
    while ! "$@" >/dev/null 2>&1; do
        ((SECONDS < end)) || return 1
        if ((++asked < 10)); then nap 0.05; else nap 0.2; fi
    done
}

# ---- cleaning --------------------------------------------------------------------------------------------------------

# A number may belong to somebody else by now.
is_child() {
    grep -q "^PPid:[[:space:]]*$$\$" "/proc/$1/status" 2>/dev/null
}

cleanup() {
    local status=$? pid space mount
    trap - EXIT INT TERM HUP
    if [[ -n $DFWD_PID ]] && kill -0 "$DFWD_PID" 2>/dev/null; then
        ctl shutdown --detach >/dev/null 2>&1
        kill "$DFWD_PID" 2>/dev/null
    fi
    for pid in ${PIDS[@]+"${PIDS[@]}"}; do
        is_child "$pid" && kill "$pid" 2>/dev/null
    done
    for pid in ${PIDS[@]+"${PIDS[@]}"}; do
        until_true 3 not is_child "$pid" || kill -9 "$pid" 2>/dev/null
    done
    for space in ${SPACES[@]+"${SPACES[@]}"}; do
        ip netns del "$space" 2>/dev/null
    done
    for mount in ${MOUNTS[@]+"${MOUNTS[@]}"}; do
        umount "$mount" 2>/dev/null
    done
    if [[ -n ${DFW_KEEP:-} ]]; then
        echo "# kept: $TMP"
    else
        rm -rf "$TMP"
    fi
    rm -rf "$PINS" "$STATE" "/run/dfw/$ID"
    # What tests of a second instance left: its name is ours with a letter behind it.
    rm -rf "/sys/fs/bpf/dfw/$ID"[a-z] "/var/lib/dfw/$ID"[a-z] "/run/dfw/$ID"[a-z]
    ((status)) && exit "$status"
    exit $((FAILED > 0))
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

not() {
    ! "$@"
}

# ---- namespaces ------------------------------------------------------------------------------------------------------

need_root() {
    [[ $(id -u) == 0 ]] || skip_all "needs root"
    mountpoint -q /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf || skip_all "no bpffs"
    [[ -x $DFWD && -x $DFWCTL ]] || skip_all "dfwd and dfwctl are not built in $BUILD"
}

space_add() {
    ip netns add "$1" || exit 1
    SPACES+=("$1")
    ip -n "$1" link set lo up
    ip netns exec "$1" sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.accept_dad=0 \
        net.ipv6.conf.default.router_solicitations=0 2>/dev/null
}

# VM n: its namespace and addresses, ready made: to ask a function for them would be a process each time. VM_LL is the link-local
# address that the kernel derives from the MAC (RFC 4291, Appendix A).
VM=() VM_MAC=() VM_IP=() VM_IP6=() VM_LL=()
for ((i = 0; i < 256; i++)); do
    VM[i]=${ID}v$i
    VM_IP[i]=10.77.0.$i
    printf -v "VM_MAC[i]" '02:00:00:00:77:%02x' "$i"
    printf -v "VM_IP6[i]" 'fd77::%x' "$i"
    printf -v "VM_LL[i]" 'fe80::ff:fe00:77%02x' "$i"
done
unset i
WIRE_IP=10.77.0.254
WIRE_IP6=fd77::fe
WIRE_MAC=02:00:00:00:77:fe

in_vm() {
    local n=$1
    shift
    $EXEC ip netns exec "${VM[n]}" "$@"
}
in_wire() { $EXEC ip netns exec "$WIRE" "$@"; }
in_host() { $EXEC ip netns exec "$HOST" "$@"; }

host_up() {
    space_add "$HOST"
    space_add "$WIRE"
    ip -n "$HOST" link add br0 type bridge mcast_snooping 0
    in_host sysctl -qw net.ipv6.conf.br0.disable_ipv6=1
    ip -n "$HOST" link set br0 up
    ip link add w0 netns "$WIRE" address "$WIRE_MAC" type veth peer name up0 netns "$HOST"
    in_host sysctl -qw net.ipv6.conf.up0.disable_ipv6=1
    ip -n "$HOST" link set up0 master br0 up
    ip -n "$WIRE" addr add "$WIRE_IP/24" dev w0
    ip -n "$WIRE" addr add "$WIRE_IP6/64" dev w0 nodad
    ip -n "$WIRE" link set w0 up
}

# vm_space N: the VM without its cable
vm_space() {
    space_add "${VM[$1]}"
}

# vm_plug N [command of ip]: its cable, tapN on the bridge; the command is run in the VM before its end is up
vm_plug() {
    local n=$1
    shift
    ip link add eth0 netns "${VM[n]}" address "${VM_MAC[n]}" type veth peer name "tap$n" netns "$HOST" || return 1
    in_host sysctl -qw "net.ipv6.conf.tap$n.disable_ipv6=1"
    ip -n "$HOST" link set "tap$n" master br0 up
    ip -n "${VM[n]}" addr add "${VM_IP[n]}/24" dev eth0
    ip -n "${VM[n]}" addr add "${VM_IP6[n]}/64" dev eth0 nodad
    (($# == 0)) || ip -n "${VM[n]}" "$@" || return 1
    ip -n "${VM[n]}" link set eth0 up
}

vm_up() {
    vm_space "$1"
    vm_plug "$1"
}

# ---- the product -----------------------------------------------------------------------------------------------------

ctl() {
    $EXEC nsenter --net="/run/netns/$HOST" "$DFWCTL" -i "$ID" "$@"
}

# shellcheck disable=SC2120
dfwd_start() {
    nsenter --net="/run/netns/$HOST" "$DFWD" -i "$ID" "$@" >>"$LOG" 2>&1 </dev/null &
    DFWD_PID=$!
    PIDS+=("$DFWD_PID")
    # Two hands: one for a dfwd that dies, one for one that hangs.
    until_true 120 dfwd_up_or_dead && ctl status --wait 5 >/dev/null 2>&1 || because "dfwd does not come up: $(tail -n 3 "$LOG")"
}
dfwd_up_or_dead() {
    ctl status --wait 1 || ! kill -0 "$DFWD_PID"
}

# dfwd_end SIGNAL: and wait until it is gone
dfwd_end() {
    local pid=$DFWD_PID
    DFWD_PID=
    [[ -n $pid ]] || because "dfwd does not run" || return 1
    disown "$pid" # or the shell would tell of its death
    kill "-$1" "$pid" || return 1
    until_true 30 not kill -0 "$pid" || because "dfwd does not end by SIG$1"
}

# killed_at CALL PATH command...: dfwd is killed when it begins that system call on that path, by what the command wants of it, and
# started again. Needs strace, which looks at the first path of a call only.
killed_at() {
    local call=$1 path=$2 dfwd=$DFWD
    shift 2
    # shellcheck disable=SC2016
    printf '#!/bin/bash\nexec strace -D -f -o /dev/null -P %q -e trace=%s -e inject=%s:signal=KILL %q "$@"\n' "$path" "$call" "$call" "$dfwd" >"$TMP/dfwd"
    chmod +x "$TMP/dfwd"
    dfwd_end TERM && DFWD=$TMP/dfwd dfwd_start && disown "$DFWD_PID" || return 1
    "$@" >"$TMP/out" 2>&1
    until_true 30 not kill -0 "$DFWD_PID" || because "dfwd lives: $(cat "$TMP/out")" || return 1
    DFWD_PID=
    dfwd_start
}

# vport_add N [options]: VM n as vport "vmN"
vport_add() {
    local n=$1
    shift
    ctl vport add "vm$n" --dev "tap$n" --mac "${VM_MAC[n]}" --ip "${VM_IP[n]}" --ip "${VM_IP6[n]}" \
        --ip "${VM_LL[n]}" "$@" >"$TMP/out" 2>&1 || because "vport add: $(cat "$TMP/out")"
}

# apply: the policy on stdin
apply() {
    cat >"$TMP/policy.dfw"
    ctl policy apply "$TMP/policy.dfw" >"$TMP/out" 2>&1 || because "policy apply: $(cat "$TMP/out")"
}

# A policy that lets everything out, and in pings and these TCP and UDP ports: apply_open 80 5201
apply_open() {
    {
        echo "default in drop"
        echo "default out drop"
        echo "tier test {"
        echo "    all-out: allow out"
        echo "    ping-in: allow in service icmp-echo, icmp6-echo"
        for port in "$@"; do
            echo "    tcp-$port: allow in service tcp $port, udp $port"
        done
        echo "}"
    } | apply
}

generation() {
    ctl -j status | jq -r .generation
}

# dropped VPORT REASON: packets, both directions
dropped() {
    ctl -j stats "$1" | jq --arg r "$2" '[.. | objects | select(.reason? == $r) | .packets] | add // 0'
}

flows() {
    ctl -j flow list "$@" | jq length
}

# ways FROM HOOK WAY: frames; FROM is an uplink or "vports", HOOK xdp or tc
ways() {
    ctl -j uplink stats | jq --arg f "$1" --arg h "$2" --arg w "$3" \
        '[.[] | select((.uplink // "vports") == $f and .hook == $h) | .ways[] | select(.way == $w) | .frames] | add // 0'
}
# grows FROM HOOK WAY command...: frames went that way meanwhile; stays: none did
grows() {
    local from=$1 hook=$2 way=$3 before after
    shift 3
    before=$(ways "$from" "$hook" "$way")
    "$@" || return 1
    after=$(ways "$from" "$hook" "$way")
    ((after > before)) || because "$from $hook $way: still $after; $(ctl uplink stats)"
}
stays() {
    local from=$1 hook=$2 way=$3 before after
    shift 3
    before=$(ways "$from" "$hook" "$way")
    "$@" || return 1
    after=$(ways "$from" "$hook" "$way")
    ((after == before)) || because "$from $hook $way: $before, then $after"
}
# hooked UPLINK HOOK
hooked() { [[ $(hook_of "$1") == "$2" ]] || because "$(ctl uplink list)"; }
hook_of() { ctl -j uplink list | jq -r --arg n "$1" '.[] | select(.name == $n) | .hook'; }

# ---- clients ---------------------------------------------------------------------------------------------------------

# background NAME command...: its output in $TMP/NAME; the number in $LAST. The number must be the command's own, so that
# to kill it leaves nothing behind: in_vm and its sisters become the command then.
background() {
    local name=$1
    shift
    # Now, not when the new process gets to it: who waits for a word must not find the one of the last time.
    : >"$TMP/$name"
    {
        EXEC="exec"
        "$@"
    } >"$TMP/$name" 2>&1 </dev/null &
    LAST=$!
    PIDS+=("$LAST")
}

# watch_events [options of watch]: the events in $TMP/watch, a JSON object a line. What it says beside them (that dfwd has ended)
# goes elsewhere: jq would read no further.
watch_events() { background watch events_only "$@"; }
events_only() { ctl -j watch "$@" 2>"$TMP/watch.said"; }

# Does TCP from SPACE to ADDRESS PORT open? `refused` and `dropped` tell how it does not.
opens() {
    ip netns exec "$1" nc -z -w 10 "$2" "$3" >/dev/null 2>&1 || because "$1 cannot open $2:$3"
}
closed() {
    ! ip netns exec "$1" nc -z -w 1 "$2" "$3" >/dev/null 2>&1 || because "$1 can open $2:$3"
}
refused() {
    local said
    said=$(ip netns exec "$1" nc -vz -w 10 "$2" "$3" 2>&1)
    [[ $said == *refused* ]] || because "$1 to $2:$3: not refused but: $said"
}
pings() {
    ip netns exec "$1" ping -n -q -c 1 -W 10 "$2" >/dev/null 2>&1 || because "$1 cannot ping $2"
}
# resolves SPACE ADDRESS MAC: its neighbour discovery, ARP or ND, finds that MAC
resolves() {
    # shellcheck disable=SC2317
    found() {
        ip netns exec "$1" ping -n -q -c 1 -W 1 "$2" >/dev/null 2>&1
        ip -n "$1" neigh show "$2" | grep -q "$3"
    }
    until_true 30 found "$@" || because "$1 finds no MAC of $2: $(ip -n "$1" neigh show "$2")"
}
no_ping() {
    ! ip netns exec "$1" ping -n -q -c 1 -W 1 "$2" >/dev/null 2>&1 || because "$1 can ping $2"
}

# listen SPACE PORT: a server that accepts, echoes and stays
listen() {
    background "listen-$1-$2" exec ip netns exec "$1" /usr/bin/python3 "$HERE/netns/peer.py" echo "$2"
    until_true 30 grep -q ready "$TMP/listen-$1-$2" || because "no server on $1:$2"
}

# A TCP connection that lives: `talk NAME SPACE ADDRESS PORT` begins it, `talks NAME` says a round trip passed since.
talk() {
    background "talk-$1" exec ip netns exec "$2" /usr/bin/python3 "$HERE/netns/peer.py" talk "$3" "$4"
    until_true 30 grep -q . "$TMP/talk-$1" || because "no connection of $2 to $3:$4"
}
count_of() { wc -l <"$TMP/talk-$1"; }
talks() {
    local before
    before=$(count_of "$1")
    # shellcheck disable=SC2317
    more_than() { (($(count_of "$1") > $2 + 2)); }
    until_true 30 more_than "$1" "$before" || because "connection $1 stands still: $(tail -n 1 "$TMP/talk-$1")"
}
# run_guest IMAGE [option of guest.sh boot..]: boots it; what it prints, TAP lines too, is ours.
guest_over() { ! kill -0 "$LAST" || grep -q '^guest: exit' "$TMP/console"; }
guest_ended() { grep -q '^guest: exit [01]$' "$TMP/console" || because "it does not: $(tail -n 3 "$TMP/console" | tr '\n' ' ')"; }
run_guest() {
    background console "$HERE/qemu/guest.sh" boot "$@"
    until_true 800 guest_over
    tr -d '\r' <"$TMP/console" | grep -v '^guest: exit 0$'
    FAILED=$(grep -c '^not ok' "$TMP/console")
    it "the guest ends by itself" guest_ended
}

# lock_flows PINS-OF-VPORT WORD: into the lock of each flow, as another CPU would (struct dfw_flow_page: 28 entries, each a
# key, then the flow, whose lock comes first). The flows stand as they were a moment ago then.
lock_flows() {
    local key value
    while read -r key value; do
        # shellcheck disable=SC2086
        bpftool map update pinned "$1/flows" key ${key//,/ } value ${value//,/ } || return 1
    done < <(bpftool -j map dump pinned "$1/flows" | jq -r --arg word "$2" '.[] | select(any(.value[:32][]; . != "0x00")) |
        "\(.key | join(",")) \(reduce range(28) as $i (.value; .[64 + 144 * $i + 40] = $word) | join(","))"')
}
# No round trip ends from now on. Retransmissions are up to 200 ms apart at first: a second is many of them.
silent() {
    local before after
    sleep 0.3
    before=$(count_of "$1")
    sleep 1
    after=$(count_of "$1")
    ((before == after)) || because "connection $1 goes on: $before, then $after"
}

# Datagrams from one end to two ports of the other, of which a policy lets only one through:
# leak_watch FROM TO ADDRESS GOOD BAD [trickle] begins, no_leak ends it and says what came.
leak_watch() {
    LEAK_GOOD=$3/$4
    LEAK_BAD=$3/$5
    background leak-count exec ip netns exec "$2" /usr/bin/python3 "$HERE/netns/peer.py" count "$LEAK_GOOD" "$LEAK_BAD"
    LEAK_COUNT=$LAST
    until_true 30 grep -q ready "$TMP/leak-count" || because "no receiver" || return 1
    background leak-flood exec ip netns exec "$1" /usr/bin/python3 "$HERE/netns/peer.py" "${6:-flood}" "$LEAK_GOOD" "$LEAK_BAD"
    LEAK_FLOOD=$LAST
}
no_leak() {
    local good bad
    # A cable that is new carries nothing at first: the bridge's port is not forwarding yet, and whoever asked for a
    # neighbour then asks again a second later.
    until_true 30 grep -q "^first $LEAK_GOOD\$" "$TMP/leak-count" || because "nothing arrived at all" || return 1
    sleep 0.5
    kill "$LEAK_FLOOD"
    sleep 0.2
    kill "$LEAK_COUNT"
    until_true 30 grep -q "^$LEAK_BAD " "$TMP/leak-count" || because "no count" || return 1
    good=$(awk -v t="$LEAK_GOOD" '$1 == t { print $2 }' "$TMP/leak-count")
    bad=$(awk -v t="$LEAK_BAD" '$1 == t { print $2 }' "$TMP/leak-count")
    ((bad == 0)) || because "$bad forbidden datagrams arrived (and $good allowed ones)"
}

# ---- dfwd and devices ------------------------------------------------------------------------------------------------

# More about devices than the socket of dfwd's messages takes.
much_to_tell() {
    for _ in {1..4000}; do
        echo "link set up0 mtu 1400"
        echo "link set up0 mtu 1500"
    done | ip -n "$HOST" -batch -
}
# told LINES TEXT: dfwd's log has it behind that many lines
told() { grep -q "$2" <(tail -n +$(($1 + 1)) "$LOG"); }

# ---- refusals --------------------------------------------------------------------------------------------------------

# refuses STATUS PATTERN command...: it fails with that exit status ("1,2": one of these) and says something that matches
refuses() {
    local status=$1 pattern=$2 got
    shift 2
    "$@" >"$TMP/out" 2>"$TMP/err" </dev/null
    got=$?
    [[ ,$status, == *,$got,* ]] || { because "exit status $got, not $status: $* ($(head -c 300 "$TMP/err"))"; return 1; }
    grep -Eiq -- "$pattern" "$TMP/err" || because "says \"$(head -c 300 "$TMP/err")\", nothing like \"$pattern\""
}

# All that is enforced, in one text: what an error must not change.
enforced() {
    ctl -j vport list | jq 'map(del(.flows, .half_open_evictions))'
    ctl -j policy show
    for vport in $(ctl -j vport list | jq -r '.[].name'); do
        ctl -j rules "$vport" | jq 'del(.. | .packets?, .bytes?, .flows?, .last_hit_ms?, .age_ms?)'
    done
    generation
}
unchanged() {
    local before after
    before=$(enforced 2>&1)
    "$@" || return 1
    after=$(enforced 2>&1)
    [[ $before == "$after" ]] || because "something changed: $(diff <(echo "$before") <(echo "$after") | head -n 5 | tr '\n' ' ')"
}
