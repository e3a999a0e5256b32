"""Models over HTTP: what managers read and decide, over a real deployer."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import httpx
import pytest

from tests.support.labeling import a_project
from tests.support.labeling_api import Office, open_office
from tests.support.models import dense, manifest_of, points
from tiebreak.client import AsyncClient, Diff, NotFound
from tiebreak.contracts.audit import Action
from tiebreak.deployment.memory import MemoryModelStore
from tiebreak.deployment.sandbox import SandboxProbe
from tiebreak.deployment.stage import Deployer, Tools
from tiebreak.labeling.access import Role
from tiebreak.labeling.http import create_app
from tiebreak.runtime.audit_trail import AuditTrail

MODEL = dense(points(3, 2), squash="Softmax")


@pytest.fixture
async def office() -> Office:
    """A project with two models, neither serving yet."""
    office = await open_office(a_project())
    store = MemoryModelStore()
    for version, labels in (("v1", ("l1", "l2")), ("v2", ("l2", "l3", "l4"))):
        manifest = manifest_of(office.project, MODEL, version)
        await store.put(replace(manifest, label_ids=labels, metrics={f"of_{version}": 0.5}), MODEL)
    tools = Tools(store, office.log, SandboxProbe(office.project), office.metrics, office.clock)
    deployer = Deployer(office.project, tools)
    await deployer.start()
    trail = AuditTrail(office.log, "pets", office.clock)
    office.context = replace(office.context, audit=trail, models=deployer)
    office.app = create_app(office.context)
    return office


async def test_a_manager_decides_and_reads_what_was_decided(office: Office) -> None:
    """Promote, pin, unpin, roll back: each answer names what serves, and each deed is on the audit trail with its reason."""
    word = {"reason": "complaints"}
    async with await office.client("mia", Role.MANAGER) as client:
        at = "/v1/projects/pets/models"
        deeds = ["/v1:promote", "/v2:promote", ":pin", ":unpin", ":rollback"]
        answers = [await client.post(at + deed, json=word) for deed in deeds]
        assert [a.json() for a in answers] == [{"serves": v} for v in ("v1", "v2", "v2", "v2", "v1")]
        listed = (await client.get(at)).json()
        one = (await client.get(f"{at}/v2")).json()
        diff = (await client.get(f"{at}/v1/diff/v2")).json()
        then = (await client.get(f"{at}:at", params={"time": "2999-01-01T00:00"})).json()
        before = await client.get(f"{at}:at", params={"time": "1960-01-01T00:00+01:00"})
        wrong = await client.get(f"{at}:at", params={"time": "noon"})
    assert (then["version"], then["event"]) == ("v1", "rolled_back")
    assert (before.status_code, wrong.status_code) == (404, 422)
    assert (listed["champion"], listed["previous"], listed["pinned"]) == ("v1", "", "")
    decided = [(d["event"], d["version"], d["by"], d["reasons"]) for d in listed["decisions"]]
    events = ("promoted", "promoted", "pinned", "unpinned", "rolled_back")
    assert decided == [
        (event, version, "mia", ["complaints"])
        for event, version in zip(events, ("v1", "v2", "v2", "v2", "v1"), strict=True)
    ]
    assert (one["labels"], one["manifest"]["version"], one["manifest"]["label_ids"]) == (3, "v2", [])
    assert diff == {"only_this": 1, "only_other": 2, "metrics": {"of_v1": [0.5, None], "of_v2": [None, 0.5]}}
    assert office.context.audit is not None
    records, _ = await office.context.audit.read()
    assert [(r.actor, r.action, r.target, r.detail) for r in records] == [
        ("mia", Action.MODEL_PROMOTED.value, "v1", "complaints"),
        ("mia", Action.MODEL_PROMOTED.value, "v2", "complaints"),
        ("mia", Action.MODEL_PINNED.value, "v2", "complaints"),
        ("mia", Action.MODEL_UNPINNED.value, "v2", "complaints"),
        ("mia", Action.MODEL_ROLLED_BACK.value, "v2", "complaints"),
    ]


async def test_the_client_decides_and_reads_it_typed(office: Office) -> None:
    """`tiebreak.client` over the same application: every deed, what serves, one model, two compared, and a moment in the past."""
    token, transport = await office.person("mia", Role.MANAGER), httpx.ASGITransport(office.app)
    async with AsyncClient("http://tiebreak.test", token=token, project="pets", transport=transport) as mia:
        assert await mia.promote("v1", "complaints") == "v1"
        assert await mia.promote("v2", "complaints") == "v2"
        assert (await mia.pin("complaints"), (await mia.models()).pinned) == ("v2", "mia")
        assert (await mia.unpin("complaints"), await mia.rollback("complaints")) == ("v2", "v1")
        listed, one, diff = await mia.models(), await mia.model("v2"), await mia.diff("v1", "v2")
        assert (await mia.served()).event == "rolled_back"
        with pytest.raises(NotFound):
            await mia.served(datetime(1960, 1, 1, tzinfo=UTC))
    assert (listed.champion, listed.previous, listed.pinned) == ("v1", "", "")
    assert [(d.event, d.version, d.by, d.reasons) for d in listed.decisions[:2]] == [
        ("promoted", "v1", "mia", ("complaints",)),
        ("promoted", "v2", "mia", ("complaints",)),
    ]
    assert (one.manifest["version"], one.labels, one.decisions) == ("v2", 3, listed.decisions[1:4])
    assert diff == Diff(1, 2, {"of_v1": (0.5, None), "of_v2": (None, 0.5)})


async def test_what_is_not_there_is_said_and_changes_nothing(office: Office) -> None:
    """An unknown version, nothing to go back to, no reason given: 404, 409, 422, and no decision."""
    async with await office.client("mia", Role.MANAGER) as client:
        at, word = "/v1/projects/pets/models", {"reason": "complaints"}
        asked = [(f"{at}/v9:promote", word), (f"{at}:rollback", word), (f"{at}:pin", word), (f"{at}/v1:promote", {})]
        assert [(await client.post(path, json=body)).status_code for path, body in asked] == [404, 409, 404, 422]
        assert (await client.get(f"{at}/v9")).status_code == 404
        assert (await client.get(at)).json() == {"champion": "", "previous": "", "pinned": "", "decisions": []}
