"""From a JSON object to the cells of a row: quick where all is well, and every problem at once where not."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mmp.lookup import did_you_mean
from mmp.modeling import ops
from mmp.modeling.values import EXACT_INTEGERS, CellError, read, reader, shown
from mmp.serving.answers import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mmp.data.table import ColumnSpec
    from mmp.modeling.bundle import Bundle
    from mmp.modeling.values import Value

_MOST_DETAILS = 100
_FILLS = (ops.Fill, ops.Recall, ops.Guest)


@dataclass(frozen=True)
class Form:
    """What a request must look like.

    Parameters
    ----------
    required : tuple of ColumnSpec
        Columns that a row must have.
    optional : tuple of ColumnSpec
        Keys that it may have; they come back beside the prediction.
    nullable : frozenset of str
        Columns that may be null: training saw missing values there, or a step fills them.
    echoed : tuple of str
        Keys that stand in the answer.
    allow_extra : bool
        Whether other columns are passed over.
    """

    required: tuple[ColumnSpec, ...]
    optional: tuple[ColumnSpec, ...]
    nullable: frozenset[str]
    echoed: tuple[str, ...]
    allow_extra: bool

    @classmethod
    def of(cls, bundle: Bundle, *, allow_extra: bool) -> Form:
        """Return the form of a model's requests."""
        required = bundle.request
        names = {spec.name for spec in required}
        return cls(
            required=required,
            optional=tuple(spec for spec in bundle.entities if spec.name not in names),
            nullable=_nullable(bundle),
            echoed=tuple(dict.fromkeys(spec.name for spec in (*bundle.entities, *bundle.feature_keys))),
            allow_extra=allow_extra,
        )

    def cells(self, row: Any, path: str = "") -> dict[str, Value]:
        """Read one row.

        Raises
        ------
        Refusal
            422 with all that is wrong with it.
        """
        if type(row) is dict and (self.allow_extra or self.known.issuperset(row)):
            try:
                for spec in self.optional:
                    if spec.name in row:
                        check_key(spec, row[spec.name])
                return {name: read_cell(row[name]) for name, read_cell in self._readers}
            except (KeyError, CellError):
                pass  # said below, with all others
        raise refusal(list(self.problems(row, path)))

    def keys(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return the keys that a row brought, as they came; `cells` has refused what is none."""
        return {name: row[name] for name in self.echoed if name in row}

    def problems(self, row: Any, path: str = "") -> list[dict[str, str]]:
        """Return everything that is wrong with a row."""
        if not isinstance(row, dict):
            return [_problem(path.rstrip("."), "is no JSON object", "Send the columns of the row by name.")]
        names = [spec.name for spec in (*self.required, *self.optional)]
        found = [
            _problem(f"{path}{name}", "is no column of the model", did_you_mean(name, names))
            for name in row
            if not self.allow_extra and name not in self.known
        ]
        for spec in self.required:
            if spec.name not in row:
                found.append(_problem(f"{path}{spec.name}", "is missing", did_you_mean(spec.name, list(row))))
            else:
                found += self._problem_of(spec, row[spec.name], path)
        for spec in self.optional:
            try:
                check_key(spec, row.get(spec.name))
            except CellError as reason:
                found.append(_problem(f"{path}{spec.name}", str(reason), "Send an integer or text."))
        return found

    def _problem_of(self, spec: ColumnSpec, value: object, path: str) -> list[dict[str, str]]:
        try:
            cell = read(spec, value)
        except CellError as reason:
            return [_problem(f"{path}{spec.name}", f"{shown(value)} {reason}", f"Send {_KINDS[spec.kind]}.")]
        if cell is None and spec.name not in self.nullable:
            hint = "Send a value: training saw none missing here, and no step fills one in."
            return [_problem(f"{path}{spec.name}", "must not be null", hint)]
        return []

    @cached_property
    def known(self) -> frozenset[str]:
        """Every column that a row may have."""
        return frozenset(spec.name for spec in (*self.required, *self.optional))

    @cached_property
    def _readers(self) -> list[tuple[str, Callable[[object], Value]]]:
        return [(spec.name, self._reader(spec)) for spec in self.required]

    def _reader(self, spec: ColumnSpec) -> Callable[[object], Value]:
        read_cell = reader(spec)
        if spec.name in self.nullable:
            return read_cell

        def present(value: object) -> Value:
            cell = read_cell(value)
            if cell is None:
                raise CellError("must not be null")
            return cell

        return present


_KINDS = {
    "integer": "an integer",
    "float": "a number",
    "boolean": "true or false",
    "text": "text",
    "timestamp": "a time in ISO 8601",
}


def refusal(problems: Sequence[Mapping[str, str]]) -> Refusal:
    """Return the refusal that names all problems."""
    first = problems[0]
    more = f", and {len(problems) - 1:,} more" if len(problems) > 1 else ""
    path = f"'{first['path']}'" if first["path"] else "The body"
    return Refusal(
        422,
        "data",
        f"{path} {first['message']}{more}.",
        hint=first["hint"] or "GET /model/schema says what is expected.",
        details=problems[:_MOST_DETAILS],
    )


def _problem(path: str, message: str, hint: str) -> dict[str, str]:
    return {"path": path, "message": message, "hint": hint}


def check_key(spec: ColumnSpec, value: object) -> None:
    """Refuse a key that cannot be given back as it was meant."""
    if isinstance(value, (dict, list)):
        raise CellError("is no key")
    if spec.kind == "integer" and isinstance(value, float) and abs(value) >= EXACT_INTEGERS:
        raise CellError("is a float that stands for several integers")


def _nullable(bundle: Bundle) -> frozenset[str]:
    """Return the inputs that may be null; a key of the feature store never may."""
    made: dict[str, set[str]] = {spec.name: {spec.name} for spec in bundle.inputs}
    filled: set[str] = set()
    for op in bundle.pipeline.ops:
        of = set().union(*(made[source] for source in op.sources))
        if isinstance(op, _FILLS):
            filled |= of
        made.update(dict.fromkeys(op.targets, of))
    seen = {spec.name for spec in bundle.inputs if spec.has_nulls}
    return frozenset(seen | filled) - {spec.name for spec in bundle.feature_keys}
