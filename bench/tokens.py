#!/usr/bin/env python3
"""Tokens of an issuer that exists for one scenario. They are signed in a process of their own, by the Python below `out/` that has
what it takes: `tokens.py key ALGORITHM FOLDER` makes the issuer, `tokens.py sign ALGORITHM FOLDER` signs what its input tells."""

import base64
import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path

from servers import BenchError

# Where scripts/bench-needs.sh puts it.
PYTHON = "out/python-*/bin/python3"
ISSUER, AUDIENCE = "https://idp.bench.example", "orders"
LIFETIME_S = 24 * 3_600
# Tokens that the issuer is asked about; its keys sign none of them.
OPAQUE = "opaque"


def python():
    """The Python that can sign, or None."""
    found = sorted(Path(__file__).resolve().parent.glob(PYTHON))
    return str(found[-1]) if found else None


def claims(number, subjects):
    """What a token says: eight claims, as issuers write them."""
    now = int(time.time())
    return {
        "iss": ISSUER, "sub": f"user-{number % subjects:05}", "aud": AUDIENCE, "iat": now, "exp": now + LIFETIME_S,
        "jti": hashlib.md5(f"token {number}".encode()).hexdigest(), "client_id": "shop-frontend",
        "scope": "openid profile orders:read orders:write",
    }


def opaque(number):
    """A token that says nothing by itself. It is as hard to guess as a benchmark needs it."""
    return f"{number:06}-{hashlib.sha256(f'opaque {number}'.encode()).hexdigest()}"


class Issuer:
    """Who gives out the tokens of a scenario; its keys are in `folder`."""

    def __init__(self, kind, folder):
        self.kind, self.folder = kind, folder
        self.next = 0
        if kind != OPAQUE:
            folder.mkdir()
            self.call("key")

    def make(self, count, subjects, **more):
        """That many new tokens. `more` is said in place of what tokens say usually."""
        first, self.next = self.next, self.next + count
        if self.kind == OPAQUE:
            return [opaque(number) for number in range(first, first + count)]
        asked = json.dumps({"first": first, "count": count, "subjects": subjects, "more": more})
        return self.call("sign", asked).split()

    def call(self, what, asked=""):
        argv = [python(), __file__, what, self.kind, str(self.folder)]
        done = subprocess.run(argv, input=asked, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            raise BenchError(f"tokens cannot be made:\n{done.stderr[-2000:]}")
        return done.stdout


def broken(token):
    """A token whose signature was changed in the middle."""
    at = token.rindex(".") + 20
    return token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1:]


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value, size=None):
    return encode(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))


def make_key(algorithm, folder):
    """A key, and the set of keys (JWKS) and the PEM file that proxies verify with."""
    from cryptography.hazmat.primitives import serialization as forms
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    if algorithm == "RS256":
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        public = key.public_key().public_numbers()
        jwk = {"kty": "RSA", "n": number(public.n), "e": number(public.e)}
    else:
        key = ec.generate_private_key(ec.SECP256R1())
        public = key.public_key().public_numbers()
        jwk = {"kty": "EC", "crv": "P-256", "x": number(public.x, 32), "y": number(public.y, 32)}
    keys = {"keys": [jwk | {"kid": "bench", "use": "sig", "alg": algorithm}]}
    (folder / "keys.json").write_text(json.dumps(keys))
    pem = forms.Encoding.PEM
    (folder / "private.pem").write_bytes(
        key.private_bytes(pem, forms.PrivateFormat.PKCS8, forms.NoEncryption()))
    (folder / "public.pem").write_bytes(
        key.public_key().public_bytes(pem, forms.PublicFormat.SubjectPublicKeyInfo))


def sign_all(algorithm, folder, asked):
    """Writes tokens, one a line."""
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, padding
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    key = serialization.load_pem_private_key((folder / "private.pem").read_bytes(), None)
    scheme, digest = padding.PKCS1v15(), hashes.SHA256()
    head = encode(json.dumps({"alg": algorithm, "typ": "JWT", "kid": "bench"}).encode())
    for at in range(asked["first"], asked["first"] + asked["count"]):
        told = claims(at, asked["subjects"]) | asked["more"]
        text = f"{head}.{encode(json.dumps(told, separators=(',', ':')).encode())}"
        if algorithm == "RS256":
            signature = key.sign(text.encode(), scheme, digest)
        else:
            # Two numbers one behind the other (RFC 7518, 3.4).
            halves = decode_dss_signature(key.sign(text.encode(), ec.ECDSA(digest)))
            signature = b"".join(half.to_bytes(32, "big") for half in halves)
        print(f"{text}.{encode(signature)}")


if __name__ == "__main__":
    what, algorithm, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    if what == "key":
        make_key(algorithm, folder)
    else:
        sign_all(algorithm, folder, json.load(sys.stdin))
