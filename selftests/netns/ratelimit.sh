#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# How much a rule and a profile let through, how long they remember, and what `strict off` picks up.
# shellcheck source=selftests/lib.sh disable=SC2015,SC2119,SC2317
. "$(dirname "$0")/../lib.sh"
need_root
host_up
vm_up 1
vm_up 2
ip -n "$WIRE" addr add 10.77.0.201/24 dev w0
ip -n "$WIRE" addr add 10.77.0.202/24 dev w0

# policy PROFILE RULES
policy() {
    apply <<EOP
profile tested { $1 }
default in drop
default out allow
tier test {
    $2
}
EOP
}
# burst FROM PORT N: N datagrams to vm1, each a flow of its own; prints how many were answered, and the seconds it took to
# send them. Two seconds without an answer, and no more come.
burst() {
    in_wire /usr/bin/python3 -c "
import select, socket, time
begin, socks = time.monotonic(), []
for _ in range($3):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('$1', 0)); s.connect(('${VM_IP[1]}', $2)); s.send(b'x'); socks.append(s)
sent = time.monotonic() - begin
got = 0
while found := socks and select.select(socks, [], [], 2)[0]:
    for s in found:
        got += 1; socks.remove(s)
print(got, int(sent) + 1)"
}

begin() {
    dfwd_start && policy "" "any: allow in" && vport_add 1 --profile tested && vport_add 2 && for port in 7001 7002 7003; do listen "${VM[1]}" "$port" || return 1; done
    [[ $(burst 10.77.0.201 7001 60) == "60 "* ]] || because "without a limit $(burst 10.77.0.201 7001 60) of 60"
}
must "without limits every flow passes" begin

# ---- rules -----------------------------------------------------------------------------------------------------------

# What a bucket of that rate and burst lets through at once: within LEAST..MOST for each second that sending took.
let_through() {
    local got=$1 seconds=$2 rate=$3 burst=$4
    ((got >= burst && got <= burst + 1 + rate * seconds)) || because "$got in $seconds s, with $rate/second burst $burst"
}
rule_rate() {
    local got seconds before
    before=$(dropped vm1 rule-limit)
    policy "" "slow: allow in service udp 7001 limit 2/second burst 20
    any: allow in" && read -r got seconds < <(burst 10.77.0.201 7001 60) && let_through "$got" "$seconds" 2 20 && (($(dropped vm1 rule-limit) - before == 60 - got)) ||
        because "${FAIL_REASON:-$got passed, $(dropped vm1 rule-limit) counted}"
}
it "limit 2/second burst 20: of 60 flows at once some 20 pass, the others drop for rule-limit" rule_rate
other_rule() { [[ $(burst 10.77.0.201 7002 60) == "60 "* ]] || because "other rules are limited too"; }
it "...what other rules decide is not limited" other_rule
live_flow() {
    policy "" "live: allow in service tcp 7001, udp 7001 limit 1/second burst 1" && talk live "$WIRE" "${VM_IP[1]}" 7001 && burst 10.77.0.201 7001 20 >/dev/null && talks live
}
it "...nor are packets of a flow that lives" live_flow
per_source() {
    local first second seconds
    policy "" "each: allow in service udp 7001 limit 2/second burst 10 per source" && read -r first seconds < <(burst 10.77.0.201 7001 60) && let_through "$first" "$seconds" 2 10 &&
        read -r second seconds < <(burst 10.77.0.202 7001 60) && let_through "$second" "$seconds" 2 10 && (($(dropped vm1 source-limit) == 120 - first - second)) ||
        because "${FAIL_REASON:-$first and $second passed, $(dropped vm1 source-limit) counted}"
}
it "limit per source: one that has used up its own does not use up another's; counted as source-limit" per_source

SHORT="timeout tcp-closed 1s; timeout tcp-time-wait 1s; timeout tcp-closing 1s; timeout tcp-fin-wait 1s"
many() {
    background "$1" in_wire /usr/bin/python3 "$HERE/netns/peer.py" many "${VM_IP[1]}" "$2" "$3"
    until_true 30 grep -q . "$TMP/$1" || because "no connections"
}
max_flows() {
    local before
    before=$(dropped vm1 rule-limit)
    policy "$SHORT" "few: allow in service tcp 7001 max-flows 5
    any: allow in" && ctl flow kill --vport vm1 >/dev/null && many many 7001 8 && [[ $(cat "$TMP/many") == 5 ]] && (($(dropped vm1 rule-limit) > before)) || because "$(cat "$TMP/many") connections"
}
it "max-flows 5 on a rule: the sixth connection drops for rule-limit" max_flows
max_flows_other() { opens "$WIRE" "${VM_IP[1]}" 7002 && opens "$WIRE" "${VM_IP[1]}" 7003; }
it "...other rules have room" max_flows_other
max_flows_again() {
    ctl flow kill --vport vm1 --port 7001 >/dev/null && opens "$WIRE" "${VM_IP[1]}" 7001 && many many2 7001 8 && (($(cat "$TMP/many2") >= 4)) || because "$(cat "$TMP/many2") connections"
}
it "...flows that end make room: killed ones, closed ones" max_flows_again
max_flows_swap() {
    # Flows go over to another rule, and end there: neither may count wrong afterwards.
    ctl flow kill --vport vm1 >/dev/null
    policy "$SHORT" "wide: allow in service tcp 7001 max-flows 50" && many swap 7001 8 && [[ $(cat "$TMP/swap") == 8 ]] || because "first: $(cat "$TMP/swap")" || return 1
    talk moved "$WIRE" "${VM_IP[1]}" 7001 && policy "$SHORT" "narrow: allow in service tcp 7001 max-flows 3" && talks moved && opens "$WIRE" "${VM_IP[1]}" 7001 && ctl flow kill --vport vm1 >/dev/null &&
        many swap2 7001 8 && [[ $(cat "$TMP/swap2") == 3 ]] || because "${FAIL_REASON:-narrow lets $(cat "$TMP/swap2") of 8 through, not 3}"
}
it "...and one that came from another rule leaves the right number when it ends" max_flows_swap

# ---- profile ---------------------------------------------------------------------------------------------------------

new_per_second() {
    local got seconds before
    ctl flow kill --vport vm1 >/dev/null
    policy "" "any: allow in" && talk lives "$WIRE" "${VM_IP[1]}" 7001 || return 1
    before=$(dropped vm1 rate-limit)
    policy "new-per-second 10" "any: allow in" && read -r got seconds < <(burst 10.77.0.201 7001 60) && let_through "$got" "$seconds" 10 10 &&
        (($(dropped vm1 rate-limit) - before == 60 - got)) && talks lives || because "${FAIL_REASON:-$got passed, $(dropped vm1 rate-limit) counted}"
}
it "profile new-per-second 10: the others drop for rate-limit, live flows go on" new_per_second
others() {
    listen "${VM[2]}" 7001 && apply_open_2 && [[ $(in_wire /usr/bin/python3 "$HERE/netns/peer.py" udp "${VM_IP[2]}" 7001 3) == 3 ]] || because "vm2 is limited too"
}
apply_open_2() { policy "new-per-second 1" "any: allow in"; }
it "...other vports are not limited" others
half_open() {
    local listed
    ctl vport del vm1 >/dev/null && policy "max-half-open 64" "any: allow in" && vport_add 1 --profile tested && talk stays "${VM[1]}" "$WIRE_IP" 7005 || return 1
    ip -n "${VM[1]}" neigh replace 10.77.0.199 lladdr 02:00:00:00:77:c7 dev eth0
    in_vm 1 /usr/bin/python3 -c "
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for p in range(1, 3001): s.sendto(b'x', ('10.77.0.199', p))"
    listed=$(flows --vport vm1 --proto udp)
    # three pages of 28
    ((listed <= 84 && listed >= 32)) && talks stays && opens "${VM[1]}" "$WIRE_IP" 7005 || because "${FAIL_REASON:-$listed half-open flows}"
}
listen "$WIRE" 7005
it "profile max-half-open 64: 3000 questions without answer push out one another, and nothing else" half_open

# answers AFTER: a question of the VM, its answer so many seconds later: does it arrive?
answered() {
    background answerer in_wire /usr/bin/python3 -c "
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('$WIRE_IP', 7011)); print('ready', flush=True)
d, a = s.recvfrom(99); time.sleep($1); s.sendto(b'answer', a)"
    until_true 30 grep -q ready "$TMP/answerer" || return 1
    in_vm 1 timeout 20 /usr/bin/python3 -c "
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout($1 + 2); s.sendto(b'question', ('$WIRE_IP', 7011))
try: s.recv(99)
except OSError: sys.exit(1)"
}
timeouts() {
    policy "timeout udp-new 2s; timeout udp-replied 2s; timeout udp-stream 2s; timeout icmp-new 1s; timeout icmp-replied 1s; timeout tcp-established 3s" "tcp: allow in service tcp 7001-7003" &&
        answered 0.2 && not answered 4 && (($(dropped vm1 default) > 0)) || because "$(ctl flow list --vport vm1); $(ctl stats vm1)"
}
it "timeout udp-new 2s: an answer at once arrives, one after 4 seconds does not" timeouts
shown() {
    local longest
    # It may have ended before it is asked about.
    lives() {
        [[ $(in_vm 1 /usr/bin/python3 "$HERE/netns/peer.py" udp "$WIRE_IP" 7005 1) == 1 ]] || because "no UDP" || return 1
        longest=$(ctl -j flow list --vport vm1 --proto udp | jq '[.[].expires_ms] | max // 0')
        ((longest > 0))
    }
    until_true 30 lives && ((longest <= 2000)) || because "expires_ms $longest: $(ctl flow list --vport vm1)"
}
it "...flow list shows when a flow will end" shown
idle_tcp() {
    background idle in_wire /usr/bin/python3 -c "
import socket, time
s = socket.create_connection(('${VM_IP[1]}', 7001)); s.settimeout(5)
for pause in (1, 1, 1, 1, 6):
    s.sendall(b'x'); print(s.recv(9), flush=True); time.sleep(pause)
s.settimeout(2); s.sendall(b'late')
try: s.recv(9); print('answered', flush=True)
except OSError: print('gone', flush=True)"
    until_true 30 grep -qE "gone|answered" "$TMP/idle" && grep -q gone "$TMP/idle" && [[ $(grep -c "b'x'" "$TMP/idle") == 5 ]] && (($(dropped vm1 tcp-no-flow) > 0)) ||
        because "$(tr '\n' ' ' <"$TMP/idle")"
}
it "timeout tcp-established 3s: each packet refreshes the flow; after 6 silent seconds it is gone" idle_tcp

# ---- strict off ------------------------------------------------------------------------------------------------------

# A connection that is there before the vport.
older() {
    ctl vport del vm1 >/dev/null && policy "$1" "any: allow in" && talk "$2" "$WIRE" "${VM_IP[1]}" 7001 && talk "$2-out" "${VM[1]}" "$WIRE_IP" 7005 && vport_add 1 --profile tested
}
strict() { older "strict on" strict && silent strict && silent strict-out && (($(dropped vm1 tcp-no-flow) > 0)) || because "${FAIL_REASON:-$(ctl stats vm1)}"; }
it "strict: a connection older than the vport does not go on" strict
loose() { older "strict off" loose && talks loose && talks loose-out && [[ $(ctl -j flow list --vport vm1 --proto tcp --port 7001 | jq -r '.[0].state') == tcp-established ]] || because "${FAIL_REASON:-$(ctl flow list --vport vm1)}"; }
it "strict off: it is picked up, both ways" loose
# forge FLAGS SEQ-OFFSET ACK-OFFSET COUNT: segments to vm1 within the connection of `talk loose`, off by so much from what it sends
forge() {
    in_wire timeout 30 /usr/bin/python3 - "${VM_IP[1]}" "$@" <<'PY'
import sys
from scapy.all import AsyncSniffer, Ether, IP, Raw, TCP, sendp, sniff
vm, flags, seq, ack, count = sys.argv[1], sys.argv[2], int(sys.argv[3], 0), int(sys.argv[4], 0), int(sys.argv[5])
seen = sniff(iface="w0", count=1, timeout=10, lfilter=lambda p: TCP in p and p[IP].dst == vm and p[TCP].dport == 7001 and Raw in p)[0]
for i in range(count):
    sendp(Ether(src=seen.src, dst=seen.dst) / IP(src=seen[IP].src, dst=vm) / TCP(sport=seen[TCP].sport, dport=7001, flags=flags, window=1000,
          seq=(seen[TCP].seq + seq + 7919 * i) % 2**32, ack=(seen[TCP].ack + ack) % 2**32 if "A" in flags else 0) / (b"forged" if "P" in flags else b""), iface="w0", verbose=False)
PY
}
if /usr/bin/python3 -c 'import scapy' 2>/dev/null; then
    windows() {
        local before
        before=$(dropped vm1 tcp-window)
        forge PA 0x40000000 0 5 && forge PA -0x40000000 0 5 && (($(dropped vm1 tcp-window) - before == 10)) && talks loose || because "${FAIL_REASON:-$before tcp-window before; $(ctl stats vm1)}"
    }
    it "...within windows: segments far off drop for tcp-window" windows
    acks() {
        local before
        before=$(dropped vm1 tcp-ack)
        forge A 0 0x40000000 5 && forge A 0 -0x40000000 5 && (($(dropped vm1 tcp-ack) - before == 10)) && talks loose || because "${FAIL_REASON:-$before tcp-ack before; $(ctl stats vm1)}"
    }
    it "...acknowledgements far off drop for tcp-ack" acks
    resets() {
        local before
        before=$(dropped vm1 tcp-rst)
        forge R 100000 0 10 && (($(dropped vm1 tcp-rst) - before == 10)) && talks loose || because "${FAIL_REASON:-$before tcp-rst before; $(ctl stats vm1)}"
    }
    it "...and a RST that is not exact does not end it" resets
else
    skip "windows of a connection picked up" "needs Debian's python3-scapy"
fi
not_allowed() {
    ctl vport del vm1 >/dev/null && apply <<EOP && talk denied "$WIRE" "${VM_IP[1]}" 7001 && vport_add 1 --profile tested && silent denied
profile tested { strict off }
default in drop
default out drop
tier test {
    other: allow in service tcp 9
}
EOP
}
it "strict off picks up what a rule allows, and nothing else" not_allowed
