"""A small HTTP/1.1 service on Python's own server, for the shapes that the packaged ones lack.

    plain.py PORT...

It listens on every address, IPv4 and IPv6. GET and POST answer 200, in chunks where the path begins
with /chunked; /ws switches protocols and echoes; /die breaks off in the midst of its answer, and
/die-first before it, both with the whole process.
"""

import os
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *args):
        pass

    def body(self):
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            total = 0
            while size := int(self.rfile.readline().split(b";")[0], 16):
                total += len(self.rfile.read(size))
                self.rfile.readline()
            while self.rfile.readline() not in (b"\r\n", b""):
                pass
            return total
        left = int(self.headers.get("Content-Length", 0))
        total = left
        while left:
            left -= len(self.rfile.read(min(left, 1 << 20)))
        return total

    def answer(self):
        path = self.path.split("?")[0]
        if path == "/die-first":
            os._exit(1)
        if path == "/die":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 500)
            # A polite client has read that much; then everything is gone at once.
            self.rfile.readline()
            os._exit(1)
        if path == "/ws":
            self.wfile.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
            )
            while data := self.rfile.read1(4096):
                self.wfile.write(data)
            self.close_connection = True
            return
        text = b"%d bytes\n" % self.body()
        if path.startswith("/chunked"):
            head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            parts = [b"%x\r\n%s\r\n" % (len(c), c) for c in (text[:3], text[3:])]
            self.wfile.write(head + b"".join(parts) + b"0\r\nX-End: yes\r\n\r\n")
        else:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))

    do_GET = do_POST = answer


class Server(ThreadingHTTPServer):
    address_family = socket.AF_INET6
    daemon_threads = True
    request_queue_size = 128

    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Not HTTPServer's: it asks a resolver for the host's name.
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = "plain", self.server_address[1]


servers = [Server(("::", int(port)), Handler) for port in sys.argv[1:]]
for server in servers[1:]:
    threading.Thread(target=server.serve_forever, daemon=True).start()
servers[0].serve_forever()
