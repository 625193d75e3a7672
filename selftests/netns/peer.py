#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""The ends of test connections.  Each runs in the namespace it is started in.

peer.py echo PORT                   TCP and UDP server, both families, any number of connections; says "ready"
peer.py talk ADDRESS PORT           one TCP connection; a line for each round trip, until it is killed or closed
peer.py udp ADDRESS PORT N          N datagrams, the number of answers
peer.py many ADDRESS PORT N         opens N connections, holds them, says how many, until killed
peer.py hold ADDRESS PORT N         the same; at each SIGUSR1 it says how many of them still echo: "alive N"
peer.py pulse PORT                  UDP: sends to whoever sent it something first, 50 datagrams a second, for ever
peer.py hear ADDRESS PORT           asks a pulse once and says nothing more; a line for each datagram that comes
peer.py announce DEVICE             five RARPs of the device's own MAC, as QEMU sends them when a guest resumes
peer.py flood ADDRESS/PORT...       UDP datagrams to these in turn, from a few ports, as fast as it goes, until killed
peer.py trickle ADDRESS/PORT...     the same, a hundred a second to each
peer.py count ADDRESS/PORT...       counts datagrams that come to these; says "first ADDRESS/PORT" once for each, and on SIGTERM
                                    a line "ADDRESS/PORT COUNT" for each
peer.py sink PORT | peer.py pour ADDRESS PORT MIB    TCP stream; both print the sha256 of what they saw"""
import hashlib, os, random, selectors, signal, socket, sys, time

def family(a): return socket.AF_INET6 if ":" in a else socket.AF_INET
def listener(port, kind):
    s = socket.socket(socket.AF_INET6, kind)
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("::", port))
    return s

def echo(port):
    t, u = listener(int(port), socket.SOCK_STREAM), listener(int(port), socket.SOCK_DGRAM)
    t.listen(1024)
    sel = selectors.DefaultSelector()
    sel.register(t, selectors.EVENT_READ); sel.register(u, selectors.EVENT_READ)
    print("ready", flush=True)
    while True:
        for k, _ in sel.select():
            try:
                if k.fileobj is t: sel.register(t.accept()[0], selectors.EVENT_READ)
                elif k.fileobj is u: d, a = u.recvfrom(65536); u.sendto(d, a)
                else:
                    d = k.fileobj.recv(65536)
                    if d: k.fileobj.sendall(d)
                    else: sel.unregister(k.fileobj); k.fileobj.close()
            except OSError:
                if k.fileobj not in (t, u): sel.unregister(k.fileobj); k.fileobj.close()
def talk(address, port):
    s = socket.create_connection((address, int(port)), 10)
    s.settimeout(None)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for i in range(10**9):
        s.sendall(b"%08d" % (i % 10**8))
        n = 0
        while n < 8:
            d = s.recv(8 - n)
            if not d: print("closed", flush=True); return 1
            n += len(d)
        print(i, flush=True)
        time.sleep(.02)
def udp(address, port, n):
    s = socket.socket(family(address), socket.SOCK_DGRAM)
    s.settimeout(1); s.connect((address, int(port)))
    got = 0
    for i in range(int(n)):
        try: s.send(b"%d" % i); s.recv(100); got += 1
        except OSError: pass
    print(got)
def many(address, port, n):
    held = []
    for _ in range(int(n)):
        try: held.append(socket.create_connection((address, int(port)), 2))
        except OSError: break
    print(len(held), flush=True)
    signal.pause()
def hold(address, port, n):
    held = []
    for _ in range(int(n)):
        held.append(socket.create_connection((address, int(port)), 5))
    def alive(*_):
        for s in held:
            s.settimeout(15); s.sendall(b"still?")
        good = 0
        for s in held:
            try: good += s.recv(6) == b"still?"
            except OSError: pass
        print("alive", good, flush=True)
    signal.signal(signal.SIGUSR1, alive)
    print(len(held), flush=True)
    while True: signal.pause()
def pulse(port):
    u = listener(int(port), socket.SOCK_DGRAM)
    print("ready", flush=True)
    _, to = u.recvfrom(100)
    while True:
        try: u.sendto(b"pulse", to)
        except OSError: pass
        time.sleep(.02)
def hear(address, port):
    u = socket.socket(family(address), socket.SOCK_DGRAM)
    u.connect((address, int(port)))
    u.send(b"begin")
    n = 0
    while True:
        try: u.recv(100); n += 1; print(n, flush=True)
        except OSError: time.sleep(.02)
def announce(device):
    p = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    p.bind((device, 0))
    mac = p.getsockname()[4]
    for wait in (0, .05, .15, .25, .35):
        time.sleep(wait)
        p.send(b"\xff" * 6 + mac + bytes.fromhex("80350001080006040003") + mac + b"\0" * 4 + mac + b"\0" * 4 + b"\0" * 18)
def targets(words): return [(w.split("/")[0], int(w.split("/")[1])) for w in words]
def flood(*words):
    to = targets(words)
    socks = [socket.socket(family(to[0][0]), socket.SOCK_DGRAM) for _ in range(8)]
    i = 0
    while True:
        i += 1
        for t in to:
            try: socks[i % 8].sendto(b"x" * 8, t)
            except OSError: time.sleep(.001)      # no route yet, or refused by ICMP
def trickle(*words):
    to = targets(words)
    socks = [socket.socket(family(to[0][0]), socket.SOCK_DGRAM) for _ in range(8)]
    i = 0
    while True:
        i += 1
        for t in to:
            try: socks[i % 8].sendto(b"x" * 8, t)
            except OSError: pass
        time.sleep(.01)
def count(*words):
    n, sel = {t: 0 for t in targets(words)}, selectors.DefaultSelector()
    ended = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    for t in n:
        s = socket.socket(family(t[0]), socket.SOCK_DGRAM); s.bind(t); s.setblocking(False); s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sel.register(s, selectors.EVENT_READ, t)
    print("ready", flush=True)
    while True:
        last = bool(ended)
        found = sel.select(0 if last else .05)
        if last and not found: break                  # not before: what lies in the sockets by then is counted
        for k, _ in found:
            try:
                for _ in range(1000):
                    k.fileobj.recv(100); n[k.data] += 1
                    if n[k.data] == 1: print("first %s/%d" % k.data, flush=True)
            except BlockingIOError: pass
    for (a, p), c in n.items(): print(f"{a}/{p} {c}", flush=True)
def sink(port):
    s = listener(int(port), socket.SOCK_STREAM); s.listen(1)
    print("ready", flush=True)
    c, _ = s.accept()
    h = hashlib.sha256()
    while True:
        d = c.recv(1 << 20)
        if not d: break
        h.update(d)
    print(h.hexdigest(), flush=True)
def pour(address, port, mib):
    blob = random.Random(7).randbytes(1 << 20)
    h = hashlib.sha256()
    s = socket.create_connection((address, int(port)), 10)
    for _ in range(int(mib)): s.sendall(blob); h.update(blob)
    s.close()
    print(h.hexdigest())

if __name__ == "__main__":
    sys.exit(globals()[sys.argv[1]](*sys.argv[2:]) or 0)
