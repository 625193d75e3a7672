# SPDX-License-Identifier: GPL-2.0
"""dfw behind an uplink, on a bridge that knows its stations: the fast path needs to see where it sends them.
DFW_UPLINK says how: "none" (no uplink: every frame takes the bridge), or a mode of `dfwctl uplink add`."""
import json, os
import harness
from harness import sh
from adapters import dfw
from frames import VM, GW, V4, G4, Ether, ARP, IP, UDP

MODE = os.environ.get("DFW_UPLINK", "none")
WIRE_IF = None

def bridge(host_ns, vm_if, wire_if):
    """Learning, but for the two ends, whose places are fixed: a forged source must not spoil the next case."""
    sh(f"ip netns exec {host_ns} sysctl -qw net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-ip6tables=0 net.bridge.bridge-nf-call-arptables=0", check=False)
    sh(f"ip -n {host_ns} link add br0 type bridge mcast_snooping 0 && ip -n {host_ns} link set br0 mtu 9000 up")
    for d, mac in ((vm_if, VM), (wire_if, GW)):
        sh(f"ip -n {host_ns} link set {d} master br0 && bridge -n {host_ns} fdb replace {mac} dev {d} master static sticky")
def setup(host_ns, vm_if, wire_if, policy_text):
    global WIRE_IF
    WIRE_IF = wire_if
    dfw.bridge = bridge
    dfw.setup(host_ns, vm_if, wire_if, policy_text)
    # A veth device takes frames from XDP when its other end has GRO on.
    sh(f"ip netns exec {harness.VMNS} ethtool -K eth0 gro on")
    if MODE != "none": dfw.ctl_run("uplink", "add", wire_if, "--mode", MODE)
def send(side, frame):
    harness.SOCK[side].send(bytes(frame))
    harness.recv(harness.SOCK["v" if side == "w" else "w"], .03)
def flush():
    """Both ends are heard and both ways are shown, by packets that leave no flow behind."""
    send("v", Ether(src=VM, dst=GW) / ARP(op=2, hwsrc=VM, psrc=V4, hwdst=GW, pdst=G4))
    send("w", Ether(src=GW, dst=VM) / IP(src=G4, dst=V4) / UDP(sport=9, dport=9))
    send("v", Ether(src=VM, dst=GW) / IP(src=V4, dst=G4) / UDP(sport=9, dport=9))
    dfw.flush()
ctl, stats, teardown = dfw.ctl, dfw.stats, dfw.teardown
def ways():
    """Frames by place and way."""
    out = {}
    for place in json.loads(dfw.ctl_run("-j", "uplink", "stats").stdout):
        for w in place["ways"]: out[f"{place.get('uplink', 'vports')} {place['hook']} {w['way']}"] = w["frames"]
    return out
