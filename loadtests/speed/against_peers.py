"""The section that holds the pipeline against what a user would write or pick, with the same model and the same outputs."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

from loadtests.figures import Figure, judged
from loadtests.speed import worker
from loadtests.speed.clocked import Measured
from loadtests.speed.ground import Ground, cores
from loadtests.speed.runs import filled, micros, pipeline
from loadtests.speed.sizes import Size
from tiebreak.contracts.project import Project
from tiebreak.contracts.topics import Topic

# As each one's documentation begins: a handler per event.
PEERS = {
    "a per-event aiokafka loop": ("aiokafka_loop", "event"),
    "Quix Streams": ("quix", "event"),
    "Faust": ("faust_app", "event"),
    "Bytewax": ("bytewax_flow", "event"),
}
# The batch forms of those that have one, and what somebody who knows the client well would write.
BATCHED = {
    "a getmany + send_batch aiokafka loop": ("aiokafka_loop", "batch"),
    "Faust, stream.take": ("faust_app", "batch"),
    "Bytewax, flat_map_batch": ("bytewax_flow", "batch"),
}
PYTHON = worker.ROOT / ".cache" / "peers" / "bin" / "python"
MOST_S = 180.0


def peers(where: Ground, size: Size) -> list[Figure]:
    """Events per second of each, ours last. Judged against the best of the per-event ones; the batch forms have lines of their own.

    Ours reads more of the topic than the others have time for: ten of its batches would say little of a rate.
    """
    made = filled(where, "speed-peers", "raw", size.raw)
    turns = min(3, size.turns)
    each, per_event = _lines(where, made, PEERS, size.peers, turns)
    more, batched = _lines(where, made, BATCHED, size.peers, turns)
    own = [pipeline(where, made, size.raw, f"peers-{turn}") for turn in range(turns)]
    rate = median(run.rate for run in own)
    best, ratio = _against(rate, per_event)
    best_batched, ratio_batched = _against(rate, batched)
    return [
        *each,
        *more,
        _line("Tiebreak", own),
        judged("speed", "pipeline / best peer", ratio, f"per event; the best is {best}", judge=size.judge),
        Figure("pipeline / best batch form", ratio_batched, "", None, f"the best is {best_batched}"),
    ]


def _lines(
    where: Ground, made: Project, others: Mapping[str, tuple[str, str]], events: int, turns: int
) -> tuple[list[Figure], dict[str, float]]:
    lines: list[Figure] = []
    rates: dict[str, float] = {}
    for name, (module, form) in others.items():
        try:
            runs = [_peer(where, made, (module, form), events, turn) for turn in range(turns)]
        except (RuntimeError, OSError, TimeoutError) as error:
            lines.append(Figure(f"{name}, events/s", None, "", None, f"did not run: {_last_line(error)}"))
            continue
        rates[name] = median(run.rate for run in runs)
        lines.append(_line(name, runs))
    return lines, rates


def _line(name: str, runs: list[Measured]) -> Figure:
    how = f"{micros(runs):.0f} us of processor time per event"
    return Figure(f"{name}, events/s", median(run.rate for run in runs), "", None, how)


def _against(rate: float, others: Mapping[str, float]) -> tuple[str, float | None]:
    best = max(others, key=others.__getitem__, default="")
    return best or "none that ran", rate / others[best] if best else None


def _peer(where: Ground, made: Project, what: tuple[str, str], events: int, turn: int) -> Measured:
    module, form = what
    topics = [Topic.EVENTS.of(made.project), Topic.PREDICTIONS.of(made.project)]
    command = ["taskset", "-c", str(cores()[1]), str(PYTHON), "-m", f"loadtests.speed.peers.{module}"]
    arguments = [where.kafka, *topics, made.model.file, str(events), form, f"{module}-{form}-{turn}"]
    return worker.launch(module, [*command, *arguments]).result(MOST_S)


def _last_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[-1][:200]
