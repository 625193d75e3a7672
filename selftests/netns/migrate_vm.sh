#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# A real live migration: QEMU moves a running guest from a tap on host a to one on host b, contrib/qemu/dfw-migrate hands its
# vport over in between. The policy is strict; connections that are open go on.
# shellcheck source=selftests/cluster_lib.sh disable=SC2015,SC2119,SC2317
. "$(dirname "${BASH_SOURCE[0]}")/../cluster_lib.sh"
need_root
[[ -x $DFWSYNCD ]] && "$DFWCTL" help cluster init >/dev/null 2>&1 && "$DFWCTL" help migrate prepare >/dev/null 2>&1 ||
    skip_all "dfwsyncd is not built in $BUILD"
export DFW_BUILD=$BUILD
GUEST=$HERE/qemu/guest.sh
MIGRATE=$ROOT/contrib/qemu/dfw-migrate
reason=$("$GUEST" need) || skip_all "$reason"
[[ -c /dev/net/tun ]] || skip_all "no /dev/net/tun"
CONNECTIONS=12
declare -A QEMUS

# ---- the machine, on either host -------------------------------------------------------------------------------------

tap_on() {
    local space
    space=${HOST_SPACE[$1]}
    ip -n "$space" tuntap add tap1 mode tap vnet_hdr || because "no tap" || return 1
    no_ipv6 "$space" tap1
    ip -n "$space" link set tap1 master br0 up
}
# machine_on HOST [options]: the same machine everywhere; nobody listens to its second serial line
machine_on() {
    local host=$1
    shift
    tap_on "$host" || return 1
    rm -f "$TMP/$host.qmp"
    background "console-$host" on "$host" "$GUEST" boot "$TMP/image" -serial null \
        -netdev tap,id=net,ifname=tap1,script=no,downscript=no -device "virtio-net-pci,netdev=net,mac=${VM_MAC[1]},romfile=" \
        -qmp "unix:$TMP/$host.qmp,server=on,wait=off" "$@"
    QEMUS[$host]=$LAST
    until_true 20 test -S "$TMP/$host.qmp" || because "no QEMU on $host: $(tail -n 2 "$TMP/console-$host")"
}
machine_end() {
    pid_end "${QEMUS[$1]}" KILL
    unset "QEMUS[$1]"
    ip -n "${HOST_SPACE[$1]}" link del tap1
}
qmp() {
    printf '%s\n' '{"execute":"qmp_capabilities"}' "$2" | timeout 20 nc -U -N -w 10 "$TMP/$1.qmp" 2>/dev/null
}
status_of() { qmp "$1" '{"execute":"query-status"}' | jq -r 'select(.return.status?).return.status'; }
runs_on() { [[ $(status_of "$1") == running ]]; }

image() {
    "$GUEST" image "$TMP/image" "$HERE/qemu/vm.guest" -m virtio_pci -m virtio_net -p ping \
        -f "$(readlink -f "$(command -v nc)"):/bin/nc.openbsd" -p "$(readlink -f "$(command -v nc)")" || because "no image"
}
# Its address comes before its servers, and the last of them is this one.
serves() { in_space "$WIRE" nc -z -w 1 "${VM_IP[1]}" 7001; }
boots() {
    image && machine_on a || return 1
    until_true 600 serves || because "the VM does not come up: $(tail -n 2 "$TMP/console-a" | tr -d '\r')"
}
vport_on_a() {
    ctl_on a vport add vm1 --dev tap1 --mac "${VM_MAC[1]}" --ip "${VM_IP[1]}" --ip "${VM_IP6[1]}" --ip "${VM_LL[1]}" --tag app=web \
        >"$TMP/out" 2>&1 || because "vport add: $(cat "$TMP/out")"
}
policy() {
    apply_on a --wait 60 <<'END'
group web { tag app=web }
default in drop
default out drop
tier t {
    ping: allow in service icmp-echo, icmp6-echo
    web:  allow in to web service tcp 80
    echo: allow in to web service tcp 7000
}
END
}

# ---- moving ----------------------------------------------------------------------------------------------------------

dfwctl_of() { echo "nsenter --net=/run/netns/${HOST_SPACE[$1]} $DFWCTL -i ${HOST_INSTANCE[$1]}"; }
# migrate FROM TO [options]: what it says is in $TMP/moved
migrate() {
    local from=$1 to=$2
    shift 2
    "$MIGRATE" --source "$TMP/$from.qmp" --destination "$TMP/$to.qmp" --uri "tcp:${HOST_ADDRESS[$to]}:4444" --to "$to" \
        --source-dfwctl "$(dfwctl_of "$from")" --destination-dfwctl "$(dfwctl_of "$to")" "$@" vm1 >"$TMP/moved" 2>&1
}
owner() { ctl_on c -j vport list | jq -r '.[] | select(.name == "vm1").host'; }
owned_by() { [[ $(owner) == "$1" ]]; }
talk_all() {
    local i
    for ((i = 0; i < CONNECTIONS; i++)); do
        talk "$1-$i" "$WIRE" "${VM_IP[1]}" 7000 || return 1
    done
}
all_talk() {
    local i
    for ((i = 0; i < CONNECTIONS; i++)); do
        talks "$1-$i" || return 1
    done
}
# move FROM TO
move() {
    machine_on "$2" -incoming defer -S || return 1
    migrate "$1" "$2" --strict || because "$(cat "$TMP/moved")" || return 1
    echo "# $(cat "$TMP/moved")"
    runs_on "$2" || because "the guest does not run on $2 but is $(status_of "$2")" || return 1
    machine_end "$1"
    until_true 20 owned_by "$2" || because "the vport belongs to $(owner)"
}

must "three hosts are one cluster" cluster_up a b c
must "a guest boots on host a" boots
must "its tap becomes a vport" vport_on_a
must "a policy is in force on all hosts" policy
decided() {
    opens "$WIRE" "${VM_IP[1]}" 80 && opens "$WIRE" "${VM_IP6[1]}" 80 && closed "$WIRE" "${VM_IP[1]}" 81 && pings "$WIRE" "${VM_IP[1]}"
}
it "the policy decides" decided

there() { talk_all first && all_talk first && move a b && all_talk first && decided; }
it "the guest moves to host b while it is talked to: $CONNECTIONS connections go on, new ones are decided" there
counted() {
    local flows
    flows=$(ctl_on b -j flow list --port 7000 | jq length)
    ((flows >= CONNECTIONS)) || because "host b has $flows flows"
}
it "host b has its flows" counted

refused_move() {
    machine_on c -incoming defer -S || return 1
    syncd_end_on c KILL || return 1
    ! migrate b c --strict || because "it moves to a host without dfwsyncd" || return 1
    runs_on b && all_talk first && decided || return 1
    machine_end c
    syncd_on c && cluster_whole
}
it "what cannot be prepared does not move, and goes on" refused_move

lost_memory() {
    machine_on c -incoming defer -S || return 1
    # Nobody may come in where the memory should go.
    on c nft -f - <<<'table ip gate { chain in { type filter hook input priority 0; tcp dport 4444 drop; }; }'
    # QEMU has no other migration until the kernel gives the connection up: then soon after the timeout.
    on b sysctl -qw net.ipv4.tcp_syn_retries=3
    ! migrate b c --strict --timeout 3 || because "it moves without its memory" || return 1
    until_true 30 runs_on b || because "the guest is $(status_of b)" || return 1
    all_talk first && decided && owned_by b || return 1
    machine_end c
    on c nft delete table ip gate
}
it "QEMU cannot send the memory: rolled back, nothing is lost" lost_memory

back() { move b a && all_talk first && decided; }
it "and back to host a" back

# ---- as libvirt does it: hooks on both sides, and the guest's own announcement ------------------------------------------

cat >"$TMP/guest.xml" <<END
<domain type='qemu'><name>web</name><devices>
    <interface type='ethernet'><mac address='${VM_MAC[1]}'/><target dev='tap1' managed='no'/></interface>
</devices></domain>
END
# hook HOST operation part reason
hook() {
    local host=$1
    shift
    printf '%s\n' "INSTANCE=${HOST_INSTANCE[$host]}" "DFWCTL=$DFWCTL" STRICT=yes >"$TMP/settings"
    on "$host" env DFW_HOOK_SETTINGS="$TMP/settings" "$ROOT/contrib/libvirt/qemu" web "$@" <"$TMP/guest.xml" >"$TMP/hook.out" 2>"$TMP/hook.err"
}
uri() { printf '{"execute":"%s","arguments":{"uri":"tcp:%s:4444"}}' "$1" "${HOST_ADDRESS[b]}"; }
# The destination's QEMU ends before the guest ran there. libvirt 9 tells no reason.
comes_to_nothing() {
    machine_on b -incoming defer || return 1
    talk_all second && hook b migrate begin - && until_true 10 prepared_on b || because "not prepared: $(cat "$TMP/hook.err")" || return 1
    machine_end b
    hook b stopped end - && hook b release end - || because "the hook of the destination: $(cat "$TMP/hook.err")" || return 1
    until_true 10 not prepared_on b || because "it waits on b still: $(ctl_on b migrate status vm1)" || return 1
    hook a stopped end - || return 1
    runs_on a && owned_by a && all_talk second && all_talk first && decided
}
prepared_on() { [[ $(ctl_on "$1" -j migrate status vm1 | jq -r .role) == prepared ]]; }
it "hooks of libvirt: a migration that comes to nothing is rolled back, and nothing is handed over later" comes_to_nothing
gone_from_a() { [[ $(status_of a) == postmigrate ]]; }
like_libvirt() {
    machine_on b -incoming defer || return 1
    all_talk second || return 1
    hook b migrate begin - || because "the hook of the destination: $(cat "$TMP/hook.err")" || return 1
    [[ ! -s $TMP/hook.out ]] || because "the hook changes the XML: $(cat "$TMP/hook.out")" || return 1
    qmp b "$(uri migrate-incoming)" >/dev/null
    qmp a "$(uri migrate)" >/dev/null
    until_true 300 gone_from_a || because "the guest does not leave a: $(status_of a)" || return 1
    machine_end a
    hook a stopped end - && hook a release end migrated || because "the hook of the source: $(cat "$TMP/hook.err")" || return 1
    until_true 30 owned_by b || because "the vport belongs to $(owner)" || return 1
    runs_on b && all_talk second && all_talk first && decided
}
it "hooks of libvirt: the destination prepares, the guest's announcement activates, connections go on" like_libvirt
