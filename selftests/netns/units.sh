#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# What systemd's units leave the daemons is enough for them: two hosts whose daemons run with those capabilities, limits and
# folders, and with no others. systemd itself is not needed.
# shellcheck source=selftests/cluster_lib.sh disable=SC2015,SC2119,SC2317
. "$(dirname "$0")/../cluster_lib.sh"
need_root
[[ -x $DFWSYNCD ]] || skip_all "dfwsyncd is not built in $BUILD"
command -v setpriv >/dev/null || skip_all "needs setpriv (package util-linux)"

# ---- the units, taken at their word ----------------------------------------------------------------------------------

# setting UNIT NAME
setting() { sed -n "s/^$2=//p" "$ROOT/$1"; }
# Of a unit's settings those that can be had without systemd.
confine() { # confine UNIT PROGRAM: a program that runs it so
    local unit=$1 program=$2 capabilities folder
    capabilities=$(setting "$unit" CapabilityBoundingSet | tr 'A-Z ' 'a-z,' | sed 's/cap_/+/g')
    [[ $(setting "$unit" NoNewPrivileges) == yes && -n $capabilities ]] || because "$unit: no capabilities, or new privileges" || return 1
    folder=$(setting "$unit" RuntimeDirectory)
    [[ $folder == "$(setting "$unit" StateDirectory)" ]] || because "$unit: run and state folder differ" || return 1
    {
        echo '#!/bin/bash'
        echo '# The option -i and its value come first in these tests.'
        # shellcheck disable=SC2016
        echo 'for folder in /run /var/lib; do mkdir -p "$folder/dfw/$2"; done'
        echo "ulimit -Sn $(setting "$unit" LimitNOFILE | sed 's/1048576/20000/; s/65536/20000/')"
        if [[ $(setting "$unit" ProtectSystem) == strict ]]; then
            # shellcheck disable=SC2016
            echo 'exec unshare --mount --propagation private bash -e -c '"'"'
                for folder in /run /var/lib; do mount --bind "$folder/dfw/$3" "$folder/dfw/$3"; done
                for place in / /run /tmp /sys/fs/bpf; do ! mountpoint -q "$place" || mount -o remount,bind,ro "$place"; done
                exec setpriv --no-new-privs --inh-caps=-all --ambient-caps=-all --bounding-set="-all,$0" "$1" "${@:2}"'"'"' '"'$capabilities' '$program' \"\$@\""
        else
            echo "exec setpriv --no-new-privs --inh-caps=-all --ambient-caps=-all --bounding-set='-all,$capabilities' '$program' \"\$@\""
        fi
    } >"$TMP/${program##*/}" && chmod +x "$TMP/${program##*/}"
}
confined() {
    confine loader/dfwd.service.in "$DFWD" && confine sync/dfwsyncd.service.in "$DFWSYNCD" || return 1
    DFWD=$TMP/dfwd DFWSYNCD=$TMP/dfwsyncd
}
must "what the units leave is known" confined
same() {
    local unit
    for unit in loader/dfwd sync/dfwsyncd; do
        diff <(grep -v '^Description\|^After' "$ROOT/$unit.service.in" | sed 's/dfw\/default/dfw\/%i/; s/^ExecStart=[^ ]*dfw[a-z]*$/& -i %i/') \
            <(grep -v '^Description\|^After' "$ROOT/$unit@.service.in") >"$TMP/diff" || because "$unit: $(head -n 3 "$TMP/diff" | tr '\n' ' ')" || return 1
    done
}
it "units of further instances are those of the first, with a name" same

stays_down() { [[ $(setting loader/dfwd.service.in Restart) == on-failure ]] || because "Restart=$(setting loader/dfwd.service.in Restart)"; }
it "systemd starts a dfwd that failed or was killed, and none that was shut down" stays_down

# ---- what they do with it --------------------------------------------------------------------------------------------

must "two hosts become one cluster" cluster_up a b
bounded() {
    local host status
    for host in a b; do
        status=$(grep ^CapBnd "/proc/${DFWD_PIDS[$host]}/status") || return 1
        [[ $status != *ffffffff* && $status != *0000000000000000 ]] || because "dfwd of host $host: $status" || return 1
        grep -q '^NoNewPrivs:[[:space:]]*1' "/proc/${DFWD_PIDS[$host]}/status" || because "dfwd of host $host may get new privileges" || return 1
        ! nsenter --mount --target "${SYNCD_PIDS[$host]}" touch /var/lib/dfw/stranger 2>/dev/null || because "dfwsyncd of host $host can write anywhere" || return 1
    done
}
it "whose daemons have no more than that" bounded
policy() {
    apply_on a --wait 20 <<'END'
default in drop
default out drop
tier t { open: allow service tcp 7000, icmp-echo, icmp6-echo }
END
}
works() {
    vm_on a 1 && vm_on b 2 && policy && listen "${VM[2]}" 7000 && talk lives "${VM[1]}" "${VM_IP[2]}" 7000 && closed "${VM[1]}" "${VM_IP[2]}" 7001
}
it "vports, and a policy for both" works
uplinked() { ctl_on a uplink add up0 >"$TMP/out" 2>&1 || because "$(cat "$TMP/out")" || return 1; talks lives && ctl_on a uplink del up0 >/dev/null; }
it "an uplink with XDP" uplinked
moved() {
    ctl_on a migrate prepare vm1 --to b >"$TMP/out" 2>&1 || because "$(cat "$TMP/out")" || return 1
    ip -n "${VM[1]}" link del eth0
    ctl_on a migrate start vm1 >"$TMP/out" 2>&1 && vm_cable b 1 && ctl_on b migrate activate vm1 >"$TMP/out" 2>&1 || because "$(cat "$TMP/out")" || return 1
    in_vm 1 /usr/bin/python3 "$HERE/netns/peer.py" announce eth0
    talks lives
}
it "a move" moved
again() {
    host_die a && host_die b && talks lives && host_rise a && host_rise b && cluster_whole && talks lives && policy
}
it "both daemons of both hosts killed and started again" again
shut() {
    local pid=${DFWD_PIDS[a]}
    ctl_on a shutdown --detach >/dev/null && wait "$pid" || because "dfwd ends with status $?, which systemd takes for a failure"
}
it "shutdown --detach is no failure to systemd" shut
