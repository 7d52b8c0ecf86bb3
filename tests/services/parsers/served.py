"""Two of Python's HTTP parsers, which write down what they serve: a line of JSON for each head as soon
as it is handed over, and one for each body that came whole.

    served.py http.server|h11 PORT

http.server reads no bodies, so the service on it does as most do: it takes Content-Length by int(), and
refuses Transfer-Encoding.
"""

import itertools
import json
import os
import socketserver
import sys
from http.server import BaseHTTPRequestHandler

ids = itertools.count(1)


def tell(**line):
    os.write(1, (json.dumps(line) + "\n").encode())


class Plain(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def __getattr__(self, name):
        if name.startswith("do_"):
            return self.serve
        raise AttributeError(name)

    def serve(self):
        id, port = next(ids), self.client_address[1]
        target, authorization = self.path, self.headers.get("Authorization")
        tell(id=id, port=port, method=self.command, target=target, authorization=authorization)
        if self.headers.get("Transfer-Encoding") is not None:
            self.send_error(501)
            self.close_connection = True
            return
        try:
            length = int(self.headers.get("Content-Length", 0))
        except ValueError:
            self.send_error(400)
            self.close_connection = True
            return
        body = self.rfile.read(max(length, 0))
        if len(body) == length:
            tell(id=id, port=port, body=length)
        self.send_response(200)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"ok\n")


class H11(socketserver.BaseRequestHandler):
    def handle(self):
        import h11

        connection, port = h11.Connection(h11.SERVER), self.client_address[1]
        id, body = 0, 0
        try:
            while True:
                event = connection.next_event()
                if event is h11.NEED_DATA:
                    if connection.they_are_waiting_for_100_continue:
                        answer = h11.InformationalResponse(status_code=100, headers=[])
                        self.request.sendall(connection.send(answer))
                    connection.receive_data(self.request.recv(65536))
                elif isinstance(event, h11.Request):
                    id, body = next(ids), 0
                    values = [v.decode("latin-1") for n, v in event.headers if n == b"authorization"]
                    method, target = event.method.decode("latin-1"), event.target.decode("latin-1")
                    authorization = values[0] if values else None
                    tell(id=id, port=port, method=method, target=target, authorization=authorization)
                elif isinstance(event, h11.Data):
                    body += len(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    tell(id=id, port=port, body=body)
                    headers = [("Content-Length", "3")]
                    self.request.sendall(
                        connection.send(h11.Response(status_code=200, headers=headers))
                        + connection.send(h11.Data(data=b"ok\n"))
                        + connection.send(h11.EndOfMessage())
                    )
                    if connection.our_state is h11.MUST_CLOSE:
                        return
                    if connection.their_state is h11.MIGHT_SWITCH_PROTOCOL:
                        return
                    connection.start_next_cycle()
                elif event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                    return
        except h11.RemoteProtocolError as error:
            if connection.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
                headers = [("Content-Length", "0"), ("Connection", "close")]
                status = error.error_status_hint
                self.request.sendall(
                    connection.send(h11.Response(status_code=status, headers=headers))
                    + connection.send(h11.EndOfMessage())
                )


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64


class Quiet(Server):
    def handle_error(self, request, client_address):
        pass


handler = {"http.server": Plain, "h11": H11}[sys.argv[1]]
Quiet(("127.0.0.1", int(sys.argv[2])), handler).serve_forever()
