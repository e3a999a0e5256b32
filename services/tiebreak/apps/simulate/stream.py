"""A labelled stream as arrays: what a replay runs on. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from tiebreak.apps.simulate.answers import answer_of, cells_of, levels_of, lists, measured, names_in, numbers
from tiebreak.contracts.errors import ConfigError
from tiebreak.contracts.project import Answer, AnswerKind
from tiebreak.contracts.tensors import FloatArray

Ints = NDArray[np.int64]

# What a table may say about an event besides its features: the columns of `tiebreak produce`.
_ABOUT = frozenset({"id", "subject", "source", "time_ms", "text", "payload"})
LEAST_EVENTS = 50


@dataclass(frozen=True, slots=True)
class Stream:
    """``x`` ``(n, d)`` float32 and ``y`` ``(n,)`` indices into ``classes``, in stream order; ``held_x``, ``held_y`` judge
    models besides (both empty where nothing was held out). ``vectors`` ``(d,)`` of class names, where they are known.

    ``answer``: what people are asked for. Where that is no single class, ``texts`` and ``held_texts`` are the answers, and ``y`` is 0.
    """

    name: str
    x: FloatArray
    y: Ints
    classes: tuple[str, ...]
    held_x: FloatArray
    held_y: Ints
    vectors: Mapping[str, FloatArray] = field(default_factory=dict)
    answer: Answer = field(default_factory=Answer)
    texts: tuple[str, ...] = ()
    held_texts: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.y)

    def text(self, at: int) -> str:
        """The right answer to event ``at``."""
        return self.texts[at] if self.texts else self.classes[int(self.y[at])]

    @property
    def named(self) -> NDArray[np.bool_]:
        """``(n, k)``: which classes each answer names; of lists alone."""
        return names_in(self.texts, self.classes)

    @property
    def rare(self) -> tuple[int, ...]:
        """The rarest fifth of the stream's classes, at least one."""
        counts = np.bincount(self.y, minlength=len(self.classes)) if not self.texts else self.named.sum(axis=0)
        present = np.flatnonzero(counts)
        order = present[np.argsort(counts[present], kind="stable")]
        return tuple(order[: max(1, round(0.2 * len(order)))].tolist())


@dataclass(frozen=True, slots=True)
class Schema:
    """What the column of answers holds; ``answer`` and ``classes`` where a project file says them."""

    kind: AnswerKind = AnswerKind.SINGLE
    answer: Answer | None = None
    classes: tuple[str, ...] = ()


SINGLE = Schema()


def _picked(texts: tuple[str, ...], rows: Ints) -> tuple[str, ...]:
    return tuple(texts[row] for row in rows.tolist()) if texts else ()


def shuffled(stream: Stream, seed: int) -> Stream:
    """The same events in another order."""
    order = np.random.default_rng(seed).permutation(len(stream))
    return replace(stream, x=stream.x[order], y=stream.y[order], texts=_picked(stream.texts, order))


def held_back(stream: Stream, share: float, seed: int) -> Stream:
    """A uniform ``share`` of the events taken out of the stream to judge models by; nothing changes where some are held already."""
    if len(stream.held_y) or share <= 0.0:
        return stream
    held = np.random.default_rng(seed).random(len(stream)) < share
    kept = ~held
    return replace(
        stream,
        x=stream.x[kept],
        y=stream.y[kept],
        held_x=stream.x[held],
        held_y=stream.y[held],
        texts=_picked(stream.texts, np.flatnonzero(kept)),
        held_texts=_picked(stream.texts, np.flatnonzero(held)),
    )


def stream_of_arrays(name: str, arrays: Mapping[str, NDArray[np.generic]], schema: Schema = SINGLE) -> Stream:
    """From arrays ``X`` ``(n, ...)`` and ``y`` ``(n,)``; if there are any ``Xt``, ``yt`` held out, and names ``classes``.

    ``class_emb`` ``(k, d)`` are the names' vectors. For lists of classes ``y`` may be ``(n, k)``, zeros and ones. Raises ConfigError.
    """
    if "X" not in arrays or "y" not in arrays:
        raise ConfigError(f"{name} holds {', '.join(sorted(arrays)) or 'nothing'}; arrays X and y are needed.")
    x = _features(f"{name}: X", arrays["X"])
    labels = arrays["y"]
    if not labels.ndim:
        raise ConfigError(f"{name}: y is one number, not one of each event.")
    held = ("Xt" in arrays and "yt" in arrays) or None
    held_x = _features(f"{name}: Xt", arrays["Xt"]) if held else x[:0]
    held_labels = arrays["yt"] if held else labels[:0]
    if len(x) != len(labels) or len(held_x) != len(held_labels):
        raise ConfigError(f"{name}: {len(x)} rows of X and {len(labels)} of y; they must be as many.")
    if schema.kind is not AnswerKind.SINGLE:
        names = tuple(map(str, arrays["classes"].tolist())) if "classes" in arrays else ()
        known = replace(schema, classes=schema.classes or names)
        both = [*cells_of(name, labels, known.kind, names or schema.classes)]
        both += cells_of(name, held_labels, known.kind, names or schema.classes) if held else []
        return _answered(name, (x, held_x), both, known)
    if labels.ndim != 1 or held_labels.ndim != 1:
        raise ConfigError(f"{name}: y is no list of answers, one of each event.", fix="Is it --answer multi?")
    values = np.unique(np.concatenate([labels, held_labels]))
    if measured(values, len(labels)):
        raise ConfigError(f"{name}: nearly every answer is a number of its own.", fix="Is it --answer numeric?")
    names = _names(values, arrays.get("classes"))
    y = np.searchsorted(values, labels).astype(np.int64)
    stream = Stream(name, x, y, names, held_x, np.searchsorted(values, held_labels).astype(np.int64))
    return _checked(replace(stream, vectors=_vectors(name, arrays, x.shape[1])))


def stream_of_rows(name: str, rows: Iterable[Mapping[str, object]], label: str, schema: Schema = SINGLE) -> Stream:
    """From rows of a table: the column ``label`` is the answer, all other numeric columns (and lists of numbers) are features.

    Raises ConfigError, with the number of the first bad row.
    """
    vectors: list[list[float]] = []
    cells: list[object] = []
    for number, row in enumerate(rows, start=1):
        if row.get(label) is None or (row[label] == "" and schema.kind is not AnswerKind.MULTI):
            raise ConfigError(f"{name}: row {number} has no column {label!r}.", fix="Name the column with --label.")
        vector = _vector(name, number, row, label)
        if vectors and len(vector) != len(vectors[0]):
            raise ConfigError(f"{name}: row {number} has {len(vector)} features, the first has {len(vectors[0])}.")
        vectors.append(vector)
        cells.append(row[label])
    if not vectors:
        raise ConfigError(f"{name}: holds no events.")
    if not vectors[0]:
        raise ConfigError(f"{name}: no features were found.", fix="Feature columns hold numbers, or lists of numbers.")
    x = np.asarray(vectors, dtype=np.float32)
    if schema.kind is not AnswerKind.SINGLE:
        return _answered(name, (x, x[:0]), cells, schema)
    return stream_of_arrays(name, {"X": x, "y": np.asarray([str(cell) for cell in cells])})


def _answered(name: str, x: tuple[FloatArray, FloatArray], cells: Sequence[object], schema: Schema) -> Stream:
    """A stream whose answers are no single class, the held-out rows' cells being the last."""
    n, kind = len(x[0]), schema.kind
    y = np.zeros(len(cells), np.int64)
    classes, texts = schema.classes, tuple[str, ...]()
    if kind is AnswerKind.NUMERIC:
        classes, texts = (), numbers(name, cells)
    elif kind is AnswerKind.MULTI:
        texts, classes = lists(name, cells, classes)
    else:
        classes = classes or levels_of(cells)
        places = {level: i for i, level in enumerate(classes)}
        unknown = [number for number, cell in enumerate(cells, start=1) if str(cell) not in places]
        if unknown:
            raise ConfigError(
                f"{name}: row {unknown[0]}: {str(cells[unknown[0] - 1])[:40]!r} is not one of the levels."
            )
        y = np.array([places[str(cell)] for cell in cells], np.int64)
    answer = schema.answer or answer_of(kind, texts)
    if kind is AnswerKind.NUMERIC:
        _in_range(name, texts, answer)
    return _checked(Stream(name, x[0], y[:n], classes, x[1], y[n:], {}, answer, texts[:n], texts[n:]))


def _in_range(name: str, texts: Sequence[str], answer: Answer) -> None:
    for number, text in enumerate(texts, start=1):
        if not answer.least <= float(text) <= answer.most:
            raise ConfigError(f"{name}: row {number}: {text} is not from {answer.least:g} to {answer.most:g}.")


def _vector(name: str, number: int, row: Mapping[str, object], label: str) -> list[float]:
    vector: list[float] = []
    for column, value in row.items():
        if column == label or column in _ABOUT:
            continue
        cells: Sequence[object] = value if isinstance(value, list) else [value]
        try:
            vector += [float(cell) for cell in cells]  # type: ignore[arg-type]
        except (TypeError, ValueError):
            raise ConfigError(f"{name}: row {number}, column {column}: {str(value)[:40]!r} is not a number.") from None
    return vector


def _features(what: str, array: NDArray[np.generic]) -> FloatArray:
    if np.iscomplexobj(array):
        raise ConfigError(f"{what} holds complex numbers.")
    try:
        x = np.asarray(array, dtype=np.float32).reshape(len(array), -1)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{what} does not hold numbers.") from error
    # A hole in a table is the most common defect of a file: the trainer would refuse the label, so the event stays out of sums.
    return np.nan_to_num(x, posinf=0.0, neginf=0.0)


def _names(values: NDArray[np.generic], given: NDArray[np.generic] | None) -> tuple[str, ...]:
    if given is None or values.dtype.kind not in "iu":
        return tuple(str(value) for value in values.tolist())
    return tuple(str(given[value]) if 0 <= value < len(given) else str(value) for value in values.tolist())


def _vectors(name: str, arrays: Mapping[str, NDArray[np.generic]], width: int) -> dict[str, FloatArray]:
    if "classes" not in arrays or "class_emb" not in arrays:
        return {}
    vectors = _features(f"{name}: class_emb", arrays["class_emb"])
    if vectors.shape != (len(arrays["classes"]), width):
        raise ConfigError(
            f"{name}: class_emb is {vectors.shape}; a row of {width} numbers for each of the classes is needed."
        )
    return dict(zip(map(str, arrays["classes"].tolist()), vectors, strict=True))


def _checked(stream: Stream) -> Stream:
    if len(stream) < LEAST_EVENTS:
        raise ConfigError(f"{stream.name}: {len(stream)} events; a replay needs at least {LEAST_EVENTS}.")
    if not stream.texts and len(stream.classes) < 2:
        raise ConfigError(f"{stream.name}: one class only; there is nothing to tell apart.")
    return stream
