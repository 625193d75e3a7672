#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# What is in contrib/: libvirt's hook, and the driver of a QEMU migration with two real QEMUs. dfwctl is played by a script
# that writes down how it was called, and what the source's QEMU was doing then.
# shellcheck disable=SC2015,SC2317

# shellcheck source=selftests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

need_root
command -v qemu-system-x86_64 >/dev/null || skip_all "no qemu-system-x86"
HOOK=$ROOT/contrib/libvirt/qemu
MIGRATE=$ROOT/contrib/qemu/dfw-migrate
CALLS=$TMP/calls
space_add "$HOST"

# ---- dfwctl, as the scripts see it -----------------------------------------------------------------------------------

# $TMP/refuse: the step it refuses. $TMP/role: what it says that this host is to a vport.
cat >"$TMP/dfwctl" <<END
#!/bin/bash
shift 2
if [[ \$* == "-j vport list" ]]; then
    echo '[{"name": "web-1", "dev": "tap-web1", "macs": ["02:00:00:00:00:01"]},
           {"name": "web-1b", "dev": "tap-web2", "macs": ["02:00:00:00:00:ff"]},
           {"name": "db-1", "dev": "tap-db1", "macs": ["02:00:00:00:00:03"]}]'
elif [[ \$* == "-j cluster status" ]]; then
    echo '{"host": "h2"}'
elif [[ \$* == "-j migrate status "* ]]; then
    echo "{\"role\": \"\$(cat "$TMP/role" 2>/dev/null || echo active)\"}"
else
    echo "\$* \$($TMP/state)" >>"$CALLS"
    [[ \$2 != "\$(cat "$TMP/refuse" 2>/dev/null)" ]] || { echo "no room" >&2; exit 1; }
fi
END
printf '#!/bin/bash\n' >"$TMP/state"
chmod +x "$TMP/dfwctl" "$TMP/state"

calls() {
    local said
    said=$(sed 's/ *$//' "$CALLS" 2>/dev/null | tr '\n' '|')
    [[ $said == "$1" ]] || because "called: $said"
}
fresh() { rm -f "$CALLS" "$TMP/refuse" "$TMP/role"; }
refusing() { echo "$1" >"$TMP/refuse"; }

# ---- libvirt ---------------------------------------------------------------------------------------------------------

cat >"$TMP/guest.xml" <<'END'
<domain type='kvm' id='3'>
  <name>web</name>
  <devices>
    <disk type='file'><target dev='vda'/></disk>
    <interface type='bridge'>
      <mac address='02:00:00:00:00:01'/><source bridge='br0'/><target dev='vnet3'/>
    </interface>
    <interface type='ethernet'>
      <mac address='52:54:00:00:00:09'/><target dev='tap-web2' managed='no'/>
    </interface>
  </devices>
</domain>
END
settings() { printf '%s\n' "DFWCTL=$TMP/dfwctl" "$@" >"$TMP/settings"; }
hook() { DFW_HOOK_SETTINGS=$TMP/settings "$HOOK" web "$@" <"$TMP/guest.xml" >"$TMP/out" 2>"$TMP/err"; }

settings STRICT=no

prepares() {
    fresh
    hook migrate begin - || because "fails: $(cat "$TMP/err")" || return 1
    calls "migrate prepare web-1 --to h2|migrate prepare web-1b --to h2|" || return 1
    [[ ! -s $TMP/out ]] || because "changes the guest's XML"
}
it "libvirt: an incoming guest's vports are prepared, found by MAC or by device, and its XML stays" prepares

hands_over() {
    fresh
    hook stopped end - && calls "migrate start web-1|migrate start web-1b|"
}
it "libvirt: a guest that has gone from the source hands its vports over" hands_over

hands_over_each() {
    fresh
    refusing start
    hook stopped end - && calls "migrate start web-1|migrate start web-1b|"
}
it "libvirt: a guest that was only shut down has nothing to hand over, which is no error" hands_over_each

# libvirt gives no reason before 10.5.0, and several for a guest that never ran after it.
rolls_back() {
    local role reason
    for role in prepared staged; do
        for reason in - failed destroyed crashed; do
            fresh
            echo "$role" >"$TMP/role"
            hook release end "$reason" && calls "migrate rollback web-1|migrate rollback web-1b|" || return 1
        done
    done
}
it "libvirt: a guest that came and never ran is rolled back, whatever reason is given" rolls_back
keeps_vport() {
    local role
    for role in active handover released replica none; do
        fresh
        echo "$role" >"$TMP/role"
        hook release end - && hook release end failed && calls "" || return 1
    done
}
it "libvirt: one that has gone from where its vport is, or was, is not" keeps_vport

nothing() {
    fresh
    local operation
    for operation in "prepare begin -" "start begin -" "started begin -" "release end migrated" "release end shutdown" \
        "reconnect begin -" "restore begin -"; do
        # shellcheck disable=SC2086
        hook $operation || because "fails at $operation" || return 1
    done
    calls ""
}
it "libvirt: nothing else is any of its business" nothing

not_strict() {
    fresh
    refusing prepare
    hook migrate begin - && grep -q "no room" "$TMP/err" || because "stops the migration, or does not say why"
}
it "libvirt: what cannot be prepared is told, and migrates all the same" not_strict

strict() {
    fresh
    settings STRICT=yes
    hook migrate begin - && calls "migrate prepare web-1 --to h2 --strict|migrate prepare web-1b --to h2 --strict|" || return 1
    refusing prepare
    ! hook migrate begin - || because "goes on" || return 1
    settings STRICT=yes DFWCTL=/nowhere
    ! hook migrate begin - || because "goes on without dfwctl" || return 1
    echo "<domain" >"$TMP/guest.xml"
    ! hook migrate begin - || because "goes on with broken XML"
}
it "libvirt: STRICT stops what cannot be prepared" strict

# ---- QEMU ------------------------------------------------------------------------------------------------------------

# qemu NAME [options]: a machine that runs its BIOS and nothing else
qemu() {
    local name=$1
    shift
    background "qemu-$name" exec ip netns exec "$HOST" qemu-system-x86_64 -M q35 -accel tcg -m 64 -nodefaults -display none \
        -qmp "unix:$TMP/$name.qmp,server,nowait" -qmp "unix:$TMP/$name.qmp2,server,nowait" "$@"
    QEMUS[$name]=$LAST
    until_true 20 test -S "$TMP/$name.qmp2" || because "no QEMU: $(cat "$TMP/qemu-$name")"
}
declare -A QEMUS
status_of() {
    printf '%s\n' '{"execute":"qmp_capabilities"}' '{"execute":"query-status"}' |
        timeout 20 nc -U -N -w 10 "$TMP/$1.qmp2" 2>/dev/null | jq -r 'select(.return.status?).return.status'
}
is() { [[ $(status_of "$1") == "$2" ]]; }
qemus() {
    local name
    for name in "${!QEMUS[@]}"; do
        is_child "${QEMUS[$name]}" && kill -9 "${QEMUS[$name]}" && wait "${QEMUS[$name]}" 2>/dev/null
    done
    rm -f "$TMP"/*.qmp "$TMP"/*.qmp2
    qemu source && qemu destination -incoming defer -S && until_true 30 is source running
}
# What the source does at each step shows in the list of calls.
cat >"$TMP/state" <<END
#!/bin/bash
printf '%s\n' '{"execute":"qmp_capabilities"}' '{"execute":"query-status"}' |
    timeout 20 nc -U -N -w 10 "$TMP/source.qmp2" 2>/dev/null | jq -r 'select(.return.status?).return.status'
END
migrate() {
    ip netns exec "$HOST" "$MIGRATE" --source "$TMP/source.qmp" --destination "$TMP/destination.qmp" --uri tcp:127.0.0.1:4444 \
        --to h2 --source-dfwctl "$TMP/dfwctl -i a" --destination-dfwctl "$TMP/dfwctl -i b" "$@" >"$TMP/out" 2>"$TMP/err"
}

moves() {
    fresh
    qemus || return 1
    migrate web-1 web-1b || because "fails: $(cat "$TMP/err")" || return 1
    calls "migrate prepare web-1 --to h2 running|migrate prepare web-1b --to h2 running|$(
    )migrate start web-1 finish-migrate|migrate start web-1b finish-migrate|$(
    )migrate activate web-1 postmigrate|migrate activate web-1b postmigrate|" || return 1
    is destination running && is source postmigrate || because "source $(status_of source), destination $(status_of destination)"
}
it "QEMU: prepared while it runs, handed over while it stands, activated when it has gone" moves

keeps() {
    local step=$1 expected=$2
    fresh
    refusing "$step"
    qemus || return 1
    ! migrate web-1 web-1b || because "goes on" || return 1
    grep -q "no room" "$TMP/err" || because "does not say why: $(cat "$TMP/err")" || return 1
    until_true 30 is source running || because "the source is $(status_of source)" || return 1
    calls "$expected"
}
it "QEMU: what cannot be prepared does not migrate" keeps prepare "migrate prepare web-1 --to h2 running|"
it "QEMU: what cannot be handed over stays, and runs on" keeps start "migrate prepare web-1 --to h2 running|$(
)migrate prepare web-1b --to h2 running|migrate start web-1 finish-migrate|$(
)migrate rollback web-1 running|migrate rollback web-1b running|"

no_way() {
    fresh
    qemus || return 1
    kill -9 "${QEMUS[destination]}" && wait "${QEMUS[destination]}" 2>/dev/null
    rm -f "$TMP/destination.qmp" "$TMP/destination.qmp2"
    qemu destination -S || return 1
    ! migrate web-1 || because "goes on" || return 1
    until_true 30 is source running || because "the source is $(status_of source)" || return 1
    calls "migrate prepare web-1 --to h2 running|migrate rollback web-1 running|"
}
it "QEMU: a destination that does not wait for the guest changes nothing" no_way

not_activated() {
    fresh
    refusing activate
    qemus || return 1
    ! migrate web-1 || because "says that all is well" || return 1
    grep -q "is at the destination" "$TMP/err" || because "says $(cat "$TMP/err")" || return 1
    is source postmigrate || because "the source is $(status_of source)" || return 1
    ! is destination running || because "the guest runs"
}
it "QEMU: a guest that has gone is not taken back; that its vports deny is told" not_activated
