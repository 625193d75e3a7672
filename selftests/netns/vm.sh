#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# A real VM on a tap: qemu's virtio-net with all its offloads behind a vport, decided by a policy file.
# shellcheck source=selftests/lib.sh disable=SC2015,SC2119,SC2317
. "$(dirname "$0")/../lib.sh"
need_root
export DFW_BUILD=$BUILD
GUEST=$HERE/qemu/guest.sh
reason=$("$GUEST" need) || skip_all "$reason"
[[ -c /dev/net/tun ]] || skip_all "no /dev/net/tun"
host_up

# ---- the VM ----------------------------------------------------------------------------------------------------------

boot() {
    "$GUEST" image "$TMP/image" "$HERE/qemu/vm.guest" -m virtio_pci -m virtio_net -p ethtool -p ping \
        -f "$(readlink -f "$(command -v nc)"):/bin/nc.openbsd" -p "$(readlink -f "$(command -v nc)")" || because "no image" || return 1
    ip -n "$HOST" tuntap add tap1 mode tap vnet_hdr || because "no tap" || return 1
    in_host sysctl -qw net.ipv6.conf.tap1.disable_ipv6=1
    ip -n "$HOST" link set tap1 master br0 up
    mkfifo "$TMP/vm.in" "$TMP/vm.out"
    exec 8<>"$TMP/vm.in" 9<>"$TMP/vm.out"
    background console in_host "$GUEST" boot "$TMP/image" -chardev "pipe,id=commands,path=$TMP/vm" -serial chardev:commands \
        -netdev tap,id=net,ifname=tap1,script=no,downscript=no -device "virtio-net-pci,netdev=net,mac=${VM_MAC[1]},romfile="
    QEMU_PID=$LAST
    answer 600 0 >/dev/null || because "the VM does not come up: $(tail -n 2 "$TMP/console" | tr -d '\r')"
}
# answer SECONDS N: prints what the VM says up to the end of command N, whose status is returned
answer() {
    local line
    while IFS= read -r -t "$1" -u 9 line; do
        [[ $line =~ ^status\ $2\ ([0-9]+)$ ]] && return "${BASH_REMATCH[1]}"
        echo "$line"
    done
    return 255
}
# A command in the VM. It must end by itself. An answer that comes too late is known by its number.
vm_does() {
    local number=$((RANDOM * 32768 + RANDOM + 1))
    echo "$number $*" >&8
    answer 300 $number
}
vm_opens() { vm_does /bin/nc.openbsd -z -w 20 "$1" "$2" >/dev/null || because "the VM cannot open $1:$2"; }
vm_closed() { ! vm_does /bin/nc.openbsd -z -w 1 "$1" "$2" >/dev/null || because "the VM can open $1:$2"; }
vm_refused() {
    local said
    said=$(vm_does /bin/nc.openbsd -vz -w 20 "$1" "$2")
    [[ $said == *refused* ]] || because "VM to $1:$2: not refused but: $said"
}
vm_pings() { vm_does ping -c 1 -W 20 "$1" >/dev/null || because "the VM cannot ping $1"; }
fetch() { in_wire curl -sf -m "${2:-30}" "$1"; }

must "a VM boots behind a tap" boot
echo "# guest: $(vm_does uname -r), boots in $SECONDS s"

# ---- its firewall ----------------------------------------------------------------------------------------------------

must "dfwd starts" dfwd_start
must "the tap becomes a vport" vport_add 1
denied() { no_ping "$WIRE" "${VM_IP[1]}" && closed "$WIRE" "${VM_IP[1]}" 80 && ! vm_does ping -c 1 -W 1 "$WIRE_IP" >/dev/null; }
it "no policy: the VM hears and says nothing" denied
policy() {
    apply <<'END'
service web { tcp 80 }
tier vm {
    ping:    allow service icmp-echo, icmp6-echo
    web:     allow in service web
    echo:    allow in service tcp 7000, udp 7000
    no-81:   reject in service tcp 81
    out:     allow out service tcp 7000, tcp 8000, udp 7000
    no-smtp: reject out service tcp 25
}
default in drop
default out drop
END
}
must "a policy file is applied" policy
listen "$WIRE" 7000 && listen "$WIRE" 7001 && listen "$WIRE" 25 || exit 1

pinged() { pings "$WIRE" "${VM_IP[1]}" && pings "$WIRE" "${VM_IP6[1]}" && vm_pings "$WIRE_IP" && vm_pings "$WIRE_IP6"; }
it "ping to the VM and from it, both families" pinged
opened() {
    [[ $(fetch "http://${VM_IP[1]}/") == "hello from the VM" ]] || because "no web page" || return 1
    [[ $(fetch "http://[${VM_IP6[1]}]/") == "hello from the VM" ]] || because "no web page over IPv6"
}
it "the VM's web server answers, both families" opened
out() { vm_opens "$WIRE_IP" 7000 && vm_opens "$WIRE_IP6" 7000; }
it "TCP from the VM opens, both families" out
# nc ends when it has heard nothing for two seconds, which in an emulated machine may be less than an answer takes.
udp_in() {
    hears() { said=$(echo ping | in_wire nc -u -w 2 "${VM_IP[1]}" 7000) && [[ $said == ping ]]; }
    said=
    until_true 60 hears || because "the VM does not answer over UDP: $said"
}
it "UDP to the VM, and its answer" udp_in
udp_out() {
    hears() { said=$(vm_does "echo pong | /bin/nc.openbsd -u -w 2 $WIRE_IP 7000") && [[ $said == pong ]]; }
    said=
    until_true 60 hears || because "the VM hears no answer over UDP: $said"
}
it "UDP from the VM, and its answer" udp_out
stopped() { closed "$WIRE" "${VM_IP[1]}" 7001 && vm_closed "$WIRE_IP" 7001; }
it "a port without a rule does not open, to the VM and from it" stopped
rejected() {
    refused "$WIRE" "${VM_IP[1]}" 81 && refused "$WIRE" "${VM_IP6[1]}" 81 && vm_refused "$WIRE_IP" 25 && vm_refused "$WIRE_IP6" 25
}
it "a closed port is refused at once, to the VM and from it, both families" rejected

# ---- offloads --------------------------------------------------------------------------------------------------------

# The tap counts what crosses it, frames of many segments as one; the flow counts what these will be on the wire.
counter() { in_host cat "/sys/class/net/tap1/statistics/$1"; }
MTU_FRAME=1514
# sized NAME BYTES PACKETS: were those frames larger than the wire's?
sized() { (($3 && $2 / $3 > 2 * MTU_FRAME)) || because "$1: $2 bytes in $3 frames"; }
offloads() {
    local said
    said=$(vm_does ethtool -k eth0)
    [[ $said == *"tcp-segmentation-offload: on"* && $said == *"tx-checksumming: on"* ]] || because "ethtool -k in the VM: $said"
}
it "the VM's network card has its offloads: TSO, checksums" offloads
tso() {
    local bytes packets
    bytes=$(counter rx_bytes) packets=$(counter rx_packets)
    (($(fetch "http://${VM_IP[1]}/big" 300 | wc -c) == 48 << 20)) || because "the stream is cut" || return 1
    bytes=$(($(counter rx_bytes) - bytes)) packets=$(($(counter rx_packets) - packets))
    echo "# from the VM: $bytes bytes in $packets frames"
    sized "from the VM" "$bytes" "$packets" || return 1
    # The flow of the stream is the one of the most bytes.
    ctl -j flow list --vport vm1 --port 80 | jq -e 'max_by(.bytes.reply) | .bytes.reply / .packets.reply | . > 1000 and . <= 1500' >/dev/null ||
        because "the flow does not count segments: $(ctl -j flow list --vport vm1 --port 80 | jq -c 'map([.bytes, .packets])')"
}
it "a stream from the VM keeps its GSO frames, the flow counts their segments" tso
gro() {
    local bytes packets got
    bytes=$(counter tx_bytes) packets=$(counter tx_packets)
    mkdir -p "$TMP/www" && head -c 33554432 /dev/zero >"$TMP/www/big"
    [[ -s $TMP/server ]] || background server in_wire /usr/bin/python3 -m http.server 8000 --bind "$WIRE_IP6" --directory "$TMP/www"
    until_true 30 in_wire curl -sf -o /dev/null -I "http://[$WIRE_IP6]:8000/" || because "no web server" || return 1
    got=$(vm_does "wget -q -O - http://[$WIRE_IP6]:8000/big | wc -c")
    [[ $got == 33554432 ]] || because "the VM gets $got bytes" || return 1
    bytes=$(($(counter tx_bytes) - bytes)) packets=$(($(counter tx_packets) - packets))
    echo "# to the VM: $bytes bytes in $packets frames"
    sized "to the VM" "$bytes" "$packets"
}
it "a stream to the VM too, over IPv6" gro

# ---- past the bridge -------------------------------------------------------------------------------------------------

uplink() {
    ctl uplink add up0 >/dev/null && talk fast "$WIRE" "${VM_IP[1]}" 7000 && grows up0 tc direct talks fast && grows vports tc direct talks fast &&
        opened && out && stopped && rejected
}
it "an uplink: the VM's traffic goes past the bridge, and is decided as before" uplink
fast_tso() { grows vports tc direct tso; }
it "...a stream from the VM keeps its GSO frames" fast_tso
fast_gro() { grows up0 tc direct gro; }
it "...and one to the VM" fast_gro
native() {
    in_wire ethtool -K w0 tx off >/dev/null
    ctl uplink set up0 --mode native >/dev/null && grows up0 xdp direct talks fast && opened && out && stopped && rejected && udp_in && udp_out
}
it "XDP at the uplink's driver sends to the tap" native
slow() { ctl uplink del up0 >/dev/null && in_wire ethtool -K w0 tx on >/dev/null && stays vports tc direct talks fast; }
it "without the uplink all take the bridge again" slow

# ---- without dfwd ----------------------------------------------------------------------------------------------------

filtered() { talks life && opened && out && vm_pings "$WIRE_IP" && stopped && rejected; }
killed() { talk life "$WIRE" "${VM_IP[1]}" 7000 && dfwd_end KILL && filtered; }
it "kill -9 of dfwd: the VM's traffic is decided as before, a running connection goes on" killed
again() { dfwd_start && filtered; }
it "started again: adopted, nothing changes for the VM" again
detached() {
    ctl shutdown --detach >/dev/null && until_true 30 not kill -0 "$DFWD_PID" && DFWD_PID= && opens "$WIRE" "${VM_IP[1]}" 7001
}
it "shutdown --detach: nothing is filtered" detached
ended() {
    echo "0 end" >&8
    until_true 60 not kill -0 "$QEMU_PID" && grep -q '^guest: exit 0' "$TMP/console" || because "console: $(tail -n 3 "$TMP/console")"
}
it "the VM ends by itself" ended
