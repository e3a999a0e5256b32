"""A real browser on the real page: chromium through Playwright, uvicorn on a free port, everything in one process."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest_asyncio
import uvicorn
from playwright.async_api import Browser, async_playwright, expect

from tests.support.eventually import eventually
from tests.support.labeling_api import Office, running
from tests.support.redis_fixture import missing


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Chromium without a window. Skipped (failed in CI) where there is none."""
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if executable is None:
        missing("There is no chromium on the PATH: the page's tests need one.")
    expect.set_options(timeout=20_000)
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
