#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Installs the Debian packages that building and testing need. Quick and silent when all are there.
set -euo pipefail

PACKAGES=(
    # to build
    bison bpftool clang-19 flex gcc libbpf-dev libc6-dev libcurl4-openssl-dev libelf-dev libjansson-dev libmnl-dev
    libnanomsg-dev libsodium-dev libxdp-dev linux-libc-dev llvm-19 make pkg-config zlib1g-dev
    # to test
    conntrack curl etcd-client etcd-server ethtool iperf3 iproute2 iputils-ping jq kmod libclang-rt-19-dev
    netcat-openbsd nftables procps python3 python3-scapy tcpdump util-linux
    busybox-static cpio qemu-system-x86 xdp-tools # the kernel, other XDP programs: selftests/qemu/guest.sh
    # to lint
    clang-format-19 clang-tidy-19 mandoc shellcheck sparse
)

missing=()
for package in "${PACKAGES[@]}"; do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [[ $status == installed ]] || missing+=("$package")
done
((${#missing[@]})) || exit 0

[[ $(id -u) == 0 ]] || {
    echo "deps.sh: to install needs root: ${missing[*]}" >&2
    exit 1
}
# Tests start an etcd of their own. The service that the package brings is neither started nor enabled by us; where
# there is one already, nothing is installed and nothing touched.
if [[ " ${missing[*]} " == *" etcd-server "* ]]; then
    policy=/usr/sbin/policy-rc.d
    if [[ ! -e $policy ]]; then
        trap 'rm -f "$policy"' EXIT
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 0755 "$policy"
    fi
    disable=(update-rc.d etcd disable)
fi
export DEBIAN_FRONTEND=noninteractive
echo "installing ${missing[*]}"
install() { apt-get install -y -qq --no-install-recommends -o Dpkg::Use-Pty=0 "${missing[@]}" >/dev/null; }
# The lists may be missing or old: only then are they fetched.
install 2>/dev/null || { apt-get update -qq && install; }
[[ -z ${disable[*]-} ]] || "${disable[@]}" 2>/dev/null
