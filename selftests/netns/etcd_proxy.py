# SPDX-License-Identifier: GPL-2.0
"""etcd_proxy.py PORT URL: passes everything on to etcd, but of a watch only its first line: all events get lost."""

import http.client
import http.server
import socketserver
import sys
import threading
import urllib.parse


class Proxy(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        etcd = http.client.HTTPConnection(ETCD.hostname, ETCD.port)
        etcd.request("POST", self.path, body, {"Content-Type": "application/json"})
        answer = etcd.getresponse()
        if self.path == "/v3/watch":
            line = answer.readline()
            self.send_response(answer.status)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
            self.wfile.flush()
            threading.Event().wait()
        content = answer.read()
        self.send_response(answer.status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True


ETCD = urllib.parse.urlparse(sys.argv[2])
with Server(("127.0.0.1", int(sys.argv[1])), Proxy) as server:
    print("ready", flush=True)
    server.serve_forever()
