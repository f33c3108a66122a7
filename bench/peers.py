"""What can be measured: proxies, and scenarios with a config template for each."""

import json
import re
import subprocess
from dataclasses import dataclass, field

import load
from servers import CONFIGS, BenchError, Server, fill, free_addresses, program

BODY_BYTES = 400
TARGET = "/orders/17"


@dataclass
class Scenario:
    """One kind of work. `budget`: first release and goal, as ratios of CPU per request."""

    name: str
    about: str
    generator: callable
    budget: tuple
    # nginx doing what is what 1.00 of the budget means.
    budget_base: str
    is_guarded: bool = False
    is_h2: bool = False
    needs: list = field(default_factory=lambda: ["wrk", "curl"])


SCENARIOS = [
    Scenario("plain", "plain proxy: metrics and access log on, no policy", load.wrk,
             (1.25, 0.95), "plain"),
    Scenario("guarded", "API key, limit per consumer, headers set and removed, metrics, access log",
             load.wrk, (1.45, 1.15), "plain", is_guarded=True),
    Scenario("h2", "plain proxy, HTTP/2 (prior knowledge) towards clients", load.h2load,
             (1.25, 0.95), "h2", is_h2=True, needs=["h2load", "curl"]),
]


def nginx_argv(_binary, config, folder):
    # `-e`: before the config is read, errors would go to a file of the system's.
    return [program("nginx"), "-p", str(folder), "-c", str(config), "-e", "stderr"]


def yett_argv(binary, config, _folder):
    return [str(binary), "run", "--log", "warn", str(config)]


# A peer is a name, how it is started, and one template per scenario it takes part in.
PEERS = {"nginx": nginx_argv, "yett": yett_argv}


def peers_of(scenario):
    return [name for name in PEERS if (CONFIGS / f"{scenario.name}.{name}.template").exists()]


def fixed_body():
    """A JSON answer of exactly BODY_BYTES bytes."""
    row = {"id": 17, "customer": "c-204", "state": "paid", "total": "129.90", "note": ""}
    row["note"] = "x" * (BODY_BYTES - len(json.dumps(row)))
    return json.dumps(row)


class Stage:
    """The backend, the proxies of one scenario, and the client's side of it."""

    def __init__(self, scenario, binary, cores, folder, user_line):
        self.scenario, self.binary, self.folder = scenario, binary, folder
        self.proxy_core, self.load_core = cores
        self.servers, self.proxies = [], {}
        names = peers_of(scenario)
        backend, admin, *listen = free_addresses(2 + len(names))
        self.admin, self.listen = admin, dict(zip(names, listen))
        self.values = {
            "backend": backend, "admin": admin, "dir": folder, "body": fixed_body(),
            "user_line": user_line,
        }
        self.headers = {}

    def start(self):
        """Starts everything, and sees that each proxy does the work that is to be measured."""
        if self.scenario.is_guarded:
            made = subprocess.run(
                [self.binary, "key", "create", "--consumer", "bench", "--format", "json"],
                check=True, stdout=subprocess.PIPE)
            key = json.loads(made.stdout)
            self.values |= {"key": key["key"], "key_hash": key["hash"]}
            self.headers = {"x-api-key": key["key"], "cookie": "session=abc"}
        self.log("").parent.mkdir()
        config = self.folder / "backend.nginx"
        fill("backend.nginx.template", self.values, config)
        argv = nginx_argv(None, config, self.folder)
        self.run("backend", argv, self.values["backend"], self.load_core)
        for name, address in self.listen.items():
            config = self.folder / (f"{name}.yaml" if name == "yett" else f"{name}.conf")
            own = {"listen": address, "log": self.log(name)}
            fill(f"{self.scenario.name}.{name}.template", self.values | own, config)
            argv = PEERS[name](self.binary, config, self.folder)
            self.proxies[name] = self.run(name, argv, address, self.proxy_core)
            self.verify(name)

    def run(self, name, argv, address, core):
        server = Server(name, argv, address, core, self.folder)
        self.servers.append(server)
        server.wait_until_ready()
        return server

    def see_alive(self):
        """Fails if a server has ended, with what it said last."""
        for server in self.servers:
            server.see_alive()

    def stop(self):
        for server in reversed(self.servers):
            server.stop()

    def log(self, name):
        # Not beside the config: yett watches that folder for changes.
        return self.folder / "logs" / f"{name}.log"

    def load(self, name, seconds):
        """One round of load on a proxy."""
        url = f"http://{self.listen[name]}{TARGET}"
        generator = self.scenario.generator
        return generator(url, self.headers, seconds, self.load_core, self.folder)

    def fetch(self, name, path, headers):
        """Status, headers and body of one answer."""
        argv = ["curl", "-si", "--noproxy", "*", "--max-time", "5"]
        argv += ["--http2-prior-knowledge"] if self.scenario.is_h2 else ["--http1.1"]
        for header in headers.items():
            argv += ["-H", ": ".join(header)]
        argv.append(f"http://{self.listen[name]}{path}")
        done = subprocess.run(argv, stdout=subprocess.PIPE, text=True)
        head, _, body = done.stdout.replace("\r\n", "\n").partition("\n\n")
        if done.returncode != 0 or not head:
            raise BenchError(f"{name} gives no answer (curl says {done.returncode})")
        status, *lines = head.split("\n")
        pairs = (line.partition(":") for line in lines)
        answer = {name.lower(): value.strip() for name, _, value in pairs}
        return int(status.split()[1]), answer, body

    def verify(self, name):
        """Refuses to measure a proxy that does less, or other work, than asked."""
        status, answer, body = self.fetch(name, TARGET, self.headers)
        seen = json.loads(self.fetch(name, "/orders/seen", self.headers)[2])
        is_guarded = self.scenario.is_guarded
        host = self.listen[name]
        checks = {
            "status": (status, 200),
            "bytes of the body": (len(body), BODY_BYTES),
            "x-request-id towards the client": (bool(answer.get("x-request-id")), True),
            "x-request-id towards the backend": (bool(seen["request_id"]), True),
            "x-forwarded-for": (seen["forwarded_for"], "127.0.0.1"),
            "x-forwarded-proto": (seen["forwarded_proto"], "http"),
            "x-forwarded-host": (seen["forwarded_host"], host),
            "protocol towards the backend": (seen["protocol"], "HTTP/1.1"),
            "keep-alive towards the backend": (seen["connection"] in ("", "keep-alive"), True),
            "header of the backend's answer":
                (answer.get("x-internal-node"), None if is_guarded else "node-1"),
        }
        if is_guarded:
            checks |= {
                "status without a key": (self.fetch(name, TARGET, {})[0], 401),
                "key towards the backend": (seen["key"], ""),
                "consumer towards the backend": (seen["consumer"], "bench"),
                "header set in the request": (seen["gateway"], "bench"),
                "header removed from the request": (seen["cookie"], ""),
                "header set in the answer": (answer.get("x-served-by"), "bench"),
            }
        for what, (found, expected) in checks.items():
            if found != expected:
                where = f"{self.scenario.name}, {name}"
                raise BenchError(f"{where}: {what} is {found!r}, not {expected!r}")

    def counted(self, name):
        """Requests answered with 2xx as yett's own metrics tell, or None for another proxy."""
        if name != "yett":
            return None
        argv = ["curl", "-sf", "--noproxy", "*", "--max-time", "5", f"http://{self.admin}/metrics"]
        done = subprocess.run(argv, stdout=subprocess.PIPE, text=True)
        if done.returncode != 0:
            raise BenchError(f"yett's metrics cannot be read (curl says {done.returncode})")
        rows = re.findall(r'^yett_requests_total\{.*status="2xx".*\} (\S+)$', done.stdout, re.M)
        return int(sum(map(float, rows)))

    def logged(self, name):
        """Lines with status 200 in the access log, and its bytes; the log is empty after that."""
        path = self.log(name)
        lines = size = 0
        with open(path, "rb") as log:
            for line in log:
                lines += b'"status":200,' in line
                size += len(line)
        # Both append, so what they write next begins at the start.
        path.open("wb").close()
        return lines, size
