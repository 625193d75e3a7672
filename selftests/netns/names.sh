#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Law 3: a port is one folder of pinned maps, and its names explain themselves.
# shellcheck source=selftests/lib.sh disable=SC2015,SC2119,SC2317
. "$(dirname "$0")/../lib.sh"
need_root
command -v bpftool >/dev/null || skip_all "needs bpftool"
host_up
vm_up 1

begin() { dfwd_start && vport_add 1 && apply_open 7000 && listen "${VM[1]}" 7000 && talk one "$WIRE" "${VM_IP[1]}" 7000 && talks one; }
must "a vport with a connection" begin
folder() {
    local name
    for name in config flows more_flows half_open fragments counters state; do
        [[ -e $PINS/vports/vm1/$name ]] || { because "no $name in $(ls "$PINS/vports/vm1" 2>&1)"; return 1; }
    done
}
it "vports/vm1 has config, flows, more_flows, half_open, fragments, counters, state" folder
dumped() {
    # bpftool writes bit fields as bare hexadecimal numbers, which are no JSON
    bpftool map dump pinned "$PINS/vports/vm1/flows" 2>&1 | sed -E 's/: (0x[0-9a-f]+)/: "\1"/' >"$TMP/dump" || { because "$(cat "$TMP/dump")"; return 1; }
    local field
    for field in local_port remote_port protocol generation rule state initiator legs packets bytes end max_end max_window; do
        grep -q "\"$field\"" "$TMP/dump" || { because "no field $field in $(head -c 400 "$TMP/dump")"; return 1; }
    done
    jq -e '[.. | objects | select(.local_port? == 7000 and .protocol? == 6)] | length > 0' "$TMP/dump" >/dev/null || because "the flow to port 7000 is not shown by name"
}
it "bpftool map dump pinned .../flows shows the flow by field names" dumped
reasons() {
    bpftool map dump pinned "$PINS/vports/vm1/counters" >"$TMP/dump" 2>&1 && grep -q '"passed"' "$TMP/dump" && grep -q '"tcp_window"' "$TMP/dump" || because "$(head -c 300 "$TMP/dump")"
}
it "...and the counters by their reasons" reasons
config() {
    bpftool map dump pinned "$PINS/vports/vm1/config" >"$TMP/dump" 2>&1 && grep -q '"nr_addresses"' "$TMP/dump" && grep -q '"max_flows"' "$TMP/dump" || because "$(head -c 300 "$TMP/dump")"
}
it "...and the config, profile included" config
json() {
    ctl -j flow list --vport vm1 --proto tcp --port 7000 >"$TMP/flows" &&
        jq -e --arg ip "${VM_IP[1]}" --arg wire "$WIRE_IP" '.[0] | .vport == "vm1" and .proto == "tcp" and .initiator == "in" and .src == $wire and .dst == $ip and .dport == 7000
            and (.sport | type) == "number" and .state == "tcp-established" and (.rule | type) == "string" and (.generation | type) == "number"
            and .packets.orig > 0 and .bytes.reply > 0 and .age_ms >= 0 and .idle_ms >= 0 and .expires_ms > 0' "$TMP/flows" >/dev/null || because "$(head -c 600 "$TMP/flows")"
}
it "flow list -j has the documented fields" json
filters() {
    [[ $(flows --vport vm1 --port 7000) == 1 && $(flows --proto udp) == 0 && $(flows --addr "$WIRE_IP") == 1 && $(flows --addr 10.77.0.0/24) == 1 && $(flows --addr 10.78.0.0/24) == 0 && $(flows --port 7) == 0 && $(flows --addr 0.0.0.0/0) == 1 && $(flows --addr ::/0) == 0 && $(flows --addr ::/64) == 0 ]] || because "$(ctl flow list)"
}
it "flow list filters by vport, protocol, address, prefix and port; no prefix of IPv6 is one of IPv4" filters
small() {
    local entry page
    # of a table, and of what found no room there: key and value, the kernel's part of an element, its size class
    page=$(bpftool -j map show pinned "$PINS/vports/vm1/flows" | jq '.bytes_value / 28')
    entry=$(bpftool -j map show pinned "$PINS/vports/vm1/more_flows" | jq '.bytes_key + .bytes_value + 48 + 8')
    [[ $(jq -n "$page < 150 and $entry <= 256") == true ]] || because "a flow costs $page or $entry bytes"
}
it "a flow costs at most 150 bytes of a table, and 256 elsewhere" small
gone() { ctl vport del vm1 >/dev/null && [[ ! -e $PINS/vports/vm1 ]] || because "$(ls "$PINS/vports")"; }
it "vport del takes the folder away" gone
