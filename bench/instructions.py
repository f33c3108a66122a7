#!/usr/bin/env python3
"""Counts the instructions that yett takes for a request: what each policy adds, and with one route and with many. Counted
by callgrind (valgrind), they are the same on every machine and in every minute, unlike time. `bench/README.md` says more."""

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
from servers import CONFIGS, BenchError, Server, fill, free_addresses, program
from stage import BODY_BYTES, filler
from tokens import AUDIENCE, ISSUER, Issuer, python

BENCH = Path(__file__).resolve().parent
TABLES = (1, 1_000, 10_000)
WARM_UP, COUNTED = 1_000, 4_000
START_LIMIT_S = 300
# What many routes may cost, as a share of what one costs: first release and goal.
BUDGET = (0.06, 0.03)


# Kinds of work, each with what it adds to a plain proxy, and what of the gateway's policies it takes.
HEADERS = """  - headers:
      request: { set: { x-gateway: bench }, remove: [cookie] }
      response: { set: { x-served-by: bench }, remove: [x-internal-node] }"""
API_KEY, LIMIT = "  - api_key", "  - rate_limit: 1000000/s per consumer"
JWT = f'  - jwt: {{ issuer: "{ISSUER}", audience: {AUDIENCE}, jwks: "${{file:@jwks@}}", consumer: {{ prefix: bench }} }}'
STEPS = {
    "plain": [], "headers": [HEADERS], "api_key": [API_KEY], "api_key, rate_limit": [API_KEY, LIMIT],
    "guarded": [API_KEY, LIMIT, HEADERS],
    # These show a token in place of the key, always the same one.
    "jwt": [JWT], "jwt, rate_limit": [JWT, LIMIT],
}


class Client:
    """One connection, one request at a time."""

    def __init__(self, address, headers=""):
        self.headers = headers
        host, port = address.split(":")
        self.socket = socket.create_connection((host, int(port)), timeout=60)

    def ask(self, host, path):
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{self.headers}\r\n".encode())
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


def of_routes(binary, backend, count, folder):
    """Instructions per request with that many routes."""
    values = {"pool": 8, "routes": routes.yett(count)}
    return instructions(binary, backend, ("routes.yett.template", values), draws(count), folder)


def of_step(binary, backend, policies, folder):
    """Instructions per request with these policies; the request is the same for all."""
    argv = [str(binary), "key", "create", "--consumer", "bench", "--format", "json"]
    key = json.loads(subprocess.run(argv, check=True, stdout=subprocess.PIPE).stdout)
    text = (CONFIGS / "guarded.yett.template").read_text()
    before, rest = text.split("policies:\n", 1)
    rest = rest[rest.index("apis:"):]
    text = before + ("policies:\n" + "\n".join(policies) + "\n\n" if policies else "") + rest
    if not {API_KEY, JWT} & set(policies):
        text = text.replace("  orders:\n    path:", "  orders:\n    public: a benchmark on loopback\n    path:")
    template = folder / "step.template"
    template.write_text(text)
    headers = f"x-api-key: {key['key']}\r\ncookie: session=abc\r\n"
    values = {"pool": 8, "key_hash": key["hash"]}
    if JWT in policies:
        issuer = Issuer("RS256", folder / "issuer")
        values["jwks"] = issuer.folder / "keys.json"
        headers = f"authorization: Bearer {issuer.make(1, 1)[0]}\r\ncookie: session=abc\r\n"
    return instructions(binary, backend, (template, values), [("h0.example.com", "/orders/17")], folder, headers)


def instructions(binary, backend, config_of, asked, folder, headers=""):
    """Instructions of the worker per request, of a template and what is filled in."""
    template, values = config_of
    listen, admin = free_addresses(2)
    values = values | {"listen": listen, "admin": admin, "backend": backend, "log": folder / "log"}
    config = folder / "yett.yaml"
    fill(template, values, config)
    out = folder / "callgrind.out"
    argv = [program("valgrind"), "--tool=callgrind", "--separate-threads=yes", f"--callgrind-out-file={out}",
            str(binary), "run", "--log", "warn", str(config)]
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
        client = Client(listen, headers)
        ask(client, asked, WARM_UP)
        control(server.process.pid, "--zero")
        ask(client, asked, COUNTED)
        control(server.process.pid, "--dump")
        total = sum(of_worker(dump.read_text()) for dump in folder.glob("callgrind.out.*"))
    finally:
        server.stop()
    return total / COUNTED


def of_worker(dump):
    """What a thread's dump counts, if it is the worker's; what other threads do meanwhile is not paid by requests."""
    if "serve_http1" not in dump:
        return 0
    return int(re.search(r"^(?:totals|summary): (\d+)", dump, re.M)[1])


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
    parser.add_argument("--steps", action="store_true", help="count policies only, not routes; writes no results")
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
        steps, binary = {}, options.binary.resolve()
        try:
            for step, policies in STEPS.items():
                if JWT in policies and not python():
                    print(f"{step:>20}: left out, nothing here signs tokens: run `sh scripts/bench-needs.sh`")
                    continue
                own = folder / step
                own.mkdir()
                steps[step] = of_step(binary, backend, policies, own)
                more = steps[step] - steps["plain"]
                print(f"{step:>20}: {steps[step]:8,.0f} instructions/request ({more:+,.0f})", flush=True)
            for count in () if options.steps else TABLES:
                own = folder / str(count)
                own.mkdir()
                found[count] = of_routes(binary, backend, count, own)
                more = found[count] / found[TABLES[0]] - 1
                print(f"{count:>13,} routes: {found[count]:8,.0f} instructions/request ({more:+.1%})", flush=True)
        except BenchError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        finally:
            nginx.stop()
    if options.steps:
        return 0
    worst = max(found.values()) / found[TABLES[0]] - 1
    print(f"{'within' if worst <= BUDGET[0] else 'over'} the budget of {BUDGET[0]:+.0%} (goal {BUDGET[1]:+.0%})")
    rows = {str(key): round(number) for key, number in (steps | found).items()}
    (BENCH / "results" / "instructions.json").write_text(json.dumps(rows) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
