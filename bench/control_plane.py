#!/usr/bin/env python3
"""How fast the control plane is when there is much of it: 10,000 routes in 500 APIs and 100,000 applications, on SQLite and on PostgreSQL.

Measured as its users meet it: `yett apply` from the command line, one route changed while a client asks for it all the time, and lists and
searches over HTTP. Budgets are those of the design; the run fails if one is broken or if a number that should agree does not.
"""

import argparse
import http.client
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from servers import BenchError, Server, free_addresses

BENCH = Path(__file__).resolve().parent
APIS, ROUTES_EACH = 500, 20
CONSUMERS, APPLICATIONS_EACH = 1_000, 100
WRITERS, CHANGES, ASKS = 8, 20, 200
# DESIGN: a one-route change is in traffic, lists and searches answer (p95), and 10,000 routes are applied, within these.
CHANGE_MS, LIST_MS, APPLY_S = 200, 50, 10
START_S = 60

CONFIG = """version: 1
admin: {{ bind: "{admin}" }}
state_dir: {folder}/state
access_log: {{ to: "{folder}/access.log" }}
listeners: {{ public: {{ bind: "{listen}" }} }}
control: {{ bind: "{control}"{database} }}
"""
# PostgreSQL refuses to be root.
NOBODY = 65_534


class Postgres:
    """A PostgreSQL of its own, which keeps its promises: it waits for its disk."""

    def __init__(self, folder):
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda it: int(it.parent.name))
        if not found:
            raise BenchError("PostgreSQL is not installed: run `make needs`")
        self.folder, programs = folder, found[-1]
        folder.mkdir()
        self.who = {}
        if os.geteuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
            self.who = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        made = [programs / "initdb", "-D", folder / "data", "-A", "trust", "-U", "yett", "-E", "UTF8", "--locale=C"]
        subprocess.run(made, check=True, stdout=subprocess.DEVNULL, cwd=folder, **self.who)
        argv = [programs / "postgres", "-D", folder / "data", "-c", "listen_addresses=", "-c", f"unix_socket_directories={folder}"]
        log = open(folder / "log", "w")
        self.process = subprocess.Popen(argv, stdout=log, stderr=log, cwd=folder, **self.who)
        until(lambda: "ready to accept connections" in (folder / "log").read_text(), "PostgreSQL is ready")
        psql = [programs / "psql", "-q", f"host={folder} user=yett dbname=postgres", "-c", "CREATE DATABASE yett"]
        subprocess.run(psql, check=True, cwd=folder)
        self.url = f"postgres:///yett?host={folder}&user=yett"

    def stop(self):
        self.process.terminate()
        self.process.wait()


def until(is_true, what):
    limit = time.monotonic() + START_S
    while not is_true():
        if time.monotonic() > limit:
            raise BenchError(f"not within {START_S} s: {what}")
        time.sleep(0.05)


class Api:
    """The admin API, on one connection."""

    def __init__(self, address, token):
        self.token, self.connection = token, http.client.HTTPConnection(address, timeout=60)

    def ask(self, method, path, body=None, wanted=(200, 201, 204)):
        headers = {"authorization": f"Bearer {self.token}", "if-match": "*"}
        if body is not None:
            headers["content-type"], body = "application/json", json.dumps(body)
        self.connection.request(method, f"/v1/{path}", body, headers)
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status not in wanted:
            raise BenchError(f"{method} {path}: {answer.status} {text[:500]!r}")
        return json.loads(text) if text else None


class Gateway:
    """A gateway with a control plane, and somebody who has logged in."""

    def __init__(self, binary, folder, database):
        self.binary, self.folder = binary, folder
        self.admin, self.listen, self.control = free_addresses(3)
        text = CONFIG.format(admin=self.admin, listen=self.listen, control=self.control, folder=folder, database=database)
        (folder / "yett.yaml").write_text(text)
        (folder / "state").mkdir()
        said = folder / "said"
        self.server = Server("yett", [binary, "run", folder / "yett.yaml"], self.control, None, folder, said)
        self.server.wait_until_ready()
        until(lambda: "/login/" in said.read_text(), "a link to log in by")
        link = re.search(r"http://\S+/login/\S+", said.read_text())[0]
        self.environment = os.environ | {"XDG_CONFIG_HOME": str(folder / "settings")}
        self.command("login", link)
        logins = json.loads((folder / "settings/yett/logins.json").read_text())
        self.token = logins["tokens"][logins["last"]]

    def command(self, *arguments, code=0):
        done = subprocess.run([self.binary, *arguments], env=self.environment, cwd=self.folder, capture_output=True, text=True)
        if done.returncode != code:
            raise BenchError(f"yett {arguments[0]} ended with {done.returncode}:\n{done.stdout[-1000:]}{done.stderr[-1000:]}")
        return done.stdout

    def api(self):
        return Api(self.control, self.token)


def write_files(folder, backend):
    """A file for each API, as a team would have them."""
    folder.mkdir()
    (folder / "upstreams.yaml").write_text(f"version: 1\nupstreams: {{ all: {{ targets: [\"{backend}\"] }} }}\n")
    for api in range(APIS):
        lines = ["version: 1", "apis:", f"  api-{api}:", f"    path: /api-{api}", "    upstream: all", "    public: a benchmark", "    routes:"]
        for route in range(ROUTES_EACH):
            path = f"/things-{route}/{{id}}" if route % 2 else f"/things-{route}"
            lines.append(f"      - {{ name: route-{route}, path: \"{path}\", methods: [GET] }}")
        (folder / f"api-{api}.yaml").write_text("\n".join(lines) + "\n")


def apply_all(gateway, folder):
    """Seconds until all of it was published, until it was served, and the same again, which changes nothing."""
    began = time.monotonic()
    gateway.command("apply", *files(folder), "--yes")
    applied = time.monotonic() - began
    last = f"/api-{APIS - 1}/things-{ROUTES_EACH - 2}"
    until(lambda: status(gateway, last) == 200, "the last route is served")
    served, began = time.monotonic() - began, time.monotonic()
    if "nothing to change" not in gateway.command("apply", *files(folder), "--yes"):
        raise BenchError("applying the same again changes something")
    return applied, served, time.monotonic() - began


def files(folder):
    return sorted(str(it) for it in folder.glob("*.yaml"))


def status(gateway, path):
    connection = http.client.HTTPConnection(gateway.listen, timeout=10)
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


def change_one(gateway):
    """Milliseconds from sending a change of one route, and from when it was acknowledged, until traffic goes by it."""
    api, sent_ms, kept_ms, failed = gateway.api(), [], [], 0
    client = http.client.HTTPConnection(gateway.listen, timeout=10)
    for number in range(CHANGES):
        at = f"workspaces/default/apis/api-{number}/routes/route-0"
        path = f"/things-0-{number}"
        api.ask("PUT", at, {"name": "route-0", "config": {"path": path, "methods": ["GET"]}})
        began = time.monotonic()
        done = threading.Event()
        kept = {}

        def publish():
            gateway.api().ask("POST", "workspaces/default/revisions", {"note": f"change {number}"})
            kept["at"] = time.monotonic()
            done.set()
        threading.Thread(target=publish).start()
        while True:
            client.request("GET", f"/api-{number}{path}")
            answer = client.getresponse()
            answer.read()
            if answer.status == 200:
                break
            failed += answer.status != 404
            if time.monotonic() - began > START_S:
                raise BenchError("a change of one route is not served")
        served = time.monotonic()
        done.wait()
        sent_ms.append(1e3 * (served - began))
        kept_ms.append(max(0.0, 1e3 * (served - kept["at"])))
    if failed:
        raise BenchError(f"{failed} requests failed while routes were changed")
    return sent_ms, kept_ms


def add_applications(gateway):
    """Applications a second, written by several clients, and how many there are."""
    began, numbers, lock, errors = time.monotonic(), iter(range(CONSUMERS)), threading.Lock(), []

    def write():
        api = gateway.api()
        try:
            while True:
                with lock:
                    number = next(numbers, None)
                if number is None:
                    return
                api.ask("POST", "workspaces/default/consumers", {"name": f"consumer-{number}"})
                for part in range(APPLICATIONS_EACH):
                    name = f"app-{number * APPLICATIONS_EACH + part}"
                    sent = {"name": name, "title": f"Of team {number % 37}"}
                    api.ask("POST", f"workspaces/default/consumers/consumer-{number}/applications", sent)
        except (BenchError, OSError) as error:
            errors.append(error)
    writers = [threading.Thread(target=write) for _ in range(WRITERS)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    if errors:
        raise BenchError(f"applications cannot be added: {errors[0]}")
    return CONSUMERS * APPLICATIONS_EACH / (time.monotonic() - began)


def asks(gateway):
    """p95 in milliseconds of lists and searches, by what is asked."""
    base = "workspaces/default"
    kinds = {
        "list, a page of 50": lambda n, _: f"{base}/applications?limit=50",
        "list, all pages one after the other": lambda _, after: f"{base}/applications?limit=200" + (f"&after={after}" if after else ""),
        "list of one consumer": lambda n, _: f"{base}/consumers/consumer-{n * 7 % CONSUMERS}/applications?limit=50",
        "by the beginning of the name": lambda n, _: f"{base}/applications?name=app-{n * 419 % (CONSUMERS * APPLICATIONS_EACH)}",
        "search, one of all": lambda n, _: f"{base}/applications?q=pp-{n * 419 % (CONSUMERS * APPLICATIONS_EACH)}",
        "search, many": lambda n, _: f"{base}/applications?q=team%20{n % 37}",
        "search, none": lambda n, _: f"{base}/applications?q=nobody-{n}",
        "routes of an API": lambda n, _: f"{base}/apis/api-{n % APIS}/routes",
    }
    found = {}
    for kind, path in kinds.items():
        api, took, after, seen = gateway.api(), [], None, set()
        for number in range(-10, ASKS if "pages" not in kind else 10_000):
            began = time.monotonic()
            page = api.ask("GET", path(number, after if number >= 0 else None))
            # The first ones warm up.
            if number >= 0:
                took.append(1e3 * (time.monotonic() - began))
                after = page["next"]
                seen.update(it.get("id") for it in page["items"])
                if "pages" in kind and after is None:
                    break
            if ("one of all" in kind or "beginning" in kind) and not page["items"]:
                raise BenchError(f"{kind}: nothing is found")
        if "pages" in kind and len(seen) != CONSUMERS * APPLICATIONS_EACH:
            raise BenchError(f"{len(seen)} applications are listed, not {CONSUMERS * APPLICATIONS_EACH}")
        found[kind] = p95(took)
        print(f"  {kind}: p95 {found[kind]:.1f} ms", flush=True)
    return found


def p95(took):
    return statistics.quantiles(took, n=20)[-1] if len(took) > 1 else took[0]


def measure(binary, folder, backend, postgres):
    """Numbers of one database: what, value, unit, budget or None."""
    database = f', database: "{postgres.url}"' if postgres else ""
    gateway = Gateway(binary, folder, database)
    try:
        rows = [("memory at the start", gateway.server.rss_kib() / 1024, "MiB", None)]
        write_files(folder / "files", backend)
        applied, served, again = apply_all(gateway, folder / "files")
        rows += [("`yett apply` of 10,000 routes", applied, "s", APPLY_S), ("until the last is served", served, "s", None),
                 ("the same again", again, "s", None), ("memory with 10,000 routes", gateway.server.rss_kib() / 1024, "MiB", None)]
        print(f"  applied in {applied:.1f} s, served after {served:.1f} s, again in {again:.1f} s", flush=True)
        sent, kept = change_one(gateway)
        rows += [("one route changed: from its acknowledgement to traffic, median", statistics.median(kept), "ms", CHANGE_MS),
                 ("the same, the slowest", max(kept), "ms", CHANGE_MS), ("from sending it to traffic, median", statistics.median(sent), "ms", None)]
        print(f"  one route: {statistics.median(kept):.0f} ms after it was acknowledged, {statistics.median(sent):.0f} ms after it was sent", flush=True)
        rows.append(("applications added", add_applications(gateway), "a second", None))
        print(f"  {rows[-1][1]:.0f} applications a second", flush=True)
        rows += [(f"{kind}, p95", value, "ms", LIST_MS if "list, all" not in kind else None) for kind, value in asks(gateway).items()]
        rows.append(("memory with 100,000 applications", gateway.server.rss_kib() / 1024, "MiB", None))
        return rows
    finally:
        gateway.server.stop()


def told(found):
    """The tables, and whether every budget holds."""
    names = list(found)
    lines = ["| 10,000 routes in 500 APIs, 100,000 applications of 1,000 consumers | unit | budget | " + " | ".join(names) + " |",
             "|---|---|---:|" + "---:|" * len(names)]
    is_good = True
    for index, (what, _, unit, budget) in enumerate(found[names[0]]):
        values = [found[name][index][1] for name in names]
        is_good &= budget is None or max(values) <= budget
        shown = " | ".join(f"{value:,.1f}" if value < 100 else f"{value:,.0f}" for value in values)
        lines.append(f"| {what} | {unit} | {budget if budget is not None else ''} | {shown} |")
    return "\n".join(lines), is_good


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=Path, default=BENCH.parent / "target/dist/yett", help="the yett to measure (target/dist/yett)")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], help="only on this one")
    parser.add_argument("--save", action="store_true", help="keep what was found in bench/results/platform.md")
    options = parser.parse_args()
    if not options.binary.exists():
        parser.error("there is no yett binary to measure: run `make dist`, or name one with --binary")
    binary, found = options.binary.resolve(), {}
    folder = Path(tempfile.mkdtemp(prefix="yett-bench-"))
    # PostgreSQL runs as somebody else, who has to come by.
    folder.chmod(0o755)
    try:
        for name in [options.database] if options.database else ["sqlite", "postgresql"]:
            print(f"{name}:", flush=True)
            place = folder / name
            place.mkdir()
            postgres = Postgres(folder / "cluster") if name == "postgresql" else None
            try:
                found[name] = measure(binary, place, start_backend(folder / f"backend-{name}"), postgres)
            finally:
                if postgres:
                    postgres.stop()
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        for process in BACKENDS:
            process.terminate()
        shutil.rmtree(folder, ignore_errors=True)
    table, is_good = told(found)
    print("\n" + table)
    if options.save:
        version = subprocess.run([binary, "--version"], capture_output=True, text=True).stdout.strip()
        facts = f"{version}, {platform.machine()}, {os.cpu_count()} cores; `python3 bench/control_plane.py --save`"
        (BENCH / "results/platform.md").write_text(f"# Control plane\n\n{facts}\n\n{table}\n")
    if not is_good:
        print("\na budget is broken", file=sys.stderr)
    return 0 if is_good else 1


BACKENDS = []


def start_backend(folder):
    """An nginx that says 200 to everything; its address."""
    folder.mkdir()
    address, config = free_addresses(1)[0], folder / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""
    config.write_text(f"{user} daemon off; error_log {folder}/error.log; pid {folder}/pid; events {{}} http {{ access_log off; server {{ listen {address}; location / {{ return 200; }} }} }}")
    nginx = shutil.which("nginx") or "/usr/sbin/nginx"
    BACKENDS.append(subprocess.Popen([nginx, "-p", folder, "-c", config], stdout=subprocess.DEVNULL))
    return address


if __name__ == "__main__":
    sys.exit(main())
