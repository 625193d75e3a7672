#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Real clients and servers: curl and a web server, nc, ping, iperf3, big frames; both families; refusals; events.
# shellcheck source=selftests/lib.sh disable=SC2015,SC2119,SC2317
. "$(dirname "$0")/../lib.sh"
need_root
host_up
vm_up 1
vm_up 2

begin() {
    dfwd_start && vport_add 1 --tag app=web && vport_add 2 --tag app=db && apply <<EOP
group web { tag app=web }
group db { vport "vm2" }
group office { $WIRE_IP, $WIRE_IP6 }
service pg { tcp 5432 }
default in drop
default out drop
tier infra {
    ping-all: allow in to any-vport service ping
    ping-out: allow out service ping
}
tier app {
    web-in: allow in from office to web service http log
    web-db: allow from web to db service pg
    bulk: allow from any to any service tcp 5201, tcp 7000
    no-mail: reject out service tcp 25, udp 25
    no-ident: reject in service tcp 113, udp 113
    resolve: allow out service dns
}
EOP
}
must "a policy with groups, tags, services and tiers" begin

web() {
    mkdir -p "$TMP/www" && head -c 3000000 /dev/urandom >"$TMP/www/file"
    background web in_vm 1 /usr/bin/python3 -m http.server 80 --bind :: --directory "$TMP/www"
    until_true 30 in_vm 1 bash -c 'ss -tln | grep -q ":80 "' || return 1
    in_wire curl -sf -m 20 -o "$TMP/got" "http://${VM_IP[1]}/file" && cmp -s "$TMP/got" "$TMP/www/file" && in_wire curl -sf -m 20 -o "$TMP/got" "http://[${VM_IP6[1]}]/file" &&
        cmp -s "$TMP/got" "$TMP/www/file" || because "curl fails, or the file came damaged"
}
it "curl fetches a file whole, IPv4 and IPv6" web
not_from() { ip -n "$WIRE" addr add 10.77.0.200/24 dev w0 && not in_wire curl -sf -m 1 --interface 10.77.0.200 -o /dev/null "http://${VM_IP[1]}/file"; }
it "curl from an address outside the group does not" not_from
both_ends() { listen "${VM[2]}" 5432 && opens "${VM[1]}" "${VM_IP[2]}" 5432 && opens "${VM[1]}" "${VM_IP6[2]}" 5432 && closed "$WIRE" "${VM_IP[2]}" 5432 && listen "${VM[1]}" 5432 && closed "${VM[2]}" "${VM_IP[1]}" 5432; }
it "a rule for both ends: web reaches db on 5432, others do not, nor db web" both_ends
ping_() { pings "$WIRE" "${VM_IP[1]}" && pings "${VM[1]}" "$WIRE_IP6" && in_wire ping -n -q -c 1 -W 10 -s 1400 "${VM_IP[1]}" >/dev/null; }
it "ping, both ways, both families" ping_
fragments() { in_wire ping -n -q -c 1 -W 10 -s 4000 "${VM_IP[1]}" >/dev/null && in_vm 1 ping -n -q -c 1 -W 10 -s 4000 "$WIRE_IP6" >/dev/null || because "a ping of 4000 bytes in fragments does not come back"; }
it "ping in fragments, both families" fragments
# Somebody listens there, so that only the firewall can refuse.
refuse_out() { listen "$WIRE" 25 && refused "${VM[1]}" "$WIRE_IP" 25 && refused "${VM[1]}" "$WIRE_IP6" 25; }
it "reject out: the VM's client sees its connection refused at once, both families" refuse_out
refuse_in() { listen "${VM[1]}" 113 && refused "$WIRE" "${VM_IP[1]}" 113 && refused "$WIRE" "${VM_IP6[1]}" 113; }
it "reject in: the outside client too" refuse_in
refuse_udp() {
    in_wire /usr/bin/python3 -c "
import socket, sys
for a in '${VM_IP[1]}', '${VM_IP6[1]}':
    s = socket.socket(socket.AF_INET6 if ':' in a else socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(3); s.connect((a, 113)); s.send(b'x')
    try: s.recv(10); sys.exit(1)
    except (ConnectionRefusedError, PermissionError): pass
    except OSError as e: sys.exit(0 if e.errno in (111, 13, 113) else str(e))"
}
it "reject of UDP: an ICMP error reaches the sender, both families" refuse_udp
traceroute() { in_vm 1 nc -u -z -w 1 "$WIRE_IP" 53; in_vm 1 /usr/bin/python3 -c "
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(3); s.connect(('$WIRE_IP', 53)); s.send(b'x')
try: s.recv(10)
except ConnectionRefusedError: sys.exit(0)
sys.exit(1)"; }
it "the port unreachable of an allowed datagram comes back" traceroute

tso() {
    local device
    for device in "${VM[1]} eth0" "$HOST tap1" "$HOST up0"; do
        # shellcheck disable=SC2086
        set -- $device
        ip netns exec "$1" ethtool -k "$2" | grep -q "tcp-segmentation-offload: on" || { because "tcp-segmentation-offload of $2 is off"; return 1; }
    done
}
it "segmentation offload stays on" tso
whole() {
    local v=$1 n=$2 to=$3 address=$4 from=$5
    background "sink-$v" exec ip netns exec "$to" /usr/bin/python3 "$HERE/netns/peer.py" sink 7000
    local sink=$LAST
    until_true 30 grep -q ready "$TMP/sink-$v" || return 1
    ip netns exec "$from" timeout 60 /usr/bin/python3 "$HERE/netns/peer.py" pour "$address" 7000 "$n" >"$TMP/pour-$v" 2>&1 || { because "$(tail -n 1 "$TMP/pour-$v")"; return 1; }
    wait "$sink"
    [[ $(tail -n 1 "$TMP/sink-$v") == "$(cat "$TMP/pour-$v")" ]] || because "the stream came damaged"
}
gso_in() { whole in4 64 "${VM[1]}" "${VM_IP[1]}" "$WIRE" && whole in6 64 "${VM[1]}" "${VM_IP6[1]}" "$WIRE"; }
it "64 MiB by TSO to the VM come whole, IPv4 and IPv6" gso_in
gso_out() { whole out4 64 "$WIRE" "$WIRE_IP" "${VM[1]}" && whole vms 64 "${VM[2]}" "${VM_IP6[2]}" "${VM[1]}"; }
it "64 MiB by TSO from the VM, to the wire and to another vport" gso_out
segments() {
    ctl -j flow list --vport vm1 --proto tcp --port 7000 | jq -e --argjson mib 64 'map(select(.initiator == "in" and .bytes.orig > $mib * 1048576)) | length > 0 and all(.[]; .packets.orig > .bytes.orig / 1600 and .packets.orig < .bytes.orig / 1000)' >/dev/null ||
        because "$(ctl flow list --vport vm1 --proto tcp --port 7000)"
}
it "GSO packets are counted as the segments that go on the wire" segments
iperf() {
    background iserver in_vm 1 iperf3 -s -1
    until_true 30 in_vm 1 bash -c 'ss -tln | grep -q :5201' || return 1
    in_wire iperf3 -c "${VM_IP[1]}" -t 2 -P 4 --bidir -J >"$TMP/iperf" 2>&1 && jq -e '.end.sum_received.bytes > 1000000 and .end.sum_received_bidir_reverse.bytes > 1000000' "$TMP/iperf" >/dev/null || because "$(head -c 300 "$TMP/iperf")"
}
it "iperf3, four streams, both ways at once" iperf
jumbo() {
    for device in "${VM[1]} eth0" "$HOST tap1" "$HOST up0" "$WIRE w0" "$HOST br0"; do
        # shellcheck disable=SC2086
        set -- $device
        ip -n "$1" link set "$2" mtu 9000
    done
    in_wire ping -n -q -c 1 -W 10 -M "do" -s 8900 "${VM_IP[1]}" >/dev/null && in_vm 1 ping -n -q -c 1 -W 10 -s 8900 "$WIRE_IP6" >/dev/null || because "frames of 9000 bytes do not pass"
}
it "frames of 9000 bytes" jumbo

watched() {
    watch_events
    # Again and again: what comes before it listens it does not hear.
    told() { opens "$WIRE" "${VM_IP[1]}" 80 && sleep 0.2 && grep -q web-in "$TMP/watch"; }
    until_true 30 told || because "no event of rule web-in: $(head -n 3 "$TMP/watch")" || return 1
    while read -r line; do
        jq -e . <<<"$line" >/dev/null 2>&1 || { because "no JSON: $line"; return 1; }
    done <"$TMP/watch"
}
it "watch -j shows flows as they come, a JSON object a line" watched
logged() { until_true 20 grep -q "web-in" "$LOG" && grep "web-in" "$LOG" | grep -q "vm1" && grep "web-in" "$LOG" | grep -q "$WIRE_IP" || because "the log has no line with vport, rule and address"; }
it "a rule with log writes vport, rule and addresses to dfwd's log" logged
