"""JWTs of a real issuer on loopback: the good ones are let in, and whatever is wrong with one looks the same from outside."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support.issuer import AUDIENCE, Issuer, public_jwk
from tests.support.labeling import a_project
from tests.support.labeling_api import Office, open_office
from tiebreak.contracts.errors import SlowDown
from tiebreak.contracts.project import Access, Sso
from tiebreak.labeling.access import Principal, Role
from tiebreak.labeling.http import create_app
from tiebreak.labeling.http_context import LabelingContext
from tiebreak.labeling.http_issuer import MAX_KEYS_BYTES, JwksIssuer, issuer_client
from tiebreak.labeling.jwt_claims import name_of, principal_of_claims
from tiebreak.runtime.clock import ManualClock


@dataclass
class Trust:
    """An issuer and a project that trusts it."""

    issuer: Issuer
    rules: Sso
    clock: ManualClock
    keys: JwksIssuer

    async def who(self, token: str) -> Principal | None:
        return await self.keys.principal(token)


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer() as issuer:
        issuer.add_key("k1")
        yield issuer


def _rules(issuer: Issuer, **changes: object) -> Sso:
    rules = {
        "issuer": issuer.url,
        "audience": AUDIENCE,
        "jwks_url": issuer.url + "/keys",
        "roles": {"labelers": "annotator", "leads": "manager"},
        "leeway_s": 60.0,
    }
    return Sso.model_validate({**rules, **changes})


@pytest.fixture
async def trust(issuer: Issuer) -> AsyncIterator[Trust]:
    async with issuer_client() as client:
        clock, rules = ManualClock(), _rules(issuer)
        yield Trust(issuer, rules, clock, JwksIssuer(rules, client, clock))


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_a_good_token_of_each_algorithm_is_let_in(trust: Trust, algorithm: str) -> None:
    """With the highest of its roles that the project knows; the keys are asked for once."""
    trust.issuer.add_key("k2", algorithm)
    token = trust.issuer.sign("k2", roles=["leads", "labelers", "unheard-of"])
    assert await trust.who(token) == Principal("ann", Role.MANAGER)
    assert await trust.who(token) == Principal("ann", Role.MANAGER)
    assert trust.issuer.asked == 1


def _unsigned(issuer: Issuer) -> str:
    return jwt.encode(issuer.claims(), "", "none", headers={"kid": "k1"})


def _with_public_key_as_secret(issuer: Issuer) -> str:
    """The classical confusion: HS256 keyed with the RSA public key. Written by hand, since PyJWT refuses to make one."""
    pem = issuer.keys["k1"][0].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    head = _b64({"alg": "HS256", "typ": "JWT", "kid": "k1"}) + "." + _b64(issuer.claims())
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(head.encode(), pem)
    return f"{head}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def _b64(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _by_a_foreign_key(issuer: Issuer) -> str:
    return jwt.encode(
        issuer.claims(), rsa.generate_private_key(65537, 2048), "RS256", headers={"kid": "k1", "jku": issuer.url}
    )


def _with_its_own_key_inside(issuer: Issuer) -> str:
    key = rsa.generate_private_key(65537, 2048)
    headers = {"kid": "mine", "jwk": public_jwk(key, "mine", "RS256")}
    return jwt.encode(issuer.claims(), key, "RS256", headers=headers)


def _by_another_algorithm_of_the_key(issuer: Issuer) -> str:
    return jwt.encode(issuer.claims(), issuer.keys["k1"][0], "RS512", headers={"kid": "k1"})


def _by_a_curve_under_the_rsa_name(issuer: Issuer) -> str:
    return jwt.encode(issuer.claims(), ec.generate_private_key(ec.SECP256R1()), "ES256", headers={"kid": "k1"})


WRONG = {
    "unsigned": _unsigned,
    "HS256 with the public key": _with_public_key_as_secret,
    "foreign key": _by_a_foreign_key,
    "key in the header": _with_its_own_key_inside,
    "RS512": _by_another_algorithm_of_the_key,
    "ES256 under an RSA key's id": _by_a_curve_under_the_rsa_name,
    "another audience": lambda i: i.sign("k1", aud="others"),
    "no audience": lambda i: i.sign("k1", aud=None),
    "another issuer": lambda i: i.sign("k1", iss="https://evil.example"),
    "no expiry": lambda i: i.sign("k1", exp=None),
    "no subject": lambda i: i.sign("k1", sub=None),
    "expired beyond the leeway": lambda i: i.sign("k1", exp=int(time.time()) - 120),
    "not yet valid": lambda i: i.sign("k1", nbf=int(time.time()) + 600),
    "issued in the future": lambda i: i.sign("k1", iat=int(time.time()) + 600),
    "expiry that is no number": lambda i: i.sign("k1", exp="tomorrow"),
    "no role here": lambda i: i.sign("k1", roles=["strangers"]),
    "roles that are no list": lambda i: i.sign("k1", roles={"labelers": True}),
    "subject that is no text": lambda i: jwt.encode(i.claims(sub=7), i.keys["k1"][0], "RS256", headers={"kid": "k1"}),
    "key id of a path": lambda i: i.sign("k1", {"kid": "../../etc/passwd"}),
    "key id of a query": lambda i: i.sign("k1", {"kid": "x' OR '1'='1"}),
    "address of a certificate": lambda i: jwt.encode(
        i.claims(),
        rsa.generate_private_key(65537, 2048),
        "RS256",
        headers={"kid": "k1", "x5u": i.url + "/keys", "x5c": ["MII"]},
    ),
    "encrypted": lambda _: ".".join(
        [_b64({"alg": "dir", "enc": "A256GCM", "zip": "DEF"}), "", "AAAA", "A" * 5000, "AA"]
    ),
    "critical header": lambda i: i.sign("k1", {"crit": ["b64"], "b64": True}),
    "cut short": lambda i: i.sign("k1")[:-10],
    "changed claims": lambda i: ".".join(
        [i.sign("k1").split(".")[0], _b64(i.claims(roles=["leads"])), i.sign("k1").split(".")[2]]
    ),
    "no JWT": lambda _: "a.b.c",
    "five parts": lambda i: i.sign("k1") + ".x.y",
}


@pytest.mark.parametrize("make", WRONG.values(), ids=list(WRONG))
async def test_whatever_is_wrong_with_a_token_it_lets_nobody_in(trust: Trust, make) -> None:  # type: ignore[no-untyped-def]
    """Signature, algorithm, claims, headers: None, never an error of ours."""
    assert await trust.who(make(trust.issuer)) is None


async def test_the_clocks_may_differ_by_the_leeway(trust: Trust) -> None:
    """Expired twenty seconds ago by our clock, with a minute of leeway."""
    assert await trust.who(trust.issuer.sign("k1", exp=int(time.time()) - 20)) is not None


async def test_a_new_key_is_found_and_an_old_one_ends(trust: Trust) -> None:
    """Rotation: an unknown key id makes us look again, not more often than the cooldown; keys that are gone are refused later."""
    old = trust.issuer.sign("k1")
    assert await trust.who(old) is not None
    trust.issuer.add_key("k2", "ES256")
    del trust.issuer.keys["k1"]
    new = trust.issuer.sign("k2")
    assert await trust.who(new) is None
    assert trust.issuer.asked == 1
    trust.clock.advance(11.0)
    assert await trust.who(new) is not None
    assert await trust.who(old) is None
    for _ in range(50):
        assert await trust.who(jwt.encode({}, "x" * 32, "HS256", headers={"kid": "k3"})) is None
        assert await trust.who(trust.issuer.sign("k2", {"kid": "unheard-of"})) is None
    assert trust.issuer.asked == 2


async def test_while_the_issuer_is_away_known_keys_stay_good(trust: Trust) -> None:
    """Its answers are errors: who is known gets on, also when the keys are no longer fresh."""
    token = trust.issuer.sign("k1")
    assert await trust.who(token) is not None
    trust.issuer.status = 503
    trust.clock.advance(3600.0)
    assert await trust.who(token) is not None


BAD_SETS = [
    b"",
    b"[]",
    b'{"keys": {}}',
    b'{"keys": []}',
    b'{"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "k1", "alg": "HS256"}]}',
    b'{"keys": [' + b",".join([b"{}"] * 101) + b"]}",
    b" " * (MAX_KEYS_BYTES + 1),
    b"[" * 100_000,
]


@pytest.mark.parametrize("document", BAD_SETS, ids=range(len(BAD_SETS)))
async def test_a_bad_key_set_is_no_key_set(trust: Trust, document: bytes) -> None:
    """Empty, not one, without a usable key, too long, too large, too deep: nobody is let in, and the caller is told to wait."""
    trust.issuer.document = document
    with pytest.raises(SlowDown):
        await trust.who(trust.issuer.sign("k1"))


async def test_a_key_that_is_too_short_or_a_redirect_is_not_used(trust: Trust) -> None:
    """1024-bit RSA is no key; the issuer cannot send us elsewhere."""
    weak = rsa.generate_private_key(65537, 1024)  # noqa: S505 - what must be refused
    trust.issuer.document = json.dumps({"keys": [public_jwk(weak, "k1", "RS256")]}).encode()
    with pytest.raises(SlowDown):
        await trust.who(trust.issuer.sign("k1"))
    trust.clock.advance(11.0)
    trust.issuer.document, trust.issuer.status = None, 302
    with pytest.raises(SlowDown):
        await trust.who(trust.issuer.sign("k1"))


@pytest.mark.parametrize(
    ("claims", "changes", "expected"),
    [
        ({"sub": "ann", "scope": "openid labelers"}, {"roles_claim": "scope"}, Principal("ann", Role.ANNOTATOR)),
        (
            {"sub": "ann", "realm_access": {"roles": ["leads"]}},
            {"roles_claim": "realm_access.roles"},
            Principal("ann", Role.MANAGER),
        ),
        (
            {"sub": "x", "email": "ann@example.org", "https://x.example/roles": ["labelers"]},
            {"roles_claim": "https://x.example/roles", "name_claim": "email"},
            Principal("ann@example.org", Role.ANNOTATOR),
        ),
        ({"sub": "ann", "roles": [1, None, "labelers"]}, {}, Principal("ann", Role.ANNOTATOR)),
        ({"sub": "", "roles": ["labelers"]}, {}, None),
    ],
)
def test_claims_become_a_name_and_a_role(
    issuer: Issuer, claims: dict[str, object], changes: dict[str, object], expected: Principal | None
) -> None:
    """Scopes in one text, roles in a nested object, a claim named by an address, and odd entries."""
    assert principal_of_claims(claims, _rules(issuer, **changes)) == expected


def test_a_subject_that_would_break_a_key_becomes_its_digest() -> None:
    """Stable, different per issuer, and itself a name."""
    odd = "auth0|5f7c8ec7}:{"
    assert name_of(odd, "a") == name_of(odd, "a") != name_of(odd, "b")
    assert principal_of_claims({"sub": "x"}, _rules_of("https://a.example")) is None


def _rules_of(url: str) -> Sso:
    return Sso(issuer=url, audience="x", jwks_url=url + "/keys", roles={})


@pytest.mark.parametrize(
    "url", ["http://id.example.org/keys", "file:///etc/passwd", "ftp://x/", "http://127.0.0.1.evil/"]
)
def test_keys_are_fetched_by_tls_or_from_this_machine(url: str) -> None:
    """An address in the clear would let anybody on the way choose the keys."""
    with pytest.raises(ValueError, match="jwks_url"):
        Sso(issuer="https://id.example.org", audience="x", jwks_url=url, roles={})


async def test_the_api_takes_both_kinds_of_token(trust: Trust) -> None:
    """A JWT's owner is who they are at the issuer; a wrong JWT is the same 401 as none; tokens of ours go on."""
    project = a_project().model_copy(update={"access": Access(sso=trust.rules)})
    office: Office = await open_office(project)
    old = office.context
    context = LabelingContext(
        project, old.queue, office.tokens, old.writer, old.metrics, old.clock, old.doorbell, issuer=trust.keys
    )
    transport = httpx.ASGITransport(create_app(context), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://tiebreak.test") as client:

        async def me(token: str | None) -> httpx.Response:
            return await client.get("/v1/me", headers={"authorization": f"Bearer {token}"} if token else {})

        by_jwt, by_token = await me(trust.issuer.sign("k1")), await me(await office.person("bob"))
        wrong = [
            await me(trust.issuer.sign("k1", aud="others")),
            await me("x.y.z"),
            await me(None),
            await me("x" * 9000),
        ]
    assert (by_jwt.json()["name"], by_jwt.json()["role"], by_token.json()["name"]) == ("ann", "annotator", "bob")
    assert {a.status_code for a in wrong} == {401}
    assert len({a.content for a in wrong}) == 1
