"""Labels as a table for others: Parquet, or JSON Lines where pyarrow is not installed."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tiebreak.contracts.errors import ConfigError
from tiebreak.contracts.messages import Label


def export_labels(labels: Sequence[Label], out: Path) -> None:
    """One row per label, in the order of settling. Raises ConfigError for another suffix, or without pyarrow for Parquet."""
    rows = [_row(label) for label in sorted(labels, key=lambda x: (x.settled_ms, x.label_id))]
    if out.suffix in {".jsonl", ".ndjson"}:
        out.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        return
    if out.suffix not in {".parquet", ".pq"}:
        raise ConfigError(f"Cannot tell the format of {out} from its name.", fix="Call it .parquet or .jsonl.")
    try:
        arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise ConfigError(
            "Writing Parquet needs pyarrow.", fix="Install the extra `parquet`, or write .jsonl."
        ) from error
    parquet.write_table(arrow.Table.from_pylist(rows, schema=_schema(arrow)), out)


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
        "votes": arrow.list_(arrow.struct(vote)),
        "features": arrow.list_(arrow.float32()),
        "event_time_ms": whole,
        "settled_ms": whole,
        "schema_version": whole,
    }
    texts = ("label_id", "task_id", "event_id", "value", "method", "reason", "strategy", "model_version", "predicted")
    return arrow.schema([*((name, text) for name in texts), *kinds.items()])
