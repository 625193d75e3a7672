#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# A full table drops with that reason and recovers by itself.
# shellcheck source=selftests/lib.sh disable=SC2015,SC2119,SC2317
. "$(dirname "$0")/../lib.sh"
need_root
host_up
vm_up 1
vm_up 2

small() {
    apply <<EOP
profile small {
    max-flows 16
    max-half-open 64
    timeout udp-new 2s
    timeout udp-replied 2s
    timeout udp-stream 2s
    timeout tcp-closed 1s
    timeout tcp-time-wait 1s
    timeout tcp-established 3s
}
default in drop
default out drop
tier test {
    all-out: allow out
    tcp-in: allow in service tcp 7000
}
EOP
}
begin() {
    dfwd_start && vport_add 2 && apply <<<"profile small { max-flows 16; max-half-open 64 }
default in drop
default out drop" && vport_add 1 --profile small && small && listen "$WIRE" 7000 && listen "${VM[2]}" 7000
}
must "a vport whose profile allows 16 flows" begin
full() {
    local n
    background many in_vm 1 /usr/bin/python3 "$HERE/netns/peer.py" many "$WIRE_IP" 7000 40
    until_true 30 grep -q . "$TMP/many" || return 1
    n=$(cat "$TMP/many")
    ((n <= 16 && n >= 14)) && (($(dropped vm1 flow-limit) > 0)) || because "$n connections; $(ctl stats vm1)"
}
it "map full: the seventeenth connection is dropped for flow-limit" full
others() { opens "$WIRE" "${VM_IP[2]}" 7000 && opens "${VM[2]}" "$WIRE_IP" 7000; }
it "...the flows of other vports are untouched" others
recovers() {
    dfwd_end KILL && sleep 3.5 || return 1
    opens "${VM[1]}" "$WIRE_IP" 7000 && opens "${VM[1]}" "$WIRE_IP" 7000
}
it "...and new ones pass after the old have expired, with no daemon alive" recovers
swept() {
    held() { ctl -j vport show vm1 | jq .flows; }
    (($(held) > 0)) || because "nothing is left to sweep" || return 1
    dfwd_start && sleep 3.5 || return 1
    nothing_left() { [[ $(flows --vport vm1) == 0 && $(held) == 0 ]]; }
    until_true 30 nothing_left || because "$(ctl flow list --vport vm1 | head -n 5)"
}
it "expired flows are not shown, and dfwd sweeps them" swept
half() {
    talk lives "${VM[1]}" "$WIRE_IP" 7000 && talks lives || return 1
    # nobody is at 10.77.0.199: every SYN stays half open
    ip -n "${VM[1]}" neigh replace 10.77.0.199 lladdr 02:00:00:00:77:c7 dev eth0
    in_vm 1 /usr/bin/python3 -c "
import socket
for p in range(2000):
    s = socket.socket(); s.setblocking(False)
    try: s.connect(('10.77.0.199', 10000 + p))
    except OSError: pass
    s.close()"
    # an LRU rounds its size up, a little for each CPU
    talks lives && opens "${VM[1]}" "$WIRE_IP" 7000 && (($(flows --vport vm1 --proto tcp) <= 64 + 128 * $(nproc) + 16)) || because "${FAIL_REASON:-$(flows --vport vm1) flows}"
}
it "2000 half-open connections evict each other only: an established one lives, a new one opens" half
rate() {
    apply <<EOP || return 1
profile small { max-flows 1000 }
default in drop
default out drop
tier test {
    slow: allow in service udp 7001 limit 5/second
    all-out: allow out
}
EOP
    in_wire /usr/bin/python3 -c "
import socket
for p in range(200):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendto(b'x', ('${VM_IP[2]}', 7001))"
    (($(dropped vm2 rule-limit) > 100)) || because "$(ctl stats vm2)"
}
it "a rule with limit 5/second: of 200 new flows at once most drop for rule-limit" rate
