"""Who may use the API besides holders of tokens: a section of the project file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from tiebreak.contracts.project_section import Section

RoleName = Literal["viewer", "annotator", "reviewer", "manager", "admin"]


class Sso(Section):
    """An OpenID Connect issuer whose JWTs are accepted."""

    issuer: Annotated[str, StringConstraints(min_length=1, max_length=500)]
    """What the token's `iss` must be."""
    audience: Annotated[str, StringConstraints(min_length=1, max_length=500)]
    """What the token's `aud` must hold."""
    jwks_url: Annotated[
        str, StringConstraints(pattern=r"^(https://|http://(127\.0\.0\.1|localhost|\[::1\])[:/])", max_length=1000)
    ]
    """Where the issuer's keys are; https, but for this machine."""
    roles: Mapping[str, RoleName]
    """From its roles to ours; who has none of them stays out."""
    roles_claim: Annotated[str, StringConstraints(min_length=1, max_length=200)] = "roles"
    """The claim that holds its roles."""
    name_claim: Annotated[str, StringConstraints(min_length=1, max_length=200)] = "sub"
    """The claim that becomes the name on answers: choose one that its owner cannot change."""
    leeway_s: Annotated[float, Field(ge=0.0, le=300.0)] = 30.0
    """How far its clock may be off, in seconds."""


class Access(Section):
    """Who may use the API besides holders of tokens, and how fast, per process."""

    sso: Sso | None = None
    """An OpenID Connect issuer whose JWTs are accepted."""
    requests_per_s: Annotated[float, Field(gt=0.0, le=1e6)] = 200.0
    """Requests per second of one person, over time."""
    request_burst: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    """So many of them at once."""
    failures_per_s: Annotated[float, Field(gt=0.0, le=1e6)] = 5.0
    """Requests without a valid token per second from one address, over time."""
    failure_burst: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    """So many of them at once."""
