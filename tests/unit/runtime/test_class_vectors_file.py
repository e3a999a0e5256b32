"""The vectors of the class names from their file: two formats, and a clear word for everything else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.unit.runtime.test_project_file import GOOD
from tiebreak.contracts.errors import ConfigError
from tiebreak.runtime.class_vectors_file import load_class_vectors
from tiebreak.runtime.project_file import load_project, parse_project


def written(folder: Path, name: str, data: bytes) -> Path:
    (folder / name).write_bytes(data)
    path = folder / "project.yaml"
    path.write_text(GOOD + f"model: {{class_vectors: {name}}}\n")
    return path


def test_both_formats_give_the_same_vectors(tmp_path: Path) -> None:
    """JSON by class and .npz with classes and vectors; a project without a file has none."""
    by_json = written(tmp_path, "v.json", json.dumps({"cat": [1, 2.5], "dog": [0, -1]}).encode())
    from_json = load_class_vectors(load_project(by_json))
    np.savez(tmp_path / "made.npz", classes=np.array(["cat", "dog"]), vectors=np.array([[1, 2.5], [0, -1]]))
    from_npz = load_class_vectors(load_project(written(tmp_path, "v.npz", (tmp_path / "made.npz").read_bytes())))
    assert {name: vector.tolist() for name, vector in from_json.items()} == {"cat": [1.0, 2.5], "dog": [0.0, -1.0]}
    assert {name: vector.tolist() for name, vector in from_npz.items()} == {"cat": [1.0, 2.5], "dog": [0.0, -1.0]}
    assert load_class_vectors(parse_project(GOOD)) == {}


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("v.json", b"[1, 2]", "holds no vectors by class"),
        ("v.json", b"{", "holds no vectors by class"),
        ("v.json", b"\xff", "holds no vectors by class"),
        ("v.json", b'{"cat": ["x"]}', "holds no vectors by class"),
        ("v.json", b'{"cat": [1, 2], "dog": [1]}', "'dog' has not 2 finite numbers"),
        ("v.json", b'{"cat": [1, NaN]}', "'cat' has not 2 finite numbers"),
        ("v.json", b'{"cat": []}', "'cat' has not any finite numbers"),
        ("v.json", b"{}", "is empty"),
        ("v.npz", b"PK", "holds no vectors by class"),
        ("v.npz", b"", "holds no vectors by class"),
        ("v.npz", b"PK\x03\x04 and no archive after it", "holds no vectors by class"),
    ],
)
def test_a_file_that_holds_none_is_refused_in_words(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    """The error names the key, the file, and the class where there is one."""
    with pytest.raises(ConfigError, match=f"model.class_vectors: .*{name}.*{said}"):
        load_class_vectors(load_project(written(tmp_path, name, data)))


def test_a_missing_file_and_idle_vectors_are_refused_when_the_project_is_read(tmp_path: Path) -> None:
    """Before anything runs: no such file; a learner, an answer or a model that has no use for vectors."""
    path = written(tmp_path, "v.json", b"{}")
    (tmp_path / "v.json").unlink()
    with pytest.raises(ConfigError, match=r"model\.class_vectors: there is no file"):
        load_project(path)
    for more, said in (
        ("model: {class_vectors: v.json}\ntraining: {learner: trees}\n", "trees have no use for them"),
        ("model: {source: file, file: m.onnx, class_vectors: v.json}\n", "belongs to source 'trainer'"),
        ("model: {class_vectors: v.json}\nlabeling: {answer: {kind: multi}}\n", "help where people choose one class"),
    ):
        with pytest.raises(ConfigError, match=said):
            parse_project(GOOD + more)
