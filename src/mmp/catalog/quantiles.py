"""The model of quantiles: its name, its own hyperparameters, and the rows that it can be made of."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from mmp.catalog.boosters import BOOSTERS
from mmp.catalog.estimators import ESTIMATORS
from mmp.catalog.row import ModelRow, stopping_on

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

CLASS_PATH: Final = "mmp.modeling.quantile.QuantileEnsemble"
SPELLINGS: Final = frozenset(
    {
        CLASS_PATH,
        "QuantileEnsemble",
        "QuantileRegressorEnsemble",
        # modern-ml-pipeline 1.x
        "mmp.models.custom.quantile_ensemble.QuantileRegressorEnsemble",
        "src.models.custom.quantile_ensemble.QuantileRegressorEnsemble",
    }
)
"""Names of the same model."""

BASE: Final = "base"
LEVELS: Final = "quantiles"
LOSS: Final = "pinball_loss"
"""The metric that it is tuned on and stops early by."""

DEFAULTS: Final[Mapping[str, Any]] = {BASE: "lightgbm.LGBMRegressor", LEVELS: [0.1, 0.5, 0.9]}
_OWN_ALIASES: Final = {"base_class_path": BASE}

BASES: Final[Mapping[str, ModelRow]] = {
    row.class_path: row for row in (*BOOSTERS, *ESTIMATORS) if row.quantile is not None
}
"""What it can be made of, by class path."""


def row_of(base: ModelRow) -> ModelRow:
    """Return the row of a model of quantiles made of a base: the base's own, but for its loss.

    Examples
    --------
    >>> row = row_of(BASES["xgboost.XGBRegressor"])
    >>> row.name, row.base.name, "max_depth" in row.parameters, "objective" in row.reserved
    ('QuantileEnsemble', 'XGBRegressor', True, True)
    """
    assert base.quantile is not None
    taken = base.quantile.names | {name for name, own in base.aliases.items() if own in base.quantile.names}
    return replace(
        base,
        class_path=CLASS_PATH,
        engine="quantiles",
        home="",
        parameters=base.parameters - taken | {BASE, LEVELS},
        aliases={name: own for name, own in base.aliases.items() if name not in taken} | _OWN_ALIASES,
        reserved=base.reserved | taken,
        defaults={**base.defaults, **DEFAULTS, BASE: base.class_path},
        stopping_metrics=stopping_on(**{LOSS: "loss"}) if base.early_stopping else base.stopping_metrics,
        base=base,
    )


def base_for(row: ModelRow) -> ModelRow | None:
    """Return what predicts quantiles as a row predicts means; None where nothing does.

    Examples
    --------
    >>> from mmp.catalog.models import find
    >>> base_for(find("Ridge")).name, base_for(find("RandomForestRegressor"))
    ('QuantileRegressor', None)
    """
    base = row.base or row
    if base.quantile is not None:
        return base
    return BASES["sklearn.linear_model.QuantileRegressor"] if base.engine == "linear" else None


def base_of(written: Mapping[str, Any]) -> str:
    """Return the class path of the base that a recipe's hyperparameters name, or the default one."""
    names = (BASE, *_OWN_ALIASES)
    return str(next((written[name] for name in names if name in written), DEFAULTS[BASE]))


def levels_of(class_path: str | None, written: Mapping[str, Any]) -> tuple[float, ...]:
    """Return the quantiles that a recipe's model predicts, rising; none where it is no model of quantiles."""
    levels = written.get(LEVELS, DEFAULTS[LEVELS])
    return tuple(sorted(levels)) if class_path in SPELLINGS and not wrong_levels(levels) else ()


def wrong_levels(levels: Any) -> str:
    """Tell in a clause what is wrong with a list of quantiles, nothing where it is right.

    Examples
    --------
    >>> wrong_levels([0.5, 0.995]), wrong_levels([0.5, 1])
    ('', 'quantiles lie between 0 and 1, and 1 does not')
    """
    if not isinstance(levels, list | tuple) or not levels:
        return "it is a list of numbers, such as [0.1, 0.5, 0.9]"
    for level in levels:
        if isinstance(level, bool) or not isinstance(level, int | float) or not 0 < level < 1:
            return f"quantiles lie between 0 and 1, and {level!r} does not"
    twice = [level for level in levels if levels.count(level) > 1]
    return f"{twice[0]!r} is there twice" if twice else ""


def column(level: float) -> str:
    """Return the column of the predictions that a quantile stands in.

    Examples
    --------
    >>> column(0.5), column(0.995), column(0.0001)
    ('pred_p50', 'pred_p99.5', 'pred_p0.01')
    """
    return f"pred_{percent(level)}"


def percent(level: float) -> str:
    """Return a quantile as percent, as names have it: ``p99.5``."""
    return f"p{(Decimal(repr(float(level))) * 100).normalize():f}"


def columns(levels: Iterable[float]) -> tuple[str, ...]:
    """Return the columns of quantiles."""
    return tuple(column(level) for level in levels)
