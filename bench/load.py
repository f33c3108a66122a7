"""Load generators: closed loop, keep-alive; and what they report."""

import json
import os
import re
import select
import signal
import socket
import ssl
import struct
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

from servers import BenchError, pinned, program

IN_FLIGHT = 32
H2_CONNECTIONS = 4
UNITS_US = {"us": 1, "ms": 1_000, "s": 1_000_000, "m": 60_000_000}
ANSWER_TIMEOUT_S = 10


@dataclass
class Order:
    """What a load generator is asked for."""

    url: str
    headers: dict
    seconds: int
    # Where it runs, and the folder for what it writes.
    core: int
    folder: Path
    connections: int = IN_FLIGHT
    # Bytes of the body of each request; 0: requests without a body, by GET.
    post_bytes: int = 0
    # Host and path of each request in turn, where they are not those of the URL.
    draws: list = field(default_factory=list)
    # A file of tokens or keys, one a line, what stands before each, and whether each may be shown only once.
    tokens: Path = None
    shown_as: str = ""
    is_once: bool = False
    # Environment variables beyond our own.
    environment: dict = field(default_factory=dict)


@dataclass
class Load:
    """One round as the client saw it."""

    requests: int
    seconds: float
    p50_us: float
    p99_us: float
    failed: int
    # The generator's own words, for when something is odd.
    said: str
    # Requests that found no route, as they were meant to.
    missed: int = 0


def duration_us(text):
    """Reads `1.23ms`."""
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()
    return float(number) * UNITS_US[unit]


def call(argv, order):
    """Output of a load generator."""
    done = subprocess.run(
        argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=order.seconds + 30,
        preexec_fn=pinned(order.core), env=os.environ | order.environment,
    )
    if done.returncode != 0:
        raise BenchError(f"{argv[0]} failed:\n{done.stdout[-2000:]}")
    return done.stdout


def number(pattern, text, default=None):
    found = re.search(pattern, text)
    if not found and default is None:
        raise BenchError(f"the load generator's report has no `{pattern}`:\n{text[-2000:]}")
    return found[1] if found else default


def open_loop(order, capacity, times, patience_s):
    """What became of requests that came at fixed moments: the phases of `open_loop.py`."""
    script = Path(__file__).resolve().parent / "open_loop.py"
    address = order.url.partition("://")[2].partition("/")[0]
    argv = [sys.executable, str(script), "load", address, str(capacity), str(times), str(order.seconds),
            str(patience_s)]
    # Each of its phases takes that long, and some come before to warm up.
    return json.loads(call(argv, replace(order, seconds=6 * (order.seconds + int(patience_s)) + 10)))


def wrk(order):
    """HTTP/1.1: one thread, one request at a time on each connection."""
    argv = [program("wrk"), "-t1", f"-c{order.connections}", f"-d{order.seconds}s", "--latency",
            "--timeout", f"{ANSWER_TIMEOUT_S}s"]
    for name, value in order.headers.items():
        argv += ["-H", f"{name}: {value}"]
    if order.post_bytes:
        script = order.folder / "post.lua"
        script.write_text(f'wrk.method = "POST"\nwrk.body = string.rep("x", {order.post_bytes})\n'
                          'wrk.headers["Content-Type"] = "text/plain"\n')
        argv += ["-s", str(script)]
    return read_wrk(call([*argv, order.url], order))


def wrk_routes(order):
    """HTTP/1.1: hosts and paths as drawn."""
    script = order.folder / "routes.lua"
    rows = ",\n".join(f'{{"{host}", "{path}"}}' for host, path in order.draws)
    script.write_text(f"local draws = {{\n{rows}\n}}\n" + ROUTES_LUA)
    argv = [program("wrk"), "-t1", f"-c{order.connections}", f"-d{order.seconds}s", "--latency",
            "--timeout", f"{ANSWER_TIMEOUT_S}s", "-s", str(script), order.url]
    seen = read_wrk(call(argv, order))
    text = seen.said
    refused = int(number(r"Non-2xx or 3xx responses: (\d+)", text, "0"))
    # The draws are the same each time, so their share is known.
    wanted = sum("/missing/" in path for _, path in order.draws) / len(order.draws)
    if abs(refused / seen.requests - wanted) < 0.01:
        seen.missed, seen.failed = refused, seen.failed - refused
    return seen


ROUTES_LUA = """local made, at = {}, 0
function init()
    for i, draw in ipairs(draws) do
        made[i] = wrk.format("GET", draw[2], { Host = draw[1] })
    end
end
function request()
    at = at % #made + 1
    return made[at]
end
"""


def wrk_tokens(order):
    """HTTP/1.1: with each request another token or key: drawn evenly, or one after the other where each may be shown only once."""
    script = order.folder / "tokens.lua"
    shown = f'local path, once, shown_as = "{order.tokens}", {str(order.is_once).lower()}, "{order.shown_as}"\n'
    script.write_text(shown + TOKENS_LUA)
    argv = [program("wrk"), "-t1", f"-c{order.connections}", f"-d{order.seconds}s", "--latency",
            "--timeout", f"{ANSWER_TIMEOUT_S}s", "-s", str(script), order.url]
    return read_wrk(call(argv, order))


TOKENS_LUA = """local made, lines, before = {}, nil, nil
function init()
    before = string.format("GET %s HTTP/1.1\\r\\nHost: %s\\r\\n%s", wrk.path, wrk.headers["Host"], shown_as)
    if once then
        lines = io.lines(path)
        return
    end
    math.randomseed(7)
    for token in io.lines(path) do
        made[#made + 1] = before .. token .. "\\r\\n\\r\\n"
    end
end
function request()
    if once then
        return before .. (lines() or error("there are too few tokens")) .. "\\r\\n\\r\\n"
    end
    return made[math.random(#made)]
end
"""


class Storm:
    """Load that goes on until it is ended."""

    def __init__(self, order):
        argv = [program("wrk"), "-t1", f"-c{order.connections}", "-d600s", "--latency",
                "--timeout", f"{ANSWER_TIMEOUT_S}s", order.url]
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                        preexec_fn=pinned(order.core))

    def end(self):
        self.process.send_signal(signal.SIGINT)
        return read_wrk(self.process.communicate(timeout=30)[0])


def websocket(order):
    """One message at a time on each connection; runs as a process of its own, on its core."""
    script = Path(__file__).resolve().parent / "echo.py"
    argv = [sys.executable, str(script), "client", order.url, str(order.connections), str(order.seconds)]
    found = json.loads(call(argv, order).splitlines()[-1])
    return Load(said=str(found), **found)


def read_wrk(text):
    total = re.search(r"(\d+) requests in ([\d.]+\w+),", text)
    if not total:
        raise BenchError(f"wrk's report has no total:\n{text[-2000:]}")
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    # wrk counts 4xx and 5xx here in spite of the name; no config of ours answers 3xx.
    refused = int(number(r"Non-2xx or 3xx responses: (\d+)", text, "0"))
    return Load(
        requests=int(total[1]),
        seconds=duration_us(total[2]) / 1e6,
        p50_us=duration_us(number(r"\n\s+50%\s+(\S+)", text)),
        p99_us=duration_us(number(r"\n\s+99%\s+(\S+)", text)),
        failed=refused + sum(map(int, broken.groups() if broken else ())),
        said=text,
    )


def h2load(order):
    """HTTP/2, by prior knowledge or, over TLS, by ALPN: the requests in flight are spread over 4 connections."""
    log = order.folder / "h2load.log"
    log.unlink(missing_ok=True)
    argv = [
        program("h2load"), "-t1", f"-c{H2_CONNECTIONS}", f"-m{order.connections // H2_CONNECTIONS}",
        f"-D{order.seconds}", "--warm-up-time=0", f"--log-file={log}",
    ]
    for name, value in order.headers.items():
        argv += ["-H", f"{name}: {value}"]
    if order.post_bytes:
        body = order.folder / "message"
        # A message of gRPC: not compressed, its length, and that many bytes.
        body.write_bytes(struct.pack(">BI", 0, order.post_bytes) + b"x" * order.post_bytes)
        argv += ["-d", str(body)]
    text = call([*argv, order.url], order)
    rows = [line.split("\t") for line in log.read_text().splitlines()]
    log.unlink()
    return read_h2load(text, rows, order.seconds)


def read_h2load(text, rows, seconds):
    """`rows`: start, status and duration in µs of every request."""
    succeeded = int(number(r", (\d+) succeeded", text))
    durations = sorted(int(row[2]) for row in rows) or [0]
    return Load(
        requests=succeeded,
        seconds=seconds,
        p50_us=durations[len(durations) // 2],
        p99_us=durations[len(durations) * 99 // 100],
        failed=int(number(r", (\d+) failed", text)),
        said=text,
    )


class IdleConnections:
    """Keep-alive connections of HTTP/1.1 that made one request each and then stay as they are."""

    def __init__(self, address, target, count, is_tls=False, headers=""):
        self.tls = ssl.create_default_context() if is_tls else None
        if self.tls:
            # The certificate is one of this run, and of nobody's concern.
            self.tls.check_hostname, self.tls.verify_mode = False, ssl.CERT_NONE
        self.head = f"GET {target} HTTP/1.1\r\nHost: {address}\r\n"
        self.request = f"{self.head}{headers}\r\n".encode()
        host, port = address.split(":")
        self.address, self.sockets, self.failed = (host, int(port)), [], 0
        try:
            for _ in range(count):
                self.open()
        except OSError as error:
            self.close()
            raise BenchError(f"connection {len(self.sockets) + 1} of {count} fails: {error}") from error

    def open(self):
        """One more connection and its request."""
        opened = socket.create_connection(self.address, timeout=ANSWER_TIMEOUT_S)
        if self.tls:
            opened = self.tls.wrap_socket(opened)
        self.sockets.append(opened)
        self.ask(opened)

    def show(self, shown_as, tokens):
        """A request with each of these tokens, one after the other, and what stands before it."""
        for token in tokens:
            self.ask(self.sockets[0], f"{self.head}{shown_as}{token}\r\n\r\n".encode())

    def ask(self, opened, request=None):
        """One request, and all of its answer."""
        opened.sendall(request or self.request)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += received(opened)
        head, _, body = answer.partition(b"\r\n\r\n")
        length = int(number(r"(?i)\r\ncontent-length: *(\d+)", head.decode("latin-1")))
        while len(body) < length:
            body += received(opened)
        self.failed += not head.startswith(b"HTTP/1.1 200")

    def closed(self):
        """How many the proxy has closed, or sent something nobody asked for."""
        poll = select.poll()
        for opened in self.sockets:
            poll.register(opened, select.POLLIN)
        return len(poll.poll(0))

    def close(self):
        for opened in self.sockets:
            opened.close()


def received(opened):
    """The next bytes; the end is an error."""
    found = opened.recv(64 << 10)
    if not found:
        raise ConnectionError("the proxy closed it within its answer")
    return found
