"""Every tracked file keeps the rules of the house (``rules.py`` has them as tables)."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path, PurePosixPath

import pytest
from importlinter.cli import lint_imports

from tests.architecture import rules

ROOT = Path(__file__).resolve().parents[2]
GENERATED = "services/tiebreak/contracts/wire/"
TEXT = frozenset(
    {
        ".py",
        ".pyi",
        ".lua",
        ".js",
        ".css",
        ".html",
        ".svg",
        ".proto",
        ".md",
        ".toml",
        ".yaml",
        ".yml",
        ".json",
        ".txt",
        ".in",
    }
    | {".lock", ".xml", ".properties", ".sh", ".cfg", ".ini"}
)
BY_TREE = (rules.late_imports, rules.unsafe, rules.sleeps, rules.mocks, rules.sentences)
BY_TREE_OF_SERVICES = (rules.naming, rules.clients)


@cache
def tracked() -> tuple[PurePosixPath, ...]:
    """What git tracks and is still there; generated classes are not ours to judge."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    paths = (PurePosixPath(name) for name in listed.split("\0") if name and not name.startswith(GENERATED))
    return tuple(path for path in paths if (ROOT / path).is_file())


@cache
def read(path: PurePosixPath) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def python_files(under: str = "") -> list[PurePosixPath]:
    return [path for path in tracked() if path.suffix == ".py" and str(path).startswith(under)]


def broken(paths: list[PurePosixPath], judge: Callable[[PurePosixPath], list[str]]) -> str:
    """One line per break, as one text: pytest shows a text whole."""
    return "\n".join(f"{path}: {why}" for path in paths for why in judge(path))


def test_imports_point_one_way() -> None:
    """The contracts of the import linter in pyproject.toml hold."""
    assert lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True, no_logo=True) == 0


def test_no_link_is_tracked() -> None:
    """A link leads out of the repository, and what it is checked out over, somebody's whole environment say, is gone."""
    listed = subprocess.run(["git", "ls-files", "-s"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    assert [line for line in listed.splitlines() if line.startswith("120000 ")] == []


@pytest.mark.parametrize("rule", BY_TREE_OF_SERVICES, ids=lambda rule: str(rule.__name__))
def test_the_name_of_a_file_says_what_it_does(rule: Callable[[PurePosixPath, ast.Module], list[str]]) -> None:
    """A file named by a domain noun is pure, and a client library is known only to the files of its technology."""
    assert broken(python_files("services/tiebreak/"), lambda path: rule(path, ast.parse(read(path)))) == ""


@pytest.mark.parametrize("rule", BY_TREE, ids=lambda rule: str(rule.__name__))
def test_python_keeps_the_rules(rule: Callable[[PurePosixPath, ast.Module], list[str]]) -> None:
    """No import inside a function, nothing that turns bytes into code, no sleep, no mock, no test without a sentence."""
    assert broken(python_files(), lambda path: rule(path, ast.parse(read(path)))) == ""


@pytest.mark.parametrize("rule", [rules.length, rules.places], ids=lambda rule: str(rule.__name__))
def test_text_keeps_the_rules(rule: Callable[[PurePosixPath, str], list[str]]) -> None:
    """No file has grown too long, and none knows a machine or a package index."""
    texts = [path for path in tracked() if path.suffix in TEXT or path.name in {"Makefile", "Dockerfile", "run"}]
    assert broken(texts, lambda path: rule(path, read(path))) == ""


def test_every_lua_file_says_what_it_touches() -> None:
    """Each Lua file begins with its keys, its arguments and its invariant."""

    def judge(path: PurePosixPath) -> list[str]:
        common = path.parent / "common.lua"
        return rules.lua_header(path, read(path), rules.header(read(common)) if common in tracked() else "")

    assert broken([path for path in tracked() if path.suffix == ".lua"], judge) == ""
