"""The kinds of work that are measured, and what each may cost."""

from dataclasses import dataclass, field

import load

BODY_BYTES = 400
KIB = 1024
# Tokens that are drawn from.
TOKENS = 10_000
# What an idle keep-alive connection may cost in memory.
IDLE_BUDGET_BYTES = 12 * KIB


@dataclass(frozen=True)
class Scenario:
    """One kind of work; what is not said is as in `plain`."""

    name: str
    about: str
    # Makes the load; None: connections are opened and left idle.
    generator: callable = load.wrk
    # First release and goal, as ratios of CPU per request to nginx doing the scenario `budget_base`.
    budget: tuple = None
    budget_base: str = None
    # Which configs the proxies get.
    template: str = "plain"
    target: str = "/orders/17"
    # Bytes of the answer's body and of the request's.
    body_bytes: int = BODY_BYTES
    post_bytes: int = 0
    connections: int = load.IN_FLIGHT
    # Connections to the backend that a proxy may keep.
    pool: int = 64
    # Sent with every request.
    headers: dict = field(default_factory=dict)
    # Routes in the config, and whether a tenth of the requests finds none of them.
    routes: int = 1
    # How often the config is changed while the load goes on.
    reloads: int = 0
    is_guarded: bool = False
    # Consumers with a key each and a plan that none of them uses up, drawn evenly; and whether the plan is shared through Redis.
    planned: int = 0
    is_shared: bool = False
    # Networks that are refused, of which the client is none.
    addresses: int = 0
    # How the tokens are signed that requests show, or that the issuer is asked about them; how many, and of how many
    # consumers. `is_cold`: each is shown only once.
    token: str = None
    tokens: int = TOKENS
    subjects: int = TOKENS
    is_cold: bool = False
    # Tokens whose memory is measured, beyond the first ones.
    tokens_more: int = 0
    # How many times more requests than the backend can work on come at last, whatever becomes of them; how many
    # requests it works on at a time, and for how many milliseconds each.
    overload: int = 0
    slots: int = 50
    service_ms: int = 20
    # Messages over WebSocket in place of requests.
    is_websocket: bool = False
    # gRPC, with HTTP/2 towards the backend as well.
    is_grpc: bool = False
    is_h2: bool = False
    is_tls: bool = False
    # Programs beyond nginx, wrk and curl; without them the scenario is left out.
    needs: tuple = ()
    # Whether it is measured only where it is asked for.
    on_demand: bool = False

    @property
    def is_idle(self):
        return self.generator is None and not self.tokens_more

    @property
    def identifies(self):
        """Whether requests have a consumer."""
        return self.is_guarded or self.planned > 0 or self.token is not None

    @property
    def capacity(self):
        """Requests that the backend of an overload can answer in a second."""
        return self.slots * 1_000 / self.service_ms

    @property
    def has_misses(self):
        return self.routes > 1

    @property
    def connections_max(self):
        """What a proxy must be able to hold, on both sides of it and with room for the harness."""
        return self.connections + 1_000

    @property
    def files(self):
        """How many files a proxy must be allowed to open: HAProxy wants two for each connection."""
        return 2 * self.connections_max + 500


SCENARIOS = [
    Scenario("plain", "plain proxy: metrics and access log on, no policy",
             budget=(1.10, 0.95), budget_base="plain"),
    Scenario("guarded", "API key, limit per consumer, headers set and removed, metrics, access log",
             budget=(1.45, 1.15), budget_base="plain", template="guarded", is_guarded=True),
    Scenario("plan_local", "API keys of 1,000 consumers and the limit of their plan, counted by the proxy; nginx is a plain proxy",
             load.wrk_tokens, budget=(1.45, 1.15), budget_base="plain", template="plan", planned=1_000),
    Scenario("plan_redis", "the same, and the plan is shared through Redis; Envoy counts by itself, as a floor; nginx is a plain proxy",
             load.wrk_tokens, budget=(1.45, 1.15), budget_base="plain", template="plan", planned=1_000, is_shared=True,
             needs=("redis-server",)),
    Scenario("ip_list", "100,000 networks that are refused, of which the client is none",
             template="ip_list", addresses=100_000),
    Scenario("jwt_rs256", "10,000 tokens signed by RSA, seen before; limit per consumer; nginx is a plain proxy",
             load.wrk_tokens, budget=(1.50, 1.20), budget_base="plain", template="jwt", token="RS256",
             needs=("cryptography",)),
    Scenario("jwt_es256", "10,000 tokens signed by ECDSA, seen before; limit per consumer; nginx is a plain proxy",
             load.wrk_tokens, template="jwt", token="ES256", needs=("cryptography",)),
    Scenario("jwt_cold", "tokens signed by ECDSA, each shown once; limit per consumer; nginx is a plain proxy",
             load.wrk_tokens, template="jwt", token="ES256", is_cold=True, needs=("cryptography",)),
    Scenario("introspection", "10,000 tokens the issuer was asked about; limit per consumer; nginx is a plain proxy",
             load.wrk_tokens, template="introspection", token="opaque"),
    Scenario("tls", "plain proxy, TLS 1.3 and HTTP/1.1 towards clients, keep-alive",
             budget=(1.25, 0.95), budget_base="tls", template="tls", is_tls=True, needs=("openssl",)),
    Scenario("h2", "plain proxy, HTTP/2 (prior knowledge) towards clients", load.h2load,
             budget=(1.25, 0.95), budget_base="h2", template="h2", is_h2=True, needs=("h2load",)),
    Scenario("h2_tls", "plain proxy, TLS 1.3 and HTTP/2 towards clients", load.h2load,
             template="tls", is_h2=True, is_tls=True, needs=("h2load", "openssl"), on_demand=True),
    Scenario("body_16k", "plain proxy, answers of 16 KiB", target="/orders/big", body_bytes=16 * KIB),
    Scenario("body_1m", "plain proxy, answers of 1 MiB", target="/orders/big", body_bytes=KIB * KIB),
    Scenario("post_16k", "plain proxy, requests with a body of 16 KiB", target="/orders/posted",
             post_bytes=16 * KIB),
    Scenario("connections_512", "plain proxy, 512 connections with a request on each",
             budget=(1.25, 0.95), budget_base="connections_512", connections=512, pool=512),
    Scenario("handshakes", "plain proxy, TLS 1.3, a connection and a full handshake for each request",
             template="tls", is_tls=True, headers={"connection": "close"}, needs=("openssl",)),
    Scenario("grpc", "gRPC, unary calls: HTTP/2 towards clients and towards the backend", load.h2load,
             template="grpc", target="/orders/call", post_bytes=32, is_h2=True, is_grpc=True,
             headers={"content-type": "application/grpc", "te": "trailers"}, needs=("h2load", "nghttp")),
    Scenario("websocket", "messages of 64 bytes that the backend sends back, over WebSocket", load.websocket,
             template="websocket", target="/orders/echo", is_websocket=True),
    Scenario("routes_1000", "1,000 routes, drawn evenly; a tenth of the requests finds none", load.wrk_routes,
             template="routes", routes=1_000),
    Scenario("routes_10000", "10,000 routes, drawn evenly; a tenth of the requests finds none", load.wrk_routes,
             template="routes", routes=10_000),
    Scenario("overload", "2,500 requests a second can be answered, and five times as many come; API keys, plans of three priorities",
             template="overload", overload=5, connections=4_000, pool=1_000),
    Scenario("reloads", "1,000 changes of the config under load", template="plain", reloads=1_000),
    Scenario("idle", "plain proxy, memory of 5,000 connections that made one request each", None,
             connections=5_000),
    Scenario("idle_tls", "plain proxy, memory of 2,000 TLS connections that made one request each", None,
             connections=2_000, template="tls", is_tls=True, needs=("openssl",)),
    Scenario("jwt_memory", "memory of tokens of eight claims that were verified, all of one consumer", None,
             template="jwt", token="ES256", subjects=1, tokens_more=40_000, needs=("cryptography",)),
    Scenario("introspection_memory", "memory of tokens of eight claims that were asked about, all of one consumer", None,
             template="introspection", token="opaque", subjects=1, tokens_more=40_000),
]
