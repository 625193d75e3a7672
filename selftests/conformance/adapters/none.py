# SPDX-License-Identifier: GPL-2.0
"""No firewall: a plain bridge.  Shows that the harness forwards everything it sends."""
from harness import sh
def setup(host_ns, vm_if, wire_if, policy_text):
    bridge(host_ns, vm_if, wire_if)
def bridge(host_ns, vm_if, wire_if):
    """A hub of two ports: nothing is learnt, so a frame with a forged source cannot spoil the next case."""
    sh(f"ip netns exec {host_ns} sysctl -qw net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-ip6tables=0 net.bridge.bridge-nf-call-arptables=0", check=False)
    sh(f"ip -n {host_ns} link add br0 type bridge mcast_snooping 0 && ip -n {host_ns} link set br0 mtu 9000 up")
    for d in (vm_if, wire_if):
        sh(f"ip -n {host_ns} link set {d} master br0 && bridge -n {host_ns} link set dev {d} learning off flood on mcast_flood on bcast_flood on")
def teardown():
    pass
