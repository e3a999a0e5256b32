"""Who may use the API besides holders of tokens: a section of the project file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from tiebreak.contracts.project_section import Section

RoleName = Literal["viewer", "annotator", "reviewer", "manager", "admin"]


class Sso(Section):
    """An OpenID Connect issuer whose JWTs are accepted. ``roles``: from its roles to ours; who has none of them stays out.

    ``name_claim`` becomes the name on answers: choose one that its owner cannot change.
    """

    issuer: Annotated[str, StringConstraints(min_length=1, max_length=500)]
    audience: Annotated[str, StringConstraints(min_length=1, max_length=500)]
    jwks_url: Annotated[
        str, StringConstraints(pattern=r"^(https://|http://(127\.0\.0\.1|localhost|\[::1\])[:/])", max_length=1000)
    ]
    roles: Mapping[str, RoleName]
    roles_claim: Annotated[str, StringConstraints(min_length=1, max_length=200)] = "roles"
    name_claim: Annotated[str, StringConstraints(min_length=1, max_length=200)] = "sub"
    leeway_s: Annotated[float, Field(ge=0.0, le=300.0)] = 30.0


class Access(Section):
    """Who may use the API besides holders of tokens, and how fast: a person's requests, an address' guesses, per process."""

    sso: Sso | None = None
    requests_per_s: Annotated[float, Field(gt=0.0, le=1e6)] = 200.0
    request_burst: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    failures_per_s: Annotated[float, Field(gt=0.0, le=1e6)] = 5.0
    failure_burst: Annotated[int, Field(ge=1, le=1_000_000)] = 100
