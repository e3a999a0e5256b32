"""Labels as a table for others: Parquet, Delta Lake, or JSON Lines where neither is installed; and where no ledger has them."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Any

from tiebreak.apps.auditing import open_trail
from tiebreak.apps.scanning import readable, scan
from tiebreak.apps.wiring import open_log
from tiebreak.contracts.codec import decode_label
from tiebreak.contracts.erasure import erased_in
from tiebreak.contracts.errors import ConfigError
from tiebreak.contracts.messages import Label
from tiebreak.contracts.project import Project
from tiebreak.contracts.retention import horizons_in
from tiebreak.contracts.topics import Topic
from tiebreak.runtime.clock import SystemClock
from tiebreak.runtime.settings import Settings
from tiebreak.training.datasheet import standing
from tiebreak.training.retraction import Struck


class Form(StrEnum):
    """How labels are written."""

    BY_NAME = "auto"
    PARQUET = "parquet"
    JSON_LINES = "jsonl"
    DELTA = "delta"


_SUFFIXES = {".jsonl": Form.JSON_LINES, ".ndjson": Form.JSON_LINES, ".parquet": Form.PARQUET, ".pq": Form.PARQUET}


def export_labels(labels: Sequence[Label], out: Path, form: Form = Form.BY_NAME) -> bool:
    """One row per label, in the order of settling. A Delta table gets a new version that holds these labels alone.

    Whether what was there before can still be read, as the earlier versions of a Delta table can. Raises ConfigError for a name
    that tells no format, or without the library that writes it.
    """
    rows = [_row(label) for label in sorted(labels, key=lambda x: (x.settled_ms, x.label_id))]
    named = _SUFFIXES.get(out.suffix) if form is Form.BY_NAME else form
    if named is None:
        raise ConfigError(f"Cannot tell the format of {out} from its name.", fix="Call it .parquet or .jsonl.")
    if named is Form.JSON_LINES:
        out.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        return False
    arrow = _library("pyarrow", "Writing Parquet needs pyarrow.", "parquet")
    table = arrow.Table.from_pylist(rows, schema=_schema(arrow))
    if named is Form.DELTA:
        delta = _library("deltalake", "Writing a Delta table needs deltalake.", "delta")
        there = bool(delta.DeltaTable.is_deltatable(str(out)))
        delta.write_deltalake(str(out), table, mode="overwrite", schema_mode="overwrite")
        return there
    importlib.import_module("pyarrow.parquet").write_table(table, out)
    return False


async def labels_on_topic(project: Project, settings: Settings) -> dict[str, Label]:
    """The newest revision of each label on the topic, for projects without a trainer; what the trail says to forget is withdrawn.

    Raises Unreachable, also where the trail cannot be read: here nothing else knows who was erased.
    """
    async with open_trail(project, settings, SystemClock()) as trail:
        said = await trail.sound()
    struck = Struck(subjects=erased_in(said), before_ms=horizons_in(said).get(Topic.LABELS, 0))
    async with open_log(settings) as log:
        found = [readable(decode_label, record) async for record in scan(log, project.project, [Topic.LABELS])]
    return standing(struck.apply(label) for label in found if label is not None and label.project == project.project)


def _library(name: str, needs: str, extra: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(needs, fix=f"Install the extra `{extra}`, or write .jsonl.") from error


def _row(label: Label) -> dict[str, Any]:
    chosen = label.selection
    return {
        "label_id": label.label_id,
        "revision": label.revision,
        "task_id": label.task_id,
        "event_id": label.event_id,
        "value": label.value,
        "distribution": [{"class": name, "share": share} for name, share in label.distribution.items()],
        "confidence": label.confidence,
        "method": label.method.value,
        "audit": chosen.audit,
        "reason": chosen.reason.value,
        "strategy": chosen.strategy,
        "uncertainty": chosen.uncertainty,
        "propensity": chosen.propensity,
        "weight": chosen.counts,
        "model_version": chosen.model_version,
        "predicted": label.predicted,
        "votes": [asdict(vote) for vote in label.votes],
        "features": list(label.features),
        "event_time_ms": label.event_time_ms,
        "settled_ms": label.settled_ms,
        "schema_version": label.schema_version,
    }


def _schema(arrow: Any) -> Any:
    text, number, whole = arrow.string(), arrow.float64(), arrow.int64()
    vote = [("annotation_id", text), ("annotator", text), ("value", text), ("revision", whole), ("weight", number)]
    kinds = {
        "revision": whole,
        "distribution": arrow.list_(arrow.struct([("class", text), ("share", number)])),
        "confidence": number,
        "audit": arrow.bool_(),
        "uncertainty": number,
        "propensity": number,
        "weight": number,
        "votes": arrow.list_(arrow.struct(vote)),
        "features": arrow.list_(arrow.float32()),
        "event_time_ms": whole,
        "settled_ms": whole,
        "schema_version": whole,
    }
    texts = ("label_id", "task_id", "event_id", "value", "method", "reason", "strategy", "model_version", "predicted")
    return arrow.schema([*((name, text) for name in texts), *kinds.items()])
