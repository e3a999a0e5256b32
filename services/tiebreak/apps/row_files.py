"""Reading CSV, JSON Lines and Parquet one row at a time: a file larger than memory is fine, a bad line is not fatal."""

from __future__ import annotations

import codecs
import csv
import importlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO

from tiebreak.apps.rows import event_of_line, event_of_row
from tiebreak.contracts.errors import BadRecord, ConfigError, DeadReason
from tiebreak.contracts.messages import Event
from tiebreak.contracts.project import Project

# Longer than any record may be, so that a file that is not text ends with an error and not with the memory.
_MAX_LINE = 80 * 2**20


class Format(StrEnum):
    """What `produce` reads."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"


_SUFFIXES = {
    ".csv": Format.CSV,
    ".jsonl": Format.JSONL,
    ".ndjson": Format.JSONL,
    ".json": Format.JSONL,
    ".parquet": Format.PARQUET,
    ".pq": Format.PARQUET,
}


@dataclass(frozen=True, slots=True)
class Row:
    """Line ``number`` (from 1, the header of a CSV included) and what it holds; ``done`` bytes or rows are read so far."""

    number: int
    event: Event | BadRecord
    done: int


@dataclass(frozen=True, slots=True)
class RowFile:
    """An open file: ``rows`` once, lazily. ``total`` is in the unit of ``Row.done``, None where nobody knows (stdin)."""

    rows: Iterator[Row]
    total: int | None


def format_of(path: str, given: Format | None) -> Format:
    """The format that was asked for, else that of the suffix. Raises ConfigError."""
    if given:
        return given
    found = _SUFFIXES.get(Path(path).suffix.lower())
    if found is None and path != "-":
        raise ConfigError(f"Cannot tell the format of {path} from its name.", fix="Say --format csv, jsonl or parquet.")
    return found or Format.JSONL


@contextmanager
def open_rows(path: str, given: Format | None, project: Project, stdin: BinaryIO) -> Iterator[RowFile]:
    """The rows of ``path``, or of ``stdin`` for "-". Raises ConfigError when it cannot be read at all."""
    kind = format_of(path, given)
    if kind is Format.PARQUET:
        yield _parquet(path, project)
        return
    read = _csv if kind is Format.CSV else _json_lines
    if path == "-":
        yield RowFile(read(stdin, project), None)
        return
    with _open(path) as file:
        yield RowFile(read(file, project), Path(path).stat().st_size)


def _open(path: str) -> BinaryIO:
    try:
        return Path(path).open("rb")
    except OSError as error:
        raise ConfigError(f"Cannot read {path}: {error.strerror}.") from error


def _json_lines(file: BinaryIO, project: Project) -> Iterator[Row]:
    done = number = 0
    while line := file.readline(_MAX_LINE):
        number += 1
        done += len(line)
        if line.strip():
            yield Row(number, _attempt_line(line, number, project), done)


def _attempt_line(line: bytes, number: int, project: Project) -> Event | BadRecord:
    try:
        return event_of_line(line, number, project)
    except BadRecord as bad:
        return bad


class _Lines:
    """The lines of a file as text, and how many bytes they were. Undecodable bytes stay, for their own row to be refused."""

    def __init__(self, file: BinaryIO) -> None:
        self.done = 0
        self._file = file

    def __iter__(self) -> Iterator[str]:
        while line := self._file.readline(_MAX_LINE):
            start = 3 if self.done == 0 and line.startswith(codecs.BOM_UTF8) else 0
            self.done += len(line)
            yield line[start:].decode("utf-8", "surrogateescape")


def _csv(file: BinaryIO, project: Project) -> Iterator[Row]:
    csv.field_size_limit(_MAX_LINE)  # of the process: another reader may have set its own
    lines = _Lines(file)
    reader = csv.reader(lines, strict=True)
    header = _header(reader)
    while True:
        number = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Row(number, BadRecord(DeadReason.UNDECODABLE, str(error)), lines.done)
            continue
        if cells:
            yield Row(number, _attempt_cells(header, cells, number, project), lines.done)


def _header(reader: Iterator[list[str]]) -> list[str]:
    try:
        header = [name.strip() for name in next(reader)]
    except (StopIteration, csv.Error) as error:
        raise ConfigError("The CSV has no header line.", fix="Name the columns in its first line.") from error
    if len(set(header)) != len(header):
        raise ConfigError("The CSV names a column twice in its first line.")
    return header


def _attempt_cells(header: list[str], cells: list[str], number: int, project: Project) -> Event | BadRecord:
    if len(cells) != len(header):
        return BadRecord(DeadReason.UNDECODABLE, f"{len(cells)} cells under {len(header)} columns")
    return _attempt_row(dict(zip(header, cells, strict=True)), number, project)


def _attempt_row(row: Mapping[str, Any], number: int, project: Project) -> Event | BadRecord:
    try:
        return event_of_row(row, number, project)
    except BadRecord as bad:
        return bad


def _parquet(path: str, project: Project) -> RowFile:
    try:
        # An extra, a hundred megabytes that nobody else needs: looked for when it is asked for.
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise ConfigError("Reading Parquet needs pyarrow.", fix="pip install 'tiebreak[parquet]'") from error
    _open(path).close()  # who cannot be opened is told in the system's words
    try:
        table = parquet.ParquetFile(path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"Cannot read {path}: it is damaged, or no Parquet.") from error
    return RowFile(_parquet_rows(table, project), table.metadata.num_rows)


def _parquet_rows(table: Any, project: Project) -> Iterator[Row]:
    number = 0
    for batch in table.iter_batches(batch_size=1024):
        for row in batch.to_pylist():
            number += 1
            yield Row(number, _attempt_row(row, number, project), number)
