"""The image is made from what is there, runs as nobody in particular, and names commands that exist."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from fnmatch import fnmatch
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.support.compose import ROOT, compose, filled

DOCKERFILE = (ROOT / "docker/Dockerfile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# Looked for when what needs them is asked for: the error then names this extra.
OPTIONAL = {
    "apps/demo/": "demo",
    "apps/row_files.py": "parquet",
    "runtime/presidio_": "privacy",
    "runtime/spacy_": "ner",
}


def _instructions(name: str) -> list[str]:
    joined = DOCKERFILE.replace("\\\n", " ")
    return [line.removeprefix(name).strip() for line in joined.splitlines() if line.startswith(f"{name} ")]


def test_what_it_copies_is_there_and_not_ignored() -> None:
    """Each source of a COPY is in the repository and let through by .dockerignore."""
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    sources = [s for line in _instructions("COPY") if not line.startswith("--from") for s in line.split()[:-1]]
    assert {"requirements.lock", "services", "pyproject.toml"} <= set(sources)
    for source in sources:
        name = source.removeprefix("./")
        assert (ROOT / name).exists()
        assert any(fnmatch(name, pattern) for pattern in allowed)


def test_it_has_two_stages_and_does_not_run_as_root() -> None:
    """The second stage has no pip and no sources, and its user is a number other than 0."""
    assert len(_instructions("FROM")) == 2
    assert _instructions("USER") == ["10001:10001"]
    assert "pip uninstall --yes setuptools pip" in DOCKERFILE
    assert DOCKERFILE.index("USER 10001") < DOCKERFILE.index("ENTRYPOINT")


def test_its_entry_point_and_health_check_exist() -> None:
    """`tiebreak` is the script that the package installs; the health check's module is in the package."""
    assert _instructions("ENTRYPOINT") == ['["tiebreak"]']
    assert PROJECT["scripts"]["tiebreak"] == "tiebreak.apps.cli:main"
    assert '["python", "-m", "tiebreak.apps.probe"]' in _instructions("HEALTHCHECK")[0]
    assert (ROOT / "services/tiebreak/apps/probe.py").is_file()


def test_locks_have_hashes_and_no_address() -> None:
    """Every requirement is held to its hashes, none comes from an address written into the repository."""
    for name in ("requirements.lock", "requirements-demo.lock", "requirements-dev.lock", "requirements-extras.lock"):
        text = (ROOT / name).read_text()
        pinned = re.findall(r"^[A-Za-z0-9_.-]+==", text, re.MULTILINE)
        assert len(pinned) > 20
        assert len(re.findall(r"^[A-Za-z0-9_.-]+==.*\\\n    --hash=sha256:", text, re.MULTILINE)) == len(pinned)
        assert "://" not in text
        assert "--index" not in text


def test_an_image_can_have_what_a_project_file_asks_for() -> None:
    """Masking, named entities, the learners, Parquet: the image has no pip, so what it lacks could not be put in."""
    assert "ARG REQUIREMENTS=requirements.lock" in DOCKERFILE
    assert '/opt/tiebreak/bin/pip install --require-hashes --requirement "$REQUIREMENTS"' in DOCKERFILE
    asked = compose()["services"]["stream"]["build"]["args"]
    assert filled(asked, {}) == {"REQUIREMENTS": "requirements.lock"}
    assert filled(asked, {"TIEBREAK_REQUIREMENTS": "requirements-extras.lock"}) == {
        "REQUIREMENTS": "requirements-extras.lock"
    }
    pins = {name: _pins(f"requirements{name}.lock") for name in ("", "-dev", "-extras")}
    assert pins[""] <= pins["-extras"] <= pins["-dev"]
    wanted = [PROJECT["optional-dependencies"][name] for name in ("parquet", "partial-fit", "privacy", "trees", "ner")]
    held = {pin.partition("==")[0] for pin in pins["-extras"]}
    assert set().union(*map(_names, wanted)) - {"tiebreak"} <= held


def _pins(lock: str) -> set[str]:
    return set(re.findall(r"^[A-Za-z0-9_.-]+==[^ ;\\]+", (ROOT / lock).read_text(), re.MULTILINE))


def test_every_import_is_of_a_declared_dependency() -> None:
    """The image has what `dependencies` names, an optional part what its extra adds: no import may go beyond that."""
    # What our dependencies promise to bring along, as part of their own interface.
    base = {*_names(PROJECT["dependencies"]), "starlette", "click"}
    distributions = packages_distributions()
    strays = []
    for path in sorted((ROOT / "services/tiebreak").rglob("*.py")):
        relative = path.relative_to(ROOT / "services/tiebreak").as_posix()
        extras = [extra for part, extra in OPTIONAL.items() if relative.startswith(part)]
        declared = base.union(*(_names(PROJECT["optional-dependencies"][extra]) for extra in extras))
        for module in _imported(path) - set(sys.stdlib_module_names) - {"tiebreak"}:
            names = {name.lower().replace("_", "-") for name in distributions.get(module, [module])}
            if not names & declared:
                strays.append(f"{relative}: {module}")
    assert strays == []


def _names(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=\[; ]", line)[0].lower().replace("_", "-") for line in requirements}


def _imported(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    return {name.split(".")[0] for name in names}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", str(folder), str(ROOT)], check=True, timeout=120)
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_has_everything_that_runs(wheel: Path) -> None:
    """Scripts in Lua, the page's files, the wire classes, the demo's project and the type marker are in it; tests are not."""
    inside = set(zipfile.ZipFile(wheel).namelist())
    package = ROOT / "services"
    wanted = {
        path.relative_to(package).as_posix()
        for path in (package / "tiebreak").rglob("*")
        if path.suffix in {".py", ".lua", ".html", ".css", ".js", ".svg", ".yaml"} or path.name == "py.typed"
    }
    assert wanted - inside == set()
    assert not any(name.startswith(("tests/", "scripts/", "loadtests/")) for name in inside)
    assert any(name.endswith("licenses/LICENSE") for name in inside)
