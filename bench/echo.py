#!/usr/bin/env python3
"""Both ends of a WebSocket (RFC 6455) that sends messages to and fro: `echo.py server ADDRESS` sends back what it gets,
`echo.py client URL CONNECTIONS SECONDS` keeps one message on its way on each connection and tells as JSON how that went."""

import base64
import hashlib
import json
import selectors
import socket
import sys
import time

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
PAYLOAD = b"0123456789abcdef" * 4
MASK = b"\x01\x02\x03\x04"


def masked(payload):
    return bytes(byte ^ MASK[at % 4] for at, byte in enumerate(payload))


# Every message is the same: a whole text message, and its length in seven bits.
ASKED = bytes([0x81, 0x80 | len(PAYLOAD)]) + MASK + masked(PAYLOAD)
ANSWERED = bytes([0x81, len(PAYLOAD)]) + PAYLOAD


def head_of(peer):
    head = b""
    while b"\r\n\r\n" not in head:
        found = peer.recv(4096)
        if not found:
            raise ConnectionError("closed in the head")
        head += found
    return head


def accept_of(key):
    return base64.b64encode(hashlib.sha1(key + GUID).digest())


def serve(address):
    host, port = address.rsplit(":", 1)
    listener = socket.create_server((host, int(port)), backlog=1024)
    ready = selectors.DefaultSelector()
    ready.register(listener, selectors.EVENT_READ)
    held = {}
    while True:
        for event, _ in ready.select():
            peer = event.fileobj
            if peer is listener:
                peer, _ = listener.accept()
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                ready.register(peer, selectors.EVENT_READ)
                held[peer] = None
                continue
            if not answer(peer, held):
                ready.unregister(peer)
                del held[peer]
                peer.close()


def answer(peer, held):
    """Answers what has come; whether there may be more."""
    try:
        found = peer.recv(64 << 10)
        if not found:
            return False
        if held[peer] is None:
            keys = [line.split(b":", 1)[1].strip() for line in found.split(b"\r\n")
                    if line.lower().startswith(b"sec-websocket-key:")]
            if not keys:
                peer.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                return True
            peer.sendall(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
                         b"sec-websocket-accept: " + accept_of(keys[0]) + b"\r\n\r\n")
            held[peer] = b""
            return True
        rest = held[peer] + found
        count = len(rest) // len(ASKED)
        if any(rest[at * len(ASKED)] != 0x81 for at in range(count)):
            return False
        held[peer] = rest[count * len(ASKED):]
        peer.sendall(ANSWERED * count)
        return True
    except OSError:
        return False


def connect(url):
    host, _, path = url.removeprefix("http://").partition("/")
    peer = socket.create_connection(tuple(host.rsplit(":", 1)), timeout=10)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    peer.sendall(b"GET /" + path.encode() + b" HTTP/1.1\r\nHost: " + host.encode() +
                 b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                 b"Sec-WebSocket-Key: " + KEY + b"\r\n\r\n")
    head = head_of(peer)
    if not head.startswith(b"HTTP/1.1 101") or accept_of(KEY) not in head:
        raise ConnectionError(f"no WebSocket: {head[:200]!r}")
    return peer


def ask(url, connections, seconds):
    ready, sent, held = selectors.DefaultSelector(), {}, {}
    for _ in range(connections):
        peer = connect(url)
        ready.register(peer, selectors.EVENT_READ)
        held[peer], sent[peer] = b"", time.perf_counter()
        peer.sendall(ASKED)
    began, durations, failed = time.perf_counter(), [], 0
    while held and (now := time.perf_counter()) < began + seconds:
        for event, _ in ready.select(1):
            peer = event.fileobj
            found = peer.recv(4096)
            held[peer] += found
            if not found or not ANSWERED.startswith(held[peer]):
                failed += 1
                ready.unregister(peer)
                del held[peer]
            elif held[peer] == ANSWERED:
                now = time.perf_counter()
                durations.append(now - sent[peer])
                held[peer], sent[peer] = b"", now
                peer.sendall(ASKED)
    durations.sort()
    at = lambda share: durations[int(len(durations) * share)] * 1e6 if durations else 0
    print(json.dumps({"requests": len(durations), "seconds": time.perf_counter() - began, "p50_us": at(0.5),
                      "p99_us": at(0.99), "failed": failed}))


if __name__ == "__main__":
    if sys.argv[1] == "server":
        serve(sys.argv[2])
    else:
        ask(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
