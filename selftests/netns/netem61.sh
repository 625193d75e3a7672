#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Three hosts on a network that loses, delays and reorders, where the kernel has what many build machines lack: netem.
# qemu/netem61.guest says how.
# shellcheck source=selftests/lib.sh disable=SC2015,SC2119,SC2317
. "$(dirname "$0")/../lib.sh"
GUEST=$HERE/qemu/guest.sh
DFWSYNCD=$BUILD/dfwsyncd
reason=$(DFW_BUILD=$BUILD "$GUEST" need) || skip_all "$reason"
[[ -x $DFWD && -x $DFWCTL && -x $DFWSYNCD ]] || skip_all "dfwd, dfwsyncd and dfwctl are not built in $BUILD"

export DFW_BUILD=$BUILD
PROGRAMS=(bash bpftool ip jq mountpoint nc nsenter ping sysctl tc)
MODULES=(bridge cls_bpf sch_ingress sch_netem veth)
"$GUEST" image "$TMP/image" "$HERE/qemu/netem61.guest" "${PROGRAMS[@]/#/-p}" "${MODULES[@]/#/-m}" -f /etc/passwd:/etc/passwd -f /etc/group:/etc/group \
    -f "$HERE/lib.sh:/dfw/selftests/lib.sh" -f "$HERE/cluster_lib.sh:/dfw/selftests/cluster_lib.sh" -p "$DFWD" -p "$DFWCTL" -p "$DFWSYNCD" || exit 1

run_guest "$TMP/image" -m 1024
