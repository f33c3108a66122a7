"""An external authoriser: Envoy's protocol over gRPC, and HTTP. It prints what it was asked.

The messages of gRPC are taken apart and put together here, field by field, so that nothing needs generated code.
What it says depends on the header `x-case` of the request it is asked about.
"""

import http.server
import sys
import time
from concurrent import futures

import grpc


def varint(number):
    out = b""
    while True:
        low, number = number & 0x7F, number >> 7
        out += bytes([low | (0x80 if number else 0)])
        if not number:
            return out


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, str):
        value = value.encode()
    return varint(number << 3 | 2) + varint(len(value)) + value


def read(message):
    """The fields of a message, as (number, value)."""
    at = 0

    def number():
        nonlocal at
        result = shift = 0
        while True:
            byte = message[at]
            at += 1
            result |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return result

    while at < len(message):
        key = number()
        if key & 7 == 0:
            yield key >> 3, number()
        elif key & 7 == 1:
            yield key >> 3, message[at : at + 8]
            at += 8
        elif key & 7 == 2:
            length = number()
            yield key >> 3, message[at : at + length]
            at += length
        else:
            raise ValueError(key)


def part(message, *path):
    for number in path:
        message = next((value for key, value in read(message) if key == number), b"")
    return message


def texts(message, number):
    pairs = (dict(read(entry)) for key, entry in read(message) if key == number)
    return {pair[1].decode(): pair.get(2, b"").decode() for pair in pairs}


def option(name, value, append=None):
    header = field(1, name) + field(2, value)
    return field(1, header) + (b"" if append is None else field(2, field(1, int(append))))


def check(request, context):
    http_request = part(request, 1, 4, 2)
    headers = texts(http_request, 3)
    shown = {number: value for number, value in read(http_request) if number != 3}
    source = part(request, 1, 1, 1, 1, 2).decode()
    extensions = texts(part(request, 1), 10)
    print(
        "asked",
        shown[2].decode(),
        shown[4].decode(),
        shown[5].decode(),
        "from",
        source,
        "body",
        shown.get(11, b""),
        "raw",
        shown.get(12, b""),
        "extensions",
        extensions,
        "headers",
        sorted(headers.items()),
        flush=True,
    )
    case = headers.get("x-case", "")
    yes = field(1, b"")
    if case == "slow":
        time.sleep(30)
    if case == "silent":
        return b""
    if case == "error":
        context.abort(grpc.StatusCode.INTERNAL, "broken")
    if case == "garbage":
        return b"\xff\xff\xff"
    if case == "no":
        return field(1, field(1, 7)) + field(
            2,
            field(1, field(1, 401))
            + field(2, option("www-authenticate", 'Bearer realm="authz"'))
            + field(2, option("set-cookie", "a=1"))
            + field(2, option("set-cookie", "b=2"))
            + field(2, option("content-length", "9999"))
            + field(3, "not today"),
        )
    if case == "bare":
        return field(1, field(1, 7))
    if case == "split":
        return yes + field(3, field(2, option("x-a", "1\r\nx-b: 2")))
    if case == "greedy":
        ok = b"".join(
            field(2, option(name, "evil"))
            for name in ["host", "x-yett-consumer", "content-length", "transfer-encoding", "x-forwarded-for", "connection"]
        )
        return yes + field(3, ok)
    metadata = field(4, field(1, field(1, "plan") + field(2, field(3, "gold"))))
    ok = (
        field(2, option("x-user", "carol"))
        + field(2, option("x-tenant", "t1"))
        + field(2, option("x-list", "two", True))
        + field(5, "x-secret")
        + field(6, option("x-told", "by the authoriser"))
        + field(7, field(1, "tenant") + field(2, "a b&c"))
        + field(8, "drop")
    )
    return yes + field(3, ok) + metadata


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        told = {name.lower(): value for name, value in self.headers.items()}
        print("called", self.command, self.path, sorted(told.items()), flush=True)
        case = told.get("x-case", "")
        if case == "slow":
            time.sleep(30)
        status, body, more = 200, b"", [("x-user", "dave"), ("x-tenant", "t2")]
        if case == "no":
            status, body, more = 302, b"go there", [("location", "https://login.example.com/")]
        if case == "broken":
            status = 500
        if case == "endless":
            body = b"x" * 1_000_000
        self.send_response(status)
        for name, value in more:
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_):
        pass


port = sys.argv[2] if len(sys.argv) > 2 else "0"
if sys.argv[1] == "grpc":
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    handler = grpc.unary_unary_rpc_method_handler(check)
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("envoy.service.auth.v3.Authorization", {"Check": handler})]
    )
    print("port", server.add_insecure_port(f"127.0.0.1:{port}"), flush=True)
    server.start()
    server.wait_for_termination()
else:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Handler)
    print("port", server.server_address[1], flush=True)
    server.serve_forever()
