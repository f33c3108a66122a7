"""One scenario set up: the backend, the proxies, and the client's side of them."""

import hashlib
import ipaddress
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import addresses
import routes
from load import IdleConnections, Order
from peers import BASE, PEERS, SUBJECT, nginx_argv
from scenarios import BODY_BYTES
from servers import CONFIGS, BenchError, Server, fill, free_addresses, program
from tokens import AUDIENCE, ISSUER, OPAQUE, Issuer, broken

# Whose plan allows one request.
SMALL = "bench-small"
# More tokens than any proxy passes on within a second, also one that verifies none.
COLD_PER_S = 80_000
# Longer than any proxy keeps access lines in its buffer.
SETTLE_S = 1.3
# What each access line tells.
LOG_FIELDS = {
    "time", "request_id", "revision", "listener", "client", "protocol", "method", "host", "path", "status",
    "api", "route", "upstream", "target", "attempts", "bytes_in", "bytes_out", "duration",
    "upstream_duration",
}
# All clients ask for the same cipher, so that all proxies do the same cryptography.
CIPHER = "TLS_AES_256_GCM_SHA384"
CLIENT_TLS = f"""openssl_conf = all
[all]
ssl_conf = ssl
[ssl]
system_default = client
[client]
MinProtocol = TLSv1.3
Ciphersuites = {CIPHER}
"""


def filler(size):
    """A JSON object of exactly that many bytes."""
    row = {"id": 17, "customer": "c-204", "state": "paid", "total": "129.90", "note": ""}
    row["note"] = "x" * (size - len(json.dumps(row)))
    return json.dumps(row)


class Stage:
    """`programs`: name of each proxy that takes part, and its program."""

    def __init__(self, scenario, programs, cores, folder):
        self.scenario, self.folder = scenario, folder
        self.programs = {name: path for name, path in programs.items() if template(scenario, name).exists()}
        self.proxy_core, self.load_core = cores
        self.servers, self.proxies, self.environment = [], {}, {}
        self.headers = dict(scenario.headers)
        self.draws = routes.draws(scenario.routes) if scenario.routes > 1 else []
        self.issuer, self.tokens, self.batches = None, [], {}
        backend, backend_h2, echo, self.endpoint, self.admin, *listen = free_addresses(5 + len(self.programs))
        # Where the proxies find what they are to ask.
        served = backend_h2 if scenario.is_grpc else echo if scenario.is_websocket else backend
        self.listen = dict(zip(self.programs, listen))
        self.values = {
            "backend": served, "backend_port": served.rpartition(":")[2], "admin": self.admin,
            "backend_http1": backend, "backend_h2": backend_h2,
            "dir": folder, "body": filler(BODY_BYTES), "pool": scenario.pool,
            "connections": scenario.connections_max,
            # nginx started by root would run its worker as somebody else, unlike the others.
            "user_line": "user root;" if os.geteuid() == 0 else "",
        }
        # Per proxy: when its access log is complete, and where new lines begin; and yett's last metric.
        self.quiet_at, self.log_at, self.metric = {}, dict.fromkeys(self.programs, 0), 0

    def start(self):
        """Starts everything, and sees that each proxy does the work that is to be measured."""
        self.log("").parent.mkdir()
        (self.folder / "answer.json").write_text(filler(self.scenario.body_bytes))
        if self.scenario.is_guarded:
            self.make_key()
        if self.scenario.planned:
            self.make_plans()
        if self.scenario.addresses:
            self.make_addresses()
        if self.scenario.is_tls:
            self.make_certificate()
        if self.scenario.token:
            self.make_tokens()
        self.start_backend()
        for name, address in self.listen.items():
            peer = PEERS[name]
            config = self.folder / peer.config
            own = {"listen": address, "listen_port": address.rpartition(":")[2], "log": self.log(name)}
            if self.scenario.routes > 1:
                own["routes"] = self.make_routes(name, address)
            fill(template(self.scenario, name).name, self.values | own, config)
            argv = peer.argv(str(self.programs[name]), config, self.folder)
            log = self.log(name) if peer.logs_to_output else None
            self.proxies[name] = self.run(name, argv, address, self.proxy_core, log)
            self.verify(name)

    def start_backend(self):
        """nginx, or for WebSocket a program that sends back what it gets, or one that can be overloaded."""
        if self.scenario.overload:
            script = Path(__file__).resolve().parent / "open_loop.py"
            work = [str(self.scenario.slots), str(self.scenario.service_ms)]
            argv = [sys.executable, str(script), "backend", self.values["backend"], *work]
            self.run("backend", argv, self.values["backend"], self.load_core)
            return
        if self.scenario.is_websocket:
            argv = [sys.executable, str(Path(__file__).resolve().parent / "echo.py"), "server", self.values["backend"]]
            self.run("backend", argv, self.values["backend"], self.load_core)
            return
        config = self.folder / "backend.nginx"
        fill("backend.nginx.template", self.values, config)
        argv = nginx_argv(program("nginx"), config, self.folder)
        self.run("backend", argv, self.values["backend_http1"], self.load_core)

    def make_routes(self, name, address):
        """The routes of a proxy, in its own words."""
        own = {"listen": address, "dir": self.folder}
        fill("routes.proxy.template", self.values | own, self.folder / "proxy.conf")
        return re.sub(r"@([a-z0-9_]+)@", lambda found: str(own[found[1]]), routes.TABLES[name](self.scenario.routes))

    def make_key(self):
        """An API key for this run."""
        argv = [self.programs[SUBJECT], "key", "create", "--consumer", "bench", "--format", "json"]
        key = json.loads(subprocess.run(argv, check=True, stdout=subprocess.PIPE).stdout)
        keys = self.folder / "keys.map"
        keys.write_text(f"{key['key']} bench\n")
        self.values |= {"key": key["key"], "key_hash": key["hash"], "keys": keys}
        self.headers = {"x-api-key": key["key"], "cookie": "session=abc"}

    def make_plans(self):
        """Keys of consumers, those of one plan and one of another that allows a single request; in the words of each proxy."""
        self.tokens = [f"bench-{number:04}" for number in range(self.scenario.planned)]
        plans = dict.fromkeys(self.tokens, "gold") | {SMALL: "tin"}
        hashed = {key: hashlib.sha256(key.encode()).hexdigest() for key in plans}
        store, stores = "", ""
        if self.scenario.is_shared:
            store, stores = ", store: shared", f'stores: {{ shared: {{ redis: "redis://{self.start_redis()}", timeout: 1s }} }}'
        self.values |= {
            "yett_consumers": "\n".join(f'  {key}: {{ plan: {plan}, keys: ["sha256:{hashed[key]}"] }}'
                                        for key, plan in plans.items()),
            "envoy_credentials": "\n".join(f"{' ' * 24}- {{ key: {key}, client: {key} }}" for key in plans),
            "small": SMALL, "store": store, "stores": stores, "planned_max": 2 * len(plans),
        }
        self.headers = {"x-api-key": self.tokens[0]}

    def start_redis(self):
        """A Redis that keeps nothing on the disk; returns its address."""
        address, = free_addresses(1)
        argv = [program("redis-server"), "--bind", "127.0.0.1", "--port", address.rpartition(":")[2], "--save", "",
                "--appendonly", "no", "--dir", str(self.folder)]
        self.run("redis", argv, address, self.load_core)
        return address

    def make_addresses(self):
        """Those that are refused, in the words of each proxy."""
        self.values |= {"addresses": self.folder / "addresses.txt", "addresses_nginx": self.folder / "addresses.nginx"}
        addresses.write(self.scenario.addresses, self.values["addresses"], self.values["addresses_nginx"])

    def make_tokens(self):
        """An issuer for this run, its tokens, and who is asked about those that say nothing by themselves."""
        work = self.scenario
        self.issuer = Issuer(work.token, self.folder / "issuer")
        # Those that are shown once are made when they are needed.
        self.tokens = self.issuer.make(1 if work.is_cold else work.tokens + work.tokens_more, work.subjects)
        self.headers = {"authorization": f"Bearer {self.tokens[0]}"}
        # Envoy remembers tokens only if told so.
        cache = f"jwt_cache_config: {{ jwt_cache_size: {2 * len(self.tokens)} }}"
        self.values |= {
            "issuer": ISSUER, "audience": AUDIENCE, "jwks": self.folder / "issuer" / "keys.json",
            "jwt_cache": "" if work.is_cold else cache, "tokens_max": 2 * work.tokens, "endpoint": self.endpoint,
            "secret": self.folder / "secret",
        }
        if work.token == OPAQUE:
            (self.folder / "secret").write_text("a secret of a benchmark on loopback")
            script = Path(__file__).resolve().parent / "introspection.py"
            argv = [sys.executable, str(script), self.endpoint, str(len(self.tokens)), str(work.subjects)]
            self.run("issuer", argv, self.endpoint, self.load_core)

    def show(self, name, tokens):
        """Shows a proxy tokens, one after the other."""
        first = f"{self.shown_as()}{tokens[0]}\r\n"
        client = IdleConnections(self.listen[name], self.scenario.target, 1, headers=first)
        client.show(self.shown_as(), tokens)
        client.close()
        self.quieten(name)
        if client.failed:
            raise BenchError(f"{name} refuses {client.failed} of {len(tokens):,} good tokens")

    def batch(self, name, seconds):
        """A file with tokens for a round of a proxy. Where each may be shown only once it is another one in each round."""
        work, made = self.scenario, self.batches.setdefault("files", [])
        at = self.batches.get(name, 0)
        self.batches[name] = at + work.is_cold
        if at == len(made):
            file = self.folder / f"tokens-{at}"
            tokens = self.issuer.make(seconds * COLD_PER_S, work.subjects) if work.is_cold else self.tokens
            file.write_text("".join(f"{token}\n" for token in tokens))
            made.append(file)
        return made[at]

    def make_certificate(self):
        """A certificate for this run, and what makes clients ask for the one cipher."""
        tls = self.folder / "tls"
        tls.mkdir()
        # HAProxy looks for the key beside the certificate under this name.
        cert, key = tls / "site.pem", tls / "site.pem.key"
        argv = [program("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                "-nodes", "-days", "30", "-subj", "/CN=bench", "-addext", "subjectAltName=IP:127.0.0.1",
                "-keyout", str(key), "-out", str(cert)]
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            raise BenchError(f"openssl made no certificate:\n{done.stdout}")
        client = tls / "client.cnf"
        client.write_text(CLIENT_TLS)
        self.values |= {"cert": cert, "cert_key": key}
        self.environment = {"OPENSSL_CONF": str(client)}

    def run(self, name, argv, address, core, log=None):
        server = Server(name, argv, address, core, self.folder, log)
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

    def url(self, name, target):
        return f"{self.scheme()}://{self.listen[name]}{target}"

    def scheme(self):
        return "https" if self.scenario.is_tls else "http"

    def load(self, name, seconds):
        """One round of load on a proxy."""
        seen = self.scenario.generator(self.order(name, seconds))
        self.quieten(name)
        return seen

    def order(self, name, seconds):
        """What a load generator is asked for."""
        work = self.scenario
        return Order(
            self.url(name, work.target), self.headers, seconds, self.load_core, self.folder,
            connections=work.connections, post_bytes=work.post_bytes, draws=self.draws,
            tokens=self.batch(name, seconds) if self.tokens else None, shown_as=self.shown_as(), is_once=work.is_cold,
            environment=self.environment,
        )

    def quieten(self, name):
        """To be called when a proxy was asked for the last time before its counts are read."""
        self.quiet_at[name] = time.monotonic() + SETTLE_S

    def fetch(self, name, target, headers, post_bytes=0):
        """Protocol, status, headers and body of one answer."""
        argv = ["curl", "-sik", "--noproxy", "*", "--max-time", "5"]
        h2 = "--http2" if self.scenario.is_tls else "--http2-prior-knowledge"
        argv += [h2] if self.scenario.is_h2 else ["--http1.1"]
        for header in headers.items():
            argv += ["-H", ": ".join(header)]
        argv += ["--data-binary", "@-"] if post_bytes else []
        argv.append(self.url(name, target))
        done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, input="x" * post_bytes,
                              env=os.environ | self.environment)
        self.quieten(name)
        head, _, body = done.stdout.replace("\r\n", "\n").partition("\n\n")
        if done.returncode != 0 or not head:
            raise BenchError(f"{name} gives no answer (curl says {done.returncode})")
        status, *lines = head.split("\n")
        protocol, status = status.split()[:2]
        pairs = (line.partition(":") for line in lines)
        answer = {name.lower(): value.strip() for name, _, value in pairs}
        return protocol, int(status), answer, body

    def verify(self, name):
        """Refuses to measure a proxy that does less, or other work, than asked."""
        if self.scenario.is_websocket or self.scenario.routes > 1 or self.scenario.overload:
            # The load generator looks at each message; of routes, at the share that is found.
            return
        work = self.scenario
        protocol, status, answer, body = self.fetch(name, work.target, self.headers, work.post_bytes)
        seen = json.loads(self.fetch(name, "/orders/seen", self.headers)[3])
        checks = {
            "protocol towards the client": (protocol, "HTTP/2" if work.is_h2 else "HTTP/1.1"),
            "status": (status, 200),
            # Trailers stand behind it, where curl shows them.
            "bytes of the body": (len(body.partition("grpc-status:")[0]), work.body_bytes),
            "x-request-id towards the client": (bool(answer.get("x-request-id")), True),
            "x-request-id towards the backend": (bool(seen["request_id"]), True),
            "x-forwarded-for": (is_client(seen["forwarded_for"], PEERS[name]), True),
            "x-forwarded-proto": (seen["forwarded_proto"], self.scheme()),
            "x-forwarded-host": (seen["forwarded_host"], self.listen[name]),
            "protocol towards the backend": (seen["protocol"], "HTTP/2.0" if work.is_grpc else "HTTP/1.1"),
            "keep-alive towards the backend": (seen["connection"] in ("", "keep-alive"), True),
            "status of gRPC, in the trailers": (not work.is_grpc or self.has_trailer(name), True),
            "header of the backend's answer":
                (answer.get("x-internal-node"), None if work.is_guarded else "node-1"),
        }
        if work.post_bytes and not work.is_grpc:
            # The head counts, too.
            received = int(answer.get("x-seen-bytes", 0))
            checks["bytes of the request at the backend"] = (received > work.post_bytes, True)
        if work.is_tls:
            checks["protocol and cipher of TLS"] = (self.cipher(name), ("TLSv1.3", CIPHER))
        if work.addresses:
            refused = addresses.status(self.listen[name], work.target, addresses.REFUSED)
            checks["status of a client that is on the list"] = (refused, 403)
        if work.is_guarded:
            checks |= {
                "status without a key": (self.fetch(name, work.target, {})[1], 401),
                "key towards the backend": (seen["key"], ""),
                "consumer towards the backend": (seen["consumer"], "bench"),
                "header set in the request": (seen["gateway"], "bench"),
                "header removed from the request": (seen["cookie"], ""),
                "header set in the answer": (answer.get("x-served-by"), "bench"),
            }
        if self.identifies(name) and work.token:
            checks |= self.refusals(name) | {
                "token towards the backend": (seen["authorization"], ""),
                "consumer towards the backend": (seen["consumer"].rpartition("/")[2], "user-00000"),
            }
        if self.identifies(name) and work.planned:
            small = {"x-api-key": SMALL}
            checks |= {
                "status without a key": (self.fetch(name, work.target, {})[1], 401),
                "key towards the backend": (seen["key"], ""),
                "consumer towards the backend": (seen["consumer"], self.tokens[0]),
                "statuses under a plan of one request": ([self.fetch(name, work.target, small)[1] for _ in range(2)], [200, 429]),
            }
        self.check(name, checks)

    def shown_as(self):
        """What stands before a key or a token in a request."""
        return "x-api-key: " if self.scenario.planned else "authorization: Bearer "

    def identifies(self, name):
        """Whether a proxy knows who calls: nginx knows nothing of tokens, and is a plain proxy."""
        return self.scenario.identifies and own_template(self.scenario, name).exists()

    def refusals(self, name):
        """What becomes of requests without a good token."""
        shown = {"no token": None}
        if self.issuer.kind == OPAQUE:
            shown["a token that the issuer does not know"] = f"{self.tokens[0]}0"
        else:
            shown["a token with a broken signature"] = broken(self.tokens[0])
            shown["a token that has expired"], = self.issuer.make(1, 1, exp=1_700_000_000)
            shown["a token for another audience"], = self.issuer.make(1, 1, aud="somebody else")
            shown["a token of another issuer"], = self.issuer.make(1, 1, iss="https://elsewhere.example")
        found = {}
        for what, token in shown.items():
            headers = {"authorization": f"Bearer {token}"} if token else {}
            status = self.fetch(name, self.scenario.target, headers)[1]
            # Envoy says 403 of a good token that is for somebody else.
            found[f"refusal of {what}"] = (status in (401, 403), True)
        return found

    def has_trailer(self, name):
        """Whether a call of gRPC comes back with its status; curl does not tell trailers from headers."""
        message = self.folder / "asked"
        message.write_bytes(b"\0\0\0\0\0")
        argv = [program("nghttp"), "-v", "-d", str(message)]
        for header in self.headers.items():
            argv += ["-H", ": ".join(header)]
        done = subprocess.run([*argv, self.url(name, self.scenario.target)], stdout=subprocess.PIPE, text=True)
        self.quieten(name)
        return done.stdout.count("grpc-status: 0") == 1

    def check(self, name, checks):
        for what, (found, expected) in checks.items():
            if found != expected:
                where = f"{self.scenario.name}, {name}"
                raise BenchError(f"{where}: {what} is {found!r}, not {expected!r}")

    def cipher(self, name):
        """Version of TLS and cipher that a proxy agrees to with our clients."""
        argv = [program("openssl"), "s_client", "-brief", "-connect", self.listen[name]]
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, timeout=10,
                              stderr=subprocess.STDOUT, env=os.environ | self.environment)
        found = [re.search(rf"^{what}: (\S+)$", done.stdout, re.M)
                 for what in ("Protocol version", "Ciphersuite")]
        return tuple(hit and hit[1] for hit in found)

    def verify_log(self, name):
        """Refuses a proxy whose access lines tell less than asked. To be called after the first load."""
        self.await_quiet(name)
        with open(self.log(name), "rb") as log:
            # A request that found no route has less to tell.
            line = next((line for line in log if b'"status":200,' in line), b"")
        try:
            # Some count in seconds, some in milliseconds.
            fields = {key.removesuffix("_ms") for key in json.loads(line)}
        except ValueError:
            raise BenchError(f"{name}: its access log holds {line!r}, which is not JSON") from None
        needed = LOG_FIELDS | ({"consumer"} if self.identifies(name) else set())
        self.check(name, {"fields missing in its access log": (sorted(needed - fields), [])})

    def await_quiet(self, name):
        """Waits until a proxy has written what it had to write."""
        time.sleep(max(0, self.quiet_at[name] - time.monotonic()))

    def counts(self, name):
        """What was counted since this was last asked: lines with status 200 in the access log, their bytes, and the
        requests answered with 2xx of yett's metrics (None for the others)."""
        self.await_quiet(name)
        path = self.log(name)
        lines = size = 0
        with open(path, "rb") as log:
            log.seek(self.log_at[name])
            for line in log:
                lines += b'"status":200,' in line
                size += len(line)
        # Emptied, so that it never gets so long that the kernel writes it to the disk within a round.
        path.open("wb").close()
        if PEERS[name].logs_to_output:
            # It goes on where it was, beyond a hole; the others append, and begin anew.
            self.log_at[name] += size
        if name != SUBJECT:
            return lines, size, None
        before, self.metric = self.metric, self.requests()
        return lines, size, self.metric - before

    def requests(self):
        """Requests answered with 2xx as yett's own metrics tell."""
        return self.sum_of(r'yett_requests_total\{.*status="2xx".*\}')

    def verify_asked(self):
        """Refuses numbers of tokens that had to be asked about again, or of plans that were not shared."""
        if self.scenario.token == OPAQUE:
            asked = self.sum_of(r'yett_introspections_total\{.*outcome="active".*\}')
            self.check(SUBJECT, {"number of tokens it asked about": (asked, len(self.tokens))})
        if self.scenario.is_shared:
            # One is judged so if it has waited for a second, which happens where something else is running.
            few = self.requests() / 100
            without = self.sum_of(r"yett_store_failures_total\{.*\}") + self.sum_of(r"yett_store_crowded_total\{.*\}")
            self.check(SUBJECT, {
                "answers of Redis": (self.sum_of(r'yett_store_questions_total\{.*outcome="answered".*\}') > 0, True),
                f"whether of {without} requests judged without Redis there are few": (without <= few, True),
            })

    def reloads(self):
        """Changes of the config that yett has taken up."""
        return self.sum_of(r'yett_config_reloads_total\{.*result="ok".*\}')

    def sum_of(self, series):
        """The sum of some of yett's metrics."""
        try:
            with urllib.request.urlopen(f"http://{self.admin}/metrics", timeout=5) as answer:
                text = answer.read().decode()
        except OSError as error:
            raise BenchError(f"yett's metrics cannot be read: {error}") from error
        return int(sum(map(float, re.findall(rf"^{series} (\S+)$", text, re.M))))


def is_client(text, peer):
    """Whether a proxy told our address to the backend."""
    try:
        return ipaddress.ip_address(text).is_loopback or peer.hides_loopback
    except ValueError:
        return False


def own_template(scenario, name):
    return CONFIGS / f"{scenario.template}.{name}.template"


def template(scenario, name):
    """The config of a proxy: nginx is a plain proxy where it cannot do the work."""
    own = own_template(scenario, name)
    return own if own.exists() or name != BASE else CONFIGS / f"plain.{name}.template"
