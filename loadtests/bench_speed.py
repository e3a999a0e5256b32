"""Measure scoring against its own broker client, its model and its peers (real Apache Kafka and Redis on loopback)"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence

from loadtests.figures import Figure, save, show
from loadtests.speed import cases
from loadtests.speed.cases import FULL, QUICK, Size
from loadtests.speed.ground import Ground, cores, ground
from scripts.kafka import missing_tools

CASES: Mapping[str, Callable[[Ground, Size], list[Figure]]] = {
    "raw": cases.raw,
    "json": cases.as_json,
    "heavy": cases.heavy,
    "peers": cases.peers,
    "latency": cases.latency,
    "replicas": cases.replicas,
    "memory": cases.memory,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the cases, print the table, write the results. 1 when a full run misses a reach, 2 when it cannot run here."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench_speed", description=__doc__)
    parser.add_argument("--only", default="", help=f"comma separated: {', '.join(CASES)}")
    options = parser.parse_args(argv)
    reason = missing_tools()
    if reason:
        print(f"error: {reason}", file=sys.stderr)
        return 2
    size = QUICK if os.environ.get("QUICK") else FULL
    wanted = [name for name in options.only.split(",") if name] or list(CASES)
    figures: list[Figure] = []
    # A run that is told to end takes its servers with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with ground() as where:
        for name in wanted:
            figures += CASES[name](where, size)
            print(f"{name}: done", file=sys.stderr, flush=True)
    server, own = cores()
    show(f"Scoring speed: servers on core {server}, what is measured on core {own}", figures)
    if not options.only:
        save("speed", figures)
    return 1 if any(figure.ok is False for figure in figures) else 0


if __name__ == "__main__":
    sys.exit(main())
