"""The Grafana dashboard as a table: rows in the order of the flow, one line per panel. ``scripts.generate`` writes the JSON.

A panel's description is what the metric catalogue says to do when it moves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tiebreak.runtime.catalogue import CATALOGUE

UID = "tiebreak-loop"
_DATASOURCE = {"type": "prometheus", "uid": "tiebreak"}
_WIDTH, _HEIGHT, _COLUMNS = 8, 7, 24
_NAME = re.compile(r"tiebreak_[a-z_]+")
_SUFFIXES = ("_bucket", "_sum", "_count")


@dataclass(frozen=True, slots=True)
class Panel:
    """One graph: ``series`` are (expression, legend); ``P`` in an expression stands for the chosen project."""

    title: str
    unit: str
    series: Sequence[tuple[str, str]]


def _rate(metric: str, by: str = "", where: str = "") -> tuple[str, str]:
    labels = f'project=~"$project"{where}'
    group = f" by ({by})" if by else ""
    return f"sum{group} (rate({metric}{{{labels}}}[$__rate_interval]))", f"{{{{{by}}}}}" if by else "all"


def _gauge(metric: str, by: str = "", how: str = "sum") -> tuple[str, str]:
    group = f" by ({by})" if by else ""
    return f'{how}{group} ({metric}{{project=~"$project"}})', f"{{{{{by}}}}}" if by else "all"


def _quantiles(metric: str, by: str = "") -> list[tuple[str, str]]:
    group = f"le, {by}" if by else "le"
    legend = f" {{{{{by}}}}}" if by else ""
    inner = f'sum by ({group}) (rate({metric}_bucket{{project=~"$project"}}[$__rate_interval]))'
    return [(f"histogram_quantile({q}, {inner})", f"p{round(q * 100)}{legend}") for q in (0.5, 0.99)]


ROWS: Mapping[str, Sequence[Panel]] = {
    "Is it well?": (
        Panel("Processes that answer", "none", [('sum by (job) (up{job=~"tiebreak-.*"})', "{{job}}")]),
        Panel("Records behind", "short", [_gauge("tiebreak_events_lag_records", "stage")]),
        Panel("Set aside on `dead`", "ops", [_rate("tiebreak_events_dead_total", "reason")]),
        Panel("Faults of the audit trail", "short", [_gauge("tiebreak_runtime_audit_faults", "kind", "max")]),
    ),
    "Events": (
        Panel("Records consumed", "ops", [_rate("tiebreak_events_consumed_total", "stage")]),
        Panel("Time to decide a batch", "s", _quantiles("tiebreak_events_handle_seconds", "stage")),
        Panel("Time to publish a batch", "s", _quantiles("tiebreak_events_publish_seconds", "stage")),
        Panel("Went back to the last commit", "ops", [_rate("tiebreak_events_rewinds_total", "stage")]),
        Panel("Partitions taken away", "ops", [_rate("tiebreak_events_rebalances_total", "stage")]),
        Panel("Slowed down", "none", [_gauge("tiebreak_events_paused", "stage", "max")]),
    ),
    "Scoring": (
        Panel("One run of the model", "s", _quantiles("tiebreak_scoring_model_seconds")),
        Panel("Model changes", "ops", [_rate("tiebreak_scoring_swaps_total", "outcome")]),
        Panel("Payloads withheld", "ops", [_rate("tiebreak_scoring_withheld_total", "reason")]),
        Panel("Replayed events", "ops", [_rate("tiebreak_scoring_replayed_total")]),
    ),
    "Sampling": (
        Panel("Mean uncertainty", "percentunit", [_gauge("tiebreak_sampling_uncertainty_ratio", how="avg")]),
        Panel("Selected, by reason", "ops", [_rate("tiebreak_sampling_selected_total", "reason")]),
        Panel(
            "Drift and bursts",
            "ops",
            [_rate("tiebreak_sampling_drift_total", "signal"), (_rate("tiebreak_sampling_bursts_total")[0], "bursts")],
        ),
        Panel("Share aimed at", "percentunit", [_gauge("tiebreak_sampling_share_ratio", how="avg")]),
        Panel("Refused by the budget", "ops", [_rate("tiebreak_sampling_refused_total")]),
        Panel("Time to decide", "s", _quantiles("tiebreak_sampling_decide_seconds")),
    ),
    "Labeling": (
        Panel(
            "The queue",
            "short",
            [
                (_gauge("tiebreak_labeling_open_tasks", how="max")[0], "open"),
                (_gauge("tiebreak_labeling_leased_tasks", how="max")[0], "leased"),
                (_gauge("tiebreak_labeling_review_tasks", how="max")[0], "in review"),
            ],
        ),
        Panel("Answers", "ops", [_rate("tiebreak_labeling_answers_total", "act")]),
        Panel("From task to label", "s", _quantiles("tiebreak_labeling_label_latency_seconds")),
        Panel("From claim to answer", "s", _quantiles("tiebreak_labeling_work_seconds")),
        Panel("Agreement", "ops", [_rate("tiebreak_labeling_agreement_total", "outcome")]),
        Panel(
            "Walked off, gave up",
            "ops",
            [
                (_rate("tiebreak_labeling_leases_expired_total")[0], "leases expired"),
                (_rate("tiebreak_labeling_tasks_expired_total")[0], "tasks expired"),
            ],
        ),
    ),
    "Training and deployment": (
        Panel("Accuracy of the newest candidate", "percentunit", [_gauge("tiebreak_training_accuracy_ratio", "evidence", "max")]),
        Panel("Entropy on audit labels", "none", [_gauge("tiebreak_training_entropy_nats", "model", "max")]),
        Panel("Version of the data set", "short", [_gauge("tiebreak_training_dataset_version", how="max")]),
        Panel("Steps", "ops", [_rate("tiebreak_training_steps_total", "outcome")]),
        Panel("Verdicts", "ops", [_rate("tiebreak_deployment_verdicts_total", "verdict")]),
        Panel("Time of a step", "s", _quantiles("tiebreak_training_step_seconds")),
        Panel(
            "What became of the models",
            "percentunit",
            [
                (_gauge("tiebreak_deployment_retrain_success_ratio", how="max")[0], "came to serve"),
                (_gauge("tiebreak_deployment_regret_ratio", how="max")[0], "taken back"),
            ],
        ),
        Panel("NLL of the newest promoted", "none", [_gauge("tiebreak_deployment_promoted_nll_nats", how="max")]),
        Panel(
            "Entropy drop of the newest promoted",
            "percentunit",
            [_gauge("tiebreak_deployment_promoted_entropy_drop_ratio", how="max")],
        ),
    ),
}  # fmt: skip


def metrics_in(expression: str) -> set[str]:
    """The catalogue's names in an expression: a histogram's series count as the histogram."""
    known = {metric.name for metric in CATALOGUE}
    found = set()
    for name in _NAME.findall(expression):
        stem = next(
            (name.removesuffix(s) for s in _SUFFIXES if name.endswith(s) and name.removesuffix(s) in known), name
        )
        found.add(stem)
    return found


def dashboard() -> dict[str, Any]:
    """The whole dashboard as Grafana's JSON model."""
    return {
        "uid": UID,
        "title": "Tiebreak: the loop",
        "tags": ["tiebreak"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": [_project_variable()]},
        "panels": list(_panels()),
    }


def _project_variable() -> dict[str, Any]:
    query = "label_values(tiebreak_runtime_ready_ratio, project)"
    return {
        "name": "project",
        "label": "Project",
        "type": "query",
        "datasource": _DATASOURCE,
        "query": {"query": query, "refId": "project"},
        "definition": query,
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def _panels() -> Iterator[dict[str, Any]]:
    number, y = 1, 0
    for title, panels in ROWS.items():
        yield {
            "id": number,
            "type": "row",
            "title": title,
            "collapsed": False,
            "panels": [],
            "gridPos": _place(0, y, 24, 1),
        }
        number, y = number + 1, y + 1
        for index, panel in enumerate(panels):
            across = _COLUMNS // _WIDTH
            place = _place((index % across) * _WIDTH, y + index // across * _HEIGHT, _WIDTH, _HEIGHT)
            yield _graph(number, panel, place)
            number += 1
        y += -(-len(panels) // (_COLUMNS // _WIDTH)) * _HEIGHT


def _graph(number: int, panel: Panel, place: Mapping[str, int]) -> dict[str, Any]:
    return {
        "id": number,
        "type": "timeseries",
        "title": panel.title,
        "description": _description(panel),
        "datasource": _DATASOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom"},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        "targets": [
            {"refId": chr(ord("A") + i), "datasource": _DATASOURCE, "expr": expression, "legendFormat": legend}
            for i, (expression, legend) in enumerate(panel.series)
        ],
    }


def _description(panel: Panel) -> str:
    used = set().union(*(metrics_in(expression) for expression, _ in panel.series))
    return "\n\n".join(f"{m.help} {m.action}" for m in CATALOGUE if m.name in used)


def _place(x: int, y: int, w: int, h: int) -> dict[str, int]:
    return {"x": x, "y": y, "w": w, "h": h}
