#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The objects load, and dfw works, on Linux 6.1: qemu/kernel61.guest says how.
# shellcheck source=selftests/lib.sh disable=SC2015,SC2119,SC2317
. "$(dirname "$0")/../lib.sh"
GUEST=$HERE/qemu/guest.sh
reason=$(DFW_BUILD=$BUILD "$GUEST" need) || skip_all "$reason"
[[ -x $DFWD && -x $DFWCTL ]] || skip_all "dfwd and dfwctl are not built in $BUILD"

export DFW_BUILD=$BUILD
PROGRAMS=(bash bpftool ip jq mountpoint nc nsenter ping sysctl tc)
MODULES=(8021q bridge cls_bpf sch_ingress veth)
"$GUEST" image "$TMP/image" "$HERE/qemu/kernel61.guest" "${PROGRAMS[@]/#/-p}" "${MODULES[@]/#/-m}" \
    -f "$HERE/lib.sh:/dfw/selftests/lib.sh" -p "$DFWD" -p "$DFWCTL" || exit 1

run_guest "$TMP/image"
