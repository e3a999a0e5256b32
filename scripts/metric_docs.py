"""``docs/metrics.md`` from the catalogue: every metric, its labels, and what to do when it moves."""

from __future__ import annotations

from itertools import groupby

from tiebreak.runtime.catalogue import CATALOGUE
from tiebreak.runtime.metric import Metric

_HEAD = """# Metrics

Generated from `services/tiebreak/runtime/catalogue.py` by `make generate`. Every metric carries the label `project`;
units are base units and stand in the name. The Grafana dashboard and the Prometheus rules in `docker/` use only what is listed here.
"""


def _stage(metric: Metric) -> str:
    return metric.name.split("_")[1]


def _row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels) or "-"
    cells = (f"`{metric.name}`", metric.kind, labels, metric.help, metric.action)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def metric_docs() -> str:
    """The page, as Markdown."""
    lines = [_HEAD]
    for stage, metrics in groupby(sorted(CATALOGUE, key=_stage), key=_stage):
        lines += [f"## {stage}", "", "| metric | kind | labels | what it is | when it moves |", "|---|---|---|---|---|"]
        lines += [*map(_row, metrics), ""]
    return "\n".join(lines)
