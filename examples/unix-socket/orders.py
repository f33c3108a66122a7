"""A backend on a Unix socket: `python3 orders.py PATH`."""

import os
import sys
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingMixIn, UnixStreamServer


class Orders(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = f"{self.command} {self.path} for {self.headers['host']}\n".encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self):
        return "unix"


class Server(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True
    request_queue_size = 128


path = sys.argv[1]
if os.path.exists(path):
    os.remove(path)
with Server(path, Orders) as server:
    print(f"serving {path}", flush=True)
    server.serve_forever()
