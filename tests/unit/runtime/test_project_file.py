"""A project file is accepted whole, or refused with one clear line per mistake that names the key and the range."""

from __future__ import annotations

from pathlib import Path

import pytest

from tiebreak.contracts.errors import ConfigError
from tiebreak.contracts.project import Project
from tiebreak.runtime.project_file import MAX_BYTES, load_project, parse_project

GOOD = """\
project: digits
input:
  tensors: [{name: x, shape: [64]}]
classes:
  names: ["0", "1"]
"""


def _complaints(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_project(text)
    return str(caught.value).splitlines()


def test_a_minimal_file_gives_a_project_with_defaults() -> None:
    """Four keys are enough; everything else has a default."""
    project = parse_project(GOOD)
    assert (project.project, project.input.tensors[0].shape, project.classes.names) == ("digits", (64,), ("0", "1"))
    assert project.sampling.strategy == "margin"


_BUILT_ON = "must not be below tasks_days, which has to be set with it: a task whose answers or label are gone would be asked again."


@pytest.mark.parametrize(
    ("addition", "line"),
    [
        (
            "privacy: {ner: {}}\n",
            "project.yaml: privacy.ner: name the pipeline's `folder` or its `package`, and not both.",
        ),
        (
            "privacy: {ner: {folder: a, package: b}}\n",
            "project.yaml: privacy.ner: name the pipeline's `folder` or its `package`, and not both.",
        ),
        ("sampling: {audit_share: 1.5}", "project.yaml: sampling.audit_share: 1.5 is out of range: from 0 to 1."),
        (
            "labeling: {agreement: 0.5}",
            "project.yaml: labeling.agreement: 0.5 is out of range: above 0.5, at most 1.",
        ),
        (
            "budget: {labels_per_hour: .nan}",
            "project.yaml: budget.labels_per_hour: nan is not a finite number (above 0, at most 1e+09).",
        ),
        ("partitions: many", "project.yaml: partitions: 'many' is not a whole number (from 1 to 1024)."),
        (
            "sampling: {stratgy: margin}",
            "project.yaml: sampling.stratgy: is not a key of a project file. Did you mean 'strategy'?",
        ),
        ("training: [1]", "project.yaml: training: [1] is not a mapping of keys."),
        (
            "privacy: {retention: {events_days: 0}}",
            "project.yaml: privacy.retention.events_days: 0 is out of range: from 0.0416667 to 36500.",
        ),
        (
            "privacy: {retention: {labels_days: 30}}",
            f"project.yaml: privacy.retention: labels_days: {_BUILT_ON}",
        ),
        (
            "privacy: {retention: {tasks_days: 31, annotations_days: 30}}",
            f"project.yaml: privacy.retention: annotations_days: {_BUILT_ON}",
        ),
        (
            "privacy: {retention: {tasks_days: 30, annotations_days: 30}}\nlabeling: {cost_cap: 5, cost_per_answer: 0.1}",
            "project.yaml: labeling.cost_cap: counts every answer there ever was, and privacy.retention.annotations_days ends them.",
        ),
        ("privacy: {mask: perhaps}", "project.yaml: privacy.mask: 'perhaps' is not true or false."),
        (
            "labeling: {votes: 4, max_votes: 2}",
            "project.yaml: labeling: max_votes: 2 is below votes (4).",
        ),
        (
            "labeling: {rules: [{uncertainty_over: 1.6, lane: triage}]}",
            "project.yaml: labeling.rules.0.uncertainty_over: 1.6 is out of range: at least 0, below 1.",
        ),
        *(
            (
                f"privacy: {{patterns: [{{name: huge, regex: '{regex}'}}]}}",
                (
                    f"project.yaml: privacy.patterns.0: regex: comes to {size} parts with its repetitions written out,"
                    " and 100000 are the most."
                ),
            )
            for regex, size in (("a{4000000000}", 4000000000), ("(?=(?:(?:a{2000}){2000}){2000})b", 8000000003))
        ),
        (
            "privacy: {patterns: [{name: huge, regex: 'a{99999999999999999999}'}]}",
            "project.yaml: privacy.patterns.0: regex: is no regular expression: the repetition number is too large.",
        ),
        ("model: {source: file}", "project.yaml: model: file: is required when source is 'file'."),
    ],
)
def test_a_wrong_value_is_named_with_its_range(addition: str, line: str) -> None:
    """Each mistake gives exactly one line: file, key, value, and what would be right."""
    assert _complaints(GOOD + addition) == [line]


def test_a_literal_outside_its_set_lists_the_set() -> None:
    """A strategy that does not exist is answered with those that do."""
    (line,) = _complaints(GOOD + "sampling: {strategy: vibes}")
    assert line.startswith("project.yaml: sampling.strategy: 'vibes' is not one of 'margin', 'least_confidence'")


def test_all_mistakes_are_reported_at_once() -> None:
    """Nobody should have to run the check once per mistake."""
    lines = _complaints("project: Digits\nclasses: {names: [a, b]}\nbudget: {carry_over: 0}\n")
    assert [line.split(": ")[1] for line in lines] == ["project", "input", "budget.carry_over"]


def test_an_unquoted_class_name_that_yaml_reads_as_something_else_says_to_quote_it() -> None:
    """`names: [no, 1]` is a yes/no and a number in YAML: the error says how to write the text."""
    lines = _complaints('project: p\ninput: {tensors: [{name: x, shape: [1]}]}\nclasses: {names: [no, 1, "2"]}\n')
    assert lines == [
        "project.yaml: classes.names.0: False is read as a yes/no, not as a text. Put it in quotes.",
        "project.yaml: classes.names.1: 1 is read as a number, not as a text. Put it in quotes.",
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            GOOD + "project: other\n",
            "project.yaml, line 6, column 1: key 'project' is given twice. It is not YAML that we read.",
        ),
        (
            "a: &a [1]\nb: *a\n",
            "project.yaml, line 2, column 4: alias *a is not supported. It is not YAML that we read.",
        ),
        (
            "a: [1",
            "project.yaml, line 1, column 6: expected ',' or ']', but got '<stream end>'. It is not YAML that we read.",
        ),
        (
            "a:\n- 2020-99-99\n",
            "project.yaml, line 2, column 3: '2020-99-99' looks like a date or a number, and is none. It is not YAML that we read.",
        ),
        ("a: " + "9" * 5000, None),
        ("a: !!python/object/apply:os.system [id]", None),
        ("", "project.yaml: holds nothing where a mapping of keys was expected. See examples/."),
        ("- a\n", "project.yaml: holds a list where a mapping of keys was expected. See examples/."),
        ("a: \x00\n", None),
        ("[" * 20_000, None),
        ("? {a: 1}\n: b\n", None),
    ],
)
def test_what_is_not_a_plain_mapping_is_refused_in_one_line(text: str, line: str | None) -> None:
    """Repeated keys, aliases, tags that run code, deep nests and broken YAML never reach validation."""
    complaints = _complaints(text)
    assert len(complaints) == 1
    assert line is None or complaints == [line]


def test_a_missing_a_huge_and_a_binary_file_are_told_apart(tmp_path: Path) -> None:
    """The reader of the line knows whether to fix the path or the content."""
    (tmp_path / "huge.yaml").write_bytes(b"#" * (MAX_BYTES + 1))
    (tmp_path / "binary.yaml").write_bytes(b"project: \xff\xfe")
    found = {}
    for name in ("missing.yaml", "huge.yaml", "binary.yaml"):
        with pytest.raises(ConfigError) as caught:
            load_project(tmp_path / name)
        found[name] = str(caught.value).replace(str(tmp_path), "DIR")
    assert found == {
        "missing.yaml": "There is no project file DIR/missing.yaml. Copy one from examples/ and name its path.",
        "huge.yaml": "huge.yaml: is larger than 1048576 bytes, so it is not a project file.",
        "binary.yaml": "binary.yaml: byte 9 is not UTF-8. Save the file as UTF-8.",
    }


def test_a_model_file_is_found_beside_the_project_file(tmp_path: Path) -> None:
    """The path in the file is relative to it, wherever the command was started."""
    path = tmp_path / "project.yaml"
    path.write_text(GOOD + "model: {source: file, file: model.onnx}\n")
    with pytest.raises(
        ConfigError, match=r"project.yaml: model.file: there is no file .*model.onnx. The path is relative"
    ):
        load_project(path)
    (tmp_path / "model.onnx").write_bytes(b"x")
    assert load_project(path).model.file == str((tmp_path / "model.onnx").resolve())


@pytest.mark.parametrize("learner", ["auto", "softmax", "trees", "partial_fit"])
def test_a_project_that_is_written_out_whole_is_the_same_project(learner: str) -> None:
    """Benchmarks and children are handed one so: a key at its default is not a key that somebody set."""
    made = parse_project(f"{GOOD}training: {{learner: {learner}}}\n")
    assert Project.model_validate_json(made.model_dump_json()) == made


def test_the_folder_of_a_named_entity_model_is_beside_the_file(tmp_path: Path) -> None:
    """It need not be there: the processes that people's answers go through have no use for it."""
    path = tmp_path / "project.yaml"
    path.write_text(GOOD + "privacy: {mask: true, ner: {folder: models/names}}\n")
    ner = load_project(path).privacy.ner
    assert ner is not None
    assert ner.folder == str(tmp_path.resolve() / "models" / "names")
