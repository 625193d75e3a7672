#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# What the datapath remembers of decisions: it is used, and nothing that changes what is right leaves a decision behind.
# Each ping here is a new flow of a combination that was decided before, by the same CPU.
# shellcheck source=selftests/lib.sh disable=SC2015,SC2119,SC2317
. "$(dirname "$0")/../lib.sh"
need_root
host_up
for n in 1 2; do vm_up "$n"; done
for address in 201 248; do ip -n "$WIRE" addr add "10.77.0.$address/24" dev w0; done
# An address of VM 1 that its vport has only at times.
ip -n "${VM[1]}" addr add 10.77.0.101/24 dev eth0

# policy ACTION: what happens to who is in no group
policy() {
    apply <<EOP
default in drop
default out allow
group guests { }
group web { tag role=web }
tier test {
    web: allow in from web service tcp 7001
    guests: allow in from guests service icmp-echo
    others: $1 in service icmp-echo
}
EOP
}
begin() { dfwd_start && vport_add 1 && vport_add 2 && policy drop && listen "${VM[1]}" 7001; }
must "two vports and a policy" begin

cpu=$(taskset -pc $$ | sed 's/.*: //; s/[,-].*//')
pings_from() { in_wire taskset -c "$cpu" ping -n -q -c 1 -W 10 -I "$1" "${2:-${VM_IP[1]}}" >/dev/null 2>&1 || because "$1 cannot ping ${2:-}"; }
no_ping_from() { ! in_wire taskset -c "$cpu" ping -n -q -c 1 -W 0.3 -I "$1" "${2:-${VM_IP[1]}}" >/dev/null 2>&1 || because "$1 can ping ${2:-}"; }
# Decisions that some CPU remembers.
remembered() {
    bpftool -j map dump pinned "$PINS/decisions" |
        jq '[.[].formatted.values[].value.ways[] | select(.serial != 0)] | length'
}

used() {
    no_ping_from 10.77.0.201 && (($(remembered) > 0)) || because "no decision is in the map: ${FAIL_REASON:-}"
}
it "decisions are remembered" used
bounded() {
    local before
    before=$(remembered)
    in_wire taskset -c "$cpu" ping -n -q -f -c 2000 -W 1 "${VM_IP[1]}" >/dev/null 2>&1
    (($(remembered) <= before + 4)) || because "$before before 2,000 flows of one combination, $(remembered) behind them" || return 1
    [[ $(bpftool -j map show pinned "$PINS/decisions" | jq .max_entries) == 4096 ]] || because "the map has another size"
}
it "many flows of one combination are one decision" bounded
generations() {
    for _ in 1 2 3 4 5 6; do
        policy allow && pings_from 10.77.0.201 && policy drop && no_ping_from 10.77.0.201 || return 1
    done
}
it "a new generation decides anew, also where a rule set has the place of one that is gone" generations
rolled_back() {
    policy allow && pings_from 10.77.0.201 && ctl policy rollback >/dev/null && no_ping_from 10.77.0.201
}
it "...and so does a rollback" rolled_back
members() {
    for _ in 1 2 3 4 5 6; do
        ctl group add guests 10.77.0.201 >/dev/null && pings_from 10.77.0.201 &&
            ctl group del guests 10.77.0.201 >/dev/null && no_ping_from 10.77.0.201 || return 1
        ctl group add guests 10.77.0.200/30 >/dev/null && pings_from 10.77.0.201 &&
            ctl group del guests 10.77.0.200/30 >/dev/null && no_ping_from 10.77.0.201 || return 1
    done
}
it "an address that joins and leaves a group is decided by what it is now" members
knocks() { in_vm 2 taskset -c "$cpu" nc -z -w "$1" "${VM_IP[1]}" 7001; }
tags() {
    for _ in 1 2 3; do
        ctl vport set vm2 --tag role=web >/dev/null && knocks 10 || because "not in by its tag" || return 1
        ctl vport set vm2 --tag role=none >/dev/null && ! knocks 1 || because "still in without its tag" || return 1
    done
}
it "so is a vport that gets a tag and loses it" tags
addresses() {
    policy allow || return 1
    for _ in 1 2 3; do
        no_ping_from 10.77.0.201 10.77.0.101 || return 1
        ctl vport set vm1 --ip "${VM_IP[1]}" --ip 10.77.0.101 >/dev/null && pings_from 10.77.0.201 10.77.0.101 || return 1
        ctl vport set vm1 --ip "${VM_IP[1]}" >/dev/null || return 1
    done
}
it "so is an address that becomes the vport's own, and ceases to be" addresses
# A new dfwd counts rule sets on from those in the kernel.
restarted() {
    for signal in TERM KILL; do
        policy allow && pings_from 10.77.0.201 && dfwd_end "$signal" && pings_from 10.77.0.201 && dfwd_start &&
            policy drop && no_ping_from 10.77.0.201 || return 1
    done
}
it "and nothing that a former dfwd's rule sets decided is taken for a decision of new ones" restarted
# A class that was added in place, whose number comes again in a rule set that a new dfwd goes on with. It has no row there
# at first. The addresses share a node of the tree with members of the groups, so the tables are again what they were.
numbers() {
    apply <<EOP || return 1
default in drop
default out allow
group second { vport "vm2" }
group a { 10.77.0.240/31 }
group b { 10.77.0.242/31 }
group c { 10.77.0.244/31 }
tier test {
    a: allow in from a to second service tcp 1
    b: allow in from b to second service tcp 2
    c: allow in from c service icmp-echo
}
EOP
    ctl group add a 10.77.0.248/31 >/dev/null && ctl group add b 10.77.0.248/31 >/dev/null && no_ping_from 10.77.0.248 &&
        ctl group del b 10.77.0.248/31 >/dev/null && ctl group del a 10.77.0.248/31 >/dev/null &&
        dfwd_end TERM && dfwd_start && ctl group add a 10.77.0.248/31 >/dev/null && ctl group add c 10.77.0.248/31 >/dev/null &&
        pings_from 10.77.0.248
}
it "nor what was decided of a class for that of another, of the same number, behind a restart" numbers
