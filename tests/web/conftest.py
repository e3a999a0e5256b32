"""A real browser on the real page: chromium through Playwright, uvicorn on a free port, everything in one process."""

from __future__ import annotations

import asyncio
import os
import shutil
import struct
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import numpy as np
import pytest_asyncio
import uvicorn
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.support.eventually import PATIENCE_S, eventually
from tests.support.labeling import a_task
from tests.support.labeling_api import Office, open_office, running
from tests.support.redis_fixture import missing
from tiebreak.contracts.messages import Label, Payload, PayloadKind
from tiebreak.contracts.project import Project
from tiebreak.labeling.access import Role
from tiebreak.labeling.stage_people import Around, People


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Chromium without a window. Skipped (failed in CI) where there is none."""
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if executable is None:
        missing("There is no chromium on the PATH: the page's tests need one.")
    expect.set_options(timeout=PATIENCE_S * 1000)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=executable,
            args=["--no-sandbox", "--headless=new", "--disable-background-networking", "--disable-gpu"],
        )
        yield browser
        await browser.close()


@asynccontextmanager
async def serving(office: Office) -> AsyncIterator[str]:
    """The office's API on a free port, its loops running; the address."""
    config = uvicorn.Config(office.app, host="127.0.0.1", port=0, log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    async with running(office):
        task = asyncio.create_task(server.serve())
        await eventually(lambda: server.started)
        port = server.servers[0].sockets[0].getsockname()[1]
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            office.doorbell.close()
            server.should_exit = True
            await task


SHOTS = os.environ.get("TIEBREAK_TEST_SCREENSHOTS", "")


@dataclass(slots=True)
class Desk:
    """One person at one page."""

    office: Office
    page: Page

    async def press(self, *keys: str) -> None:
        for key in keys:
            await self.page.keyboard.press(key)

    async def sees(self, text: str) -> None:
        await expect(self.page.locator("#work:visible #payload")).to_contain_text(text)

    async def labels(self, count: int) -> list[Label]:
        async def enough() -> list[Label]:
            found = await self.office.labels()
            return found if len(found) >= count else []

        return await eventually(enough)

    async def shot(self, name: str) -> None:
        if SHOTS:
            await self.page.screenshot(path=f"{SHOTS}/{name}.png")


Open = Callable[..., Awaitable[Desk]]


async def nothing(_: Office) -> None:
    """What happens before the page is opened."""


@pytest_asyncio.fixture(loop_scope="session")
async def open_desk(browser: Browser) -> AsyncIterator[Open]:
    """Open a page on a project's running office with some tasks on its topic."""
    async with AsyncExitStack() as stack:

        async def open_desk(
            project: Project,
            *payloads: Payload | None,
            dark: bool = False,
            role: Role = Role.ANNOTATOR,
            before: Callable[[Office], Awaitable[None]] = nothing,
        ) -> Desk:
            office = await open_office(project)
            office.keep_record()
            around = Around(office.log, office.log.writer(), office.metrics, office.clock, lambda: 0.0, office.trail())
            office.watch(People(project, office.queue, around))
            url = await stack.enter_async_context(serving(office))
            tasks = [a_task(i, project.project, payload=p) for i, p in enumerate(payloads)]
            await office.publish_tasks(*tasks)

            async def waiting() -> bool:
                return (await office.queue.stats()).open_tasks == len(tasks)

            await eventually(waiting)
            await before(office)
            token = await office.person("ann", role)
            context = await browser.new_context(
                viewport={"width": 1100, "height": 820}, color_scheme="dark" if dark else "light"
            )
            stack.push_async_callback(context.close)
            context.set_default_timeout(PATIENCE_S * 1000)
            page = await context.new_page()
            problems: list[str] = []
            page.on("pageerror", lambda error: problems.append(str(error)))
            page.on("console", lambda m: problems.append(m.text) if "Content Security" in m.text else None)
            stack.callback(lambda: _nothing(problems))
            await page.goto(f"{url}/#token={token}")
            return Desk(office, page)

        yield open_desk


def _nothing(problems: list[str]) -> None:
    assert problems == []


def text(words: str) -> Payload:
    return Payload(PayloadKind.TEXT, "text/plain", words.encode())


def png(pixels: np.ndarray) -> Payload:
    """A grey picture as PNG."""
    rows = b"".join(b"\0" + bytes(row) for row in pixels.astype(np.uint8))
    height, width = pixels.shape

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return Payload(PayloadKind.IMAGE, "image/png", data)
