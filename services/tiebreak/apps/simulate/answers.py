"""The answers of a labelled file, whatever their kind: as canonical texts, and as the schema that people would have had. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from tiebreak.contracts.answer_text import choices_of, choices_text, number_text
from tiebreak.contracts.errors import ConfigError
from tiebreak.contracts.project import Answer, AnswerKind, Project
from tiebreak.training.targets import SomeClasses, Target, target_of

Ints = NDArray[np.int64]

KINDS = (AnswerKind.SINGLE, AnswerKind.ORDINAL, AnswerKind.MULTI, AnswerKind.NUMERIC)


def cells_of(name: str, array: NDArray[np.generic], kind: AnswerKind, names: Sequence[str]) -> list[object]:
    """One cell per row: of a matrix of zeros and ones the ``names`` of its ones, of whole numbers the levels that they are places of
    in ``names``, where there are any; else what each row holds. Raises ConfigError.
    """
    if array.ndim == 2:
        own = names or tuple(f"label{i}" for i in range(array.shape[1]))
        if len(own) != array.shape[1]:
            raise ConfigError(
                f"{name}: {array.shape[1]} columns of answers and {len(own)} classes; they must be as many."
            )
        return [[own[i] for i in np.flatnonzero(row).tolist()] for row in array]
    if kind is AnswerKind.ORDINAL and names and array.dtype.kind in "iu":
        return [names[place] if 0 <= place < len(names) else place for place in array.tolist()]
    return list(array.tolist())


def measured(values: NDArray[np.generic], answers: int) -> bool:
    """Whether the different ``values`` of so many answers, as numbers or as texts, look like measurements rather than names."""
    if 2 * len(values) <= answers:
        return False
    try:
        found = values.astype(np.float64)
    except ValueError:
        return False
    return not bool(np.equal(found, np.round(found)).all())


def levels_of(cells: Sequence[object]) -> tuple[str, ...]:
    """The different cells as texts, in their order: numbers by size, anything else by the alphabet."""
    texts = {str(cell) for cell in cells}
    try:
        return tuple(sorted(texts, key=float))
    except ValueError:
        return tuple(sorted(texts))


def numbers(name: str, cells: Sequence[object]) -> tuple[str, ...]:
    """Canonical numbers. Raises ConfigError, with the number of the first bad row."""
    found = []
    for row, cell in enumerate(cells, start=1):
        try:
            number = float(cell)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            number = float("nan")
        if not isfinite(number):
            raise ConfigError(f"{name}: row {row}: {str(cell)[:40]!r} is not a finite number.")
        found.append(number_text(number))
    return tuple(found)


def lists(name: str, cells: Sequence[object], names: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Canonical lists of classes, and the classes: ``names``, or all that occur. A cell is a list, JSON, or names between bars.

    Raises ConfigError, with the number of the first bad row.
    """
    rows = [_names_in(cell) for cell in cells]
    known = tuple(names) or tuple(sorted({one for row in rows for one in row}))
    order = {one: i for i, one in enumerate(known)}
    for number, row in enumerate(rows, start=1):
        unknown = [one for one in row if one not in order]
        if unknown:
            raise ConfigError(f"{name}: row {number}: {unknown[0]!r} is not one of the project's classes.")
    return tuple(choices_text(sorted(set(row), key=order.__getitem__)) for row in rows), known


def _names_in(cell: object) -> tuple[str, ...]:
    if isinstance(cell, list):
        return tuple(map(str, cell))
    text = str(cell).strip()
    if text.startswith("["):
        try:
            return choices_of(text)
        except ValueError:
            pass
    return tuple(part.strip() for part in text.split("|") if part.strip())


def names_in(texts: Sequence[str], classes: Sequence[str]) -> NDArray[np.bool_]:
    """``(n, k)``: which ``classes`` each canonical list names."""
    rows = [set(choices_of(text)) for text in texts] if classes else []
    return np.array([[one in row for one in classes] for row in rows], np.bool_).reshape(len(texts), len(classes))


def answer_of(kind: AnswerKind, texts: Sequence[str]) -> Answer:
    """The schema where no project file says it: of numbers the range that the file spans."""
    if kind is not AnswerKind.NUMERIC:
        return Answer(kind=kind)
    found = [float(text) for text in texts]
    return Answer(
        kind=kind, least=min(found), most=max(found) if max(found) > min(found) else min(found) + 1.0, step=0.0
    )


def target_for(project: Project, classes: Sequence[str]) -> Target:
    """What is learned from the answers of a simulated project, whose ``classes`` may be those of the file."""
    if project.labeling.answer.kind is AnswerKind.MULTI:
        return SomeClasses(tuple(classes))
    return target_of(project)
