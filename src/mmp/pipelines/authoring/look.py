"""What a table adds to a recipe: roles, a split that it allows, the steps it needs, and why."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mmp.catalog.steps import STEPS
from mmp.errors import DataError
from mmp.lookup import capitalized
from mmp.modeling.build import most_levels
from mmp.pipelines.authoring import guess
from mmp.pipelines.prepare import prepare, split_rows
from mmp.pipelines.rows import labelled_rows
from mmp.settings.emit import Off

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mmp.catalog.models import ModelRow
    from mmp.data.table import Table
    from mmp.pipelines.authoring.recipes import Draft
    from mmp.pipelines.prepare import Prepared
    from mmp.pipelines.rows import Rows
    from mmp.settings.document import Path_

_GIVEN_AWAY = ("target_copy", "target_recoded")
_MOST_NAMES = 6
_FEW_NAMES = 3
_INTERFACE = ("data", "data_interface")
_SHARES = (
    {"train": 0.7, "validation": 0.15, "test": 0.15},
    {"train": 0.5, "validation": 0.25, "test": 0.25},
)
_TWO_SHARES = {"train": 0.7, "validation": 0, "test": 0.3}


@dataclass(frozen=True)
class _Division:
    """One way to divide the rows, why, and whether it leaves rows to stop early by."""

    settings: Mapping[str, Any]
    why: str

    @property
    def has_validation(self) -> bool:
        return bool(self.settings["validation"])


def fill_in(draft: Draft, table: Table, row: ModelRow) -> Draft:
    """Write into a draft what its table says.

    Every choice is tried on the table as a training would, up to the estimator.

    Raises
    ------
    DataError
        No recipe can train on this table, with the first reason met.
    """
    examined, rows = _examine(draft, table)
    reasons: list[DataError] = []
    for division in _divisions(examined, rows):
        divided = _divided(examined, division, row)
        try:
            recipe = divided.recipe
            again = labelled_rows(table, recipe)
            prepared = prepare(again, split_rows(again, recipe), recipe, row)
        except DataError as error:
            reasons.append(error)
        else:
            return _explained(divided, again, prepared, row)
    raise reasons[0]


def _examine(draft: Draft, table: Table) -> tuple[Draft, Rows]:
    """Sort out the columns: keys, and those that no model may have."""
    interface = draft.settings["data"]["data_interface"]
    given = _list(interface["entity_columns"])
    found = list(guess.keys(table, [interface["target_column"], *given]))
    unfit = dict.fromkeys(guess.infinite(table), "it holds infinite values")
    draft = _with_roles(draft, table, [*given, *found], unfit)
    rows = labelled_rows(table, _lenient(draft).recipe)
    counters = [finding.column for finding in rows.findings if finding.check == "id_like" and finding.column]
    unfit |= {
        finding.column: f"it {finding.message.partition(repr(finding.column))[2].strip(' .')}"
        for finding in rows.findings
        if finding.check in _GIVEN_AWAY and finding.column
    }
    if counters or any(name in unfit for name in (spec.name for spec in rows.features)):
        draft = _with_roles(draft, table, [*given, *found, *counters], unfit)
        rows = labelled_rows(table, draft.recipe)
    return draft, rows


def _list(value: Any) -> list[str]:
    return [] if isinstance(value, Off) else list(value)


def _lenient(draft: Draft) -> Draft:
    """Return the draft with leaks told instead of refused."""
    data = draft.settings["data"] | {"checks": dict.fromkeys(_GIVEN_AWAY, "warn")}
    return replace(draft, settings=draft.settings | {"data": data})


def _with_roles(draft: Draft, table: Table, entities: list[str], unfit: Mapping[str, str]) -> Draft:
    interface, notes = dict(draft.settings["data"]["data_interface"]), dict(draft.notes)
    target = interface["target_column"]
    if entities:
        interface["entity_columns"] = entities
    left_out = [name for name in unfit if name != target and name not in entities]
    if left_out:
        kept = [name for name in table.names if name not in (target, *entities, *left_out)]
        reasons = "; ".join(f"{name!r}: {unfit[name]}" for name in left_out)
        interface["feature_columns"] = kept
        notes[*_INTERFACE, "feature_columns"] = f"Every column but {reasons}."
    data = draft.settings["data"] | {"data_interface": interface}
    return replace(draft, settings=draft.settings | {"data": data}, notes=notes)


# -- the split -----------------------------------------------------------------------------------------


def _divisions(draft: Draft, rows: Rows) -> Iterator[_Division]:
    """Yield the ways to divide the rows, the most honest first."""
    task, table = draft.settings["task_choice"], rows.table
    at_random = (
        "random, with the same share of each class in every part" if task == "classification" else "random"
    )
    moments = [spec.name for spec in table.specs if spec.kind == "timestamp"]
    groups = [spec.name for spec in rows.entities if guess.is_repeated(table, spec.name)]
    for name in groups:
        why = f"rows of one {name!r} stay together: a model that has met some of them knows the others"
        yield from (_Division({"strategy": "group", "group_column": name, **by}, why) for by in _SHARES)
    for name in moments:
        if not groups and name != rows.target_spec.name and guess.is_in_order(table, name):
            why = f"the rows stand in the order of {name!r}, so the later ones judge"
            yield from (
                _Division({"strategy": "temporal", "temporal_column": name, **by}, why) for by in _SHARES
            )
    hint = (
        f"; `strategy: temporal, temporal_column: {moments[0]}` judges by the latest rows" if moments else ""
    )
    yield from (_Division({"strategy": "random", **by}, at_random + hint) for by in _SHARES)
    few = f"{at_random}; the rows are too few for a validation part"
    yield _Division({"strategy": "random", **_TWO_SHARES}, few)


def _divided(draft: Draft, division: _Division, row: ModelRow) -> Draft:
    settings, notes = dict(draft.settings), dict(draft.notes)
    settings["data"] = settings["data"] | {"split": dict(division.settings)}
    notes["data", "split"] = f"{capitalized(division.why)}."
    if row.early_stopping and not division.has_validation:
        settings["model"] = {
            key: value for key, value in settings["model"].items() if key != "early_stopping"
        }
    return replace(draft, settings=settings, notes=notes)


# -- what is said of it ---------------------------------------------------------------------------------


def _explained(draft: Draft, rows: Rows, prepared: Prepared, row: ModelRow) -> Draft:
    settings, notes = dict(draft.settings), dict(draft.notes)
    interface = dict(settings["data"]["data_interface"])
    _say_target(interface, notes, rows)
    notes["data", "data_interface"] = _of_columns(rows)
    if "feature_columns" not in interface:
        interface["feature_columns"] = Off([spec.name for spec in rows.features[:_FEW_NAMES]])
        notes[*_INTERFACE, "feature_columns"] = "left out: every column without another role"
    settings["data"] = settings["data"] | {"data_interface": interface}
    settings["preprocessor"] = {
        "steps": [step.model_dump(mode="json", exclude_unset=True) for step in prepared.steps]
    }
    notes["preprocessor",] = (
        "What mmp chooses for these columns and this model; without this section it would choose anew."
        if prepared.steps
        else f"{row.name} takes these columns as they are."
    )
    for position, step in enumerate(prepared.steps):
        notes["preprocessor", "steps", position] = _of_step(step, rows, row)
    told = tuple(finding for finding in rows.findings if finding.check != "positive_class")
    return replace(draft, settings=settings, notes=notes, findings=told)


def _say_target(interface: dict[str, Any], notes: dict[Path_, str], rows: Rows) -> None:
    target, (task, why) = rows.target, guess.task_of(rows.table, rows.target_spec.name)
    if task == target.kind:
        notes["task_choice",] = why
    notes[*_INTERFACE, "target_column"] = rows.describe_target()
    interface.pop("positive_class", None)
    if target.positive is not None:
        interface["positive_class"] = target.classes[target.positive]
        if any(finding.check == "positive_class" for finding in rows.findings):
            notes[*_INTERFACE, "positive_class"] = (
                "what `probability` is of: the rarer one, unless you say otherwise"
            )


def _of_columns(rows: Rows) -> str:
    kinds: dict[str, list[str]] = {}
    for spec in rows.features:
        kinds.setdefault(spec.kind, []).append(spec.name)
    described = "; ".join(f"{len(names)} {kind} ({_listed(names)})" for kind, names in kinds.items())
    roles = {spec.name for spec in (*rows.features, *rows.entities, rows.target_spec)}
    left = [finding.message for finding in rows.findings if finding.column and finding.column not in roles]
    warned = [f.message for f in rows.findings if f.check in ("target_predictor", "missing_share")]
    return " ".join([f"Features: {described}.", *left, *warned])


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(repr(name) for name in names[:_MOST_NAMES]) + more


def _of_step(step: Any, rows: Rows, row: ModelRow) -> str:
    levels = "too many" if row.shrinks else f"more than {most_levels(row)}"
    few = "" if row.shrinks else f" with up to {most_levels(row)} values"
    gaps = [spec.name for spec in rows.features if spec.has_nulls and spec.kind != "text"]
    reasons = {
        "datetime_features": "Times become numbers: their parts.",
        "simple_imputer": f"{row.name} takes no missing values"
        + (f", and there are some in {_listed(gaps)}." if gaps else "; new rows may have some."),
        "target_encoder": f"Text with {levels} values: the target's mean for each, out of fold.",
        "one_hot_encoder": f"Text{few}: a 0/1 column for each value.",
        "standard_scaler": f"{row.name} wants its numbers on one scale.",
    }
    return reasons.get(step.type) or STEPS[step.type].description
