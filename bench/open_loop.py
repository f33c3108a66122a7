#!/usr/bin/env python3
"""More requests than a backend can work on. `open_loop.py backend ADDRESS SLOTS SERVICE_MS` is the backend: it works on so many
requests at a time, each for so long on average, and has the others wait. `open_loop.py load ADDRESS CAPACITY TIMES SECONDS PATIENCE_S`
sends requests at moments that were fixed in advance, whatever becomes of others, and tells as JSON what became of them."""

import heapq
import json
import re
import select
import socket
import sys
import time
from collections import deque

# Who asks: one in ten by the plan of the highest priority, three by that of the middle, six by that of the lowest.
KEYS = {name: f"{name}-is-what-this-caller-has" for name in ("gold", "silver", "tin")}
MIX = ["tin", "silver", "tin", "gold", "tin", "silver", "tin", "tin", "silver", "tin"]
# What is asked for beyond so many connections is lost.
CONNECTIONS_MAX = 4_000
# After the load has ended, those are answered that waited.
REST_S = 0.1
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.I)


def listen(address):
    host, port = address.rsplit(":", 1)
    return socket.create_server((host, int(port)), backlog=4096)


def backend(address, slots, service_ms):
    """Works on `slots` requests at a time, first come first served; it does not notice that somebody has left."""
    listener, poll, peers, heads = listen(address), select.epoll(), {}, {}
    listener.setblocking(False)
    poll.register(listener, select.EPOLLIN)
    waiting, working, number = deque(), [], 0
    while True:
        pause = max(0, working[0][0] - time.monotonic()) if working else -1
        for at, _ in poll.poll(pause):
            if at == listener.fileno():
                number = accept(listener, poll, peers, heads, number)
            else:
                read(at, poll, peers, heads, waiting)
        now = time.monotonic()
        while working and working[0][0] <= now:
            answer(heapq.heappop(working)[2], peers)
        while waiting and len(working) < slots:
            number += 1
            # From three quarters to five quarters, evenly and the same in each run.
            took_ms = service_ms * (0.75 + (number * 7 % 100) / 200)
            heapq.heappush(working, (now + took_ms / 1e3, number, waiting.popleft()))


def accept(listener, poll, peers, heads, number):
    while True:
        try:
            peer, _ = listener.accept()
        except BlockingIOError:
            return number
        number += 1
        peer.setblocking(False)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A file descriptor may be used anew; the number is not.
        peers[peer.fileno()], heads[peer.fileno()] = (number, peer), b""
        poll.register(peer, select.EPOLLIN)


def read(at, poll, peers, heads, waiting):
    number, peer = peers[at]
    try:
        found = peer.recv(65536)
    except BlockingIOError:
        return
    except OSError:
        found = b""
    if not found:
        poll.unregister(at)
        del peers[at], heads[at]
        peer.close()
        return
    head = heads[at] + found
    while b"\r\n\r\n" in head:
        head = head.partition(b"\r\n\r\n")[2]
        waiting.append((at, number))
    heads[at] = head


def answer(whom, peers):
    at, number = whom
    if at in peers and peers[at][0] == number:
        try:
            peers[at][1].send(ANSWER)
        except OSError:
            # It has left; reading will tell.
            pass


class Client:
    """Sends requests when they are due, each on a connection of its own."""

    def __init__(self, address, patience_s):
        self.patience_s = patience_s
        host, port = address.rsplit(":", 1)
        self.address = (host, int(port))
        head = f"GET /orders/17 HTTP/1.1\r\nhost: {address}\r\nx-api-key: "
        self.requests = {who: f"{head}{key}\r\n\r\n".encode() for who, key in KEYS.items()}
        self.poll, self.connections, self.free = select.epoll(), {}, []
        # When each gives up, in the order in which they asked.
        self.patience = deque()

    def run(self, per_second, seconds, mix):
        """One phase. Requests under way at its end belong to it."""
        self.seen = {who: {"took": [], "shed": 0, "failed": 0} for who in KEYS}
        self.late, self.lost, self.in_time = [], 0, 0
        began = time.monotonic()
        self.ends = began + seconds
        count = int(per_second * seconds)
        sent = 0
        while sent < count or self.patience:
            now = time.monotonic()
            while sent < count and began + sent / per_second <= now:
                due = began + sent / per_second
                self.late.append(now - due)
                self.send(mix[sent % len(mix)], due)
                sent += 1
            next_due = began + sent / per_second if sent < count else now + 0.01
            for at, event in self.poll.poll(max(0.0, next_due - time.monotonic())):
                self.happened(at, event)
            self.give_up(time.monotonic())
        return self.told(seconds)

    def send(self, who, due):
        while self.free:
            connection = self.connections.get(self.free.pop())
            if connection is None:
                continue
            connection["asked"] = (who, due)
            self.patience.append((due + self.patience_s, connection, due))
            try:
                connection["socket"].send(self.requests[who])
            except OSError:
                self.end(connection, "failed")
            return
        if len(self.connections) >= CONNECTIONS_MAX:
            self.lost += 1
            return
        opened = socket.socket()
        opened.setblocking(False)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opened.connect_ex(self.address)
        connection = {"socket": opened, "asked": (who, due), "buffer": b"", "unsent": self.requests[who]}
        self.connections[opened.fileno()] = connection
        self.patience.append((due + self.patience_s, connection, due))
        self.poll.register(opened, select.EPOLLOUT)

    def happened(self, at, event):
        connection = self.connections.get(at)
        if connection is None:
            return
        try:
            if connection.get("unsent") and event & select.EPOLLOUT:
                connection["socket"].send(connection.pop("unsent"))
                self.poll.modify(at, select.EPOLLIN)
                return
            found = connection["socket"].recv(65536)
        except BlockingIOError:
            return
        except OSError:
            found = b""
        if not found:
            self.end(connection, "failed")
            return
        buffer = connection["buffer"] + found
        head, end, body = buffer.partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        if not end or (length and len(body) < int(length[1])):
            connection["buffer"] = buffer
            return
        connection["buffer"] = b""
        self.answered(connection, head)
        if not length or b"connection: close" in head.lower():
            self.end(connection, None)
        else:
            self.free.append(at)

    def answered(self, connection, head):
        who, due = connection["asked"]
        connection["asked"] = None
        status = head[9:12]
        if status == b"200":
            now = time.monotonic()
            self.seen[who]["took"].append(now - due)
            self.in_time += now <= self.ends
        else:
            self.seen[who]["shed" if status in (b"503", b"429") else "failed"] += 1

    def give_up(self, now):
        """Ends what was waited for too long, and forgets who was answered."""
        while self.patience:
            until, connection, due = self.patience[0]
            is_waiting = connection["asked"] is not None and connection["asked"][1] == due
            if is_waiting and until > now:
                return
            self.patience.popleft()
            if is_waiting:
                self.end(connection, "failed")

    def end(self, connection, why):
        if connection["asked"] and why:
            self.seen[connection["asked"][0]][why] += 1
        connection["asked"] = None
        at = connection["socket"].fileno()
        if at >= 0:
            self.connections.pop(at, None)
            connection["socket"].close()

    def told(self, seconds):
        took = {who: sorted(seen["took"]) for who, seen in self.seen.items()}
        def part(times, share):
            return round(times[min(len(times) - 1, int(len(times) * share))] * 1e3, 2) if times else None
        late = sorted(self.late)
        return {
            # Those that came after the end of the load came by themselves.
            "goodput": round(self.in_time / seconds, 1),
            "p50_ms": {who: part(times, 0.5) for who, times in took.items()},
            "p99_ms": {who: part(times, 0.99) for who, times in took.items()},
            "answered": {who: len(times) for who, times in took.items()},
            "shed": {who: seen["shed"] for who, seen in self.seen.items()},
            "failed": {who: seen["failed"] for who, seen in self.seen.items()},
            "lost": self.lost,
            # How late requests were sent: if that is much, the generator was the bottleneck.
            "late_p99_ms": part(late, 0.99),
        }


def load(address, capacity, times, seconds, patience_s):
    """Little, as much as the backend can work on, far more, and little again."""
    client = Client(address, patience_s)
    client.run(capacity / 10, 1, ["gold"])
    phases = {"unloaded": client.run(capacity / 10, seconds, ["gold"])}
    client.run(capacity, 1, MIX)
    phases["full"] = client.run(capacity, seconds, MIX)
    phases["overload"] = client.run(capacity * times, seconds, MIX)
    time.sleep(REST_S)
    phases["after"] = client.run(capacity / 10, seconds, ["gold", "tin"])
    return phases


if __name__ == "__main__":
    what, address, *numbers = sys.argv[1:]
    if what == "backend":
        backend(address, int(numbers[0]), float(numbers[1]))
    else:
        print(json.dumps(load(address, *map(float, numbers))))
