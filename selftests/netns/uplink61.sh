#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Uplinks where the kernel has what many build machines lack: freplace programs, so that libxdp lets XDP programs share a device,
# and bridges that filter VLANs. qemu/uplink61.guest says how.
# shellcheck source=selftests/lib.sh disable=SC2015,SC2119,SC2317
. "$(dirname "$0")/../lib.sh"
GUEST=$HERE/qemu/guest.sh
DISPATCHER=$(ldconfig -p | awk '/libxdp\.so\.1 / { print $NF; exit }')
DISPATCHER=$(dirname "$(readlink -f "${DISPATCHER:-/}")")/bpf/xdp-dispatcher.o
reason=$(DFW_BUILD=$BUILD "$GUEST" need) || skip_all "$reason"
[[ -x $DFWD && -x $DFWCTL ]] || skip_all "dfwd and dfwctl are not built in $BUILD"
command -v xdp-loader >/dev/null && [[ -f $DISPATCHER ]] || skip_all "needs xdp-loader and libxdp's dispatcher (packages xdp-tools libxdp1)"

# Somebody else's program: it counts, and lets everything pass.
cat >"$TMP/other.c" <<'END'
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} other_seen SEC(".maps");
SEC("xdp") int other(struct xdp_md *ctx)
{
	__u32 zero = 0;
	__u64 *seen = bpf_map_lookup_elem(&other_seen, &zero);

	if (seen)
		__sync_fetch_and_add(seen, 1);
	return XDP_PASS;
}
char LICENSE[] SEC("license") = "GPL";
END
clang-19 -g -O2 -target bpf -I"/usr/include/$(gcc -print-multiarch)" -c "$TMP/other.c" -o "$TMP/other.o" || exit 1

export DFW_BUILD=$BUILD
PROGRAMS=(bash bpftool bridge ethtool ip jq mountpoint nc nsenter ping sysctl tc xdp-loader)
MODULES=(8021q bridge cls_bpf sch_ingress veth)
"$GUEST" image "$TMP/image" "$HERE/qemu/uplink61.guest" "${PROGRAMS[@]/#/-p}" "${MODULES[@]/#/-m}" \
    -f "$HERE/lib.sh:/dfw/selftests/lib.sh" -f "$TMP/other.o:/dfw/other.o" -f "$DISPATCHER:$DISPATCHER" -p "$DFWD" -p "$DFWCTL" || exit 1

run_guest "$TMP/image"
