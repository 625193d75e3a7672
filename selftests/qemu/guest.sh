#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A small machine with another kernel: Debian's cloud kernel (6.1 in Debian 12) and a handful of programs of this host in an
# initramfs, under qemu without KVM.
#
# guest.sh need                         gets the kernel if it is not here; exit status 77 and a reason when it cannot be had
# guest.sh image FILE SCRIPT [-m MODULE].. [-p PROGRAM].. [-f FROM:TO]..
#                                       makes an initramfs that runs SCRIPT once its modules are loaded. A PROGRAM (a name or
#                                       a path) comes to /bin with its libraries, a file FROM of the host to TO
# guest.sh boot FILE [QEMU OPTION]..    boots it: console on stdin and stdout, ends when SCRIPT does. Becomes qemu: the
#                                       caller's process number is qemu's
#
# Packages: qemu-system-x86, busybox-static, cpio, kmod. The kernel (linux-image-cloud-amd64) is taken from /boot, or unpacked
# from its package into build/qemu: to install it would make it a kernel of this machine.

set -u -o pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
CACHE=${DFW_BUILD:-$HERE/../../build}/qemu
QEMU=qemu-system-x86_64
WORK=
trap '[[ -z $WORK ]] || rm -rf "$WORK"' EXIT
trap 'exit 143' INT TERM HUP

die() {
    echo "guest.sh: $*" >&2
    exit 1
}

# ---- kernel ----------------------------------------------------------------------------------------------------------

# KERNEL: its image, ROOT: the directory that has its lib/modules, RELEASE
kernel_find() {
    for ROOT in "" "$CACHE/kernel"; do
        for KERNEL in "$ROOT"/boot/vmlinuz-*-cloud-amd64; do
            RELEASE=${KERNEL#*/vmlinuz-}
            [[ -f $KERNEL && -f $ROOT/lib/modules/$RELEASE/modules.dep.bin ]] && return 0
        done
    done
    return 1
}

# Two tests may want it at once, and one may be killed on the way: what is there under its name is complete.
kernel_unpack() {
    local package
    package=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | awk '/Depends: linux-image/ { print $2; exit }')
    [[ -n $package ]] || { echo "apt knows no package linux-image-cloud-amd64 (apt-get update?)"; return 1; }
    mkdir -p "$CACHE" && WORK=$(mktemp -d "$CACHE/unpack.XXXXXX") || return 1
    chmod 755 "$WORK"
    (cd "$WORK" && apt-get download -qq "$package" >/dev/null 2>apt.log) ||
        { echo "cannot download $package: $(tail -n 1 "$WORK/apt.log")"; return 1; }
    dpkg-deb -x "$WORK"/*.deb "$WORK/kernel" && depmod -b "$WORK/kernel" "${package#linux-image-}" || return 1
    kernel_find || mv -T "$WORK/kernel" "$CACHE/kernel"
}

need() {
    local program missing=()
    for program in $QEMU busybox cpio modprobe depmod; do
        command -v "$program" >/dev/null || missing+=("$program")
    done
    if ((${#missing[@]})); then
        echo "needs ${missing[*]} (packages qemu-system-x86 busybox-static cpio kmod)"
        exit 77
    fi
    kernel_find || kernel_unpack || exit 77
}

# ---- image -----------------------------------------------------------------------------------------------------------

# Modules in the order in which they have to be loaded; one that is built in has no file.
modules_of() {
    local module
    for module in "$@"; do
        modprobe -d "${ROOT:-/}" -S "$RELEASE" --show-depends "$module" || die "kernel $RELEASE has no module $module"
    done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }'
}

copy_program() {
    local tree=$1 path library
    path=$(command -v "$2") || die "no program $2"
    rm -f "$tree/bin/${path##*/}"
    cp -L "$path" "$tree/bin/" || exit 1
    # Not an ELF file, or a static one: then there is nothing to copy.
    ldd "$path" 2>/dev/null | grep -o '/[^ ]*' | while read -r library; do
        mkdir -p "$tree$(dirname "$library")"
        cp -Lu "$library" "$tree$library" || exit 1
    done || exit 1
}

image() {
    local file=$1 script=$2 tree entry modules=() programs=() files=() option applet
    shift 2
    while getopts m:p:f: option; do
        case $option in
        m) modules+=("$OPTARG") ;;
        p) programs+=("$OPTARG") ;;
        f) files+=("$OPTARG") ;;
        *) exit 2 ;;
        esac
    done
    kernel_find || die "no kernel: guest.sh need"
    WORK=$(mktemp -d /tmp/dfw-image.XXXXXX) || exit 1
    tree=$WORK
    chmod 755 "$tree"
    mkdir -p "$tree"/{bin,dev,etc,modules,proc,run,sys,tmp,usr,var/lib}
    ln -s bin "$tree/sbin"
    ln -s ../bin "$tree/usr/bin"
    ln -s ../bin "$tree/usr/sbin"
    cp "$(command -v busybox)" "$tree/bin/busybox" || exit 1
    for applet in $(busybox --list); do
        [[ $applet == busybox ]] || ln -s busybox "$tree/bin/$applet"
    done
    for entry in ${programs[@]+"${programs[@]}"}; do
        copy_program "$tree" "$entry"
    done
    for entry in ${files[@]+"${files[@]}"}; do
        mkdir -p "$tree$(dirname "${entry#*:}")" && cp -L "${entry%%:*}" "$tree${entry#*:}" || exit 1
    done
    modules_of ${modules[@]+"${modules[@]}"} >"$tree/modules/paths" || exit 1
    while read -r entry; do
        cp "$entry" "$tree/modules/" && echo "/modules/${entry##*/}" || exit 1
    done <"$tree/modules/paths" >"$tree/modules/order"
    install -m 755 "$HERE/init" "$tree/init" && install -m 755 "$script" "$tree/script" || exit 1
    (cd "$tree" && find . | cpio -o -H newc --quiet -R 0:0 | gzip -1) >"$file" || die "cannot write $file"
}

# ---- boot ------------------------------------------------------------------------------------------------------------

boot() {
    local file=$1
    shift
    kernel_find || die "no kernel: guest.sh need"
    # Under TCG a boot is work: no devices but those asked for, no mitigations. A panic ends qemu. The HPET is the clock: when
    # this host is busy, the TSC's calibration goes wrong and the guest's seconds become a fraction of ours. No fast string
    # instructions: TCG carries them out byte by byte, and the verifier copies much.
    exec $QEMU -M q35 -accel tcg,thread=multi -cpu max,erms=off,fsrm=off -smp 2 -m 512 -nodefaults -no-user-config -display none -no-reboot \
        -serial stdio -kernel "$KERNEL" -initrd "$file" \
        -append "console=ttyS0 quiet loglevel=4 panic=-1 mitigations=off nokaslr tsc=unstable clocksource=hpet" "$@"
}

(($#)) || die "need, image or boot"
command=$1
shift
case $command in
need | image | boot) "$command" "$@" ;;
*) die "$command: need, image or boot" ;;
esac
