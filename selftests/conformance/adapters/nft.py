# SPDX-License-Identifier: GPL-2.0
"""The Linux host's own means: bridge, br_netfilter, nf_conntrack (strict: tcp_loose 0) and nft.
Link-layer rules as libvirt's clean-traffic filter has them, and what nft can say beyond it; flows in the inet table."""
from harness import sh, parse_policy, VM
from adapters.none import bridge
NS = None
REASSEMBLES = True
L2 = '''
table bridge l2 {{
 chain pre {{ type filter hook prerouting priority -350; policy accept;
  iifname "{vm}" meta mark set 1
  iifname "{wire}" meta mark set 2
 }}
 chain forw {{ type filter hook forward priority -250; policy drop;
  meta mark 1 jump fromvm
  meta mark 2 jump tovm
 }}
 chain fromvm {{
  ether saddr != {mac} drop
  ether type 0x8035 @nh,48,16 3 @nh,64,48 {machex} accept
  ether type arp arp htype 1 arp ptype ip arp hlen 6 arp plen 4 arp operation {{ 1, 2 }} arp saddr ether {mac} arp saddr ip {{ {ip4} }} accept
  ether type arp arp htype 1 arp hlen 6 arp operation 1 arp saddr ether {mac} arp saddr ip 0.0.0.0 arp daddr ip {{ {ip4} }} accept
  ether type ip ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp sport 68 udp dport 67 accept
  ether type ip udp sport 67 drop
  ether type ip ip saddr {{ {ip4} }} ip daddr != {{ {ip4} }} accept
  ether type ip6 icmpv6 type {{ nd-router-advert, nd-redirect, mld-listener-query }} drop
  ether type ip6 udp sport 547 drop
  ether type ip6 ip6 saddr :: icmpv6 type nd-neighbor-solicit @th,64,128 {{ {ip6hex} }} accept
  ether type ip6 ip6 saddr != {{ {ip6} }} drop
  ether type ip6 icmpv6 type nd-neighbor-advert @th,64,128 != {{ {ip6hex} }} drop
  ether type ip6 icmpv6 type nd-neighbor-advert @th,208,48 != {machex} drop
  ether type ip6 icmpv6 type nd-neighbor-solicit @th,208,48 != {machex} drop
  ether type ip6 accept
 }}
 chain tovm {{
  ether saddr {mac} drop
  ether daddr != {mac} meta pkttype host drop
  ether daddr != {mac} ether daddr & 01:00:00:00:00:00 == 00:00:00:00:00:00 drop
  ether type arp arp saddr ip {{ {ip4} }} drop
  ether type arp accept
  ether type ip ip saddr {{ {ip4}, 127.0.0.0/8, 0.0.0.0/8, 224.0.0.0/3 }} drop
  ether type ip accept
  ether type ip6 ip6 saddr :: icmpv6 type nd-neighbor-solicit accept
  ether type ip6 ip6 saddr {{ {ip6}, ::, ::1, ff00::/8, ::ffff:0:0/96 }} drop
  ether type ip6 icmpv6 type nd-neighbor-advert @th,64,128 {{ {ip6hex} }} drop
  ether type ip6 icmpv6 type nd-redirect drop
  ether type ip6 accept
 }}
}}
'''
NDOUT = "nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, mld2-listener-report, mld-listener-report, mld-listener-done"
NDIN = "nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert, mld-listener-query"
PROTO = dict(gre=47, esp=50)

def rules(p):
    out = []
    for d, act, proto, port, src in p["rules"]:
        m = f"meta mark {1 if d == 'out' else 2} "
        if d == "in":                                # the VM's own address; said once a family
            m4, m6 = m + f"ip daddr {{ {ip4(p)} }} ", m + f"ip6 daddr {{ {ip6(p)} }} "
        else: m4, m6 = m + "meta protocol ip ", m + "meta protocol ip6 "
        if src: m4, m6 = (m4 + f"ip saddr {src} ", None) if ":" not in src else (None, m6 + f"ip6 saddr {src} ")
        if act == "reject": continue                # see refuse()
        for fam, mm in ((4, m4), (6, m6)):
            if mm is None: continue
            if proto == "icmp": x = "icmp type echo-request " if fam == 4 else "icmpv6 type echo-request "
            elif proto == "tcp": x = (f"tcp dport {port} " if port else "meta l4proto tcp ") + "tcp flags & (fin|syn|rst|ack) == syn "
            elif proto in ("udp", "sctp"): x = f"{proto} dport {port} " if port else f"meta l4proto {proto} "
            else: x = f"meta l4proto {PROTO[proto]} "
            out.append("  " + mm + x + "ct state new accept")
    return "\n".join(out)
def refuse(p, way):
    """Refusals, at the ingress of the uplink or the vport: the inet forward hook of a bridge has no route to answer by."""
    who = (f"ether daddr {p['mac']} ip daddr {{ {ip4(p)} }}", f"ether daddr {p['mac']} ip6 daddr {{ {ip6(p)} }}") if way == "in" else (f"ether saddr {p['mac']} ip saddr {{ {ip4(p)} }}", f"ether saddr {p['mac']} ip6 saddr {{ {ip6(p)} }}")
    return "\n".join(f"  {w} {proto} dport {port} " + ("tcp flags & rst == 0 reject with tcp reset" if proto == "tcp" else "reject")
                     for d, act, proto, port, src in p["rules"] if act == "reject" and d == way for w in who)
def ip4(p): return ", ".join(x for x in p["ips"] if ":" not in x)
def ip6(p): return ", ".join(x for x in p["ips"] if ":" in x)

def load(text, first=False):
    import ipaddress
    p = parse_policy(text)
    inet = f'''
table inet fw {{
 chain forw {{ type filter hook forward priority 0; policy drop;
  meta mark 1 icmpv6 type {{ {NDOUT} }} accept
  meta mark 2 icmpv6 type {{ {NDIN} }} accept
  meta mark 1 ip saddr 0.0.0.0 udp sport 68 udp dport 67 accept
  meta mark 2 udp sport 67 udp dport 68 accept
  meta mark 2 ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept
  ct state invalid drop
  ct state established,related accept
{rules(p)}
 }}
}}
'''
    l2 = L2.format(vm=VMIF, wire=WIREIF, mac=p["mac"], machex="0x" + p["mac"].replace(":", ""), ip4=ip4(p), ip6=ip6(p),
                   ip6hex=", ".join("0x%032x" % int(ipaddress.ip_address(x)) for x in p["ips"] if ":" in x))
    inet += f"""
table netdev rej {{
 chain in {{ type filter hook ingress device "{WIREIF}" priority 0; policy accept;
{refuse(p, "in")}
 }}
 chain out {{ type filter hook ingress device "{VMIF}" priority 0; policy accept;
{refuse(p, "out")}
 }}
}}
"""
    old = "" if first else "delete table inet fw\ndelete table bridge l2\ndelete table netdev rej\n"
    sh(f"ip netns exec {NS} nft -f -", inp=old + l2 + inet)
def setup(host_ns, vm_if, wire_if, policy_text):
    global NS, VMIF, WIREIF
    NS, VMIF, WIREIF = host_ns, vm_if, wire_if
    bridge(host_ns, vm_if, wire_if)
    sh(f"ip netns exec {NS} sysctl -qw net.bridge.bridge-nf-call-iptables=1 net.bridge.bridge-nf-call-ip6tables=1")
    load(policy_text, True)
    sh(f"ip netns exec {NS} sysctl -qw net.netfilter.nf_conntrack_tcp_loose=0 net.netfilter.nf_conntrack_tcp_be_liberal=0")
def flush():
    sh(f"ip netns exec {NS} sh -c 'conntrack -F; conntrack -f ipv6 -F'", check=False)
def ctl(op, *arg):
    if op == "policy": load(*arg)
    elif op == "restart": load(__import__("cases").POLICY)
    elif op == "reattach": sh(f"ip -n {NS} link set {VMIF} nomaster && ip -n {NS} link set {VMIF} master br0 && bridge -n {NS} link set dev {VMIF} learning off")
    else: return False
def teardown():
    pass
