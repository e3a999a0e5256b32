"""The demo's run: the real processes under their supervisor, a world that feeds them, people who answer, and the reckoning."""

from __future__ import annotations

import asyncio
import json
import secrets
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass

import httpx
from rich.console import Console

from tiebreak.apps.admitting import admit
from tiebreak.apps.cli_options import settings_of
from tiebreak.apps.demo.annotators import Annotator, Workplace, client_of
from tiebreak.apps.demo.arms import Trial, run_arms
from tiebreak.apps.demo.control import ArmResult, ladder_of
from tiebreak.apps.demo.digits import digits_world
from tiebreak.apps.demo.feeding import encore, feed
from tiebreak.apps.demo.following import follow
from tiebreak.apps.demo.journal import Journal
from tiebreak.apps.demo.options import DemoOptions, project_text
from tiebreak.apps.demo.picture import save
from tiebreak.apps.demo.recording import Recording
from tiebreak.apps.demo.screen import Screen
from tiebreak.apps.demo.summary import Summary, caught_up, picture_of, questions_of, summarise
from tiebreak.apps.demo.table import table_of
from tiebreak.apps.demo.world import World, WorldSettings
from tiebreak.apps.stream import MODELS_FOLDER
from tiebreak.apps.up import Running, running, until_ready
from tiebreak.apps.wiring import open_log
from tiebreak.contracts.clock import Clock
from tiebreak.contracts.errors import TiebreakError, Unreachable
from tiebreak.contracts.log import Log
from tiebreak.contracts.messages import Manifest
from tiebreak.contracts.project import Project
from tiebreak.deployment.files import FileModelStore
from tiebreak.labeling.access import Role
from tiebreak.runtime.clock import SystemClock
from tiebreak.runtime.lifecycle import ExitCode
from tiebreak.runtime.logs import configure_logs
from tiebreak.runtime.project_file import load_project
from tiebreak.runtime.settings import Options, Settings
from tiebreak.runtime.tasks import end

_HOURS = 12.0
_DRAIN_S = 30.0
_ANSWER_S = 15.0
_STOP_S = 8.0
_READY_S = 180.0  # a machine with other things to do gets there too
_LOOK_S = 0.1


@dataclass(frozen=True, slots=True)
class Show:
    """What a run works with, once everything is up. ``page`` is the address, with its token, for a person."""

    options: DemoOptions
    world: World
    project: Project
    up: Running
    log: Log
    page: str
    console: Console
    clock: Clock


class Interrupted(TiebreakError):
    """Somebody asked the demo to stop before it was done."""


async def run_demo(options: DemoOptions, console: Console) -> ExitCode:
    """The whole demo. Raises ConfigError or Unreachable when it cannot start."""
    done = asyncio.Event()
    try:
        with _signals() as asked:
            return await _run(options, console, asked, done)
    except Interrupted:
        # Everything has been stopped in order on the way here. After the summary that is how a run ends.
        return ExitCode.OK if done.is_set() else ExitCode.ABORTED


@contextmanager
def _signals() -> Iterator[asyncio.Event]:
    """An event that the first Ctrl-C, SIGTERM or SIGHUP sets.

    Nothing is cancelled by a signal, so that none of them, nor a second one, cuts the stopping of Redis short.
    """
    loop, asked = asyncio.get_running_loop(), asyncio.Event()
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, asked.set)
    try:
        yield asked
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


async def _run(options: DemoOptions, console: Console, asked: asyncio.Event, done: asyncio.Event) -> ExitCode:
    world = await asyncio.to_thread(digits_world, WorldSettings(events=options.events, seed=options.seed))
    console.print("Starting Redis, scoring, labeling and training ...", style="dim")
    async with _started(options, world, console, asked) as show:
        playing = asyncio.create_task(_play(show, done), name="demo")
        ending = asyncio.create_task(show.up.life.stopping.wait(), name="supervisor")
        try:
            await asyncio.wait({playing, ending}, return_when=asyncio.FIRST_COMPLETED)
            if not playing.done():
                raise _why(show.up, asked, options)
            return playing.result()
        finally:
            await end(playing, ending)


def _why(up: Running, asked: asyncio.Event, options: DemoOptions) -> BaseException:
    if asked.is_set():
        return Interrupted("The demo was interrupted.")
    return up.life.error or Unreachable("The processes did not stay up.", fix=_logs(options))


@asynccontextmanager
async def _started(options: DemoOptions, world: World, console: Console, asked: asyncio.Event) -> AsyncIterator[Show]:
    logs = options.out / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    file, clock = options.out / "project.yaml", SystemClock()
    with tempfile.TemporaryDirectory(prefix="tiebreak-demo-") as data, (logs / "demo.log").open("w") as log_file:
        configure_logs("demo", stream=log_file)
        settings = settings_of(
            Options(options.kafka or None, options.redis or None, data, port=options.port, stop_timeout_s=_STOP_S)
        )
        file.write_text(project_text(options, _name(settings)), encoding="utf-8")
        project = load_project(file)
        async with (
            running(project, file.resolve(), settings, logs) as up,
            _stopping_when(asked, up),
            open_log(settings) as log,
        ):
            if not await until_ready(up, _READY_S):
                raise _why(up, asked, options)
            token, _ = await admit(project, settings, "you", Role.ANNOTATOR, _HOURS, clock)
            page = f"{up.children['label'].part.address}/#token={token}"
            yield Show(options, world, project, up, log, page, console, clock)


@asynccontextmanager
async def _stopping_when(asked: asyncio.Event, up: Running) -> AsyncIterator[None]:
    async def watch() -> None:
        await asked.wait()
        up.life.request_stop("asked to")

    watching = asyncio.create_task(watch(), name="signals")
    try:
        yield
    finally:
        await end(watching)


def _name(settings: Settings) -> str:
    # On servers of others the name must be free; on our own it is always the same, and so are all ids.
    ours = settings.embedded and not settings.kafka
    return "digits-demo" if ours else f"digits-demo-{secrets.token_hex(3)}"


def _logs(options: DemoOptions) -> str:
    return f"Their logs are in {options.out / 'logs'}."


async def _play(show: Show, done: asyncio.Event) -> ExitCode:
    options, console = show.options, show.console
    recording, journal = Recording.of(show.world), Journal()
    screen = Screen(console, show.clock, recording, journal, show.page)
    console.print(f"Label beside the simulated people: {show.page}", highlight=False, soft_wrap=True)
    seconds = await _stream(show, recording, journal, screen)
    summary = await _reckon(show, recording, journal, seconds)
    done.set()
    if console.is_terminal and options.wait:
        console.print(f"\nStill up: {show.page}\nCtrl-C ends it.", highlight=False, soft_wrap=True)
        await _encore(show)
    return ExitCode.OK if summary.predicted == summary.events else ExitCode.FAILED


async def _stream(show: Show, recording: Recording, journal: Journal, screen: Screen) -> float:
    """Feed, answer and follow until every event has its prediction and people are done; the stream's seconds."""
    at_work, watching = asyncio.Event(), asyncio.Event()
    writer = show.log.writer()
    await writer.start()
    label = show.up.children["label"].part.address
    async with (
        client_of(label, show.options.annotators) as client,
        asyncio.TaskGroup() as tasks,
        _set(at_work, watching),
    ):
        tasks.create_task(follow(show.log, show.project.project, recording, show.clock, watching))
        tasks.create_task(screen.show(watching))
        for person in await _people(show, journal, client):
            tasks.create_task(person.run(at_work))
        began = show.clock.monotonic()
        await feed(show.world, show.project.project, writer, show.clock, show.options.rate)
        await _until(lambda: recording.predicted >= len(show.world), _DRAIN_S, show.clock)
        seconds = show.clock.monotonic() - began
        screen.note = "the stream is over; people finish what they hold"
        await _until(lambda: len(recording.settled) >= len(recording.asked), _ANSWER_S, show.clock)
    await writer.close(_STOP_S)
    return seconds


@asynccontextmanager
async def _set(*events: asyncio.Event) -> AsyncIterator[None]:
    """Set on leaving, also when cancelled: a task may lose its cancellation to a client library, and looks at its event next."""
    try:
        yield
    finally:
        for event in events:
            event.set()


async def _people(show: Show, journal: Journal, client: httpx.AsyncClient) -> list[Annotator]:
    truths = await asyncio.to_thread(show.world.truth_by_image)
    place = Workplace(client, show.project.project, truths, journal, show.clock, show.options.habits)
    people = []
    for number in range(1, show.options.annotators + 1):
        name = f"person-{number:02d}"
        token, _ = await admit(show.project, show.up.settings, name, Role.ANNOTATOR, _HOURS, show.clock)
        people.append(Annotator(place, name, token, show.options.seed + number))
    return people


async def _until(condition: Callable[[], bool], seconds: float, clock: Clock) -> None:
    deadline = clock.monotonic() + seconds
    while not condition() and clock.monotonic() < deadline:
        await clock.sleep(_LOOK_S)


async def _reckon(show: Show, recording: Recording, journal: Journal, seconds: float) -> Summary:
    """The control arms, the table, the picture, and the files."""
    options, console, out = show.options, show.console, show.options.out
    console.print("The stream is over. Labelling as many events at random, for comparison ...", style="dim")
    manifests = await _manifests(show, recording)
    trial = Trial(show.world, ladder_of(recording, manifests), show.project, options.error_rate, options.seed)

    def enough(arms: Sequence[ArmResult]) -> bool:
        return caught_up(recording, arms)

    arms = await run_arms(trial, enough)
    summary = summarise(recording, manifests, arms, journal, seconds)
    _, png = await asyncio.to_thread(save, picture_of(recording, arms, summary), out)
    journal.write(out / "journal.jsonl")
    (out / "summary.json").write_text(json.dumps(asdict(summary), indent=2) + "\n", encoding="utf-8")
    (out / "questions.jsonl").write_text("".join(json.dumps(q) + "\n" for q in questions_of(recording)), "utf-8")
    console.print()
    console.print(table_of(summary, png))
    return summary


async def _manifests(show: Show, recording: Recording) -> list[Manifest]:
    store = FileModelStore(show.up.settings.data_dir / MODELS_FOLDER)
    return [await store.manifest(show.project.project, version) for version in recording.versions[1:]]


async def _encore(show: Show) -> None:
    """Go on slowly, so that the person at the page has something to label. Ends by being cancelled."""
    writer = show.log.writer()
    await writer.start()
    await encore(show.world, show.project.project, writer, show.clock)
