#!/usr/bin/env python3
"""Counts the instructions that yett takes for a request, with one route and with many. Counted by callgrind (valgrind),
they are the same on every machine and in every minute, unlike time. `bench/README.md` says more."""

import argparse
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import routes
from peers import nginx_argv
from servers import BenchError, Server, fill, free_addresses, program
from stage import BODY_BYTES, filler

BENCH = Path(__file__).resolve().parent
TABLES = (1, 1_000, 10_000)
WARM_UP, COUNTED = 1_000, 4_000
START_LIMIT_S = 300
# What many routes may cost, as a share of what one costs: first release and goal.
BUDGET = (0.06, 0.03)


class Client:
    """One connection, one request at a time."""

    def __init__(self, address):
        host, port = address.split(":")
        self.socket = socket.create_connection((host, int(port)), timeout=60)

    def ask(self, host, path):
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self.socket.recv(64 << 10)
        head, _, body = answer.partition(b"\r\n\r\n")
        left = int(re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)[1]) - len(body)
        while left > 0:
            left -= len(self.socket.recv(64 << 10))
        return int(head.split(None, 2)[1])


def draws(count):
    """As measured elsewhere, save that of one route nothing can be drawn but itself."""
    return routes.draws(count) if count > 1 else [("h0.example.com", "/orders/r0/list")]


def control(pid, *argv):
    done = subprocess.run([program("callgrind_control"), *argv, str(pid)], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise BenchError(f"callgrind_control failed:\n{done.stdout}")


def instructions(binary, backend, count, folder):
    """Instructions per request with that many routes."""
    listen, admin = free_addresses(2)
    values = {"listen": listen, "admin": admin, "backend": backend, "pool": 8, "log": folder / "log",
              "routes": routes.yett(count)}
    config = folder / "yett.yaml"
    fill("routes.yett.template", values, config)
    out = folder / "callgrind.out"
    argv = [program("valgrind"), "--tool=callgrind", f"--callgrind-out-file={out}", str(binary), "run", "--log",
            "warn", str(config)]
    server = Server("yett", argv, listen, None, folder)
    try:
        limit = time.monotonic() + START_LIMIT_S
        while True:
            try:
                server.wait_until_ready()
                break
            except BenchError:
                server.see_alive()
                if time.monotonic() > limit:
                    raise
        client, asked = Client(listen), draws(count)
        ask(client, asked, WARM_UP)
        control(server.process.pid, "--zero")
        ask(client, asked, COUNTED)
        control(server.process.pid, "--dump")
        dumps = sorted(folder.glob("callgrind.out.*"))
        total = sum(int(re.search(r"^(?:totals|summary): (\d+)", dump.read_text(), re.M)[1]) for dump in dumps)
    finally:
        server.stop()
    return total / COUNTED


def ask(client, asked, count):
    for at in range(count):
        host, path = asked[at % len(asked)]
        wanted = 404 if "/missing/" in path else 200
        if (status := client.ask(host, path)) != wanted:
            raise BenchError(f"{host}{path} is answered with {status}, not {wanted}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    target = Path(os.environ.get("CARGO_TARGET_DIR", BENCH.parent / "target"))
    parser.add_argument("--binary", type=Path, default=target / "dist" / "yett", help="the yett to measure")
    options = parser.parse_args()
    if not program("valgrind"):
        print("error: valgrind is not installed: apt-get install valgrind", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        backend, unused = free_addresses(2)
        values = {"backend_http1": backend, "backend_h2": unused, "dir": folder, "body": filler(BODY_BYTES),
                  "user_line": "user root;" if os.geteuid() == 0 else ""}
        config = folder / "backend.nginx"
        fill("backend.nginx.template", values, config)
        nginx = Server("backend", nginx_argv(program("nginx"), config, folder), backend, None, folder)
        nginx.wait_until_ready()
        found = {}
        try:
            for count in TABLES:
                own = folder / str(count)
                own.mkdir()
                found[count] = instructions(options.binary.resolve(), backend, count, own)
                more = found[count] / found[TABLES[0]] - 1
                print(f"{count:>6,} routes: {found[count]:8,.0f} instructions/request ({more:+.1%})", flush=True)
        except BenchError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        finally:
            nginx.stop()
    worst = max(found.values()) / found[TABLES[0]] - 1
    print(f"{'within' if worst <= BUDGET[0] else 'over'} the budget of {BUDGET[0]:+.0%} (goal {BUDGET[1]:+.0%})")
    rows = {str(count): round(number) for count, number in found.items()}
    (BENCH / "results" / "instructions.json").write_text(json.dumps(rows) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
