#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Three hosts, one firewall: joining, one policy for all, groups over hosts, and what happens when hosts, daemons and the network between
# them fail: no packet is decided differently.
# shellcheck source=selftests/cluster_lib.sh disable=SC2015,SC2119,SC2317
. "$(dirname "$0")/../cluster_lib.sh"
need_root
[[ -x $DFWSYNCD ]] || skip_all "dfwsyncd is not built in $BUILD"

# ---- joining ---------------------------------------------------------------------------------------------------------

must "three hosts become one cluster: init, invite, join" cluster_up a b c

unprivileged() {
    local host status thread
    for host in "${HOSTS[@]}"; do
        for thread in "/proc/${SYNCD_PIDS[$host]}/task"/*; do
            status=$(cat "$thread/status") || return 1
            grep -q '^Uid:[[:space:]]*0' <<<"$status" && { because "dfwsyncd runs as root"; return 1; }
            grep -E '^Cap(Inh|Prm|Eff|Bnd|Amb):' <<<"$status" | grep -qv '0000000000000000$' && { because "$(grep ^Cap <<<"$status")"; return 1; }
            grep -q '^NoNewPrivs:[[:space:]]*1' <<<"$status" && grep -q '^Seccomp:[[:space:]]*2' <<<"$status" || because "no seccomp filter" || return 1
        done
    done
}
it "dfwsyncd runs without root, without a capability, all its threads with a filter of system calls" unprivileged

alone_refused() { refuses 3 "does not run" "$DFWCTL" -i none-such cluster status; }
it "where no dfwsyncd runs its commands say so, exit status 3" alone_refused

# ---- policy ----------------------------------------------------------------------------------------------------------

vms() { vm_on a 1 --tag app=web && vm_on b 2 --tag app=db && vm_on c 3 --tag app=other && vm_on b 4 --tag app=web; }
must "VMs on three hosts" vms

policy() {
    apply_on "${1:-a}" --wait 60 <<EOP
group web { tag app=web }
group db { vport "vm2" }
default in drop
default out drop
tier infra {
    ping: allow service icmp-echo, icmp6-echo
}
tier app {
    web-db:   allow from web to db service tcp 5432
    db-other: allow from tag app=db to tag app=other service tcp 7000, udp 7002
    others:   allow in from any to any-vport service tcp 9000
    any-out:  allow out from any-vport to any service tcp 9000
    ${2:-}
}
EOP
}
must "a policy applied once is realised on all three hosts when apply --wait returns" policy a
same_generation() {
    local host
    for host in "${HOSTS[@]}"; do
        [[ $(generation_of "$host") == "$(generation_of a)" ]] || because "host $host has generation $(generation_of "$host")" || return 1
    done
}
it "all have the same generation" same_generation
shows_all() {
    ctl_on c -j cluster status >"$TMP/status" || return 1
    jq -e '.writer == "a" and .generation == 1 and (.skew_ms != null) and ([.hosts[] | select(.active == 1 and .staged == 1 and .behind == 0 and .state == "alive")] | length == 3)' "$TMP/status" >/dev/null
}
in_status() { until_true 30 shows_all || because "$(jq -c . "$TMP/status")"; }
it "cluster status of any host shows hosts, generation, lag, skew and writer" in_status

listening() { listen "${VM[2]}" 5432 && listen "${VM[3]}" 5432 && listen "${VM[3]}" 7000 && listen "${VM[1]}" 9000; }
must "servers in the VMs" listening
by_tag() { opens "${VM[1]}" "${VM_IP[2]}" 5432 && opens "${VM[1]}" "${VM_IP6[2]}" 5432 && opens "${VM[2]}" "${VM_IP[3]}" 7000; }
it "groups by tag and by name resolve to VMs of other hosts" by_tag
not_by_tag() { closed "${VM[3]}" "${VM_IP[2]}" 5432 && closed "${VM[1]}" "${VM_IP[3]}" 7000 && closed "${VM[1]}" "${VM_IP[3]}" 5432; }
it "and to nobody else" not_by_tag
new_tag() {
    ctl_on c vport set vm3 --tag app=web >/dev/null || return 1
    until_true 20 opens "${VM[3]}" "${VM_IP[2]}" 5432 || because "host b does not know that vm3 is a web server" || return 1
    ctl_on c vport set vm3 --tag app=other >/dev/null || return 1
    until_true 20 closed "${VM[3]}" "${VM_IP[2]}" 5432 || because "vm3 still passes for a web server"
}
it "a tag that changes on one host changes the groups of the others" new_tag
gone_vport() {
    ctl_on b vport del vm4 >/dev/null || return 1
    not_listed() { ! ctl_on a -j vport list | jq -e '.[] | select(.name == "vm4")' >/dev/null; }
    until_true 20 not_listed || because "vm4 is still in the list of host a" || return 1
    ctl_on b vport add vm4 --dev tap4 --mac "${VM_MAC[4]}" --ip "${VM_IP[4]}" --tag app=web >/dev/null
}
it "a vport that is deleted is gone everywhere" gone_vport

taken() {
    refuses 2 "vm1 already, on host a" ctl_on c vport add vm1 --dev tap9 --mac 02:00:00:00:77:09 --ip 10.77.0.9 &&
        [[ $(ctl_on b -j vport list | jq -r '.[] | select(.name == "vm1") | .host') == a ]]
}
it "a name is taken in the whole cluster" taken
listed() {
    ctl_on b -j vport list >"$TMP/list"
    [[ $(jq -c '[.[] | [.name, .host]] | sort' "$TMP/list") == '[["vm1","a"],["vm2","b"],["vm3","c"],["vm4","b"]]' ]] || because "$(jq -c '[.[] | [.name, .host]]' "$TMP/list")" || return 1
    [[ $(ctl_on b -j vport list --local | jq -c 'map(.name)') == '["vm2","vm4"]' ]] || because "--local: $(ctl_on b vport list --local)"
}
it "vport list shows the vports of all hosts, with --local those of one" listed

second_writer() { refuses 2 "written on host a" ctl_on b policy apply "$TMP/policy-a.dfw" && [[ $(generation_of b) == 1 ]]; }
it "another host than the writer is refused, and told who it is" second_writer
bad_policy() {
    echo "default in maybe" >"$TMP/bad.dfw"
    refuses 2 "bad.dfw:1:12" ctl_on a policy apply "$TMP/bad.dfw" && [[ $(generation_of a) == 1 ]]
}
it "a policy with an error changes nothing" bad_policy
for_ports() {
    { echo "tier t {" && seq -f "    r%.0f: drop in" 65536 && echo "}"; } >"$TMP/long.dfw"
    refuses 2 "at most 65535" ctl_on a -j policy apply "$TMP/long.dfw" && [[ $(generation_of a) == 1 ]] || return 1
    jq -se --arg file "$TMP/long.dfw" 'length == 1 and (.[0] | .valid == false and (.errors[0] | .file == $file and (.text | test("65536 rules"))))' "$TMP/out" >/dev/null || because "$(cat "$TMP/out")"
}
it "nor does one that is wrong for the vports of this host; with -j that is an object" for_ports
rollback() {
    policy a 'more: allow service tcp 7777' && opens "${VM[1]}" "${VM_IP[2]}" 5432 || return 1
    ctl_on a policy rollback --wait 60 >"$TMP/out" 2>&1 || because "$(cat "$TMP/out")" || return 1
    [[ $(generation_of c) == 3 ]] && ! ctl_on c rules vm3 | grep -q more || because "host c has $(generation_of c)" || return 1
    ctl_on b -j policy history | jq -e '.[0].cause == "rollback to 1" and .[0].active and length == 3' >/dev/null || because "$(ctl_on b policy history)"
}
it "rollback is a generation of all hosts too, history is the same everywhere" rollback

# ---- one view --------------------------------------------------------------------------------------------------------

must "a connection between VMs of two hosts" talk web "${VM[1]}" "${VM_IP[2]}" 5432
found() {
    ctl_on c -j flow find --addr "${VM_IP[2]}" --port 5432 | jq -e '[.[] | select(.source.vport == "vm1" and .source.host == "a" and .destination.vport == "vm2" and .destination.host == "b" and .source.state == "tcp-established")] | length == 1' >/dev/null ||
        because "$(ctl_on c flow find --addr "${VM_IP[2]}" --port 5432)"
}
it "flow find, asked on a third host, shows both ends of a flow in one line" found
remote_rules() {
    ctl_on c -j rules vm1 | jq -e '[.[] | select(.name == "app/web-db" and .direction == "out" and .packets > 0)] | length == 1' >/dev/null || because "$(ctl_on c rules vm1 2>&1)"
}
it "rules shows those of a vport of another host" remote_rules
summed() {
    ctl_on c -j rules --hits | jq -e '[.[] | select(.name == "infra/ping" and .direction == "in" and .vports == 4)] | length == 1' >/dev/null || because "$(ctl_on c rules --hits)"
}
it "rules --hits sums over all vports of all hosts" summed
summed_port() {
    ctl_on c -j rules vm1 --hits | jq -e '[.[] | select(.name == "app/web-db" and .direction == "out" and .packets > 0 and .flows > 0)] | length == 1' >/dev/null || because "$(ctl_on c rules vm1 --hits 2>&1)"
}
it "or over all hosts of one vport" summed_port
no_drift() { ctl_on b -j status --drift | jq -e 'length == 3 and all(.[]; .hash == .wanted and .drifted == [])' >/dev/null || because "$(ctl_on b status --drift 2>&1)"; }
it "status --drift finds that all kernels enforce what the policy says" no_drift
# element_of OUTER: sets MAP, KEY and VALUE to the first element of the largest of the maps in it on host c; others may be out of use
element_of() {
    local id most=0 nr
    for id in $(bpftool -j map dump pinned "/sys/fs/bpf/dfw/${HOST_INSTANCE[c]}/$1" | jq -r '.[].value | "0x" + (map(ltrimstr("0x")) | reverse | add)'); do
        nr=$(bpftool -j map dump id $((id)) 2>/dev/null | tee "$TMP/map" | jq length)
        ((nr > most)) || continue
        most=$nr MAP=$((id)) KEY=$(jq -r '.[0].key | join(" ")' "$TMP/map") VALUE=$(jq -r '.[0].value | join(" ")' "$TMP/map")
    done
    ((most)) || because "no element in $1"
}
# drifts_by OUTER WORDS: an element that another hand has changed in the kernel of host c is found, there alone, until it is back
drifts_by() {
    element_of "$1" || return 1
    # shellcheck disable=SC2086 # lists of bytes
    bpftool map update id "$MAP" key $KEY value 0x55 ${VALUE#* } || because "bpftool does not write" || return 1
    refuses 1 "on host c: $2" ctl_on b status --drift || return 1
    ctl_on b -j status --drift >"$TMP/drift" 2>/dev/null
    jq -e 'all(.[]; (.hash != .wanted) == (.host == "c") and (.drifted != []) == (.host == "c"))' "$TMP/drift" >/dev/null || because "$(jq -c . "$TMP/drift")" || return 1
    # shellcheck disable=SC2086
    bpftool map update id "$MAP" key $KEY value $VALUE && no_drift
}
drift() {
    command -v bpftool >/dev/null || { echo "# no bpftool: nobody changes the tables"; return 0; }
    drifts_by addr_exact "the classes of addresses" && drifts_by addr_prefix4 "the classes of addresses" && drifts_by l4_classes "the classes of addresses" && drifts_by row_refs "the rows" &&
        drifts_by row_chunks "the rows" && drifts_by rule_infos "the rules"
}
it "and finds the host on which another hand has changed addresses, services, rows or rules" drift
not_operator() { refuses 1 "only hosts that are operators" ctl_on b flow kill --everywhere --port 5432 && talks web; }
it "a host that is no operator cannot end flows of others" not_operator
kill_all() {
    ctl_on a flow kill --everywhere --port 5432 >"$TMP/out" 2>&1 || because "$(cat "$TMP/out")" || return 1
    silent web
}
it "an operator ends a flow on all hosts" kill_all
must "another connection" talk web "${VM[1]}" "${VM_IP[2]}" 5432
kill_there() {
    ctl_on a flow kill --host b --port 5432 >"$TMP/out" 2>&1 || because "$(cat "$TMP/out")" || return 1
    silent web && ctl_on a -j flow list --port 5432 | jq -e 'length > 0' >/dev/null || because "host a: $(ctl_on a flow list)"
}
it "or on one that is not his own" kill_there

# ---- failures --------------------------------------------------------------------------------------------------------

must "a connection that lives" talk lives "${VM[1]}" "${VM_IP[2]}" 5432
must "datagrams between hosts b and c, of which the policy lets one kind through" leak_watch "${VM[2]}" "${VM[3]}" "${VM_IP[3]}" 7002 7003 trickle
# Decides as ever: what lived lives, what is new is judged the same.
decides() { talks lives && opens "${VM[1]}" "${VM_IP[2]}" 5432 && closed "${VM[3]}" "${VM_IP[2]}" 5432 && opens "${VM[3]}" "${VM_IP[1]}" 9000; }

no_syncd() {
    local host
    for host in "${HOSTS[@]}"; do
        syncd_end_on "$host" KILL || return 1
    done
    decides && ctl_on b vport set vm4 --tag app=none >/dev/null && decides && ctl_on b vport set vm4 --tag app=web >/dev/null && decides
}
it "every dfwsyncd killed: no packet is decided differently, also when a host realises its vports anew" no_syncd
dfwd_restarts() { dfwd_end_on b TERM && dfwd_on b && decides; }
it "nor when a dfwd restarts meanwhile" dfwd_restarts
without_b() {
    syncd_on a && syncd_on c && until_true 20 all_alive a c || because "a and c do not meet" || return 1
    sleep 5
    decides
}
it "two of them come back, and forget nothing of what the third had told" without_b
syncd_back() {
    syncd_on b || return 1
    cluster_whole && decides && [[ $(generation_of b) == 3 ]]
}
it "they come back as members, without touching a packet" syncd_back
# Nobody waits longer for it than the last time: nanomsg would, twice as long each time.
answers() { [[ $(ctl_on a -j cluster status | jq -c --arg h "$1" '.hosts[] | select(.host == $h) | [.state, .error]') == '["alive",null]' ]]; }
again_and_again() {
    local time
    for time in first second third fourth; do
        syncd_end_on b KILL && sleep 1 && syncd_on b || return 1
        until_true 20 answers b || because "the $time time: $(ctl_on a -j cluster status | jq -c '.hosts[] | [.host, .state, .error]' | tr '\n' ' ')" || return 1
    done
}
it "one that is started again and again is back each time" again_and_again

host_dead() {
    host_die c || return 1
    until_true 40 sees a c dead || because "host a sees c as $(state_of a c)" || return 1
    decides && ctl_on a -j vport list | jq -e '.[] | select(.name == "vm3")' >/dev/null || because "the dead host's vport is forgotten"
}
it "a host whose daemons die is seen dead; no verdict changes on any host" host_dead
without() {
    policy a 'late: allow service tcp 7778' || return 1
    [[ $(generation_of b) == 4 ]] && decides
}
it "a policy does not wait for the dead" without
host_back() {
    host_rise c || return 1
    cluster_whole || return 1
    has_4() { [[ $(generation_of c) == 4 ]]; }
    until_true 30 has_4 || because "host c has generation $(generation_of c)" || return 1
    decides && ctl_on c rules vm3 | grep -q late
}
it "it comes back and follows" host_back

partition() {
    part a "b c" || return 1
    until_true 40 sees a b dead && until_true 40 sees b a dead || because "a sees b as $(state_of a b)" || return 1
    until_true 30 sees b c alive && decides || return 1
    policy a 'apart: allow service tcp 7779' || return 1
    [[ $(generation_of a) == 5 && $(generation_of b) == 4 ]] || because "generations $(generation_of a), $(generation_of b)"
}
it "a partition: each side goes on, the writer's side with a new policy" partition
healed() {
    heal
    cluster_whole || return 1
    have_5() { [[ $(generation_of b) == 5 && $(generation_of c) == 5 ]]; }
    until_true 30 have_5 || because "generations $(generation_of b), $(generation_of c)" || return 1
    decides
}
it "it heals: all follow the writer" healed
one_way() {
    silence b a || return 1
    sleep 8
    decides || return 1
    heal
    cluster_whole && decides
}
it "a cable that works one way only changes no verdict, and heals" one_way
frozen() {
    kill -STOP "${SYNCD_PIDS[b]}" && sleep 10 && kill -CONT "${SYNCD_PIDS[b]}" || return 1
    cluster_whole && decides
}
it "a daemon that stood still for ten seconds is a member again" frozen
# A clock is the machine's, unless a daemon lives in a time of its own.
leapt() { [[ $(<"/proc/$1/comm") == sleep && ! "/proc/$1/ns/time_for_children" -ef /proc/self/ns/time ]]; }
leaps() {
    local holder
    [[ -e /proc/self/ns/time ]] || { echo "# this kernel has one time for all"; return 0; }
    unshare --time --monotonic 31536000 --boottime 31536000 sleep 1000 &
    holder=$!
    PIDS+=("$holder")
    until_true 20 leapt "$holder" || because "no time of its own" || return 1
    syncd_end_on b KILL && SYNCD_TIME=/proc/$holder/ns/time_for_children syncd_on b && cluster_whole && decides || return 1
    policy a 'later: allow service tcp 7781' && [[ $(generation_of b) == 6 ]] || because "host b has generation $(generation_of b)" || return 1
    syncd_end_on b KILL && syncd_on b && cluster_whole && decides && pid_end "$holder" TERM
}
it "a clock that leaps by a year changes no verdict, nor does one that leaps back" leaps

# ---- another writer --------------------------------------------------------------------------------------------------

plain_host() { refuses 1,2 "operator" ctl_on b cluster takeover; }
it "a host that is no operator cannot become the writer" plain_host
promoted() {
    ctl_on a cluster invite b --operator >"$TMP/invitation-b" 2>"$TMP/out" && ctl_on b cluster join "$TMP/invitation-b" --address "${HOST_ADDRESS[b]}" >"$TMP/out" 2>&1 || because "$(cat "$TMP/out")" || return 1
    cluster_whole
}
took_over() {
    ctl_on b cluster takeover >"$TMP/out" 2>&1 || because "$(cat "$TMP/out")" || return 1
    knows() { [[ $(ctl_on "$1" -j cluster status | jq -r .writer) == b ]]; }
    until_true 30 knows a && until_true 30 knows c || because "host a does not know the new writer" || return 1
    policy b 'by-b: allow service tcp 7780' || return 1
    [[ $(generation_of a) == 7 ]] && refuses 2 "written on host b" ctl_on a policy apply "$TMP/policy-a.dfw"
}
left() {
    ctl_on c cluster leave >"$TMP/out" 2>&1 || because "$(cat "$TMP/out")" || return 1
    until_true 20 sees a c left || because "host a sees c as $(state_of a c)" || return 1
    not_there() { ! ctl_on a -j vport list | jq -e '.[] | select(.name == "vm3")' >/dev/null; }
    until_true 20 not_there || because "its vport is still known" || return 1
    talks lives && opens "${VM[1]}" "${VM_IP[2]}" 5432 || return 1
    ctl_on c vport list | grep -q vm3 && [[ $(generation_of c) == 7 ]] && refuses 1 "in no cluster" ctl_on c cluster status
}

it "an operator is invited" promoted
it "another host takes over: it writes the policy, the former writer is refused" took_over
it "through all of this no kernel drifted" no_drift
it "and no forbidden datagram came through" no_leak
it "a host leaves: the others hear of it and forget its vports, it goes on alone" left
