"""Each rule of the house refuses what it is there for, and lets pass what it should."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import PurePosixPath

import pytest

from tests.architecture import rules

ONE_MACHINE = str(PurePosixPath("/", "work", "main"))
INDEX = "--{}-url".format("index")
POLICY = "services/tiebreak/sampling/policy.py"
TREE_RULES: dict[str, Callable[[PurePosixPath, ast.Module], list[str]]] = {
    rule.__name__: rule
    for rule in (
        rules.naming,
        rules.clients,
        rules.late_imports,
        rules.unsafe,
        rules.sleeps,
        rules.mocks,
        rules.sentences,
    )
}


@pytest.mark.parametrize(
    ("rule", "path", "source", "said"),
    [
        ("naming", POLICY, "import asyncio", "a pure file imports asyncio"),
        ("naming", POLICY, "from os import environ", "a pure file imports os"),
        ("naming", POLICY, "import time", "a pure file imports time"),
        ("naming", POLICY, "import random", "a pure file imports random"),
        ("naming", POLICY, "import river", "a pure file imports river"),
        (
            "naming",
            POLICY,
            "from tiebreak.runtime.metrics import Metrics",
            "a pure file imports tiebreak.runtime.metrics",
        ),
        (
            "naming",
            POLICY,
            "from tiebreak.sampling.redis import X",
            "a pure file imports tiebreak.sampling.redis, which is io",
        ),
        (
            "naming",
            POLICY,
            "from tiebreak.sampling.stage import X",
            "a pure file imports tiebreak.sampling.stage, which is shell",
        ),
        ("naming", POLICY, "x = open('f')", "a pure file calls open()"),
        ("naming", POLICY, "x = datetime.now(UTC)", "a pure file reads the clock: datetime.now()"),
        ("naming", "services/tiebreak/sampling/memory.py", "import socket", "a twin file imports socket"),
        ("naming", "services/tiebreak/contracts/ids.py", "import pydantic", "a pure file imports pydantic"),
        ("clients", "services/tiebreak/labeling/stage.py", "import redis.asyncio", "imports redis.asyncio"),
        ("clients", "services/tiebreak/labeling/http.py", "import sqlite3", "imports sqlite3"),
        ("late_imports", POLICY, "def f():\n  from tiebreak.contracts import ids", "f imports tiebreak.contracts"),
        ("unsafe", POLICY, "import pickle", "imports pickle"),
        ("unsafe", POLICY, "x = eval('1')", "calls eval()"),
        ("unsafe", POLICY, "x = yaml.load(f, Loader=yaml.Loader)", "yaml.load() without a safe loader"),
        ("unsafe", POLICY, "x = np.load(f, allow_pickle=True)", "np.load(allow_pickle=True)"),
        ("unsafe", POLICY, "subprocess.run(c, shell=True)", "subprocess.run(shell=True)"),
        ("sleeps", "tests/unit/x/test_x.py", "time.sleep(1)", "line 1: time.sleep"),
        ("sleeps", "tests/support/x.py", "async def f():\n  await asyncio.sleep(n)", "line 2: asyncio.sleep"),
        ("mocks", "tests/unit/x/test_x.py", "from unittest.mock import Mock", "imports unittest.mock"),
        ("sentences", "tests/unit/x/test_x.py", "def test_a(): pass", "test_a has no sentence"),
    ],
)
def test_a_rule_refuses_what_it_is_there_for(rule: str, path: str, source: str, said: str) -> None:
    """One example of each break is found, with what it is."""
    assert TREE_RULES[rule](PurePosixPath(path), ast.parse(source)) == [said]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        (
            POLICY,
            "import math\nimport numpy\nfrom tiebreak.contracts.ids import H\nfrom tiebreak.sampling.budget import B",
        ),
        ("services/tiebreak/sampling/drift.py", "import river.drift"),
        (
            "services/tiebreak/sampling/redis_budget.py",
            "import asyncio\nimport redis.asyncio\nfrom tiebreak.runtime.metrics import M",
        ),
        ("services/tiebreak/sampling/stage.py", "import asyncio\nimport time\nfrom tiebreak.sampling.memory import B"),
        ("services/tiebreak/sampling/memory.py", "import asyncio\nfrom tiebreak.sampling.policy import P"),
        ("services/tiebreak/apps/up.py", "import subprocess\nprint(1)"),
        ("services/tiebreak/contracts/project.py", "import pydantic"),
        ("services/tiebreak/training/export.py", "import onnx"),
        ("services/tiebreak/training/solver_newton.py", "import scipy.optimize"),
        ("tests/unit/x/test_x.py", "async def test_a():\n  'It yields.'\n  await asyncio.sleep(0)"),
        (rules.THE_ONE_SLEEPER, "time.sleep(1)"),
    ],
)
def test_the_rules_let_pass_what_they_should(path: str, source: str) -> None:
    """Code that keeps the house style is not found by any rule."""
    services = path.startswith("services/")
    judges = [rule for name, rule in TREE_RULES.items() if services or name not in {"naming", "clients"}]
    assert [why for judge in judges for why in judge(PurePosixPath(path), ast.parse(source))] == []


def test_the_text_rules_bite() -> None:
    """A long file, the path of one machine, the address of an index, and a silent Lua file are each found."""
    path = PurePosixPath("services/tiebreak/sampling/x.py")
    assert rules.length(path, "\n" * 401) == ["401 lines, above 400"]
    assert rules.length(path, "\n" * 400) == []
    bad = [f"cd {ONE_MACHINE}", f"pip install {INDEX} https://x"]
    assert rules.places(path, "\n".join(bad)) == ["line 1: a path of one machine", "line 2: an index address"]
    assert rules.places(path, "docs/work/x https://a.b/root/x") == []
    lua = PurePosixPath("services/tiebreak/sampling/lua/x.lua")
    assert rules.lua_header(lua, "return 1") == [
        "its header names no keys",
        "its header names no arguments",
        "its header states no invariant",
    ]
    assert rules.lua_header(lua, "-- Invariant: one.\nreturn 1", "-- KEYS ARGV") == []


def test_the_table_of_pure_modules_has_no_typing_error() -> None:
    """Every name in it is a module of this Python."""
    assert rules.unknown_stdlib() == frozenset()
