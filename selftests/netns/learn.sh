#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Addresses that a vport learns from its VM, and the link-local one that it has by itself.
# shellcheck source=selftests/lib.sh disable=SC2015,SC2119,SC2317
. "$(dirname "$0")/../lib.sh"
need_root
host_up
vm_up 1
vm_up 2
vm_up 3

# addresses VPORT FIELD: in one line, sorted
addresses() { ctl -j vport show "$1" | jq -r ".$2 | sort | join(\" \")"; }
# are VPORT FIELD "a b": what vport show tells
are() { [[ $(addresses "$1" "$2") == "$3" ]] || because "$1 has $2 \"$(addresses "$1" "$2")\", not \"$3\": $(tail -n 3 "$LOG")"; }
has() { [[ " $(addresses "$1" "$2") " == *" $3 "* ]] || because "$1 has $2 \"$(addresses "$1" "$2")\", not $3"; }
lacks() { [[ " $(addresses "$1" "$2") " != *" $3 "* ]] || because "$1 has $2 $3"; }
# own_address N ADDRESS: of VM n, besides its first; the VM asks for its neighbours anew, as one does that has booted
own_address() {
    ip -n "${VM[$1]}" addr add "$2/24" dev eth0
    ip -n "${VM[$1]}" neigh flush dev eth0
}
lose_address() {
    ip -n "${VM[$1]}" addr del "$2/24" dev eth0
    ip -n "${VM[$1]}" neigh flush dev eth0
    ip -n "$WIRE" neigh flush dev w0
}
# speaks N FROM TO: an echo from that address is answered; the first tries teach it
speaks() {
    until_true 30 in_vm "$1" ping -n -q -c 1 -W 1 -I "$2" "$3" || because "${VM[$1]} cannot ping $3 from $2: $(tail -n 2 "$LOG")"
}
mute() { not in_vm "$1" ping -n -q -c 3 -i 0.3 -W 1 -I "$2" "$3" >/dev/null 2>&1 || because "${VM[$1]} can ping $3 from $2"; }
# outcomes ADDRESS: of the events about it, each once
outcomes() { jq -r "select(.event == \"address\" and .address == \"$1\") | .outcome" "$TMP/watch" | sort -u | tr '\n' ' '; }
told() { until_true 30 grep -q "\"address\":\"$1\".*\"outcome\":\"$2\"" "$TMP/watch" || because "no event $2 of $1: $(tail -n 3 "$TMP/watch")"; }

learning() {
    apply <<EOP
profile learns { learn-addresses on; max-learned $1 }
group apps { tag app=yes }
default in drop
default out allow
tier test {
    ping-in: allow in to apps service icmp-echo, icmp6-echo
}
EOP
}
add() { ctl vport add "$@" >"$TMP/out" 2>&1 || because "vport add: $(cat "$TMP/out")"; }
begin() {
    dfwd_start && learning 3 && add vm1 --dev tap1 --mac "${VM_MAC[1]}" --ip "${VM_IP[1]}" --tag app=yes --profile learns &&
        add vm2 --dev tap2 --mac "${VM_MAC[2]}" --ip "${VM_IP[2]}" --ip "${VM_IP6[2]}" --tag app=yes || return 1
    watch_events
    until_true 30 watches || because "watch hears nothing" || return 1
    speaks 1 "${VM_IP[1]}" "$WIRE_IP"
}
# It tells of a vport that is set, once it listens.
watches() { ctl vport set vm2 --tag app=yes >/dev/null && sleep 0.2 && test -s "$TMP/watch"; }
must "a vport that learns up to 3 addresses, one that does not" begin

# ---- link-local ------------------------------------------------------------------------------------------------------

derived() {
    are vm2 ips "$(printf '%s\n' "${VM_IP[2]}" "${VM_IP6[2]}" | sort | tr '\n' ' ' | sed 's/ $//')" && are vm2 derived_ips "${VM_LL[2]}" &&
        are vm2 learned_ips "" && pings "${VM[2]}" "fe80::ff:fe00:77fe%eth0" && pings "$WIRE" "${VM_LL[2]}%w0"
}
it "a vport with an IPv6 address and a MAC has the link-local address of that MAC" derived
none_derived() { are vm1 derived_ips "" && are vm1 ips "${VM_IP[1]}"; }
it "one without an IPv6 address has none" none_derived
listed() {
    ctl vport set vm2 --ip "${VM_IP[2]}" --ip "${VM_IP6[2]}" --ip fe80::2:2 >/dev/null && are vm2 derived_ips "" && has vm2 ips fe80::2:2 &&
        ctl vport set vm2 --ip "${VM_IP[2]}" --ip "${VM_IP6[2]}" >/dev/null && are vm2 derived_ips "${VM_LL[2]}"
}
it "neither has one whose operator lists a link-local address" listed
conflict() {
    refuses 2 "belongs to vport vm2" ctl vport add vm9 --dev tap9 --mac 02:00:00:00:77:09 --ip "${VM_LL[2]}"
}
it "it belongs to the vport: no other can be given it" conflict

# ---- learning --------------------------------------------------------------------------------------------------------

by_arp() {
    own_address 1 10.77.0.101 && speaks 1 10.77.0.101 "$WIRE_IP" && are vm1 learned_ips 10.77.0.101 && are vm1 ips "${VM_IP[1]}" && told 10.77.0.101 learned
}
it "ARP: an address that the VM takes is learned, and its packets pass" by_arp
reached() { until_true 20 pings "$WIRE" 10.77.0.101 || because "the wire cannot ping it"; }
it "...it is the vport's own: rules for its groups hold for it" reached
not_the_other() { own_address 2 10.77.0.102 && mute 2 10.77.0.102 "$WIRE_IP" && are vm2 learned_ips ""; }
it "a vport whose profile does not learn learns nothing" not_the_other
by_nd() {
    # The VM's link-local address is the first thing that it shows.
    speaks 1 "${VM_IP6[1]}" "$WIRE_IP6" && has vm1 learned_ips "${VM_IP6[1]}"
}
it "ND: likewise" by_nd
taken() {
    own_address 1 "${VM_IP[2]}"
    in_vm 1 ping -n -q -c 2 -i 0.3 -W 1 -I "${VM_IP[2]}" "$WIRE_IP" >/dev/null 2>&1
    lose_address 1 "${VM_IP[2]}"
    told "${VM_IP[2]}" taken && lacks vm1 learned_ips "${VM_IP[2]}" && pings "${VM[2]}" "$WIRE_IP" && jq -ne '[inputs | select(.outcome == "taken")] | length > 0 and all(.owner == "vm2" and .vport == "vm1")' "$TMP/watch" >/dev/null ||
        because "${FAIL_REASON:-$(grep taken "$TMP/watch")}"
}
it "an address of another vport is not learned, the event says whose it is, and who has it keeps it" taken
also_learned() {
    # What one has learned another cannot learn.
    ctl vport set vm2 --profile learns >/dev/null && own_address 2 10.77.0.101
    in_vm 2 ping -n -q -c 2 -i 0.3 -W 1 -I 10.77.0.101 "$WIRE_IP" >/dev/null 2>&1
    lose_address 2 10.77.0.101
    lacks vm2 learned_ips 10.77.0.101 && has vm1 learned_ips 10.77.0.101 && [[ $(outcomes 10.77.0.101) == "learned taken " ]] || because "${FAIL_REASON:-$(outcomes 10.77.0.101)}"
}
it "neither is one that another vport has learned" also_learned
limit() {
    own_address 1 10.77.0.111 && speaks 1 10.77.0.111 "$WIRE_IP" && own_address 1 10.77.0.112 || return 1
    mute 1 10.77.0.112 "$WIRE_IP" && told 10.77.0.112 limit && [[ $(ctl -j vport show vm1 | jq '.learned_ips | length') == 3 ]] || because "$(addresses vm1 learned_ips): $(tail -n 4 "$TMP/watch")"
}
it "max-learned 3: the fourth is not learned, the event says limit" limit
one_line() {
    local lines
    lines=$(grep -c "vm1: learned address 10.77.0.101 " "$LOG")
    [[ $lines == 1 ]] && grep -q "vm1: address 10.77.0.112 is not learned: it has 3 learned" "$LOG" || because "$lines lines; $(grep learned "$LOG")"
}
it "...the log has one line of each address that was learned, and says why one was not" one_line
set_ip() {
    local learned
    learned=$(addresses vm1 learned_ips)
    ctl vport set vm1 --ip "${VM_IP[1]}" --ip 10.77.0.150 >/dev/null && are vm1 learned_ips "$learned" && has vm1 ips 10.77.0.150 && ctl vport set vm1 --ip "${VM_IP[1]}" >/dev/null &&
        are vm1 learned_ips "$learned" && lacks vm1 ips 10.77.0.150
}
it "vport set --ip replaces what was given, not what was learned" set_ip
listed_in_table() { ctl vport show vm1 | grep -E "^learned" | grep -q 10.77.0.101 || because "$(ctl vport show vm1)"; }
it "vport show tells them apart" listed_in_table
restart() {
    local learned
    learned=$(addresses vm1 learned_ips)
    dfwd_end KILL && are vm1 learned_ips "$learned" && pings "$WIRE" 10.77.0.101 && dfwd_start && are vm1 learned_ips "$learned" &&
        speaks 1 10.77.0.101 "$WIRE_IP" && pings "$WIRE" 10.77.0.101
}
it "what was learned outlives a kill -9 of dfwd and its restart" restart
claimed() {
    add vm3 --dev tap3 --mac "${VM_MAC[3]}" --ip "${VM_IP[3]}" --ip 10.77.0.111 --tag app=yes && lacks vm1 learned_ips 10.77.0.111 && has vm3 ips 10.77.0.111 &&
        mute 1 10.77.0.111 "$WIRE_IP"
}
it "the operator's word outweighs the VM's: an address given to another vport is unlearned" claimed
again() { dfwd_end TERM && dfwd_start && lacks vm1 learned_ips 10.77.0.111 && has vm3 ips 10.77.0.111; }
it "...and stays so after a restart" again
deleted() {
    ctl vport del vm1 >/dev/null && add vm1 --dev tap1 --mac "${VM_MAC[1]}" --ip "${VM_IP[1]}" --tag app=yes && are vm1 learned_ips "" && mute 1 10.77.0.101 "$WIRE_IP"
}
it "a deleted vport has learned nothing" deleted

# ---- DAD and DHCP ----------------------------------------------------------------------------------------------------

dad() {
    ctl vport set vm2 --profile learns >/dev/null && in_vm 2 sysctl -qw net.ipv6.conf.eth0.accept_dad=1 && ip -n "${VM[2]}" addr add fd77::222/64 dev eth0 || return 1
    until_true 30 has vm2 learned_ips fd77::222 || because "not learned: $(addresses vm2 learned_ips)"
}
it "duplicate address detection alone teaches an address" dad
if ! busybox --list 2>/dev/null | grep -qx udhcpc || ! busybox --list | grep -qx udhcpd; then
    skip "a DHCP ACK teaches the address that it gives" "needs busybox with udhcpc and udhcpd"
    exit
fi
dhcp() {
    cat >"$TMP/udhcpd.conf" <<EOC
start 10.77.0.230
end 10.77.0.230
interface w0
lease_file $TMP/leases
pidfile $TMP/udhcpd.pid
option subnet 255.255.255.0
EOC
    touch "$TMP/leases"
    background server in_wire busybox udhcpd -f "$TMP/udhcpd.conf"
    printf '#!/bin/sh\n' >"$TMP/script"
    chmod +x "$TMP/script"
    # Nothing but the exchange: the VM never speaks from the address.
    in_vm 2 timeout 60 busybox udhcpc -f -q -n -t 10 -T 1 -i eth0 -s "$TMP/script" >"$TMP/udhcpc" 2>&1 || because "no lease: $(tail -n 2 "$TMP/udhcpc"; cat "$TMP/server")" || return 1
    until_true 30 has vm2 learned_ips 10.77.0.230 || because "not learned: $(addresses vm2 learned_ips)"
}
it "a DHCP ACK teaches the address that it gives" dhcp
