"""A client that signs its requests: http-message-signatures by httpx, over HTTP/1.1 or HTTP/2 without negotiation.

Arguments: the gateway's address, the version of HTTP, the secret. Prints each case and what became of it.
"""

import datetime
import os
import sys
import time

import httpx
from http_message_signatures import HTTPMessageSigner, HTTPSignatureKeyResolver, algorithms

address, version, secret = sys.argv[1:]
COVERED = ("@method", "@authority", "@path", "@query")
LARGE = b"z" * 3_000_000


class Keys(HTTPSignatureKeyResolver):
    """Whoever is asked for has this secret."""

    def __init__(self, secret):
        self.secret = secret.encode()

    def resolve_private_key(self, key_id):
        return self.secret


class Message:
    """What is signed of a request."""

    def __init__(self, method, path):
        self.method, self.url, self.headers = method, f"http://{address}{path}", {}


def client():
    is_2 = version == "2"
    return httpx.Client(http1=not is_2, http2=is_2, trust_env=False, timeout=60)


def signed(path, body=b'{"n":1}', secret=secret, key_id="nightly-1", age_s=0, nonce=None, covered=COVERED):
    message = Message("POST", path)
    signer = HTTPMessageSigner(signature_algorithm=algorithms.HMAC_SHA256, key_resolver=Keys(secret))
    created = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=age_s)
    signer.sign(
        message,
        key_id=key_id,
        created=created,
        nonce=nonce or os.urandom(8).hex(),
        covered_component_ids=covered,
        body=body,
    )
    return message


def send(case, message, body=b'{"n":1}', path=None, method=None, more=None):
    url = f"http://{address}{path}" if path else message.url
    try:
        # A client of its own: what ends one request by its connection must not end another.
        with client() as one:
            headers = {**message.headers, **(more or {})}
            answer = one.request(method or message.method, url, content=body, headers=headers)
        if answer.status_code != 503:
            print(case, answer.http_version, answer.status_code, answer.text.replace("\n", " ").replace("\r", " "), flush=True)
        return answer.status_code
    except httpx.HTTPError as fault:
        print(case, "ended", type(fault).__name__, flush=True)
        return None


while send("good", signed("/good?urgent=1")) == 503:
    # For a few seconds after a start nobody can tell what was used before it.
    time.sleep(0.2)
send("target", signed("/target?urgent=1", covered=("@method", "@target-uri")))
send("large", signed("/large?a=1", LARGE), LARGE)
send("stranger", signed("/bad?a=1", secret="another secret that is long enough"))
send("unknown", signed("/bad?a=1", key_id="nobody"))
once = signed("/once?a=1")
send("once", once)
send("replayed", once)
send("old", signed("/bad?a=1", age_s=900))
send("future", signed("/bad?a=1", age_s=-300))
send("moved", signed("/other?a=1"), path="/bad?a=1")
send("asked", signed("/bad?a=1"), path="/bad?a=2")
send("put", signed("/bad?a=1"), method="PUT")
send("digest", signed("/bad?a=1"), more={"Content-Digest": "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"})
send("tampered", signed("/bad?a=1"), b'{"n":2}')
send("tampered-large", signed("/bad?a=1", LARGE), LARGE[:-1] + b"y")
send("unsigned-body", signed("/bad?a=1", None))
send("again", signed("/again?urgent=1"))
print("done", flush=True)
