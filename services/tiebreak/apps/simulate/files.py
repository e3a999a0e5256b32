"""Labelled files for a replay: CSV, JSON Lines, Parquet and numpy's ``.npz``."""

from __future__ import annotations

import csv
import importlib
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import orjson

from tiebreak.apps.simulate.stream import SINGLE, Schema, Stream, stream_of_arrays, stream_of_rows
from tiebreak.contracts.errors import ConfigError

FORMS = (
    "Taken are CSV (UTF-8, names of columns in the first line), JSON Lines (an object per line, .jsonl), Parquet, and .npz"
    " with arrays X and y."
)
_MAX_CELL = 128 * 1024
_ARRAYS = ("X", "y", "Xt", "yt", "classes")

Row = Mapping[str, object]


def load_stream(path: Path, label: str, schema: Schema = SINGLE) -> Stream:
    """The stream of a file, by its suffix. Raises ConfigError for what cannot be read: which file, where in it, what is taken."""
    suffix = path.suffix.lower()
    if suffix not in {".npz", *_ROWS}:
        raise ConfigError(f"Cannot tell the format of {path} from its name.", fix=FORMS)
    try:
        if suffix == ".npz":
            return stream_of_arrays(path.name, _arrays(path), schema)
        return stream_of_rows(path.name, _ROWS[suffix](path), label, schema)
    except OSError as error:
        raise ConfigError(f"Cannot read {path}: {error.strerror or error}.") from error


def _wrong(path: Path, what: str) -> ConfigError:
    return ConfigError(f"{path}: {what}.", fix=FORMS)


def _csv(path: Path) -> Iterator[Row]:
    csv.field_size_limit(_MAX_CELL)  # it holds for the process: what another command left is not ours
    with path.open("rb") as file:
        reader = csv.reader(_lines(path, file))
        header: list[str] = []
        while True:
            try:
                cells = next(reader, None)
            except csv.Error as error:
                raise _wrong(path, f"line {reader.line_num} is not CSV: {error}") from error
            if cells is None:
                return
            if not header:
                header = cells
                twice = [name for name in header if header.count(name) > 1]
                if twice:
                    raise _wrong(path, f"the first line names column {twice[0]!r} twice")
            elif cells:
                if len(cells) != len(header):
                    columns = f"{len(cells)} cells under {len(header)} columns"
                    raise _wrong(path, f"line {reader.line_num} has {columns}")
                yield dict(zip(header, cells, strict=True))


def _lines(path: Path, file: Any) -> Iterator[str]:
    for number, line in enumerate(file, start=1):
        try:
            text: str = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise _wrong(path, f"line {number} is not UTF-8") from error
        yield text


def _json_lines(path: Path) -> Iterator[Row]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield _json_row(path, number, line)


def _json_row(path: Path, number: int, line: bytes) -> Row:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise _wrong(path, f"line {number} is not JSON (column {error.colno})") from error
    if not isinstance(row, dict):
        raise _wrong(path, f"line {number} is not a JSON object")
    # The form of `tiebreak produce` is read too: named fields, or tensors with their data.
    inputs, fields = row.pop("inputs", None) or [], row.pop("fields", None) or {}
    if not isinstance(fields, dict):
        raise _wrong(path, f"line {number}: `fields` is not an object")
    if not isinstance(inputs, list) or not all(isinstance(tensor, dict) for tensor in inputs):
        raise _wrong(path, f"line {number}: `inputs` is not a list of tensors")
    return row | fields | {str(tensor.get("name", "input")): tensor.get("data") for tensor in inputs}


def _parquet(path: Path) -> Iterator[Row]:
    try:
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise ConfigError("Reading Parquet needs pyarrow.", fix="pip install 'tiebreak[parquet]'") from error
    try:
        for batch in parquet.ParquetFile(path).iter_batches(batch_size=1024):
            yield from batch.to_pylist()
    except (ValueError, NotImplementedError) as error:  # pyarrow's own are ValueErrors
        raise _wrong(path, "is damaged, or no Parquet") from error


_ROWS: Mapping[str, Callable[[Path], Iterator[Row]]] = {
    ".csv": _csv,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".json": _json_lines,
    ".parquet": _parquet,
    ".pq": _parquet,
}


def _arrays(path: Path) -> dict[str, Any]:
    try:
        # Pickled objects would run code: only plain arrays are read.
        arrays = np.load(path, allow_pickle=False)
        if not isinstance(arrays, np.lib.npyio.NpzFile):
            raise _wrong(path, "is one array, not an archive of several")
    except (ValueError, EOFError, BadZipFile) as error:
        raise _wrong(path, "is damaged, or no .npz") from error
    with arrays:
        return {name: _array(path, arrays, name) for name in _ARRAYS if name in arrays.files}


def _array(path: Path, arrays: Any, name: str) -> Any:
    try:
        return arrays[name]
    except (ValueError, EOFError, BadZipFile, NotImplementedError, zlib.error) as error:
        raise _wrong(path, f"array {name} is damaged, or holds Python objects, which are not read") from error
