"""A token endpoint (RFC 6749, 3.2; RFC 8693). Each token has a number. It prints what it was asked. At `/introspect` every
token is active, and about whom it names (RFC 7662).

Orders by standard input: `down` and `up`.
"""

import base64
import http.server
import json
import sys
import threading
import urllib.parse

LIFETIME_S = int(sys.argv[1])
lock = threading.Lock()
count = 0
is_down = False


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        global count
        form = self.rfile.read(int(self.headers["content-length"])).decode()
        fields = dict(urllib.parse.parse_qsl(form))
        if self.path == "/introspect":
            return self.answer(200, {"active": True, "sub": fields["token"]})
        scheme, _, proof = (self.headers["authorization"] or "").partition(" ")
        login = base64.b64decode(proof).decode() if scheme == "Basic" else ""
        # The name alone: what is printed here is not searched for secrets.
        print("asked", login.partition(":")[0], sorted(fields.items()), flush=True)
        status, answer = 200, {}
        with lock:
            if is_down:
                status, answer = 500, {"error": "server_error"}
            elif fields["grant_type"] == "client_credentials" and login != "gate%20way:s%3Acret-4711":
                status, answer = 401, {"error": "invalid_client", "error_description": form}
            else:
                count += 1
                whose = fields.get("subject_token", "own")
                answer = {"access_token": f"t{count}-{whose}", "token_type": "bearer", "expires_in": LIFETIME_S}
        self.answer(status, answer)

    def answer(self, status, answer):
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print("port", server.server_address[1], flush=True)
for line in sys.stdin:
    is_down = line.strip() == "down"
    print("is", line.strip(), flush=True)
