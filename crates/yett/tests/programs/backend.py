"""A backend: Python's http.server, one thread a connection. What it serves is listed in `matrix/origins.rs`."""

import hashlib
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PAGE = b"<p>a page</p>\n"
DIES_AFTER = 64 * 1024
PROMISED = 1024 * 1024
PIECE = 64 * 1024

with open(sys.argv[1], "rb") as file:
    LARGE = file.read()

gates = {}
telling = threading.Lock()


def tell(*words):
    with telling:
        print(*words, flush=True)


def gate(name):
    return gates.setdefault(name, threading.Event())


class Broken(Exception):
    """The request ended before its body did."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        """The test reads standard output; nobody reads a log."""

    def do_GET(self):
        pages = {
            "/page.html": self.page,
            "/large": lambda: self.whole(LARGE),
            "/chunked": lambda: self.chunked([b"one\n", b"two\n", b"three\n"]),
            "/large-chunked": lambda: self.chunked(LARGE[at : at + PIECE] for at in range(0, len(LARGE), PIECE)),
            "/empty": lambda: self.whole(b""),
            "/none": lambda: self.head(204),
            "/cookies": lambda: self.whole(b"ok", ("set-cookie", "a=1"), ("set-cookie", "b=2")),
            "/trailers": lambda: self.chunked([b"summed\n"], ("x-sum", "7")),
            "/hints": self.hints,
            "/headers": lambda: self.report({}),
            "/dies/length": lambda: self.die("length"),
            "/dies/chunked": lambda: self.die("chunked"),
        }
        pages.get(self.path, lambda: self.head(404, ("content-length", "0")))()

    def do_HEAD(self):
        self.page()

    def do_PUT(self):
        _, kind, name = self.path.split("/")
        if kind == "early":
            self.early()
            return
        digest, length = hashlib.sha256(), 0
        try:
            for piece in self.body():
                if kind == "hold" and length == 0:
                    tell("began", name)
                    gate(name).wait()
                digest.update(piece)
                length += len(piece)
        except (Broken, OSError, ValueError):
            tell("broken", name, length)
            self.close_connection = True
            return
        tell("whole", name, length)
        self.report({"length": length, "sha256": digest.hexdigest(), "trailers": self.trailers})

    def early(self):
        self.whole(b"early\n", status=413)
        try:
            # Else whoever sends could not read the answer.
            for _ in self.body():
                pass
        except (Broken, OSError, ValueError):
            self.close_connection = True

    def handle_expect_100(self):
        if not self.path.startswith("/refuse/"):
            return super().handle_expect_100()
        name = self.path.rsplit("/", 1)[1]
        self.close_connection = True
        self.whole(b"refused\n", ("connection", "close"), status=403)
        tell("refused", name)
        # Whoever gets this answer must go without having sent the body.
        if self.rfile.read(1):
            tell("leaked", name)
        return False

    def page(self):
        if self.headers["if-none-match"] == '"page"':
            self.head(304, ("etag", '"page"'))
        else:
            self.whole(PAGE, ("etag", '"page"'), ("content-type", "text/html"))

    def hints(self):
        self.send_response_only(103)
        self.send_header("link", "</style.css>; rel=preload; as=style")
        self.end_headers()
        self.whole(b"hinted\n")

    def die(self, how):
        framing = ("content-length", str(PROMISED)) if how == "length" else ("transfer-encoding", "chunked")
        self.head(200, framing)
        piece = LARGE[:DIES_AFTER]
        self.wfile.write(piece if how == "length" else b"%x\r\n%s\r\n" % (len(piece), piece))
        self.close_connection = True
        tell("died", how)

    def report(self, more):
        told = {"headers": self.headers.items(), "framing": self.framing(), **more}
        self.whole(json.dumps(told).encode())

    def head(self, status, *headers):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()

    def whole(self, content, *headers, status=200):
        self.head(status, ("content-length", str(len(content))), *headers)
        if self.command != "HEAD":
            self.wfile.write(content)

    def chunked(self, pieces, *trailers):
        names = [("trailer", name) for name, _ in trailers]
        self.head(200, ("transfer-encoding", "chunked"), *names)
        for piece in pieces:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        lines = "".join(f"{name}: {value}\r\n" for name, value in trailers)
        self.wfile.write(b"0\r\n" + lines.encode() + b"\r\n")

    def framing(self):
        if "transfer-encoding" in self.headers:
            return "chunked"
        return "length" if "content-length" in self.headers else "none"

    def body(self):
        self.trailers = []
        if self.framing() == "chunked":
            yield from self.chunks()
        else:
            left = int(self.headers["content-length"] or 0)
            while left:
                piece = self.exactly(min(left, PIECE))
                left -= len(piece)
                yield piece

    def chunks(self):
        while size := int(self.rfile.readline(), 16):
            yield self.exactly(size)
            self.exactly(2)
        while (line := self.rfile.readline()) != b"\r\n":
            if not line:
                raise Broken
            name, value = line.decode("latin-1").split(":", 1)
            self.trailers.append((name, value.strip()))

    def exactly(self, size):
        piece = self.rfile.read(size)
        if len(piece) < size:
            raise Broken
        return piece


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
tell("serving", server.server_address[1])
# It ends when the test does.
for order in sys.stdin:
    gate(order.strip()).set()
