#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""What a stranger may do to dfwsyncd's ports, as fast as he can, until he is killed. nanomsg's wire is spoken by hand: eight bytes of
greeting, then messages behind their length.

stranger.py bytes ADDRESS PORT               random bytes, no greeting
stranger.py messages ADDRESS PORT            greeting, then messages of all lengths; one in two with a head as a true one has
stranger.py lengths ADDRESS PORT             greeting, then a message that is said to be longer than any
stranger.py handshakes ADDRESS PORT FILE     greeting, then the handshakes that build/selftests/handshakes wrote
stranger.py hold ADDRESS PORT N [NETWORK]    N connections with their greeting, and nothing more, made anew when they are closed;
                                             from addresses of NETWORK, which must all be local ("10.99.4.0/22")"""
import errno, ipaddress, random, resource, select, socket, struct, sys, time

BATCH = 1 << 16

def greeting(port):
    # The protocols that the two ports talk to: RESPONDENT and PUSH.
    return b"\0SP\0" + struct.pack(">HH", 0x63 if port % 2 == 0 else 0x50, 0)
def connection(address, port, greets=True):
    s = socket.create_connection((address, port), 5)
    if greets: s.sendall(greeting(port))
    return s
def framed(port, message):
    # A RESPONDENT's answer begins with the number of the question: the high bit ends the row of them.
    head = struct.pack(">I", 1 << 31 | random.getrandbits(31)) if port % 2 == 0 else b""
    return struct.pack(">Q", len(head) + len(message)) + head + message
def pour(address, port, make, greets=True):
    """Whatever the other end does, it goes on."""
    while True:
        try:
            with connection(address, port, greets) as s:
                while True: s.sendall(make())
        except OSError: time.sleep(.001)
def message():
    body = random.randbytes(random.choice((0, 1, 2, 15, 16, 43, 44, 60, 300, 700, 1200, 1280, 1281, 4000)))
    return body if random.random() < .5 else bytes((random.randrange(8), 1)) + body
def batch(make):
    out = b""
    while len(out) < BATCH: out += make()
    return out

def bytes_(address, port):
    blob = random.randbytes(BATCH)
    pour(address, port, lambda: blob, greets=False)
def messages(address, port):
    blobs = [batch(lambda: framed(port, message())) for _ in range(16)]
    pour(address, port, lambda: random.choice(blobs))
def lengths(address, port):
    pour(address, port, lambda: struct.pack(">Q", random.choice((8193, 1 << 20, 1 << 31, 1 << 40, (1 << 64) - 1))) + b"x" * 100)
def handshakes(address, port, file):
    text, all_of_them = open(file, "rb").read(), []
    while text:
        nr, = struct.unpack_from("<H", text)
        all_of_them.append(framed(port, text[2:2 + nr])); text = text[2 + nr:]
    blobs = [b"".join(all_of_them[i:i + 100]) for i in range(0, len(all_of_them), 100)]
    pour(address, port, lambda: random.choice(blobs))
def hold(address, port, n, network=None):
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    sources = [str(a) for a in ipaddress.ip_network(network)] if network else None
    poll, held = select.epoll(), {}
    def one_more():
        s = socket.socket()
        s.setblocking(False)
        if sources:
            s.setsockopt(socket.IPPROTO_IP, 24, 1) # IP_BIND_ADDRESS_NO_PORT
            s.bind((random.choice(sources), 0))
        if s.connect_ex((address, port)) not in (0, errno.EINPROGRESS): s.close(); return False
        held[s.fileno()] = s
        poll.register(s.fileno(), select.EPOLLOUT | select.EPOLLRDHUP)
        return True
    while True:
        while len(held) < int(n) and one_more(): pass
        for fd, events in poll.poll(.1):
            s = held[fd]
            try:
                if events & (select.EPOLLERR | select.EPOLLHUP | select.EPOLLRDHUP): raise OSError
                s.send(greeting(port))
                poll.modify(fd, select.EPOLLRDHUP)
            except OSError: held.pop(fd).close()

if __name__ == "__main__":
    how, address, port = sys.argv[1:4]
    globals()["bytes_" if how == "bytes" else how](address, int(port), *sys.argv[4:])
