"""JWTs of an OpenID Connect issuer: its keys are fetched within bounds, its tokens verified by PyJWT (RFC 7519, RFC 8725).

Only signatures with a private key: never ``none``, never a shared secret, and each key only with its own algorithm. What a token
says about where its key is (``jku``, ``x5u``, ``jwk``) is not looked at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx
import jwt
import orjson
import structlog
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from tiebreak.contracts.clock import Clock
from tiebreak.contracts.errors import SlowDown
from tiebreak.contracts.project import Sso
from tiebreak.labeling.access import Principal
from tiebreak.labeling.jwt_claims import principal_of_claims

_log = structlog.get_logger("tiebreak.labeling")

ALGORITHMS = ("RS256", "ES256", "EdDSA")
MAX_KEYS_BYTES = 256 * 1024
MAX_KEYS = 100
_TIMEOUT_S = 5.0
_FRESH_S = 600.0
# An unknown key id makes us look again, at most this often: else everybody could make us ask the issuer all day.
_COOLDOWN_S = 10.0
_MIN_RSA_BITS = 2048


def issuer_client() -> httpx.AsyncClient:
    """The client to fetch keys with: it follows no redirect and takes no proxy or credentials from the environment."""
    return httpx.AsyncClient(timeout=_TIMEOUT_S, follow_redirects=False, trust_env=False)


class JwksIssuer:
    """Implements ``stage_door.Issuer``. The client belongs to the caller."""

    def __init__(self, rules: Sso, client: httpx.AsyncClient, clock: Clock, cooldown_s: float = _COOLDOWN_S) -> None:
        self._rules = rules
        self._client = client
        self._clock = clock
        self._cooldown_s = cooldown_s
        self._keys: Mapping[str, jwt.PyJWK] = {}
        self._fetched = -_FRESH_S
        self._tried = -_FRESH_S
        self._turn = asyncio.Lock()

    async def principal(self, token: str) -> Principal | None:
        """Who the token stands for, None for whatever is wrong with it. Raises SlowDown while there is no key to check it with."""
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError:
            return None
        if header.get("alg") not in ALGORITHMS or "crit" in header:
            return None
        key = await self._key(header.get("kid"))
        if key is None or key.algorithm_name != header["alg"]:
            return None
        claims = self._verified(token, key)
        return principal_of_claims(claims, self._rules) if claims is not None else None

    def _verified(self, token: str, key: jwt.PyJWK) -> Mapping[str, object] | None:
        try:
            return jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                audience=self._rules.audience,
                issuer=self._rules.issuer,
                leeway=self._rules.leeway_s,
                options={"require": ["exp", "iat", "iss", "aud", "sub"]},
            )
        except (jwt.PyJWTError, ValueError, TypeError):
            return None

    async def _key(self, kid: object) -> jwt.PyJWK | None:
        now = self._clock.monotonic()
        if now - self._fetched > _FRESH_S or self._named(kid) is None:
            async with self._turn:
                await self._fetch()
        if not self._keys:
            raise SlowDown("The issuer of your token does not answer.", retry_after_s=5.0, fix="Try again in a moment.")
        return self._named(kid)

    def _named(self, kid: object) -> jwt.PyJWK | None:
        if kid is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(kid) if isinstance(kid, str) else None

    async def _fetch(self) -> None:
        """Look at the keys again, unless somebody just did. The old ones stay good while the issuer is away."""
        now = self._clock.monotonic()
        if now - self._tried < self._cooldown_s:
            return
        self._tried = now
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                found = keys_of(await self._document())
        except (httpx.HTTPError, TimeoutError, ValueError) as error:
            _log.warning("issuer_keys_not_fetched", error=type(error).__name__)
            return
        self._keys, self._fetched = found, now

    async def _document(self) -> bytes:
        async with self._client.stream("GET", self._rules.jwks_url) as response:
            if response.status_code != httpx.codes.OK:
                raise ValueError(f"status {response.status_code}")
            content = bytearray()
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > MAX_KEYS_BYTES:
                    raise ValueError("the key set is too large")
        return bytes(content)


def keys_of(document: bytes) -> dict[str, jwt.PyJWK]:
    """The keys that may sign tokens, by key id. Raises ValueError when it is no key set or has none that we use."""
    parsed = orjson.loads(document)
    listed = parsed.get("keys") if isinstance(parsed, dict) else None
    if not isinstance(listed, list) or len(listed) > MAX_KEYS:
        raise ValueError("this is no JSON Web Key Set")
    found = {}
    for item in listed:
        key = _key_of(item)
        if key is not None:
            found[key.key_id or ""] = key
    if not found:
        raise ValueError("no key for signatures that we accept")
    return found


def _key_of(item: Any) -> jwt.PyJWK | None:
    if not isinstance(item, dict) or item.get("use", "sig") != "sig" or "d" in item or item.get("kty") == "oct":
        return None
    try:
        key = jwt.PyJWK(item)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    if key.algorithm_name not in ALGORITHMS:
        return None
    if isinstance(key.key, RSAPublicKey) and key.key.key_size < _MIN_RSA_BITS:
        return None
    return key
