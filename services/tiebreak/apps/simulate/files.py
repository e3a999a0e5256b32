"""Labelled files for a replay: CSV, JSON Lines, Parquet and numpy's ``.npz``."""

from __future__ import annotations

import csv
import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import orjson

from tiebreak.apps.simulate.stream import SINGLE, Schema, Stream, stream_of_arrays, stream_of_rows
from tiebreak.contracts.errors import ConfigError


def load_stream(path: Path, label: str, schema: Schema = SINGLE) -> Stream:
    """The stream of a file, by its suffix. Raises ConfigError for what cannot be read."""
    suffix = path.suffix.lower()
    try:
        if suffix == ".npz":
            # Pickled objects would run code: only plain arrays are read.
            with np.load(path, allow_pickle=False) as arrays:
                wanted = {name: arrays[name] for name in ("X", "y", "Xt", "yt", "classes") if name in arrays.files}
            return stream_of_arrays(path.name, wanted, schema)
        if suffix == ".csv":
            with path.open(encoding="utf-8-sig", newline="") as file:
                return stream_of_rows(path.name, csv.DictReader(file), label, schema)
        if suffix in {".jsonl", ".ndjson", ".json"}:
            with path.open("rb") as file:
                return stream_of_rows(path.name, _json_lines(path.name, file), label, schema)
        if suffix in {".parquet", ".pq"}:
            return stream_of_rows(path.name, _parquet(path), label, schema)
    except OSError as error:
        raise ConfigError(f"Cannot read {path}: {error.strerror or error}.") from error
    except (ValueError, BadZipFile, csv.Error) as error:
        raise ConfigError(f"Cannot read {path}: {str(error).splitlines()[0]}") from error
    raise ConfigError(f"Cannot tell the format of {path} from its name.", fix="Use .csv, .jsonl, .parquet or .npz.")


def _json_lines(name: str, lines: Iterator[bytes] | Any) -> Iterator[Mapping[str, object]]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        row = orjson.loads(line)
        if not isinstance(row, dict):
            raise ConfigError(f"{name}: line {number} is not a JSON object.")
        # The form of `tiebreak produce` is read too: named fields, or tensors with their data.
        inputs = row.pop("inputs", None)
        row |= row.pop("fields", None) or {}
        row |= {str(tensor.get("name", "input")): tensor.get("data") for tensor in inputs or []}
        yield row


def _parquet(path: Path) -> Iterator[Mapping[str, object]]:
    try:
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise ConfigError("Reading Parquet needs pyarrow.", fix="pip install 'tiebreak[parquet]'") from error
    for batch in parquet.ParquetFile(path).iter_batches(batch_size=1024):
        yield from batch.to_pylist()
