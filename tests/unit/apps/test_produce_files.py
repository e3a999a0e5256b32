"""What `produce` makes of files: good rows become events, a bad row is named by its line and costs its neighbours nothing."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest

from tiebreak.apps.row_files import Format, Row, format_of, open_rows
from tiebreak.apps.rows import example_line
from tiebreak.contracts.errors import BadRecord, ConfigError
from tiebreak.contracts.messages import Event
from tiebreak.contracts.project import Project
from tiebreak.runtime.project_file import load_project, parse_project

FRAUD = load_project(Path(__file__).parents[3] / "examples" / "fraud-tabular" / "project.yaml")
TINY = parse_project("project: t\ninput: {tensors: [{name: x, shape: [2]}]}\nclasses: {names: [a, b]}\n")


def _read(text: bytes, kind: Format, project: Project = TINY) -> list[Row]:
    with open_rows("-", kind, project, io.BytesIO(text)) as file:
        return list(file.rows)


def _outcome(row: Row) -> tuple[int, object]:
    if isinstance(row.event, BadRecord):
        return row.number, str(row.event)
    return row.number, (row.event.event_id, np.frombuffer(row.event.inputs[0].data, "<f4").tolist())


def _event(row: Row) -> Event:
    assert isinstance(row.event, Event)
    return row.event


@pytest.mark.parametrize("payload", ["text", "table", "image"])
@pytest.mark.parametrize(
    "spec",
    [
        "{tensors: [{name: x, shape: [2, 3]}, {name: y, datatype: BYTES, shape: [1]}, {name: z, datatype: BOOL, shape: [1]}]}",
        "{fields: [amount, hour], tensors: [{name: x, shape: [2]}]}",
    ],
)
def test_the_example_that_a_project_is_given_is_an_event_of_it(spec: str, payload: str) -> None:
    """What `project check` prints can be produced as it is."""
    project = parse_project(
        f"project: t\ninput: {spec}\nclasses: {{names: [a, b]}}\nlabeling: {{payload: {payload}}}\n"
    )
    (row,) = _read(example_line(project).encode(), Format.JSONL, project)
    assert _event(row).event_id == "e-1"


def test_the_example_of_a_comparison_has_two_to_compare() -> None:
    """One column would leave the page a pane short."""
    project = parse_project(
        "project: t\ninput: {tensors: [{name: x, shape: [2]}]}\nclasses: {names: [l, r]}\n"
        "labeling: {payload: table, answer: {kind: pairwise}}\n"
    )
    (row,) = _read(example_line(project).encode(), Format.JSONL, project)
    shown = _event(row).payload
    assert shown is not None
    assert len(json.loads(shown.data)) == 2


def test_an_unknown_key_is_told_with_its_place() -> None:
    """Which object holds it, and what it may hold: a column put beside `kind` is the usual mistake."""
    head = b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [2], "data": [1, 2]}], '
    text = (
        head
        + b'"payload": {"image": "aa"}}\n'
        + head
        + b'"payloads": 1}\n'
        + head.replace(b'"data"', b'"q": 1, "data"')
    )
    assert [_outcome(row)[1] for row in _read(text + b'"id": "a"}', Format.JSONL)] == [
        "undecodable: payload has keys beyond data, kind, media_type",
        "undecodable: an event with inputs has keys beyond inputs, outputs, parameters",
        "undecodable: x has keys beyond data, datatype, name, shape",
    ]


def test_json_lines_are_events_and_bad_lines_are_named_by_number() -> None:
    """A broken, an empty, a wrong and a NaN line between good ones: each is told with its line, the rest goes on."""
    text = b"""{"id": "a", "inputs": [{"name": "x", "datatype": "FP32", "shape": [2], "data": [1, 2]}]}
{broken

{"id": "b", "inputs": [{"name": "x", "datatype": "FP32", "shape": [2], "data": [1]}]}
{"id": "c", "inputs": [{"name": "x", "datatype": "FP32", "shape": [2], "data": [NaN, 1]}]}
{"id": "d", "inputs": [{"name": "x", "datatype": "FP32", "shape": [2], "data": [3, 4]}]}"""
    assert [_outcome(row) for row in _read(text, Format.JSONL)] == [
        (1, ("a", [1.0, 2.0])),
        (2, "undecodable: not strict JSON in UTF-8"),
        (4, "wrong_tensor: x must have 2 values"),
        (5, "undecodable: not strict JSON in UTF-8"),
        (6, ("d", [3.0, 4.0])),
    ]


def test_a_csv_fills_the_tensor_from_its_columns() -> None:
    """Columns other than the id are the tensor, in order; short rows, words and NaN are refused by line."""
    text = b"\xef\xbb\xbfid,p,q\ne1,1,2.5\ne2,3\ne3,x,4\ne4,nan,4\ne5,inf,4\n\ne6,\xff,1\ne7,5,6\n"
    assert [_outcome(row) for row in _read(text, Format.CSV)] == [
        (2, ("e1", [1.0, 2.5])),
        (3, "undecodable: 2 cells under 3 columns"),
        (4, "wrong_tensor: column p does not hold a number"),
        (5, "undecodable: not a JSON value: a number is not finite"),
        (6, "undecodable: not a JSON value: a number is not finite"),
        (8, "wrong_tensor: column p does not hold a number"),
        (9, ("e7", [5.0, 6.0])),
    ]


def test_named_fields_are_taken_by_name_and_people_see_the_row() -> None:
    """A project with fields reads them wherever they stand; for a table project the row itself is the payload."""
    text = b"country,amount,hour,age_days,country_risk,velocity_1h,is_new_card,id\nNL,129.9,3,2,0.7,5,1,p-1\n"
    (row,) = _read(text, Format.CSV, FRAUD)
    event = _event(row)
    assert np.frombuffer(event.inputs[0].data, "<f4").tolist() == pytest.approx([129.9, 3, 2, 0.7, 5, 1])
    assert event.payload is not None
    assert event.payload.data.startswith(b'{"age_days":"2","amount":"129.9","country":"NL"')


def test_rows_without_an_id_get_one_that_a_second_run_repeats() -> None:
    """Producing a file again must be a replay: the id comes from the row and its number, so equal rows stay two events."""
    text = b"p,q\n1,2\n1,2\n"
    first, second = ([_event(row).event_id for row in _read(text, Format.CSV)] for _ in range(2))
    assert first == second
    assert len(set(first)) == 2


def test_a_parquet_file_fills_the_tensor_from_a_list_column(tmp_path: Path) -> None:
    """A column with the tensor's name holds the whole vector; the row number stands for the line."""
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pyarrow.table({"id": ["a", "b"], "x": [[1.0, 2.0], [3.0]]})
    parquet.write_table(table, tmp_path / "events.parquet")
    with open_rows(str(tmp_path / "events.parquet"), None, TINY, io.BytesIO()) as file:
        rows = list(file.rows)
    assert file.total == 2
    assert [_outcome(row) for row in rows] == [(1, ("a", [1.0, 2.0])), (2, "wrong_tensor: x must have 2 values")]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("events.xlsx", "Cannot tell the format of events.xlsx from its name"),
        ("missing.csv", "Cannot read missing.csv: No such file or directory."),
        ("missing.parquet", "Cannot read missing.parquet: No such file or directory"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_clear_line(path: str, message: str) -> None:
    """Wrong suffix and missing file say so before anything is published."""
    with pytest.raises(ConfigError) as caught, open_rows(path, None, TINY, io.BytesIO()):
        pass
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_the_format_is_told_by_the_suffix_unless_said() -> None:
    """Standard input is JSON Lines unless said otherwise."""
    assert [
        format_of("a.CSV", None),
        format_of("-", None),
        format_of("-", Format.CSV),
        format_of("a.ndjson", None),
    ] == [
        Format.CSV,
        Format.JSONL,
        Format.CSV,
        Format.JSONL,
    ]


@pytest.mark.parametrize(("text", "message"), [(b"", "no header line"), (b"a,a\n1,2\n", "names a column twice")])
def test_a_csv_without_a_usable_header_is_refused(text: bytes, message: str) -> None:
    """Without names no cell can be understood."""
    with pytest.raises(ConfigError, match=message):
        _read(text, Format.CSV)
