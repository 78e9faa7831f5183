"""Hyperparameters: from what a recipe writes to one full set under one name each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mmp.catalog.row import FEW_ROWS
from mmp.errors import Finding, SettingsError, UnknownNameError
from mmp.lookup import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mmp.catalog.models import ModelRow
    from mmp.catalog.row import Case
    from mmp.modeling.target import Target

_BY_FEATURE = ("monotone_constraints", "monotonic_cst", "interaction_constraints", "interaction_cst")


def complete(
    row: ModelRow,
    written: Mapping[str, Any],
    *,
    target: Target | None = None,
    library_defaults: bool = False,
) -> tuple[dict[str, Any], tuple[Finding, ...]]:
    """Put the recipe's hyperparameters over the catalog's defaults.

    Parameters
    ----------
    row : ModelRow
        The estimator.
    written : mapping
        ``hyperparameters.values`` of the recipe, under any of their names.
    target : Target, optional
        Of the training rows: some defaults count in its standard deviation, some go by its classes.
    library_defaults : bool
        Whether the library's own defaults hold for what is not written.

    Returns
    -------
    dict
        Values under the row's names.
    tuple of Finding
        What was accepted without effect.

    Raises
    ------
    UnknownNameError
        Where the estimator has no such hyperparameter.
    SettingsError
        Where one is written under two names, or is mmp's to set.

    Examples
    --------
    >>> from mmp.catalog.models import find
    >>> values, _ = complete(find("XGBClassifier"), {"eta": 0.3, "max_depth": 2})
    >>> values["learning_rate"], values["max_depth"], values["n_estimators"]
    (0.3, 2, 300)
    """
    if not row.parameters:  # outside the catalog: the class itself knows
        return dict(written), ()
    named: dict[str, Any] = {}
    for name, value in written.items():
        canonical = row.aliases.get(name, name)
        _check_name(row, name)
        if canonical in named:
            raise SettingsError(
                f"{row.name}'s hyperparameter '{canonical}' is written twice, once as '{name}'.",
                hint="Keep one of the two.",
            )
        named[canonical] = value
    without_effect = sorted(named.keys() & row.ignored)
    kept = {name: value for name, value in named.items() if name not in row.ignored}
    defaults = {} if library_defaults else _defaults(row, kept, target)
    return {**row.fixed, **defaults, **kept}, tuple(_ignored(row, name) for name in without_effect)


def by_position(params: Mapping[str, Any], features: Sequence[str]) -> dict[str, Any]:
    """Replace feature names in constraints by positions, which is all that libraries get to see.

    Examples
    --------
    >>> by_position({"monotone_constraints": {"price": -1}}, ["age", "price"])
    {'monotone_constraints': [0, -1]}
    """
    return {
        name: _positions(name, value, list(features)) if name in _BY_FEATURE else value
        for name, value in params.items()
    }


def _defaults(row: ModelRow, kept: Mapping[str, Any], target: Target | None) -> dict[str, Any]:
    excluded = {name for name, values in row.yielding.items() if values.items() & kept.items()}
    advised = dict(row.defaults)
    for case in _cases(target):
        advised |= row.cases.get(case, {})
    defaults = {name: value for name, value in advised.items() if name not in excluded}
    if row.of_target and target is not None:
        spread = float(target.values.std())
        defaults |= {name: defaults[name] * spread for name in row.of_target}
    return defaults


def _cases(target: Target | None) -> Iterator[Case]:
    """Return what is special about a classification, what has the last word last."""
    if target is not None and target.n_classes > 2:
        yield "many_classes"
    if target is not None and len(target) < FEW_ROWS * target.n_classes:
        yield "few_rows"


def _check_name(row: ModelRow, name: str) -> None:
    if name in row.reserved:
        raise SettingsError(
            f"{row.name}'s hyperparameter '{name}' is set by mmp.", hint=f"Remove '{name}' from the recipe."
        )
    if name not in row.names:
        raise UnknownNameError(
            f"{row.name} has no hyperparameter '{name}'.",
            hint=did_you_mean(name, row.names) or f"It has {', '.join(sorted(row.parameters))}.",
        )


def _ignored(row: ModelRow, name: str) -> Finding:
    message = f"{row.name}'s hyperparameter '{name}' has no effect here."
    return Finding("hyperparameters", "info", message)


def _positions(key: str, value: Any, features: list[str]) -> Any:
    if isinstance(value, Mapping):
        for name in value:
            _position(key, name, features)
        return [value.get(name, 0) for name in features]
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_positions_of_group(key, member, features) for member in value]
    return value


def _positions_of_group(key: str, member: Any, features: list[str]) -> Any:
    if isinstance(member, Sequence) and not isinstance(member, str):
        return [_position(key, name, features) for name in member]
    return member


def _position(key: str, name: Any, features: list[str]) -> int:
    if isinstance(name, int) and 0 <= name < len(features):
        return name
    if name not in features:
        raise UnknownNameError(
            f"Hyperparameter '{key}' names '{name}', which is no feature of the model.",
            hint=did_you_mean(str(name), features) or f"Its features are {', '.join(features)}.",
        )
    return features.index(name)
