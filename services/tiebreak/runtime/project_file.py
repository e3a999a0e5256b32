"""Reading ``project.yaml``: every error is one clear line that names the key, what is wrong with its value, and the range."""

from __future__ import annotations

import difflib
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from tiebreak.contracts.errors import ConfigError
from tiebreak.contracts.project import Project
from tiebreak.runtime.slow_texts import too_large

MAX_BYTES = 2**20


class _StrictLoader(yaml.SafeLoader):
    """PyYAML's safe loader, without the two things it accepts in silence: repeated keys and aliases."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        # A few nested aliases stand for billions of values once they are validated.
        if self.check_event(yaml.AliasEvent):
            event = self.get_event()  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem=f"alias *{event.anchor} is not supported", problem_mark=event.start_mark)
        return super().compose_node(parent, index)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except ValueError as error:
            # The 99th of a month, a number of 5,000 digits.
            problem = f"{str(node.value)[:40]!r} looks like a date or a number, and is none"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark) from error

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                raise yaml.MarkedYAMLError(problem=f"key {key!r} is given twice", problem_mark=key_node.start_mark)
            if isinstance(key, Hashable):
                seen.add(key)
        return super().construct_mapping(node, deep)


def load_project(path: Path) -> Project:
    """The validated project; ``model.file``, ``encoder`` and ``class_vectors`` become absolute paths of files that exist.

    ``privacy.ner.folder`` becomes absolute, too: it has to be there for the scoring process alone. Raises ConfigError with one line
    per mistake, each starting with the file's name.
    """
    project = parse_project(_read(path), name=path.name)
    privacy, ner = project.privacy, project.privacy.ner
    if ner is not None and ner.folder:
        found = ner.model_copy(update={"folder": str((path.parent / ner.folder).resolve())})
        privacy = privacy.model_copy(update={"ner": found})
    model = project.model.model_copy(update=_model_files(project, path))
    return project.model_copy(update={"model": model, "privacy": privacy})


def parse_project(text: str, name: str = "project.yaml") -> Project:
    """As :func:`load_project` for text; looks at no file."""
    try:
        # A subclass of SafeLoader: it builds plain values only.
        raw = yaml.load(text, Loader=_StrictLoader)  # noqa: S506
    except yaml.YAMLError as error:
        raise ConfigError(
            f"{name}{_where(error)}: {_yaml_problem(error)}.", fix="It is not YAML that we read."
        ) from error
    except RecursionError as error:
        raise ConfigError(f"{name}: is nested too deeply.") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{name}: holds {_kind(raw)} where a mapping of keys was expected.", fix="See examples/.")
    try:
        project = Project.model_validate(raw)
    except ValidationError as error:
        raise ConfigError("\n".join(f"{name}: {line}" for line in _lines(error))) from error
    for number, pattern in enumerate(project.privacy.patterns):
        if problem := too_large(pattern.regex):
            raise ConfigError(f"{name}: privacy.patterns.{number}: regex: {problem}.")
    return project


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise ConfigError(
            f"There is no project file {path}.", fix="Copy one from examples/ and name its path."
        ) from error
    except OSError as error:
        raise ConfigError(f"Cannot read the project file {path}: {error.strerror}.") from error
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{path.name}: is larger than {MAX_BYTES} bytes, so it is not a project file.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path.name}: byte {error.start} is not UTF-8.", fix="Save the file as UTF-8.") from error


def _model_files(project: Project, path: Path) -> dict[str, str]:
    files: dict[str, str] = {}
    for key in ("file", "encoder", "class_vectors"):
        if value := getattr(project.model, key):
            found = (path.parent / value).resolve()
            if not found.is_file():
                raise ConfigError(
                    f"{path.name}: model.{key}: there is no file {found}.",
                    fix="The path is relative to the project file.",
                )
            files[key] = str(found)
    return files


def _where(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    return f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""


def _yaml_problem(error: yaml.YAMLError) -> str:
    return str(getattr(error, "problem", None) or getattr(error, "reason", None) or error).replace("\n", " ")


def _kind(value: object) -> str:
    names = {
        "NoneType": "nothing",
        "str": "a text",
        "list": "a list",
        "bool": "a yes/no",
        "int": "a number",
        "float": "a number",
    }
    return names.get(type(value).__name__, f"a {type(value).__name__}")


def _lines(error: ValidationError) -> list[str]:
    return [_line(item) for item in error.errors(include_url=False, include_context=True)]


def _line(item: Mapping[str, Any]) -> str:
    location = tuple(item["loc"])
    key = ".".join(str(part) for part in location) or "the file"
    kind, value = item["type"], item.get("input")
    if kind == "missing":
        return f"{key}: is required."
    if kind == "extra_forbidden":
        return f"{key}: is not a key of a project file.{_suggestion(location)}"
    if kind == "value_error":
        return f"{key}: {item['ctx']['error']}." if location else f"{item['ctx']['error']}."
    if kind == "string_type" and isinstance(value, bool | int | float):
        return f"{key}: {_shown(value)} is read as {_kind(value)}, not as a text. Put it in quotes."
    return f"{key}: {_shown(value)} {_expectation(item)}."


_WANTED = {
    "int_type": "is not a whole number",
    "int_from_float": "is not a whole number",
    "int_parsing": "is not a whole number",
    "float_type": "is not a number",
    "float_parsing": "is not a number",
    "finite_number": "is not a finite number",
    "bool_type": "is not true or false",
    "bool_parsing": "is not true or false",
    "string_type": "is not a text",
    "tuple_type": "is not a list",
    "model_type": "is not a mapping of keys",
}
_BOUNDS = ("greater_than", "greater_than_equal", "less_than", "less_than_equal")


def _expectation(item: Mapping[str, Any]) -> str:
    kind, context = item["type"], item.get("ctx", {})
    if kind in _BOUNDS:
        return f"is out of range: {_range(tuple(item['loc'])) or _plain(str(item['msg']))}"
    if kind in {"literal_error", "enum"}:
        return f"is not one of {context['expected']}"
    if kind == "string_pattern_mismatch":
        return f"does not match {context['pattern']}"
    if kind in _WANTED:
        wanted = _range(tuple(item["loc"]))
        return _WANTED[kind] + (f" ({wanted})" if wanted else "")
    return f"is refused: {_plain(str(item['msg']))}"


def _plain(message: str) -> str:
    return message.removeprefix("Input ").removeprefix("Value error, ")


def _range(location: tuple[int | str, ...]) -> str:
    """The bounds that the field declares, such as "from 0 to 1" or "above 0, at most 100"."""
    model = _model_of(location)
    field = model.model_fields.get(str(location[-1])) if model else None
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    found = {
        name: getattr(constraint, name)
        for constraint in (_constraints(field) if field else ())
        for name in words
        if getattr(constraint, name, None) is not None
    }
    if set(found) == {"ge", "le"}:
        return f"from {found['ge']:g} to {found['le']:g}"
    return ", ".join(f"{words[name]} {found[name]:g}" for name in words if name in found)


def _constraints(field: FieldInfo) -> list[Any]:
    """What the field declares, also where it may be null besides: there pydantic leaves it in the annotation."""
    within = [more for part in get_args(field.annotation) for more in getattr(part, "__metadata__", ())]
    return [*field.metadata, *(c for more in within if isinstance(more, FieldInfo) for c in more.metadata)]


def _model_of(location: tuple[int | str, ...]) -> type[BaseModel] | None:
    model: type[BaseModel] | None = Project
    for part in location[:-1]:
        model = _section(model, part) if model else None
    return model


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _suggestion(location: tuple[int | str, ...]) -> str:
    model = _model_of(location)
    fields = list(model.model_fields) if model else []
    near = difflib.get_close_matches(str(location[-1]), fields, n=1)
    return f" Did you mean {near[0]!r}?" if near else f" Keys here: {', '.join(fields)}." if fields else ""


def _section(model: type[BaseModel], part: int | str) -> type[BaseModel] | None:
    """The model below ``part``; a list's index stays on the element's model."""
    if isinstance(part, int):
        return model
    field = model.model_fields.get(part)
    if field is None:
        return None
    candidates = (field.annotation, *get_args(field.annotation))
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)
