"""Who may do what, and where the API may listen. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from tiebreak.contracts.errors import ConfigError


class Role(StrEnum):
    """The five roles of a project."""

    VIEWER = "viewer"
    ANNOTATOR = "annotator"
    REVIEWER = "reviewer"
    MANAGER = "manager"
    ADMIN = "admin"


class Right(StrEnum):
    """What a route asks for."""

    READ = "read"
    ANNOTATE = "annotate"
    REVIEW = "review"
    MANAGE = "manage"
    ADMINISTER = "administer"


_RIGHTS: Mapping[Role, frozenset[Right]] = {
    Role.VIEWER: frozenset({Right.READ}),
    Role.ANNOTATOR: frozenset({Right.READ, Right.ANNOTATE}),
    Role.REVIEWER: frozenset({Right.READ, Right.ANNOTATE, Right.REVIEW}),
    Role.MANAGER: frozenset({Right.READ, Right.ANNOTATE, Right.REVIEW, Right.MANAGE}),
    Role.ADMIN: frozenset(Right),
}


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who showed a valid token. ``name`` is the annotator's id in leases and annotations."""

    name: str
    role: Role

    def may(self, right: Right) -> bool:
        """Whether the role has ``right``."""
        return right in _RIGHTS[self.role]


def is_loopback(host: str) -> bool:
    """Whether nobody outside this machine can reach ``host``. A name other than ``localhost`` counts as reachable.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("0.0.0.0"), is_loopback("example.org")
    (True, True, False, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_exposure(host: str, *, tls: bool, behind_proxy: bool) -> None:
    """Raise ConfigError when bearer tokens would cross a network in the clear.

    Outside loopback the API wants TLS of its own, or the word of the operator that a proxy in front of it does TLS.
    """
    if is_loopback(host) or tls or behind_proxy:
        return
    raise ConfigError(
        f"Refusing to listen on {host} without TLS: tokens would cross the network in the clear.",
        fix="Give --tls-cert and --tls-key, or --behind-proxy where a proxy does TLS, or listen on 127.0.0.1.",
    )
