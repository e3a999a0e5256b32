"""The command line teaches, and a mistake is one clear line that says what to do, with its own exit code."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine
from tests.support.eventually import eventually
from tiebreak.apps.cli_services import LABEL_PORT
from tiebreak.apps.up import parts_of
from tiebreak.runtime.project_file import load_project
from tiebreak.runtime.settings import Options, resolve

ROOT = Path(__file__).parents[3]
DIGITS = ROOT / "examples" / "digits" / "project.yaml"
TEXT = "project: small\npartitions: 2\ninput: {tensors: [{name: x, shape: [2]}]}\nclasses: {names: [a, b]}\n"
COMMANDS = {"up", "stream", "label", "train", "demo", "produce", "predictions", "explain", "dead"}
GROUPS = {
    "project": "check",
    "topics": "create",
    "token": "create",
    "audit": "verify",
    "models": "list",
    "dataset": "list",
    "ledger": "retract",
    "runs": "list",
    "gold": "list",
}

_MISSING_MODEL = "error: project.yaml: model.file: there is no file {}. The path is relative to the project file.\n"
_EXPOSED = (
    "error: Refusing to listen on 0.0.0.0 without TLS: tokens would cross the network in the clear. Give --tls-cert and "
    "--tls-key, or --behind-proxy where a proxy does TLS, or listen on 127.0.0.1."
)


def test_help_names_every_command(tiebreak: CommandLine) -> None:
    """A newcomer finds all commands, and how to begin, on one screen."""
    shown = tiebreak("--help")
    assert shown.code == 0
    assert {name for name in COMMANDS | set(GROUPS) if f" {name} " in shown.out} == COMMANDS | set(GROUPS)
    assert "tiebreak up examples/digits/project.yaml" in shown.out


def test_a_check_tries_the_patterns_that_mask_personal_data(tiebreak: CommandLine, tmp_path: Path) -> None:
    """One that backtracks without end is an error there, and not first where the stream starts; else it says what was tried."""
    project = tmp_path / "project.yaml"
    for regex, mask in (("([b-z]+)*Z9", "false"), ("(foo|foofoo)+$", "true")):
        project.write_text(TEXT + f"privacy: {{mask: {mask}, patterns: [{{name: evil, regex: '{regex}'}}]}}\n")
        ended = tiebreak("project", "check", project)
        assert (ended.code, ended.out) == (2, "")
        assert ended.err.startswith("error: project.yaml: privacy.patterns: evil: backtracks without end on a text of ")
    project.write_text(TEXT + "privacy: {mask: true, patterns: [{name: number, regex: 'E-[0-9]{6}'}]}\n")
    said = "Masking is on. 1 pattern(s) of yours were tried on texts made to be slow; that is no proof.\n"
    assert said in tiebreak("project", "check", project).out


@pytest.mark.parametrize("command", [*sorted(COMMANDS), *(f"{g} {c}" for g, c in GROUPS.items())])
def test_each_command_teaches_by_example(tiebreak: CommandLine, command: str) -> None:
    """Its help shows at least one whole command line to copy."""
    shown = tiebreak(*command.split(), "--help")
    assert shown.code == 0
    assert f"tiebreak {command}" in shown.out
    assert "Example" in shown.out


def test_a_valid_project_file_is_said_to_be_valid(tiebreak: CommandLine) -> None:
    """The check names the project and its classes."""
    ended = tiebreak("project", "check", DIGITS)
    assert (ended.code, ended.err) == (0, "")
    assert "project digits is valid (10 classes: 0, 1, 2" in ended.out


@pytest.mark.parametrize(
    ("more", "trains", "said"),
    [
        ("", True, "on: models learn from single answers and give one distribution over the classes."),
        (
            "labeling: {answer: {kind: multi}}",
            True,
            "on: models learn from multi answers and give a probability for each",
        ),
        (
            "labeling: {answer: {kind: spans}}",
            False,
            "off: no model learns from spans answers. They are asked, settled",
        ),
        ("model: {source: file, file: m.onnx}", False, "off (model.source: file): single answers are asked, settled"),
    ],
)
def test_the_check_says_whether_a_model_learns_and_up_runs_a_trainer_only_then(
    tiebreak: CommandLine, project: Path, more: str, trains: bool, said: str
) -> None:
    """Spans and boxes are asked and exported; with a model of the user's own there is nothing to train."""
    project.write_text(f"{TEXT}{more}\n")
    (project.parent / "m.onnx").touch()
    assert f"Training is {said}" in tiebreak("project", "check", project).out
    parts = parts_of(load_project(project), project, resolve(Options(data=str(project.parent)), {}, 0))
    assert [part.name for part in parts] == ["stream", "label", *["train"][: int(trains)]]


def test_a_bad_project_file_gives_one_line_per_mistake(tiebreak: CommandLine, project: Path) -> None:
    """Whatever command reads it: key, value, range, exit code 2, no traceback."""
    project.write_text(TEXT + "sampling: {audit_share: 2}\nbudjet: {}\n")
    for command in (("project", "check"), ("up",), ("stream",), ("predictions",)):
        ended = tiebreak(*command, project)
        assert (ended.code, ended.out) == (2, "")
        assert ended.err.splitlines() == [
            "error: project.yaml: sampling.audit_share: 2 is out of range: from 0 to 1.",
            "error: project.yaml: budjet: is not a key of a project file. Did you mean 'budget'?",
        ]


def test_an_unreachable_broker_is_one_line_with_its_address(tiebreak: CommandLine, project: Path) -> None:
    """Nobody listens there: exit code 3, in seconds, with the address that was tried."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        ended = tiebreak("topics", "create", project, "--kafka", address)
    assert (ended.code, ended.out, ended.err.count("\n")) == (3, "", 1)
    assert ended.err.startswith("error: ")
    assert address in ended.err


def test_an_unreachable_redis_says_how_to_start_one(tiebreak: CommandLine, project: Path, tmp_path: Path) -> None:
    """Without `up` there is no embedded Redis: the line says so and names the directory it looked in."""
    ended = tiebreak("stream", project, "--data", tmp_path / "nothing", "--port", 0)
    assert (ended.code, ended.err.count("\n")) == (3, 1)
    assert f"Is `tiebreak up` running on --data {tmp_path / 'nothing'}?" in ended.err
    ended = tiebreak("stream", project, "--redis", "redis://u:secret@127.0.0.1:1/0", "--port", 0)
    assert (ended.code, ended.err) == (
        3,
        "error: Redis at redis://127.0.0.1:1/0 does not answer. Start it, or correct --redis.\n",
    )


@pytest.mark.parametrize("command", ["up", "label"])
def test_a_taken_port_is_one_line_before_anything_starts(
    tiebreak: CommandLine, project: Path, tmp_path: Path, command: str
) -> None:
    """The port is asked for first, so nothing is left behind."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = tiebreak(command, project, "--port", port, "--data", tmp_path / "data")
    assert (ended.code, ended.err) == (
        2,
        f"error: Cannot listen on 127.0.0.1:{port}: Address already in use. Name another with --port, or 0 for any free one.\n",
    )
    assert not (tmp_path / "data").exists()


def test_a_missing_model_file_is_one_line(tiebreak: CommandLine, project: Path) -> None:
    """The path is shown as it was looked for."""
    project.write_text(TEXT + "model: {source: file, file: gone.onnx}\n")
    ended = tiebreak("up", project)
    assert (ended.code, ended.err) == (
        2,
        _MISSING_MODEL.format(project.parent / "gone.onnx"),
    )


@pytest.mark.parametrize("command", ["up", "label"])
def test_outside_loopback_nothing_starts_without_tls(
    tiebreak: CommandLine, project: Path, data: Path, command: str
) -> None:
    """Tokens would cross the network in the clear: the operator must give TLS, or say that a proxy does it."""
    options = ["--redis", f"unix://{data}/redis/redis.sock"] if command == "label" else []
    ended = tiebreak(command, project, "--host", "0.0.0.0", "--port", 0, "--data", data.parent / "other", *options)  # noqa: S104
    assert ended.code == 2
    assert [line for line in ended.err.splitlines() if line.startswith("error")] == [_EXPOSED]


def test_masking_what_cannot_be_found_refuses_to_start(tiebreak: CommandLine, project: Path, data: Path) -> None:
    """Personal data must not reach people because nothing here can find it."""
    project.write_text(TEXT + "privacy: {mask: true, entities: [PERSON]}\n")
    ended = tiebreak("stream", project, "--data", data, "--port", 0)
    assert ended.code == 2
    assert "error: privacy.entities: 'PERSON' cannot be found by a pattern." in ended.err


def test_an_unknown_option_says_so(tiebreak: CommandLine, project: Path) -> None:
    """Typing mistakes are told by the command line itself."""
    ended = tiebreak("up", project, "--kafak", "x")
    assert ended.code == 2
    assert "No such option" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.redis
def test_topics_and_events_and_what_became_of_them(
    tiebreak: CommandLine, project: Path, data: Path, tmp_path: Path
) -> None:
    """Create topics, produce a file with a bad line, look at an empty `predictions`, `dead`, `models`: each says what is so."""
    created = tiebreak("topics", "create", project, "--data", data)
    assert created.code == 0
    assert created.out.splitlines()[0] == "tiebreak.small.events  2 partition(s), kept 7 days"
    again = tiebreak("topics", "create", project, "--data", data)
    assert again == created
    shorter = tmp_path / "shorter.yaml"
    shorter.write_text(project.read_text() + "privacy: {retention: {events_days: 2, dead_days: 0.5}}\n")
    kept = tiebreak("topics", "create", shorter, "--data", data).out.splitlines()
    assert [kept[i].rsplit(", ")[1] for i in (0, 1, 2, 7)] == [
        "kept 2 days",
        "kept 2 days",
        "kept for ever",
        "kept 0.5 days",
    ]
    events = tmp_path / "events.csv"
    events.write_text("id,p,q\na,1,2\nb,x,2\nc,3,4\n")
    produced = tiebreak("produce", project, events, "--data", data)
    assert (produced.code, produced.err.splitlines()) == (
        1,
        ["line 3: wrong_tensor: column p does not hold a number", "2 events written, 1 bad lines skipped."],
    )
    none = tiebreak("predictions", project, "--all", "--data", data)
    assert (none.out, none.err.startswith("There are none yet.")) == ("", True)
    assert "Nothing was set aside." in tiebreak("dead", project, "--data", data).err
    assert "No model yet" in tiebreak("models", "list", project, "--data", data).err
    unknown = tiebreak("explain", project, "never", "--data", data)
    assert (unknown.code, unknown.err) == (
        1,
        "error: No topic of project small knows event 'never'. Was it produced, and kept?\n",
    )


@pytest.mark.redis
async def test_who_watches_predictions_is_told_that_only_new_ones_come(
    tiebreak: CommandLine, project: Path, data: Path, tmp_path: Path
) -> None:
    """After `produce`, as in the README: all are there already, and a terminal that stays empty tells nobody."""
    await asyncio.to_thread(tiebreak, "topics", "create", project, "--data", data)
    command = [sys.executable, "-m", "tiebreak.apps.cli", "predictions", str(project), "--data", str(data)]
    said = tmp_path / "said"
    with said.open("w") as err:
        watching = await asyncio.create_subprocess_exec(*command, stderr=err)
    try:
        first = await eventually(said.read_text)
    finally:
        watching.terminate()
        await watching.wait()
    assert first == "Waiting for what comes from now on; --all shows what is there. Ctrl-C ends this.\n"


@pytest.mark.redis
def test_a_token_is_shown_once_and_alone_on_standard_output(tiebreak: CommandLine, project: Path, data: Path) -> None:
    """A script can take it from standard output; what people should know about it is on standard error."""
    ended = tiebreak("token", "create", project, "--name", "ann", "--role", "reviewer", "--hours", 1, "--data", data)
    assert ended.code == 0
    assert ended.out.startswith("tb_")
    assert len(ended.out.splitlines()) == 1
    assert "ann is reviewer of project small until" in ended.err
    refused = tiebreak("token", "create", project, "--name", "a b", "--data", data)
    assert (refused.code, refused.err.count("\n")) == (1, 1)
    assert refused.err.startswith("error: a name has 1 to 64")


def test_missing_topics_are_told_with_the_command_that_makes_them(
    tiebreak: CommandLine, project: Path, data: Path
) -> None:
    """A stage started before `topics create` ends with a line that says so."""
    ended = tiebreak("predictions", project, "--all", "--data", data)
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "topics create" in ended.err


def test_the_help_of_label_names_the_port_it_listens_on(tiebreak: CommandLine) -> None:
    """The address in the example is the default one."""
    assert f"http://127.0.0.1:{LABEL_PORT}" in tiebreak("label", "--help").out


def test_the_version_is_one_line(tiebreak: CommandLine) -> None:
    """For bug reports."""
    assert json.dumps(tiebreak("--version").out).startswith('"tiebreak 0.')
