"""Bearer tokens: what is shown once and what is stored. Pure; the random bytes come from the caller.

A token is 256 random bits, so a plain SHA-256 of it is as hard to invert as the token is to guess: no salt, no slow hash. Its
expiry and role live beside the hash, so that a token can be ended at once.
"""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

from tiebreak.contracts.audit import Action
from tiebreak.contracts.errors import Invalid
from tiebreak.contracts.messages import AuditRecord
from tiebreak.labeling.access import Principal, Role

PREFIX = "tb_"
RANDOM_BYTES = 32
MAX_LENGTH = 200
MAX_JWT_LENGTH = 8192
_DIGEST = re.compile(r"[0-9a-f]{64}")
_LATEST_MS = 253_402_300_799_999  # the end of year 9999
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """What is stored of a token. ``expires_ms`` 0: never (only the embedded mode on loopback makes such)."""

    digest: str
    name: str
    role: Role
    created_ms: int
    expires_ms: int


def token_text(random: bytes) -> str:
    """The token a person gets to see once. Raises Invalid for anything but :data:`RANDOM_BYTES` bytes.

    >>> token_text(bytes(32))[:6]
    'tb_AAA'
    """
    if len(random) != RANDOM_BYTES:
        raise Invalid(f"a token needs {RANDOM_BYTES} random bytes, not {len(random)}")
    return PREFIX + urlsafe_b64encode(random).rstrip(b"=").decode("ascii")


def is_name(text: str) -> bool:
    """Whether ``text`` can name a person in keys, packed fields and logs.

    >>> is_name("ann@example.org"), is_name("a b")
    (True, False)
    """
    return _NAME.fullmatch(text) is not None


def digest_of(token: str) -> str:
    """The name under which a token is stored; any text, however odd, has one."""
    return sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def mint(random: bytes, name: str, role: Role, now_ms: int, ttl_ms: int) -> tuple[str, TokenRecord]:
    """A new token and its record. ``name`` names the person: 1 to 64 of ``A-Za-z0-9._@+-``. ``ttl_ms`` 0: no expiry."""
    if not is_name(name):
        raise Invalid("a name has 1 to 64 letters, digits or ._@+- and starts with a letter or digit")
    if ttl_ms < 0:
        raise Invalid("a token cannot expire before it is made")
    text = token_text(random)
    return text, TokenRecord(digest_of(text), name, role, now_ms, now_ms + ttl_ms if ttl_ms else 0)


def principal_of(record: TokenRecord | None, now_ms: int) -> Principal | None:
    """Who the token stands for; None when it is unknown or expired (the caller must not tell which)."""
    if record is None or (record.expires_ms and now_ms >= record.expires_ms):
        return None
    return Principal(record.name, record.role)


def bearer_of(header: str | None, max_length: int = MAX_LENGTH) -> str | None:
    """The token in an ``Authorization`` header (RFC 6750), or None.

    >>> bearer_of("bearer  tb_x"), bearer_of("Basic eDp5"), bearer_of(None)
    ('tb_x', None, None)
    """
    if header is None or len(header) > max_length:
        return None
    scheme, _, value = header.partition(" ")
    value = value.strip()
    return value if scheme.lower() == "bearer" and value else None


def detail_of(record: TokenRecord) -> str:
    """What the audit trail keeps of a token, beside its name: enough to let its owner in again, not to be its owner."""
    detail = {
        "digest": record.digest,
        "role": record.role.value,
        "created_ms": record.created_ms,
        "expires_ms": record.expires_ms,
    }
    return json.dumps(detail)


def standing_tokens(records: Iterable[AuditRecord], now_ms: int) -> list[TokenRecord]:
    """The tokens that the audit trail says are good at ``now_ms``, oldest first. A record that describes none gives none."""
    found: dict[str, TokenRecord] = {}
    for record in records:
        if record.action == Action.TOKEN_REVOKED:
            found = {digest: token for digest, token in found.items() if token.name != record.target}
        elif record.action == Action.TOKEN_CREATED and (token := _token_of(record)) is not None:
            found[token.digest] = token
    return [token for token in found.values() if not token.expires_ms or token.expires_ms > now_ms]


def no_tokens(records: Iterable[AuditRecord]) -> list[int]:
    """The sequences of records that say they made a token and describe none: not ours, however well they are linked."""
    return [r.sequence for r in records if r.action == Action.TOKEN_CREATED and _token_of(r) is None]


def _token_of(record: AuditRecord) -> TokenRecord | None:
    try:
        detail = json.loads(record.detail)
        role, created, expires = Role(detail["role"]), int(detail["created_ms"]), int(detail["expires_ms"])
        digest = str(detail["digest"])
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError):
        return None
    named = _NAME.fullmatch(record.target) and _DIGEST.fullmatch(digest)
    timed = 0 <= created <= _LATEST_MS and 0 <= expires <= _LATEST_MS
    return TokenRecord(digest, record.target, role, created, expires) if named and timed else None


class Tokens(Protocol):
    """Token records by digest."""

    async def put(self, record: TokenRecord) -> None: ...

    async def get(self, digest: str) -> TokenRecord | None: ...

    async def revoke(self, name: str) -> int:
        """End all tokens of a person at once; how many there were."""

    async def records(self) -> Sequence[TokenRecord]:
        """All of them, for a listing without secrets."""
