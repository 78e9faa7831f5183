"""What is wrong with a table before anything is fitted to it: leakage, and columns that say nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmp.catalog.checks import CHECKS
from mmp.data.buffers import valid, values
from mmp.data.classes import classes
from mmp.data.leakage import AGAINST_TARGET, Sampled
from mmp.data.names import require
from mmp.data.table import Table
from mmp.errors import DataError, Finding, LeakageError, SettingsError, UnknownNameError
from mmp.lookup import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import numpy.typing as npt

    from mmp.settings.data import Data

_LEAKAGE = ("target_copy", "target_recoded", "target_predictor")
_LEFT_OUT = ("all_null", "constant", "unique_text")
_FEWEST_IDS = 20
_MANY_CLASSES = 20
_RARE = 0.05
_NULL_BITS = np.uint64(0x9E3779B97F4A7C15)
_ODD = np.uint64(0xBF58476D1CE4E5B9)


@dataclass(frozen=True)
class Roles:
    """What each column of a table is for.

    Parameters
    ----------
    target : str or None
        What is predicted.
    features : tuple of str
        What it is predicted from.
    entities : tuple of str
        Keys of a row, carried to the output.
    timestamp : str or None
        When a row happened.
    """

    target: str | None
    features: tuple[str, ...]
    entities: tuple[str, ...] = ()
    timestamp: str | None = None


class Checked(NamedTuple):
    """What the checks found, and the features that they leave out."""

    findings: tuple[Finding, ...]
    left_out: tuple[str, ...]


def roles(table: Table, data: Data, *, keys: Sequence[str] = ()) -> Roles:
    """Return what each column is for, by the recipe's data section.

    Features are the columns of ``feature_columns``, else all that have no other role: a key, a
    timestamp or a column that the split divides by is no feature unless it is listed.

    Parameters
    ----------
    table : Table
        With the features of the feature store, where there are any.
    data : Data
        The recipe's.
    keys : sequence of str
        Columns by which the feature store found them: entity keys as well, but for those that are
        listed as features.

    Raises
    ------
    MissingColumnsError
        Naming every column of the recipe that the table does not have.
    SettingsError
        Where the target or a key is listed as a feature.
    """
    interface, division = data.data_interface, data.split
    listed = interface.feature_columns
    entities = (*interface.entity_columns, *(key for key in keys if key not in (listed or ())))
    others = (
        interface.target_column, *entities, interface.timestamp_column, interface.treatment_column,
        division.temporal_column, division.group_column, division.split_column,
        data.event_timestamp,
    )  # fmt: skip
    taken = [name for name in others if name is not None]
    require(dict.fromkeys((*taken, *(listed or ()))), table.names, table.source)
    for name in listed or ():
        if name == interface.target_column or name in interface.entity_columns:
            raise SettingsError(
                f"data.data_interface: {name!r} is the target or an entity key, and cannot be a feature.",
                hint="Take it out of feature_columns.",
            )
    features = tuple(name for name in table.names if name not in taken) if listed is None else tuple(listed)
    return Roles(
        interface.target_column, features, tuple(dict.fromkeys(entities)), interface.timestamp_column
    )


def drop_null_target(table: Table, target: str) -> tuple[Table, int]:
    """Leave out the rows without a target, and count them.

    Raises
    ------
    DataError
        Where no row has a target.
    """
    column = table.arrow.column(target)
    n_null = column.null_count
    if n_null == table.n_rows:
        raise DataError(
            f"The target {target!r} is missing in all {n_null} rows.", hint="Is it the right column?"
        )
    if not n_null:
        return table, 0
    message = f"The target {target!r} is missing in {n_null} rows; they were left out."
    finding = Finding("null_target", "warn", message, target)
    kept = table.arrow.filter(column.is_valid()).combine_chunks()
    specs = tuple(replace(spec, has_nulls=kept.column(spec.name).null_count > 0) for spec in table.specs)
    return Table(kept, specs, (*table.findings, finding), table.source), n_null


def check(table: Table, roles: Roles, *, task: str, levels: Mapping[str, str] | None = None) -> Checked:
    """Look for leakage and for columns that a model cannot or should not learn from.

    Parameters
    ----------
    table : Table
        Rows whose target is not null.
    roles : Roles
        What each column is for.
    task : str
        Decides what a target may be.
    levels : mapping of str to {"error", "warn", "off"}, optional
        ``data.checks`` of the recipe; what is not in it is at the level of the catalog.

    Returns
    -------
    Checked
        Findings, those of reading the table included, and the features to leave out.

    Raises
    ------
    DataError
        Where a finding is at the level of an error, a feature or the target is infinite, the
        target does not fit the task, or no feature is left.
    UnknownNameError
        Where `levels` names a check that there is not.
    """
    levels = _known(levels or {})
    if roles.target is not None:
        _refuse_target(table, roles.target, task)
    _refuse_infinite(table, roles)
    found = [
        _at_level(finding, levels) for finding in (*table.findings, *_findings(table, roles, task, levels))
    ]
    findings = tuple(finding for finding in found if finding is not None)
    _refuse_errors([finding for finding in findings if finding.level == "error"])
    left_out = tuple(
        finding.column for finding in findings if finding.check in _LEFT_OUT and finding.column is not None
    )
    if set(roles.features) <= set(left_out):
        raise DataError(
            "No feature is left: every column is the target, a key, constant, empty or unique in each row.",
            hint="Check data.data_interface.feature_columns and the source.",
        )
    return Checked(findings, left_out)


def _known(levels: Mapping[str, str]) -> Mapping[str, str]:
    for name in levels:
        if name not in CHECKS:
            raise UnknownNameError(
                f"data.checks: there is no check {name!r}.",
                hint=did_you_mean(name, CHECKS) or f"Checks: {', '.join(CHECKS)}.",
            )
    return levels


def _at_level(finding: Finding, levels: Mapping[str, str]) -> Finding | None:
    level = levels.get(finding.check, finding.level)
    return None if level == "off" else replace(finding, level=level)  # type: ignore[arg-type]


def _refuse_errors(errors: Sequence[Finding]) -> None:
    if not errors:
        return
    is_leak = any(finding.check in _LEAKAGE for finding in errors)
    kind, names = (LeakageError if is_leak else DataError), sorted({finding.check for finding in errors})
    remedy = "Take the column out of the features" if is_leak else "Mend the data"
    raise kind(
        " ".join(finding.message for finding in errors),
        hint=f"{remedy}, or write data.checks: {{{', '.join(f'{name}: warn' for name in names)}}}.",
    )


# ── the target ──────────────────────────────────────────────────────────────


def _refuse_target(table: Table, name: str, task: str) -> None:
    """Refuse a target that does not fit the task."""
    refuse = {"classification": _refuse_class_target, "regression": _refuse_number_target}.get(task)
    if refuse is not None:
        refuse(table, name)


def _refuse_class_target(table: Table, name: str) -> None:
    spec, found = table.spec(name), classes(table.arrow.column(name))
    if spec.kind == "timestamp":
        raise DataError(f"The target {name!r} is a timestamp, not a class.", hint="Choose another target.")
    if len(found) == 1:
        raise DataError(
            f"The target {name!r} has only the class {found.label(0)!r}.",
            hint="Classification needs rows of two classes or more.",
        )
    if len(found) <= _MANY_CLASSES:
        return
    if spec.kind == "float" and not _is_whole(found.distinct):
        raise DataError(
            f"The target {name!r} has {len(found)} different numbers with fractions: these are no classes.",
            hint="Write task_choice: regression.",
        )
    if len(found) > table.n_rows / 2:
        raise DataError(
            f"The target {name!r} has {len(found)} classes in {table.n_rows} rows: too many to learn.",
            hint="Is it an id? Choose another target, or task_choice: regression for numbers.",
        )


def _refuse_number_target(table: Table, name: str) -> None:
    spec, column = table.spec(name), table.arrow.column(name).chunk(0)
    if spec.kind not in ("integer", "float"):
        why = next((f" {finding.message}" for finding in table.findings if finding.column == name), "")
        if spec.kind == "text" and not why:
            why = f" One of its values is {_odd_word(column.dictionary)!r}."
        kind = "a timestamp" if spec.kind == "timestamp" else spec.kind
        raise DataError(
            f"The target {name!r} is {kind}, not a number.{why}",
            hint="Write task_choice: classification, choose another target, or mend the values.",
        )
    if _is_constant(column):
        raise DataError(
            f"The target {name!r} is {values(column)[0]} in every row.", hint="There is nothing to learn."
        )


def _odd_word(words: pa.StringArray) -> str:
    """Return a word that is no number, the first one where each could be, cut to 40 characters."""
    odd = words.filter(pc.match_substring_regex(words, "[^0-9.eE+-]"))
    return str((odd if len(odd) else words)[0])[:40]


def _is_whole(numbers: pa.Array) -> bool:
    floats = values(numbers)
    return bool((floats == np.floor(floats)).all())


def _refuse_infinite(table: Table, roles: Roles) -> None:
    names = [*roles.features, *([roles.target] if roles.target else [])]
    counts = {
        name: pc.sum(pc.is_inf(table.arrow.column(name))).as_py()
        for name in names
        if table.spec(name).kind == "float"
    }
    infinite = {name: n for name, n in counts.items() if n}
    if infinite:
        described = ", ".join(f"{name!r} ({n:,} row{'' if n == 1 else 's'})" for name, n in infinite.items())
        raise DataError(
            f"Infinite values in {described}: no library learns from them alike.",
            hint="Replace them in the source, or leave out "
            + ("those rows." if roles.target in infinite else "the column, by feature_columns."),
        )


# ── the features ────────────────────────────────────────────────────────────


def _findings(table: Table, roles: Roles, task: str, levels: Mapping[str, str]) -> Iterator[Finding]:
    on = {name: check for name, check in CHECKS.items() if levels.get(name) != "off"}
    target = None if roles.target is None else Sampled.of(table, roles.target, task)
    for name in roles.features:
        column = table.arrow.column(name).chunk(0)
        for check, message in _of_feature(column, target):
            if check in on:
                yield Finding(check, on[check].level, f"Feature {name!r} {message}.", name)
                if check in (*_LEFT_OUT, *_LEAKAGE):
                    break
    if "many_classes" in on and target is not None:
        yield from _many_classes(target)
    if "rare_class" in on and target is not None:
        yield from _rare_class(target)
    if "duplicate_rows" in on:
        yield from _duplicate_rows(table)


def _of_feature(column: pa.Array, target: Sampled | None) -> Iterator[tuple[str, str]]:
    """Yield what is to be said of one feature, the gravest first, each computed when asked for."""
    for check, finds in _ALONE.items():
        message = finds(column)
        if message:
            yield check, message
    if target is not None:
        for check, against in AGAINST_TARGET.items():
            message = against(column, target)
            if message:
                yield check, message


def _all_null(column: pa.Array) -> str | None:
    return "has no value in any row; it was left out" if column.null_count == len(column) else None


def _constant(column: pa.Array) -> str | None:
    return "has the same value in every row; it was left out" if _is_constant(column) else None


def _is_constant(column: pa.Array) -> bool:
    if column.null_count:
        return False
    if pa.types.is_dictionary(column.type):
        column = column.indices
    extremes = pc.min_max(column)
    return bool(extremes["min"].equals(extremes["max"]))


def _unique_text(column: pa.Array) -> str | None:
    if not pa.types.is_dictionary(column.type) or not _all_different(column):
        return None
    return "is text that is different in every row; it was left out"


def _all_different(text: pa.DictionaryArray) -> bool:
    codes = values(text.indices.drop_null())
    return len(codes) > 1 and len(codes) <= len(text.dictionary) and int(np.bincount(codes).max()) == 1


def _id_like(column: pa.Array) -> str | None:
    if not _counts_rows(column) or len(column) < _FEWEST_IDS:
        return None
    return "only counts the rows up or down, as an id does; name it in entity_columns if it is one"


def _counts_rows(column: pa.Array) -> bool:
    if column.null_count or not pa.types.is_int64(column.type):
        return False
    numbers = values(column)
    return bool((numbers[1:] > numbers[:-1]).all() or (numbers[1:] < numbers[:-1]).all())


def _missing_share(column: pa.Array) -> str | None:
    share = column.null_count / max(len(column), 1)
    return f"is missing in {share:.0%} of the rows" if share > 0.5 else None


_ALONE: dict[str, Callable[[pa.Array], str | None]] = {
    "all_null": _all_null,
    "constant": _constant,
    "unique_text": _unique_text,
    "id_like": _id_like,
    "missing_share": _missing_share,
}


def _many_classes(target: Sampled) -> Iterator[Finding]:
    if not target.is_class or pa.types.is_dictionary(target.column.type):
        return
    n_classes = pc.count_distinct(target.column).as_py()
    if n_classes > 5 * _MANY_CLASSES:
        message = f"The target {target.name!r} has {n_classes} classes that are numbers; is it a quantity?"
        yield Finding("many_classes", "warn", message, target.name)


def _rare_class(target: Sampled) -> Iterator[Finding]:
    """Say what classes are not weighed for by default: it makes probabilities wrong that are right."""
    if not target.is_class:
        return
    _, first, counts = np.unique(target.values, return_index=True, return_counts=True)
    if counts.min() < _RARE * counts.max():
        share = counts.min() / counts.sum()
        label = target.column.take(target.rows)[int(first[counts.argmin()])].as_py()
        decide = ", or decide by evaluation.threshold" if len(counts) == 2 else ""
        message = (
            f"The target {target.name!r} is {label!r} in {share:.1%} of the rows: it is rarely the likeliest "
            f"class. Weigh it by model.class_weight: balanced{decide}."
        )
        yield Finding("rare_class", "info", message, target.name)


def _duplicate_rows(table: Table) -> Iterator[Finding]:
    columns = [column.chunk(0) for column in table.arrow.columns]
    if any(_counts_rows(column) for column in columns):
        return
    hashes = np.sort(_row_hashes(columns))
    n_duplicates = int(np.count_nonzero(hashes[1:] == hashes[:-1]))
    if n_duplicates:
        message = (
            f"{n_duplicates} of {table.n_rows} rows equal an earlier row in every column; "
            "the same row may train and judge."
        )
        yield Finding("duplicate_rows", "warn", message)


def _row_hashes(columns: Sequence[pa.Array]) -> npt.NDArray[np.uint64]:
    """Return 64 bits for each row; among a million rows two different ones meet once in 10^7 tables."""
    hashes = np.zeros(len(columns[0]), np.uint64)
    for column in columns:
        cells = values(column).astype(np.int64 if column.type != pa.float64() else np.float64).view(np.uint64)
        present = valid(column)
        hashes ^= cells if present is None else np.where(present, cells, _NULL_BITS)
        hashes *= _ODD
        hashes ^= hashes >> np.uint64(29)
    return hashes
