"""From the claims of a verified JWT to a principal of ours. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

from tiebreak.contracts.project import Sso
from tiebreak.labeling.access import Principal, Role
from tiebreak.labeling.tokens import is_name


def principal_of_claims(claims: Mapping[str, object], rules: Sso) -> Principal | None:
    """Who the claims stand for, with the highest of the roles that the project knows; None when it knows none of them."""
    said = claims.get(rules.name_claim)
    if not isinstance(said, str) or not said:
        return None
    granted = {Role(rules.roles[role]) for role in _roles(claims, rules.roles_claim) if role in rules.roles}
    highest = [role for role in Role if role in granted]
    return Principal(name_of(said, rules.issuer), highest[-1]) if highest else None


def name_of(said: str, issuer: str) -> str:
    """The name on this person's answers: what the issuer says, or a digest of it where that could break a key.

    >>> name_of("ann@example.org", "https://id.example.org")
    'ann@example.org'
    >>> name_of("auth0|5f7c8ec7c33c6c004bbafe82", "https://id.example.org")[:2]
    'u-'
    """
    if is_name(said):
        return said
    h = blake2b(f"{len(issuer)}:{issuer}{said}".encode("utf-8", "surrogatepass"), digest_size=12)
    return f"u-{h.hexdigest()}"


def _roles(claims: Mapping[str, object], path: str) -> list[str]:
    found: object = claims
    # `realm_access.roles` looks into an object, a claim whose own name has dots is found first.
    if path in claims:
        found = claims[path]
    else:
        for part in path.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
    if isinstance(found, str):
        return found.split()
    return [role for role in found if isinstance(role, str)] if isinstance(found, list) else []
