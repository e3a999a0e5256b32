"""The rules of the house as pure functions: a file's path and text go in, what it breaks comes out, one sentence each.

Read the tables first: they are the rules. Each function below them says in its docstring why its rule is there.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

STAGES = frozenset({"events", "scoring", "sampling", "labeling", "training", "deployment"})

# A file of a stage named by one of these does I/O, and may use its client libraries. All others but stage.py do neither.
TECHNOLOGIES: Mapping[str, frozenset[str]] = {
    "kafka": frozenset({"aiokafka"}),
    "redis": frozenset({"redis"}),
    "onnx": frozenset({"onnxruntime", "onnx"}),
    "http": frozenset({"fastapi", "starlette", "httpx", "uvicorn", "pydantic"}),
    "sqlite": frozenset({"sqlite3"}),
    "sklearn": frozenset({"sklearn"}),  # an optional library, reached by its name alone
    "files": frozenset(),
    "sandbox": frozenset(),  # a child process under limits
}
CLIENTS = frozenset[str]().union(*TECHNOLOGIES.values())

# What a pure file may import besides contracts and the pure files of its own stage.
PURE_STDLIB = frozenset(
    {"__future__", "abc", "array", "base64", "binascii", "bisect", "collections", "contextlib", "copy", "dataclasses"}
    | {
        "datetime",
        "enum",
        "fractions",
        "functools",
        "hashlib",
        "heapq",
        "hmac",
        "html",
        "ipaddress",
        "itertools",
        "json",
    }
    | {"math", "operator", "re", "statistics", "string", "struct", "types", "typing", "unicodedata", "zlib"}
)
PURE_ELSEWHERE: Mapping[str, frozenset[str]] = {
    "contracts": frozenset({"numpy", "orjson", "google"}),
    "contracts/project": frozenset({"numpy", "pydantic"}),  # project.py and its parts
    **dict.fromkeys(STAGES, frozenset({"numpy"})),
    "scoring/json": frozenset({"numpy", "orjson"}),  # a lane of the codec: it parses as the codec does
    "sampling/drift": frozenset({"numpy", "river"}),
    "training/export": frozenset({"numpy", "onnx"}),
    "training/solver": frozenset({"numpy", "scipy"}),
}
IMPURE_BUILTINS = frozenset({"open", "print", "input", "breakpoint"})
CLOCK_READS = frozenset({"now", "utcnow", "today"})

UNSAFE_MODULES = frozenset({"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"})
UNSAFE_BUILTINS = frozenset({"eval", "exec", "compile"})
UNSAFE_CALLS = frozenset(
    {"yaml.unsafe_load", "yaml.full_load", "os.system", "torch.load", "tempfile.mktemp", "onnx.hub.load"}
)
UNSAFE_LOADERS = frozenset({"Loader", "UnsafeLoader", "FullLoader"})
UNSAFE_ARGUMENTS = frozenset({"allow_pickle", "shell"})

MAX_LINES = 400
COUNTED = frozenset({".py", ".lua", ".js", ".css", ".html", ".proto"})
THE_ONE_SLEEPER = "tests/support/eventually.py"

# Character classes, so that this file is not what it forbids.
MACHINE_PATHS = re.compile(r"(?<![\w.])[/](?:work|root)[/]\w|[/]home[/](?!tiebreak\b)\w|[/]tmp[/]w[/]")
INDEX_URLS = re.compile(r"--(?:extra-)?index[-]url|PIP_(?:EXTRA_)?INDEX[_]URL|pypi[.]org/simple|registry\s*=\s*https?:")


def role(path: PurePosixPath) -> str:
    """What the name of a file under ``services/tiebreak`` says it is: ``pure``, ``io``, ``shell``, ``twin`` or ``other``."""
    folder, name = path.parts[2], path.stem
    if folder == "contracts":
        return "pure"
    if folder not in STAGES:
        return "other"
    first_word = name.split("_")[0]
    if first_word in TECHNOLOGIES:
        return "io"
    return {"stage": "shell", "memory": "twin"}.get(first_word, "pure")


def imported(tree: ast.AST) -> Iterator[str]:
    """Every module that is imported anywhere in ``tree``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def called(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Every call with its dotted name (``datetime.now``); calls of anything but a name have none and are left out."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if re.fullmatch(r"[\w.]+", name):
                yield name, node


def naming(path: PurePosixPath, tree: ast.Module) -> list[str]:
    """A file named by a domain noun is pure: its tests need no server, and a replay gives the same answer."""
    if role(path) not in {"pure", "twin"}:
        return []
    found = [why for module in imported(tree) if (why := _impure_import(path, module))]
    for name, _ in called(tree):
        if name in IMPURE_BUILTINS:
            found.append(f"a pure file calls {name}()")
        elif "." in name and name.rsplit(".", 1)[1] in CLOCK_READS and "date" in name:
            found.append(f"a pure file reads the clock: {name}()")
    return found


def _impure_import(path: PurePosixPath, module: str) -> str:
    top = module.split(".", maxsplit=1)[0]
    if top == "tiebreak":
        return _impure_own_import(path, module)
    allowed = PURE_STDLIB | _elsewhere(path)
    if role(path) == "twin":
        allowed = allowed | {"asyncio"}
    return "" if top in allowed else f"a {role(path)} file imports {module}"


def _elsewhere(path: PurePosixPath) -> frozenset[str]:
    inside = "/".join(path.parts[2:])
    best = max((prefix for prefix in PURE_ELSEWHERE if inside.startswith(prefix)), key=len)
    return PURE_ELSEWHERE[best]


def _impure_own_import(path: PurePosixPath, module: str) -> str:
    parts = module.split(".")
    # A twin may wait and measure time as the real thing does; it still reaches for no server.
    if len(parts) < 2 or parts[1] == "contracts" or (parts[1] == "runtime" and role(path) == "twin"):
        return ""
    if parts[1] != path.parts[2]:
        return f"a {role(path)} file imports {module}"
    inner = role(path.parent / f"{parts[2]}.py") if len(parts) > 2 else "pure"
    # A shell knows no client library: the twin may be the second thing that it is wrapped around.
    fine = {"pure"} if role(path) == "pure" else {"pure", "twin", "shell"}
    return "" if inner in fine else f"a {role(path)} file imports {module}, which is {inner}"


def clients(path: PurePosixPath, tree: ast.Module) -> list[str]:
    """In a stage, a client library is known only to the files named by its technology: it can be exchanged there."""
    if path.parts[2] not in STAGES:
        return []
    mine = TECHNOLOGIES.get(path.stem.split("_")[0], frozenset())
    foreign = (CLIENTS - mine) - _elsewhere(path)
    return [f"imports {module}" for module in imported(tree) if module.split(".")[0] in foreign]


def late_imports(_path: PurePosixPath, tree: ast.Module) -> list[str]:
    """Our own modules are imported at the top: an import inside a function hides a cycle."""
    found: list[str] = []
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            ours = [m for m in imported(function) if m.split(".")[0] in {"tiebreak", "tests", "scripts", "loadtests"}]
            found.extend(f"{function.name} imports {module}" for module in ours)
    return found


def unsafe(_path: PurePosixPath, tree: ast.Module) -> list[str]:
    """Nothing turns bytes into code: model files, project files and queues are hostile input."""
    found = [f"imports {module}" for module in imported(tree) if module.split(".")[0] in UNSAFE_MODULES]
    for name, call in called(tree):
        if name in UNSAFE_BUILTINS or name in UNSAFE_CALLS:
            found.append(f"calls {name}()")
        loaders = [ast.unparse(k.value).removeprefix("yaml.") for k in call.keywords if k.arg == "Loader"]
        if name == "yaml.load" and (not loaders or loaders[0] in UNSAFE_LOADERS):
            found.append("yaml.load() without a safe loader")
        truths = [k for k in call.keywords if isinstance(k.value, ast.Constant) and k.value.value is True]
        found.extend(f"{name}({k.arg}=True)" for k in truths if k.arg in UNSAFE_ARGUMENTS)
    return found


def sleeps(path: PurePosixPath, tree: ast.Module) -> list[str]:
    """Tests wait for facts: a sleep is too short on a busy machine and too long everywhere else. Yielding (0) is allowed."""
    if path.parts[0] != "tests" or str(path) == THE_ONE_SLEEPER:
        return []
    return [
        f"line {call.lineno}: {name}"
        for name, call in called(tree)
        if name in {"time.sleep", "asyncio.sleep", "anyio.sleep", "sleep"}
        and not (call.args and isinstance(call.args[0], ast.Constant) and call.args[0].value == 0)
    ]


def mocks(path: PurePosixPath, tree: ast.Module) -> list[str]:
    """Twins, not mocks: a mock agrees with whatever its author believed."""
    if path.parts[0] != "tests":
        return []
    return [
        f"imports {module}" for module in imported(tree) if module.split(".")[-1] == "mock" or module == "pytest_mock"
    ]


def sentences(path: PurePosixPath, tree: ast.Module) -> list[str]:
    """A test begins with a sentence: what must hold, after what fault."""
    if path.parts[0] != "tests" or not path.name.startswith("test_"):
        return []
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [f"{f.name} has no sentence" for f in functions if f.name.startswith("test_") and not ast.get_docstring(f)]


def length(path: PurePosixPath, text: str) -> list[str]:
    """A file that has grown past 400 lines holds two things."""
    lines = text.count("\n")
    return [f"{lines} lines, above {MAX_LINES}"] if path.suffix in COUNTED and lines > MAX_LINES else []


def places(_path: PurePosixPath, text: str) -> list[str]:
    """Nothing in the repository knows the machine it was written on, nor where packages come from."""
    found = [
        f"line {n}: a path of one machine" for n, line in enumerate(text.splitlines(), 1) if MACHINE_PATHS.search(line)
    ]
    return found + [
        f"line {n}: an index address" for n, line in enumerate(text.splitlines(), 1) if INDEX_URLS.search(line)
    ]


def lua_header(path: PurePosixPath, text: str, shared: str = "") -> list[str]:
    """A Lua file begins by naming its keys, its arguments and its invariant: it is the only place where they meet.

    ``shared`` is the header of the ``common.lua`` beside it, which may name the keys and arguments once for all.
    """
    head = header(text)
    wanted = {"keys": "KEYS", "arguments": "ARGV"}
    found = [f"its header names no {what}" for what, word in wanted.items() if word not in head + shared]
    if path.name != "common.lua" and "nvariant" not in head:
        found.append("its header states no invariant")
    return found


def header(text: str) -> str:
    """The comment at the top of a Lua file."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("--"):
            break
        lines.append(line)
    return "\n".join(lines)


def unknown_stdlib() -> frozenset[str]:
    """Names in PURE_STDLIB that Python does not have: a typing error there would allow nothing and say nothing."""
    return PURE_STDLIB - sys.stdlib_module_names
