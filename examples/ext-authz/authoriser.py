"""An authoriser: whoever shows `Bearer NAME` is NAME, and `mallory` is nobody's friend."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Authoriser(BaseHTTPRequestHandler):
    def do_GET(self):
        scheme, _, name = (self.headers["authorization"] or "").partition(" ")
        print(self.headers["x-forwarded-method"], self.headers["x-forwarded-uri"], name, flush=True)
        if scheme != "Bearer" or not name.isalnum():
            return self.answer(401, [("www-authenticate", 'Bearer realm="orders"')], b"who are you?\n")
        if name == "mallory":
            return self.answer(403, [], b"not you\n")
        groups = "sales" if name != "bob" else "stock"
        self.answer(200, [("x-user", name), ("x-groups", groups), ("x-tenant", "t1")])

    def answer(self, status, headers, body=b""):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", 9191), Authoriser).serve_forever()
