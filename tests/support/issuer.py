"""A small OpenID Connect issuer on loopback: it signs tokens, publishes its keys, changes them, and goes away."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
AUDIENCE = "tiebreak"


def new_key(algorithm: str) -> PrivateKey:
    """A private key for ``RS256``, ``ES256`` or ``EdDSA``."""
    if algorithm == "RS256":
        return rsa.generate_private_key(65537, 2048)
    return ec.generate_private_key(ec.SECP256R1()) if algorithm == "ES256" else ed25519.Ed25519PrivateKey.generate()


def public_jwk(key: PrivateKey, kid: str, algorithm: str) -> dict[str, Any]:
    """The public half as the key set shows it."""
    if isinstance(key, rsa.RSAPrivateKey):
        jwk: dict[str, Any] = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        jwk = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    else:
        jwk = OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return {**jwk, "kid": kid, "alg": algorithm, "use": "sig"}


class Issuer:
    """Use as a context manager. ``document`` is what the key set's address answers; ``asked`` counts the questions."""

    def __init__(self) -> None:
        self.keys: dict[str, tuple[PrivateKey, str]] = {}
        self.document: bytes | None = None
        self.status = 200
        self.asked = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def add_key(self, kid: str, algorithm: str = "RS256") -> PrivateKey:
        """A new key in the set."""
        key = new_key(algorithm)
        self.keys[kid] = (key, algorithm)
        return key

    def claims(self, **changes: object) -> dict[str, object]:
        """Good claims for ann the annotator; a change to None leaves a claim out."""
        now = int(time.time())
        claims = {"iss": self.url, "aud": AUDIENCE, "sub": "ann", "iat": now, "exp": now + 300, "roles": ["labelers"]}
        return {name: value for name, value in {**claims, **changes}.items() if value is not None}

    def sign(self, kid: str, headers: dict[str, Any] | None = None, **changes: object) -> str:
        """A token under one of the keys."""
        key, algorithm = self.keys[kid]
        return jwt.encode(self.claims(**changes), key, algorithm, headers={"kid": kid, **(headers or {})})

    def key_set(self) -> bytes:
        """The public keys, unless a test has put something else in their place."""
        keys = [public_jwk(key, kid, algorithm) for kid, (key, algorithm) in self.keys.items()]
        return self.document if self.document is not None else json.dumps({"keys": keys}).encode()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked += 1
                content = issuer.key_set()
                self.send_response(issuer.status)
                if 300 <= issuer.status < 400:
                    self.send_header("location", issuer.url + "/elsewhere")
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Tests stay quiet."""

        return Handler
