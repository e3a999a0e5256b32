"""Measure scoring against its own broker client, its model and its peers (SECTIONS=raw,json for parts, CACHED=1 shows what is kept)"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from loadtests.figures import Figure, save, show
from loadtests.speed import against_peers, cases, delays
from loadtests.speed.ground import Ground, cores, ground
from loadtests.speed.kept import Kept, Section
from loadtests.speed.sizes import FULL, QUICK, Size
from loadtests.speed.worker import ROOT
from scripts.kafka import missing_tools

SECTIONS: Mapping[str, Callable[[Ground, Size], list[Figure]]] = {
    "raw": cases.raw,
    "json": cases.as_json,
    "protobuf": cases.protobuf,
    "heavy": cases.heavy,
    "peers": against_peers.peers,
    "latency": delays.latency,
    "replicas": cases.replicas,
    "memory": cases.memory,
}


def main(argv: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ) -> int:
    """Measure the sections, keep each as it ends, print the table of all that are kept.

    1 when a figure misses its reach, 2 when nothing can be measured here. ``results/speed.json`` is written once every section
    has been measured in full.
    """
    options = _options(argv, environment)
    kept = Kept(options.cache / ("quick" if options.quick else "full"))
    reason = missing_tools() if options.sections else ""
    if reason:
        print(f"error: {reason}", file=sys.stderr)
        return 2
    # A run that is told to end takes its servers and whatever is being measured with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # Each topic is written to while it is being made; the client retries, and says so at length.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    if options.sections:
        _measure(options.sections, QUICK if options.quick else FULL, kept)
    return _tell([section for name in SECTIONS if (section := kept.get(name)) is not None], complete=not options.quick)


def _options(argv: Sequence[str] | None, environment: Mapping[str, str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench_speed", description=__doc__)
    everything = "" if environment.get("CACHED") else ",".join(SECTIONS)
    parser.add_argument("--only", default=environment.get("SECTIONS") or everything, help=f"of {','.join(SECTIONS)}")
    options = parser.parse_args(argv)
    options.sections = [name for name in options.only.split(",") if name]
    unknown = set(options.sections) - SECTIONS.keys()
    if unknown:
        parser.error(f"no such section: {', '.join(sorted(unknown))}")
    options.quick = bool(environment.get("QUICK"))
    options.cache = Path(environment.get("CACHE", ROOT / ".cache" / "bench_speed"))
    return options


def _measure(sections: Sequence[str], size: Size, kept: Kept) -> None:
    commit = _commit()
    with ground() as where:
        for name in sections:
            kept.put(Section.now(name, commit, SECTIONS[name](where, size)))
            print(f"{name}: done", file=sys.stderr, flush=True)


def _tell(sections: Sequence[Section], *, complete: bool) -> int:
    for section in sections:
        print(f"{section.name}: measured {section.measured} UTC at {section.commit}")
    server, own = cores()
    figures = [figure for section in sections for figure in section.figures]
    show(f"Scoring speed: servers on core {server}, what is measured on core {own}", figures)
    if complete and len(sections) == len(SECTIONS):
        save("speed", figures)
    return 1 if any(figure.ok is False for figure in figures) else 0


def _commit() -> str:
    """The commit that is measured, marked where files differ from it; a question mark outside a clone."""
    asked = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude=*"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return asked.stdout.strip() or "?"


if __name__ == "__main__":
    sys.exit(main())
