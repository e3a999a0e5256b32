"""Sections that hold the pipeline against bare loops and against itself: turn by turn in one run, by medians."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from loadtests.figures import Figure, judged
from loadtests.speed import worker
from loadtests.speed.clocked import Measured, together
from loadtests.speed.ground import Ground, cores, fill_now, free_cores
from loadtests.speed.models import HEAVY_LAYERS, project
from loadtests.speed.runs import filled, micros, model, pipeline, rate
from loadtests.speed.sizes import Size
from tiebreak.contracts.project import Project
from tiebreak.contracts.topics import Topic


def raw(where: Ground, size: Size) -> list[Figure]:
    """Events as bare tensor bytes, against a bare drain of the same topic."""
    name = "raw: pipeline / bare drain"
    ratio, how = _against_drain(where, size, "raw", size.raw)
    return [judged("speed", name, ratio, how, judge=size.judge)]


def as_json(where: Ground, size: Size) -> list[Figure]:
    """The same events as JSON, against a drain that also decodes them."""
    name = "json: pipeline / drain that decodes"
    ratio, how = _against_drain(where, size, "json", size.json)
    return [judged("speed", name, ratio, how, judge=size.judge)]


def protobuf(where: Ground, size: Size) -> list[Figure]:
    """The same events as our own messages, against a bare drain. Nothing was asked of it."""
    ratio, how = _against_drain(where, size, "protobuf", size.json)
    return [Figure("protobuf: pipeline / bare drain", ratio, "", None, how)]


def _against_drain(where: Ground, size: Size, kind: str, events: int) -> tuple[float, str]:
    made = filled(where, f"speed-{kind}", kind, events)
    source = Topic.EVENTS.of(made.project)
    drains, runs = [], []
    for turn in range(size.turns):
        drains.append(
            worker.measure("drain", kafka=where.kafka, topic=source, partitions=4, events=events, decode=kind == "json")
        )
        runs.append(pipeline(where, made, events, f"{kind}-{turn}"))
    ratios = [run.rate / drain.rate for run, drain in zip(runs, drains, strict=True)]
    processor = [
        (drain.cpu_seconds / drain.events) / (run.cpu_seconds / run.events)
        for run, drain in zip(runs, drains, strict=True)
    ]
    own, bare = micros(runs), micros(drains)
    how = (
        f"{rate(runs)} against {rate(drains)} events/s; processor time {own:.1f} against {bare:.1f} us per event, "
        f"so {median(processor):.2f} by processor time; {events:,} events, {size.turns} turns"
    )
    return median(ratios), how


def heavy(where: Ground, size: Size) -> list[Figure]:
    """A model that costs a millisecond per row by itself: the stream around it must not show."""
    file = model(where, "heavy", HEAVY_LAYERS)
    made = project("speed-heavy", str(file))
    fill_now(where, made, size.heavy, "raw")
    bare, runs = [], []
    for turn in range(size.turns):
        bare.append(worker.measure("session", model_file=str(file), batches=[32, 128, 512, 2048], seconds=0.6))
        runs.append(pipeline(where, made, size.heavy, f"heavy-{turn}"))
    ratio = median(run.rate / loop.rate for run, loop in zip(runs, bare, strict=True))
    how = (
        f"{rate(runs)} against {rate(bare)} events/s at the loop's best batch ({bare[0].notes['batch']:.0f}); "
        f"one row alone takes {median(each.notes['row_ms'] for each in bare):.1f} ms; processor time "
        f"{micros(runs):.0f} against {micros(bare):.0f} us per event; batches of {_rows(runs):.0f}"
    )
    return [judged("speed", "heavy model: pipeline / bare session.run", ratio, how, judge=size.judge)]


def _rows(runs: Sequence[Measured]) -> float:
    """The mean number of events in a batch, the median of the runs."""
    return median(run.notes["predictions"] / run.notes["batches"] for run in runs)


def replicas(where: Ground, size: Size) -> list[Figure]:
    """Two replicas on the partitions of one, each on a core, and each over as many events as the one alone.

    Where there are three cores, the servers have the first one to themselves and the small model is used. Where there are two, one
    replica shares its core with the servers: the heavy model keeps them nearly idle, so that the cores are the replicas' own.
    There are more events than are counted: nobody runs dry while another is still counted.
    """
    spare = free_cores()
    if len(spare) > 1:
        places, kind, events = spare[:2], "small model", size.raw // 2
        made = filled(where, "speed-replicas", "raw", 3 * events)
    else:
        places, kind, events = (
            list(cores()),
            "heavy model, servers on the first replica's core",
            2 * size.heavy // 3,
        )
        made = project("speed-replicas", str(model(where, "heavy", HEAVY_LAYERS)))
        fill_now(where, made, 3 * events, "raw")
    alone, both = [], []
    for turn in range(size.turns):
        alone.append(pipeline(where, made, events, f"one-{turn}", core=places[-1]))
        both.append(_two(where, made, events, f"two-{turn}", places))
    rates, lone = [together(pair) for pair in both], [together([one]) for one in alone]
    ratio = median(pair / one for pair, one in zip(rates, lone, strict=True))
    single, each = micros(alone), micros([run for pair in both for run in pair])
    how = (
        f"{median(rates):,.0f} together against {median(lone):,.0f} events/s alone; processor time {each:.1f} against {single:.1f} us "
        f"per event, so {2 * single / each:.2f} by processor time; {kind}; {events:,} events each, {size.turns} turns"
    )
    judge = size.judge and places[0] != places[1]
    return [judged("speed", "two replicas / one", ratio, how, judge=judge)]


def _two(where: Ground, made: Project, events: int, group: str, places: Sequence[int]) -> list[Measured]:
    """Two replicas, each over ``events`` events in the half of the partitions that the group gives it."""
    half = {"kafka": where.kafka, "redis": where.redis, "project_json": made.model_dump_json(), "group": group}
    share = {"events": events, "partitions": made.partitions // 2}
    both = [worker.begin("pipeline", core=core, **half, **share) for core in places]
    try:
        return [each.result() for each in both]
    finally:
        for each in both:
            each.stop()


def memory(where: Ground, size: Size) -> list[Figure]:
    """Resident memory of one process over many events and swaps."""
    made = filled(where, "speed-memory", "raw", size.lap_events)
    run = worker.measure(
        "soak",
        kafka=where.kafka,
        redis=where.redis,
        project_json=made.model_dump_json(),
        events=size.lap_events,
        laps=size.laps,
        swaps=size.swaps,
    )
    return [judged("speed", "memory: most / after a tenth", *_growth(run), judge=size.judge)]


def _growth(run: Measured) -> tuple[float, str]:
    notes = run.notes
    how = (
        f"{notes['most'] / 2**20:.0f} against {notes['base'] / 2**20:.0f} MiB; {run.events:,} events, "
        f"{notes['swapped']:.0f} swaps, {notes['dead']:.0f} dead letters"
    )
    return notes["most"] / notes["base"], how
