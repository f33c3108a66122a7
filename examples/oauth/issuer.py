"""An issuer as small as can be: it knows three tokens, and says what they are worth (RFC 7662) to whoever has the secret."""

import base64
import http.server
import json
import os
import time
import urllib.parse

SECRET = base64.b64encode(f"gateway:{os.environ['GATEWAY_SECRET']}".encode()).decode()
TOKENS = {
    "alice": {"sub": "alice", "scope": "orders:read orders:write"},
    "carol": {"sub": "carol", "scope": "articles:read"},
}


class Issuer(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
        if self.headers["authorization"] != f"Basic {SECRET}":
            self.send_error(401)
            return
        known = TOKENS.get(form["token"][0])
        said = {"active": False}
        if known:
            said = {"active": True, "iss": "http://127.0.0.1:9192", "aud": "http://127.0.0.1:8080/orders"}
            said |= known | {"exp": int(time.time()) + 600}
        text = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


http.server.ThreadingHTTPServer(("127.0.0.1", 9192), Issuer).serve_forever()
