"""Golden rows: synthetic requests whose answers are stored with the model and compared after every load.

They are drawn column by column from the training ranges and categories, so they show what the model
was trained on without showing anyone who was in it. The input example and the documentation of a
served model use them too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mmp.errors import ArtifactError, DataError
from mmp.modeling import conformal
from mmp.modeling.columns import coerce_value
from mmp.modeling.state import from_json, to_json
from mmp.modeling.values import written

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from mmp.data.table import ColumnSpec
    from mmp.modeling.bundle import Bundle
    from mmp.modeling.columns import Column, Columns, Value

    Rows = npt.NDArray[np.intp] | slice

N_ROWS: Final = 32
UNSEEN: Final = "a category never seen"
_NULL_SHARE: Final = 0.1
_UNSEEN_ROW, _NULL_ROW = 1, 2  # nothing but unseen categories, nothing but nulls
_DARING: Final = ((True, True), (True, False), (False, True), (False, False))  # nulls, unseen categories
_ATTEMPTS: Final = 20
_TOLERANCE: Final = 1e-6
_DECIDED: Final = ("prediction", conformal.COLUMN)
_DAY: Final = 86_400_000_000


def with_examples(bundle: Bundle, training: Columns, *, seed: int) -> Bundle:
    """Give a bundle its golden rows.

    Parameters
    ----------
    bundle : Bundle
        The finished model, its baseline in it.
    training : mapping of str to Column
        The raw training columns, of every input.
    seed : int
        Equal seeds give equal rows.

    Returns
    -------
    Bundle
        With `N_ROWS` examples; nulls and unseen categories are among them unless the model refuses
        them.
    """
    for nulls, unseen in _DARING:
        examples = draw(bundle, training, seed=seed, nulls=nulls, unseen=unseen)
        if _answers(bundle, examples):
            break
    return replace(bundle, examples=examples)


def _answers(bundle: Bundle, rows: tuple[dict[str, Any], ...]) -> bool:
    try:
        bundle.predict(rows)
    except DataError:
        return False
    return True


def draw(
    bundle: Bundle, training: Columns, *, seed: int, nulls: bool = True, unseen: bool = True
) -> tuple[dict[str, Any], ...]:
    """Draw rows in served form: JSON values, timestamps as text.

    None is a row of `training`. Only where nothing is known of a row but booleans, or categories
    beside which the model takes no others, and all their combinations occur in training, that
    cannot be; such a row tells of nobody. A key is one that the model recalls values by and has in
    its state anyway, or synthetic.
    """
    rng = np.random.default_rng(seed)
    summaries = bundle.baseline["features"]
    inputs = bundle.pipeline.inputs
    known = {spec.name: _Known(spec, summaries[spec.name], training[spec.name]) for spec in inputs}
    rows = [_draw_row(known, position, rng, nulls=nulls, unseen=unseen) for position in range(N_ROWS)]
    return tuple(
        {spec.name: _synthetic_key(spec, position) for spec in (*bundle.entities, *bundle.feature_keys)}
        | _recalled_keys(bundle.pipeline.keys, training, position, rng)
        | {spec.name: written(spec, row[spec.name]) for spec in inputs}
        for position, row in enumerate(rows)
    )


def served(bundle: Bundle) -> tuple[dict[str, Any], ...]:
    """Return a bundle's examples as requests: without what the feature store adds."""
    stored = {spec.name for spec in bundle.stored}
    return tuple(
        {name: value for name, value in row.items() if name not in stored} for row in bundle.examples
    )


def write(bundle: Bundle, folder: Path) -> None:
    """Write a bundle's examples and its answers to them."""
    answers = bundle.predict(bundle.examples).values
    golden = folder / "golden"
    golden.mkdir()
    (golden / "inputs.json").write_bytes(to_json(bundle.examples))
    (golden / "outputs.json").write_bytes(to_json(_as_lists(answers)))


def check(bundle: Bundle, folder: Path, *, exact: bool) -> Bundle:
    """Compare what a loaded bundle answers with what it answered when it was written.

    Parameters
    ----------
    bundle : Bundle
        Loaded from `folder`, still without examples.
    folder : Path
        A verified model folder.
    exact : bool
        True on the platform that wrote it, where every bit must be the same. Elsewhere numbers
        may differ by a relative 1e-6, and with them a class that is as good as tied.

    Returns
    -------
    Bundle
        With its examples.

    Raises
    ------
    ArtifactError
        Where an answer is another.
    """
    examples = from_json((folder / "golden" / "inputs.json").read_bytes(), "golden/inputs.json")
    expected = from_json((folder / "golden" / "outputs.json").read_bytes(), "golden/outputs.json")
    if not examples:
        raise _another("there are no golden rows to compare")
    actual = _as_lists(bundle.predict(examples).values)
    if actual.keys() != expected.keys():
        raise _another(f"the columns are {', '.join(actual)} instead of {', '.join(expected)}")
    for name, column in expected.items():
        decided = bool(bundle.classes) and name in _DECIDED
        if not _same(column, actual[name], exact=exact, decided=decided):
            raise _another(f"column '{name}' differs")
    return replace(bundle, examples=tuple(examples))


@dataclass(frozen=True)
class _Known:
    """What is known of one input: its spec, its summary in the baseline, and its training rows."""

    spec: ColumnSpec
    summary: Mapping[str, Any]
    column: Column

    def draw(self, rng: np.random.Generator) -> Value:
        """Draw a value from inside the range, None where training had nothing."""
        if "categories" in self.summary:
            categories: list[Value] = self.summary["categories"]
            return categories[rng.integers(len(categories))] if categories else None
        low, high = self.summary["min"], self.summary["max"]
        if low is None:
            return None
        if self.spec.kind == "float":
            share = rng.random()  # `high - low` could overflow
            return float(low * (1 - share) + high * share)
        # A column of days stays one, and its own time format may cut a moment to its day.
        unit = _DAY if self.spec.kind == "timestamp" and low % _DAY == high % _DAY == 0 else 1
        value = int(rng.integers(low // unit, high // unit, endpoint=True)) * unit
        return coerce_value(self.spec, written(self.spec, value))

    def beyond(self, step: int, *, unseen: bool) -> Value:
        """Return a value that training did not have, None where there is none to take."""
        if self.spec.kind == "text":
            return UNSEEN if unseen else None
        if (high := self.summary.get("max")) is None:
            return None
        unit = _DAY if self.spec.kind == "timestamp" else max(1, abs(high) // 1000)
        beyond: float = high + (1 + step) * unit
        return beyond

    def rows_with(self, value: Value, rows: Rows) -> npt.NDArray[np.intp]:
        """Keep the training rows that have this value."""
        column = self.column.take(rows)
        if value is None:
            hits = column.missing()
        elif isinstance(value, str):
            code = column.vocabulary.index(value) if value in column.vocabulary else -2
            hits = column.values == code
        else:
            hits = (column.values == value) & ~column.missing()
        found = np.flatnonzero(hits)
        return found if isinstance(rows, slice) else rows[found]


def _draw_row(
    inputs: Mapping[str, _Known], position: int, rng: np.random.Generator, *, nulls: bool, unseen: bool
) -> dict[str, Value]:
    for _ in range(_ATTEMPTS):
        row = {name: known.draw(rng) for name, known in inputs.items()}
        if nulls:
            share = 1.0 if position == _NULL_ROW else _NULL_SHARE
            row |= {name: None for name in inputs if rng.random() < share}
        if unseen and position == _UNSEEN_ROW:
            row |= {name: UNSEEN for name, known in inputs.items() if known.spec.kind == "text"}
        if not _trained_on(row, inputs):
            return row
    outside = {name: known.beyond(position, unseen=unseen) for name, known in inputs.items()}
    return row | {name: value for name, value in outside.items() if value is not None}


def _trained_on(row: Mapping[str, Value], inputs: Mapping[str, _Known]) -> bool:
    rows: Rows = slice(None)
    # Floats first: hardly any row is left after one of them.
    for name in sorted(inputs, key=lambda name: inputs[name].spec.kind != "float"):
        rows = inputs[name].rows_with(row[name], rows)
        if not len(rows):
            return False
    return True


def _recalled_keys(
    keys: Sequence[ColumnSpec], training: Columns, position: int, rng: np.random.Generator
) -> dict[str, Value]:
    """Draw the key of an entity whose values the model keeps anyway; one row has a key of nobody."""
    if not keys:
        return {}
    if position == _UNSEEN_ROW:
        return {spec.name: _key_of_nobody(spec, training[spec.name]) for spec in keys}
    row = np.array([rng.integers(len(training[keys[0].name]))])
    return {spec.name: written(spec, training[spec.name].take(row).to_list()[0]) for spec in keys}


def _key_of_nobody(spec: ColumnSpec, column: Column) -> Value:
    """Return a key that training did not have; a missing one where it had them all."""
    known = set(column.vocabulary if column.kind == "text" else column.to_list())
    candidates = (_synthetic_key(spec, position) for position in range(len(known) + 1))
    return next((key for key in candidates if coerce_value(spec, key) not in known), None)


def _synthetic_key(spec: ColumnSpec, position: int) -> Value:
    match spec.kind:
        case "text":
            return str(position).zfill(spec.digits) if spec.digits else f"key-{position}"
        case "timestamp":
            return written(spec, position * _DAY)
        case "boolean":
            return position % 2 == 0
    return position


def _as_lists(values: Mapping[str, npt.NDArray[Any] | list[Any]]) -> dict[str, list[Any]]:
    return {name: column if isinstance(column, list) else column.tolist() for name, column in values.items()}


def _same(expected: list[Any], actual: list[Any], *, exact: bool, decided: bool) -> bool:
    if exact or expected == actual:
        return expected == actual
    if len(expected) != len(actual):
        return False
    if decided:  # a tie may fall the other way; the probabilities are compared
        return True
    scale = max(map(abs, expected))
    return bool(np.allclose(actual, expected, rtol=_TOLERANCE, atol=_TOLERANCE * scale / 10))


def _another(what: str) -> ArtifactError:
    return ArtifactError(
        f"The model does not answer its golden rows as it did when it was trained: {what}.",
        hint="Load it with the library versions in its requirements.txt, or train again.",
    )
