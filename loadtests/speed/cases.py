"""The cases of the speed benchmark. Each compares what it compares turn by turn in one run, and takes medians."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from loadtests.figures import Figure, judged
from loadtests.speed import worker
from loadtests.speed.clocked import Measured
from loadtests.speed.ground import Ground, cores, fill_now, free_cores
from loadtests.speed.models import HEAVY_LAYERS, SMALL_LAYERS, perceptron, project
from tiebreak.contracts.project import Project
from tiebreak.contracts.topics import Topic

PEERS = {
    "a per-event aiokafka loop": "aiokafka_loop",
    "Quix Streams": "quix",
    "Faust": "faust_app",
    "Bytewax": "bytewax_flow",
}
PEERS_PYTHON = worker.ROOT / ".cache" / "peers" / "bin" / "python"


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured: events per turn and turns; ``judge`` False leaves times alone (a busy CI machine says nothing)."""

    turns: int
    raw: int
    json: int
    heavy: int
    peers: int
    latency_s: float
    laps: int
    lap_events: int
    swaps: int
    judge: bool


FULL = Size(5, 500_000, 150_000, 12_000, 40_000, 20.0, 20, 500_000, 500, judge=True)
QUICK = Size(1, 40_000, 20_000, 1_000, 4_000, 3.0, 2, 20_000, 2, judge=False)


def raw(where: Ground, size: Size) -> list[Figure]:
    """Events as bare tensor bytes, against a bare drain of the same topic."""
    return _against_drain(where, size, "raw", size.raw, "raw: pipeline / bare drain")


def as_json(where: Ground, size: Size) -> list[Figure]:
    """The same events as JSON, against a drain that also decodes them."""
    return _against_drain(where, size, "json", size.json, "json: pipeline / drain that decodes")


def _against_drain(where: Ground, size: Size, kind: str, events: int, name: str) -> list[Figure]:
    made = _filled(where, f"speed-{kind}", kind, events)
    source = Topic.EVENTS.of(made.project)
    drains, runs = [], []
    for turn in range(size.turns):
        drains.append(
            worker.measure("drain", kafka=where.kafka, topic=source, partitions=4, events=events, decode=kind == "json")
        )
        runs.append(_pipeline(where, made, events, f"{kind}-{turn}"))
    ratios = [run.rate / drain.rate for run, drain in zip(runs, drains, strict=True)]
    processor = [
        (drain.cpu_seconds / drain.events) / (run.cpu_seconds / run.events)
        for run, drain in zip(runs, drains, strict=True)
    ]
    own, bare = _micros(runs), _micros(drains)
    how = (
        f"{_rate(runs)} against {_rate(drains)} events/s; processor time {own:.1f} against {bare:.1f} us per event, "
        f"so {median(processor):.2f} by processor time; {events:,} events, {size.turns} turns"
    )
    return [judged("speed", name, median(ratios), how, judge=size.judge)]


def heavy(where: Ground, size: Size) -> list[Figure]:
    """A model that costs a millisecond per row by itself: the stream around it must not show."""
    model = _model(where, "heavy", HEAVY_LAYERS)
    made = project("speed-heavy", str(model))
    fill_now(where, made, size.heavy, "raw")
    bare, runs = [], []
    for turn in range(size.turns):
        bare.append(worker.measure("session", model_file=str(model), batches=[32, 128, 512, 2048], seconds=0.6))
        runs.append(_pipeline(where, made, size.heavy, f"heavy-{turn}"))
    ratio = median(run.rate / loop.rate for run, loop in zip(runs, bare, strict=True))
    how = (
        f"{_rate(runs)} against {_rate(bare)} events/s at the loop's best batch ({bare[0].notes['batch']:.0f}); "
        f"one row alone takes {median(each.notes['row_ms'] for each in bare):.1f} ms"
    )
    return [judged("speed", "heavy model: pipeline / bare session.run", ratio, how, judge=size.judge)]


def peers(where: Ground, size: Size) -> list[Figure]:
    """What a user would write or pick, with the same model and the same outputs."""
    made = _filled(where, "speed-peers", "raw", size.peers)
    rates: dict[str, float] = {}
    lines: list[Figure] = []
    for name, module in PEERS.items():
        try:
            runs = [_peer(where, made, module, size.peers) for _ in range(min(3, size.turns))]
        except (RuntimeError, OSError) as error:
            lines.append(Figure(f"{name}, events/s", None, "", None, f"did not run: {_last_line(error)}"))
            continue
        rates[name] = median(run.rate for run in runs)
        lines.append(
            Figure(f"{name}, events/s", rates[name], "", None, f"{_micros(runs):.0f} us of processor time per event")
        )
    own = [_pipeline(where, made, size.peers, f"peers-{turn}") for turn in range(min(3, size.turns))]
    rate = median(run.rate for run in own)
    lines.append(Figure("Tiebreak, events/s", rate, "", None, f"{_micros(own):.0f} us of processor time per event"))
    best = max(rates, key=rates.__getitem__, default="")
    ratio = rate / rates[best] if best else None
    return [
        *lines,
        judged("speed", "pipeline / best peer", ratio, f"the best is {best}" if best else "", judge=size.judge),
    ]


def latency(where: Ground, size: Size) -> list[Figure]:
    """From sending to the answer's arrival at half of the peak rate, and with a new model every two seconds."""
    made = _filled(where, "speed-peak", "raw", size.raw // 4)
    rate = 0.5 * _pipeline(where, made, size.raw // 4, "peak").rate
    seconds = size.latency_s
    span = seconds + 60.0
    calm = _filled(where, "speed-latency", "raw", 0)
    topics = {"source": Topic.EVENTS.of(calm.project), "target": Topic.PREDICTIONS.of(calm.project)}
    serving = {"kafka": where.kafka, "redis": where.redis, "project_json": calm.model_dump_json(), "seconds": span}
    echoed = _probed(
        where, ("echo", {"kafka": where.kafka, "group": "echo", "seconds": span, **topics}), topics, rate, seconds
    )
    scored = _probed(where, ("serve", {"group": "calm", **serving}), topics, rate, seconds)
    swapped = _probed(where, ("serve", {"group": "swaps", "swap_s": 2.0, **serving}), topics, rate, seconds)
    how = f"{scored.notes['p50']:.1f} against {echoed.notes['p50']:.1f} ms at {rate:,.0f} events/s"
    tail = f"{scored.notes['p99']:.1f} against {echoed.notes['p99']:.1f} ms"
    wait = f"{swapped.notes['max']:.1f} ms, p99 without swaps {scored.notes['p99']:.1f} ms"
    return [
        judged(
            "speed", "latency p50: pipeline / echo", scored.notes["p50"] / echoed.notes["p50"], how, judge=size.judge
        ),
        judged(
            "speed", "latency p99: pipeline / echo", scored.notes["p99"] / echoed.notes["p99"], tail, judge=size.judge
        ),
        judged("speed", "swap: events that failed or got lost", swapped.notes["lost"], "of all events sent"),
        judged(
            "speed",
            "swap: longest wait / p99 without",
            swapped.notes["max"] / scored.notes["p99"],
            wait,
            judge=size.judge,
        ),
    ]


def _probed(
    where: Ground, other: tuple[str, dict[str, Any]], topics: dict[str, str], rate: float, seconds: float
) -> Measured:
    role, arguments = other
    answering = worker.begin(role, **arguments)
    try:
        # The probe shares the servers' core: the measured side keeps its own.
        return worker.measure("probe", core=cores()[0], kafka=where.kafka, rate=rate, seconds=seconds, **topics)
    finally:
        answering.stop()


def replicas(where: Ground, size: Size) -> list[Figure]:
    """Two replicas on the partitions of one. Needs three cores: one for the broker and one for each replica."""
    name, events = "two replicas / one", size.raw // 2
    spare = free_cores()
    if len(spare) < 2:
        how = "not measured: the broker and two replicas need three cores, and this machine has fewer"
        return [judged("speed", name, None, how)]
    made = _filled(where, "speed-replicas", "raw", events)
    alone = [_pipeline(where, made, events, f"one-{turn}", core=spare[0]) for turn in range(size.turns)]
    ratio = median(_two(where, made, events, f"two-{turn}", spare) / one.rate for turn, one in enumerate(alone))
    return [judged("speed", name, ratio, f"one does {_rate(alone)} events/s", judge=size.judge)]


def _two(where: Ground, made: Project, events: int, group: str, spare: Sequence[int]) -> float:
    half = {"kafka": where.kafka, "redis": where.redis, "project_json": made.model_dump_json(), "group": group}
    both = [worker.begin("pipeline", core=core, events=events // 2, **half) for core in spare]
    return sum(each.result().rate for each in both)


def memory(where: Ground, size: Size) -> list[Figure]:
    """Resident memory of one process over many events and swaps."""
    made = _filled(where, "speed-memory", "raw", size.lap_events)
    run = worker.measure(
        "soak",
        kafka=where.kafka,
        redis=where.redis,
        project_json=made.model_dump_json(),
        events=size.lap_events,
        laps=size.laps,
        swaps=size.swaps,
    )
    notes = run.notes
    how = (
        f"{notes['most'] / 2**20:.0f} against {notes['base'] / 2**20:.0f} MiB; {run.events:,} events, "
        f"{notes['swapped']:.0f} swaps, {notes['dead']:.0f} dead letters"
    )
    return [judged("speed", "memory: most / after a tenth", notes["most"] / notes["base"], how, judge=size.judge)]


def _filled(where: Ground, name: str, kind: str, events: int) -> Project:
    made = project(name, str(_model(where, "small", SMALL_LAYERS)), fields=kind == "json")
    fill_now(where, made, events, kind)
    return made


def _model(where: Ground, name: str, layers: tuple[int, ...]) -> Path:
    path = where.folder / f"{name}.onnx"
    if not path.exists():
        path.write_bytes(perceptron(layers))
    return path


def _pipeline(where: Ground, made: Project, events: int, group: str, core: int | None = None) -> Measured:
    run = worker.measure(
        "pipeline",
        core=core,
        kafka=where.kafka,
        redis=where.redis,
        project_json=made.model_dump_json(),
        events=events,
        group=group,
    )
    if run.notes["dead"]:
        raise RuntimeError(f"{run.notes['dead']:.0f} events were set aside: the figures mean nothing")
    return run


def _peer(where: Ground, made: Project, module: str, events: int) -> Measured:
    topics = [Topic.EVENTS.of(made.project), Topic.PREDICTIONS.of(made.project)]
    command = ["taskset", "-c", str(cores()[1]), str(PEERS_PYTHON), "-m", f"loadtests.speed.peers.{module}"]
    return worker.launch(module, [*command, where.kafka, *topics, made.model.file, str(events)]).result(180.0)


def _last_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[-1][:200]


def _rate(runs: Sequence[Measured]) -> str:
    return f"{median(run.rate for run in runs):,.0f}"


def _micros(runs: Sequence[Measured]) -> float:
    return median(1e6 * run.cpu_seconds / run.events for run in runs)
