#!/usr/bin/env python3
"""Ten minutes under load, while the config is reloaded and backends are killed and come back, after five that warm up. At the end

- no request has failed, except those that a killed backend had and that must not be sent twice (POST);
- clients and gateway have counted the same;
- memory has not grown: its slope over the last eight tenths of the ten minutes is under 1 %;
- nothing is under way, and no file descriptor has leaked.

The warm-up has the same load, reloads and kills, and all but memory is looked at there too. An allocator reaches for new pages whenever more is in
use at one moment than ever before, and keeps them: that comes to rest by itself after some minutes, while what is lost for good grows on.
"""

import argparse
import collections
import http.client
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

from servers import BenchError, Server, free_addresses

BENCH = Path(__file__).resolve().parent
BACKENDS, CLIENTS = 4, 8
RELOAD_EVERY_S, KILL_EVERY_S, LOOK_EVERY_S = 1.0, 5.0, 1.0
SLOPE_MAX = 0.01

BACKEND = """
import sys, http.server
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self):
        length = int(self.headers.get("content-length") or 0)
        self.rfile.read(length)
        body = b"x" * 2000
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
    do_GET = do_POST = do_PUT = do_HEAD = answer
    def log_message(self, *_):
        pass
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 256
    allow_reuse_address = True
host, port = sys.argv[1].split(":")
Server((host, int(port)), Handler).serve_forever()
"""

CONFIG = """version: 1
admin: {{ bind: "{admin}" }}
access_log: {{ to: "{log}" }}
listeners: {{ public: {{ bind: "{listen}" }} }}
upstreams:
  all:
    targets: [{targets}]
    balance: least_request
    retries: 3
    health: {{ path: /, every: 500ms, timeout: 400ms, healthy_after: 1, unhealthy_after: 1 }}
policies: [{{ rate_limit: 1000000/s per address }}]
apis:
  all: {{ upstream: all, public: a soak, policies: [{{ headers: {{ response: {{ set: {{ x-revision: "{revision}" }} }} }} }}] }}
"""


class Seen:
    """What the clients saw."""

    def __init__(self):
        self.lock, self.statuses, self.broken = threading.Lock(), collections.Counter(), collections.Counter()

    def status(self, method, status):
        with self.lock:
            self.statuses[method, status] += 1

    def failure(self, method, error):
        with self.lock:
            self.broken[method, type(error).__name__] += 1


def client(address, seen, is_over):
    """Asks until it is over; every tenth request must not be sent twice."""
    connection, number = None, 0
    while not is_over.is_set():
        number += 1
        method = "POST" if number % 10 == 0 else random.choice(["GET", "GET", "HEAD", "PUT"])
        body = b"y" * 500 if method in ("POST", "PUT") else None
        try:
            connection = connection or http.client.HTTPConnection(address, timeout=30)
            connection.request(method, f"/item/{number}", body=body)
            answer = connection.getresponse()
            answer.read()
            seen.status(method, answer.status)
            if answer.will_close:
                connection.close()
                connection = None
        except (OSError, http.client.HTTPException) as error:
            seen.failure(method, error)
            if connection:
                connection.close()
            connection = None


class Soak:
    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.listen, self.admin, *self.backends = free_addresses(2 + BACKENDS)
        self.config, self.log = folder / "yett.yaml", folder / "logs" / "access.log"
        self.log.parent.mkdir()
        self.revision, self.reloads, self.kills = 0, 0, 0
        self.write()
        self.running = {address: self.backend(address) for address in self.backends}
        for server in self.running.values():
            server.wait_until_ready()
        argv = [str(options.binary), "run", "--log", "error", str(self.config)]
        self.yett = Server("yett", argv, self.listen, None, folder)
        self.yett.wait_until_ready()

    def backend(self, address):
        return Server("backend", [sys.executable, "-c", BACKEND, address], address, None, self.folder)

    def write(self):
        targets = ", ".join(f"'{address}'" for address in self.backends)
        text = CONFIG.format(admin=self.admin, listen=self.listen, log=self.log, targets=targets,
                             revision=self.revision)
        new = self.config.with_suffix(".new")
        new.write_text(text)
        new.rename(self.config)

    def reload(self):
        self.revision += 1
        self.write()
        self.yett.process.send_signal(signal.SIGHUP)
        self.reloads += 1

    def kill(self):
        """Kills one backend while the others serve, and starts it again."""
        address = random.choice(self.backends)
        self.running[address].process.kill()
        self.running[address].process.wait()
        self.running[address] = self.backend(address)
        self.kills += 1

    def metric(self, series):
        with urllib.request.urlopen(f"http://{self.admin}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        return sum(map(float, re.findall(rf"^{series}(?:\{{.*\}})? (\S+)$", text, re.M)))

    def memory(self):
        """KiB that are resident, and those of them that are of no file: `Rss` and `Anonymous` of proc(5)."""
        text = Path(f"/proc/{self.yett.process.pid}/smaps_rollup").read_text()
        return tuple(int(re.search(rf"^{field}:\s+(\d+) kB", text, re.M)[1]) for field in ("Rss", "Anonymous"))

    def files(self):
        return len(os.listdir(f"/proc/{self.yett.process.pid}/fd"))

    def run(self):
        seen, is_over = Seen(), threading.Event()
        clients = [threading.Thread(target=client, args=(self.listen, seen, is_over)) for _ in range(CLIENTS)]
        for thread in clients:
            thread.start()
        looks, began = [], time.monotonic()
        due = {self.reload: began + RELOAD_EVERY_S, self.kill: began + KILL_EVERY_S}
        every = {self.reload: RELOAD_EVERY_S, self.kill: KILL_EVERY_S}
        try:
            while (now := time.monotonic()) < began + self.options.warm_up + self.options.seconds:
                self.yett.see_alive()
                looks.append((now - began, *self.memory()))
                for act, at in due.items():
                    if now >= at:
                        act()
                        due[act] = now + every[act]
                if len(looks) % 30 == 0:
                    total = sum(seen.statuses.values())
                    print(f"  {now - began:4.0f} s: {total:,} requests, {self.reloads} reloads, {self.kills} kills, "
                          f"{looks[-1][1]:,} KiB, {self.files()} files", flush=True)
                time.sleep(LOOK_EVERY_S)
        finally:
            is_over.set()
            for thread in clients:
                thread.join()
        return seen, looks

    def stop(self):
        for server in [self.yett, *self.running.values()]:
            server.stop()


def slope(points):
    """Growth from the first to the last point, by a straight line through all, and their mean."""
    mean_at = sum(at for at, _ in points) / len(points)
    mean = sum(kib for _, kib in points) / len(points)
    above = sum((at - mean_at) * (kib - mean) for at, kib in points)
    below = sum((at - mean_at) ** 2 for at, _ in points)
    return above / below * (points[-1][0] - points[0][0]), mean


def growth(looks, options):
    """Growth of memory as a share of it over the last eight tenths after the warm-up, and where it is, in words."""
    begin = options.warm_up + options.seconds * 0.2
    late = [look for look in looks if look[0] >= begin]
    grown, mean = slope([(at, rss) for at, rss, _ in late])
    own, own_mean = slope([(at, anonymous) for at, _, anonymous in late])
    files, files_mean = grown - own, mean - own_mean
    before = max((rss for at, rss, _ in looks if at < options.warm_up), default=0)
    return grown / mean, (f"slope of memory: {grown / mean:+.2%} over the last eight tenths ({grown:+,.0f} KiB of {mean:,.0f}; "
                          f"of files {files:+,.0f} of {files_mean:,.0f}, else {own:+,.0f} of {own_mean:,.0f}); "
                          f"most before {before:,}, since {max(rss for _, rss, _ in late):,} KiB")


def verdicts(soak, seen, looks, options):
    """What must hold, and whether it does."""
    bad = {key: count for key, count in seen.statuses.items() if key[1] != 200 and key[0] != "POST"}
    lost = {key: count for key, count in seen.broken.items() if key[0] != "POST"}
    unsafe = sum(count for (method, status), count in seen.statuses.items() if method == "POST" and status != 200)
    limit = time.monotonic() + 10
    while soak.metric("yett_requests_in_flight") and time.monotonic() < limit:
        time.sleep(0.1)
    client_count = sum(seen.statuses.values()) + sum(seen.broken.values())
    gateway_count = soak.metric("yett_requests_total")
    grown, told = growth(looks, options)
    kills = max(soak.kills, 1)
    found = re.findall(r'\bfault"?[:=]"?(\w+)', soak.log.read_text())
    faults = dict(collections.Counter(found))
    return [
        (True, f"faults the gateway tells of: {faults or 'none'}"),
        (not bad, f"answers other than 200 to requests that may be repeated: {bad or 'none'}"),
        (not lost, f"such requests without an answer: {lost or 'none'}"),
        (unsafe <= kills * CLIENTS, f"POST that a killed backend had: {unsafe} in {soak.kills} kills"),
        (client_count == gateway_count, f"requests counted: clients {client_count:,}, gateway {gateway_count:,.0f}"),
        (grown < SLOPE_MAX, told),
        (soak.metric("yett_requests_in_flight") == 0, "nothing is under way"),
        (soak.files() < 200, f"open files at the end: {soak.files()}"),
        (soak.reloads > 0 and soak.kills > 0, f"{soak.reloads} reloads, {soak.kills} kills"),
    ]


def save(lines, options, loads):
    """Keeps the verdicts, with what else they depend on."""
    said = subprocess.run([options.binary, "--version"], stdout=subprocess.PIPE, text=True).stdout.strip()
    before, after = loads
    about = (f"{said}, {options.warm_up} s to warm up and {options.seconds} s, {os.cpu_count()} cores; load average {before:.1f} before and {after:.1f} "
             "after, of which this run makes about 3.")
    text = "\n".join(["# Soak", "", f"Made by `bench/soak.py --save`: {about}", "", "```text", *lines, "```", ""])
    (BENCH / "results" / "soak.md").write_text(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    target = Path(os.environ.get("CARGO_TARGET_DIR", BENCH.parent / "target"))
    parser.add_argument("--seconds", type=int, default=600, help="how long (600)")
    parser.add_argument("--warm-up", type=int, default=300, help="how long before memory is looked at (300)")
    parser.add_argument("--binary", type=Path, default=target / "release" / "yett", help="the yett that is tried")
    parser.add_argument("--save", action="store_true", help="write bench/results/soak.md")
    options = parser.parse_args()
    loads = [os.getloadavg()[0]]
    with tempfile.TemporaryDirectory() as made:
        try:
            soak = Soak(options, Path(made))
            try:
                found = verdicts(soak, *soak.run(), options)
            finally:
                soak.stop()
                loads.append(os.getloadavg()[0])
        except BenchError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    lines = [f"{'ok  ' if is_good else 'FAIL'} {text}" for is_good, text in found]
    print("\n".join(lines))
    if options.save:
        save(lines, options, loads)
    return 0 if all(is_good for is_good, _ in found) else 1


if __name__ == "__main__":
    sys.exit(main())
