#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Which device is whose: devices with other names, renamed, moved away, replaced, of kinds that cannot be a port's. Whatever
# happens to names and indices, a device that is a vport's by its name is guarded, and by that vport's rules.
# shellcheck source=selftests/lib.sh disable=SC2015,SC2119,SC2317
. "$(dirname "$0")/../lib.sh"
need_root
host_up
vm_up 1
vm_space 2

attached() { [[ $(ctl -j vport show "$1" 2>/dev/null | jq -r .attached) == true ]]; }
ready() { [[ $(ctl -j status | jq -r .ready) == true ]]; }
link() { ip -n "$HOST" link "$@"; }
guarded() { opens "$WIRE" "${VM_IP[1]}" 7000 && closed "$WIRE" "${VM_IP[1]}" 7001; }
begin() { dfwd_start && vport_add 1 && apply_open 7000 && listen "${VM[1]}" 7000 && listen "${VM[1]}" 7001 && guarded; }
must "a vport, and a policy that opens one of two ports" begin

# ---- another name ------------------------------------------------------------------------------------------------------

OTHER=(--mac 02:00:00:00:88:77 --ip 10.88.0.77)
altname() {
    link property add dev tap1 altname tap1-alt || return 1
    unchanged refuses 2 "tap1-alt is another name of device tap1" ctl vport add other --dev tap1-alt "${OTHER[@]}" &&
        unchanged refuses 2 "tap1-alt is another name of device tap1" ctl vport set vm1 --dev tap1-alt &&
        refuses 2 "tap1-alt is another name of device tap1" ctl uplink add tap1-alt && guarded
}
it "an altname of a vport's device makes no other vport, no other device and no uplink" altname
later() {
    ctl vport add other --dev later0 "${OTHER[@]}" >/dev/null && link property add dev tap1 altname later0 && link set up0 mtu 1400 && link set up0 mtu 1500 && sleep 1.5 &&
        not attached other && guarded || because "$FAIL_REASON $(ctl vport list)"
}
it "...nor one that it gets later" later
without() { link property del dev tap1 altname tap1-alt && link property del dev tap1 altname later0 && ctl vport del other >/dev/null; }
must "(without them again)" without

# ---- renamed -----------------------------------------------------------------------------------------------------------

rename() { link set "$1" name "$2"; }
between() {
    local i
    apply_open 7000 7010 && ctl vport add other --dev tapB "${OTHER[@]}" >/dev/null && leak_watch "$WIRE" "${VM[1]}" "${VM_IP[1]}" 7010 7011 || return 1
    until_true 30 grep -q first "$TMP/leak-count"
    for i in 1 2 3 4 5; do
        rename tap1 tapB && until_true 30 attached other && not attached vm1 || because "$i: $(ctl vport list)" || return 1
        ((i > 1)) || closed "$WIRE" "${VM_IP[1]}" 7000 || return 1
        rename tapB tap1 && until_true 30 attached vm1 && not attached other || because "$i: $(ctl vport list)" || return 1
    done
    guarded && no_leak
}
it "a device renamed from one vport's name to another's is guarded at every moment, by whose name it has" between
with_dead() {
    dfwd_end KILL && rename tap1 tapB && leak_watch "$WIRE" "${VM[1]}" "${VM_IP[1]}" 7010 7011 && until_true 30 grep -q first "$TMP/leak-count" && dfwd_start && attached other && not attached vm1 &&
        rename tapB tap1 && until_true 30 attached vm1 && no_leak && guarded || because "$FAIL_REASON $(ctl vport list)"
}
it "...also when dfwd was dead at that time" with_dead
died_within() {
    local ifindex
    ifindex=$(ctl -j vport show vm1 | jq .ifindex)
    dfwd_end KILL && rename tap1 tapB && mv "$PINS/vports/vm1/link_in" "$PINS/vports/other/link_in" && dfwd_start && attached other && not attached vm1 || because "$FAIL_REASON $(ctl vport list)" || return 1
    [[ $(bpftool -j link show | jq --argjson i "$ifindex" '[.[] | select(.ifindex == $i and .type == "tcx")] | length') -le 2 ]] || because "programs are left: $(bpftool -j link show)" || return 1
    rename tapB tap1 && until_true 30 attached vm1 && guarded
}
it "...or died in the middle of it: nothing is left twice" died_within

# ---- not the device that it was ----------------------------------------------------------------------------------------------

# plug_as INDEX: VM 1's cable, with that index
plug_as() {
    ip -n "$HOST" link add tap1 index "$1" type veth peer name eth0 netns "${VM[1]}" address "${VM_MAC[1]}" || return 1
    in_host sysctl -qw net.ipv6.conf.tap1.disable_ipv6=1
    link set tap1 master br0 up
    ip -n "${VM[1]}" addr add "${VM_IP[1]}/24" dev eth0
    ip -n "${VM[1]}" link set eth0 up
}
index_of() { ip -n "$HOST" -j link show tap1 | jq '.[0].ifindex'; }
# The listeners outlive the cable.
moved() {
    local index
    index=$(index_of)
    dfwd_end KILL && link set tap1 netns "${VM[2]}" && ip -n "${VM[1]}" link set eth0 name old0 && ip -n "${VM[1]}" addr flush dev old0 && plug_as "$index" && dfwd_start && attached vm1 && guarded || because "$FAIL_REASON $(ctl vport list)"
}
it "a device that took the index of one in another namespace now is none that was guarded before" moved
unseen() {
    local before index
    before=$(wc -l <"$LOG")
    index=$(index_of)
    kill -STOP "$DFWD_PID"
    much_to_tell && link del tap1 && plug_as "$index"
    kill -CONT "$DFWD_PID"
    until_true 30 told "$before" "looking at all of them" && until_true 30 attached vm1 && guarded || because "$FAIL_REASON $(tail -n 3 "$LOG")"
}
it "nor is one that came with its index while the kernel could not tell" unseen

# ---- kinds -------------------------------------------------------------------------------------------------------------

kinds() {
    ip -n "$HOST" tuntap add tun9 mode tun && link add one9 type veth peer name two9 && link add mac9 link one9 type macvlan mode bridge || return 1
    unchanged refuses 2 "tun9 has no Ethernet frames" ctl vport add other2 --dev tun9 --mac 02:00:00:00:88:78 --ip 10.88.0.78 &&
        unchanged refuses 2 "mac9 is a macvlan" ctl vport add other2 --dev mac9 --mac 02:00:00:00:88:78 --ip 10.88.0.78 && unchanged refuses 2 "tun9 has no Ethernet" ctl vport set other --dev tun9
}
it "a tun and a macvlan are refused: one has no frames, one has them the wrong way round" kinds
not_ready() {
    ctl vport set other --dev tun8 >/dev/null && ready && ip -n "$HOST" tuntap add tun8 mode tun && until_true 30 not ready && not attached other && grep -q "device tun8 has no Ethernet frames" "$LOG" &&
        link del tun8 && until_true 30 ready || because "$FAIL_REASON $(ctl status; tail -n 2 "$LOG")"
}
it "one that comes later with a vport's name is no device that is enforced, and dfwd not ready while it is there" not_ready

# ---- patterns ----------------------------------------------------------------------------------------------------------

by_pattern() {
    printf '[vports "pat*"]\n' >"$TMP/pattern.conf"
    ctl vport add pat2 --dev nothing0 --mac 02:00:00:00:88:79 --ip 10.88.0.79 >/dev/null && dfwd_end TERM && dfwd_start -c "$TMP/pattern.conf" || return 1
    link add pat1.5 type veth peer name end1 && link add pat2 type veth peer name end2 && until_true 30 attached pat1_5 && until_true 30 attached pat2-2 && not attached pat2 || because "$(ctl vport list)"
}
it "a device that a pattern matches has a vport, whatever is in its name, and whose name that is already" by_pattern
stays() { unchanged refuses 2 'pat1_5 is made by \[vports "pat\*"\] of .*pattern.conf while there is a device pat1.5' ctl vport del pat1_5; }
it "...which is not to be deleted while the device is there" stays
