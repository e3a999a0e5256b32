"""An office with three tasks waiting."""

from __future__ import annotations

import pytest

from tests.support.labeling import a_project, a_task
from tests.support.labeling_api import Office, open_office


@pytest.fixture
async def office() -> Office:
    """The labeling API over the in-memory queue and log."""
    office = await open_office(a_project())
    await office.queue.add([a_task(i) for i in range(3)])
    return office
