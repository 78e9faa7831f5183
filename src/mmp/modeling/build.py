"""Which steps a recipe without `preprocessor.steps` gets: what the model cannot do for itself, no more.

1. Timestamps become their parts.
2. Where the model takes no missing values, number columns are filled with the median, with an
   indicator for each that had missing values in training.
3. Text with more levels than `ONE_HOT_LEVELS`, or than `NATIVE_LEVELS` where the model has native
   categories, is replaced by target means; other text becomes 0/1 columns, or stays for the model. A
   model that shrinks its coefficients takes 0/1 columns of any text, as long as they are no more than
   `ONE_HOT_CELLS` in all.
4. Where the model wants one scale, numbers are scaled.

Steps name the words ``numeric`` and ``datetime`` where they can, so that parts and means are filled
and scaled as any number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mmp.settings.steps import STEP_MODELS, Step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mmp.catalog.models import ModelRow
    from mmp.data.table import ColumnSpec
    from mmp.modeling.columns import Column, Columns

ONE_HOT_LEVELS = 32
"""Most levels of a text column in the training rows that become 0/1 columns."""

ONE_HOT_CELLS = 25_000_000
"""Most cells that 0/1 columns of more levels than that may have in all, 200 MB: beyond, levels have so many
rows that their means say it as well."""

NATIVE_LEVELS = 64
"""Most levels that a library's own categories are used for.

XGBoost and LightGBM try partitions of up to 64 and 32 levels at each node by default, and start to learn
single levels by heart beyond; scikit-learn's histograms take 255 at most; CatBoost encodes by the target
itself, and is no better at it than out-of-fold means (docs/defaults.md).
"""


def default_steps(specs: Sequence[ColumnSpec], columns: Columns, *, model: ModelRow) -> tuple[Step, ...]:
    """Choose the steps for a table and a model.

    Parameters
    ----------
    specs : sequence of ColumnSpec
        The features.
    columns : mapping of str to Column
        The training rows' columns.
    model : ModelRow
        What the model can do for itself.
    """
    by_kind = {
        kind: [spec.name for spec in specs if spec.kind == kind] for kind in {spec.kind for spec in specs}
    }
    numbers = by_kind.keys() - {"text"}
    steps = []
    if "timestamp" in by_kind:
        steps.append(_step("datetime_features", columns="datetime"))
    if numbers and not model.handles_nulls:
        steps.append(
            _step("simple_imputer", columns="numeric", strategy="median", create_missing_indicators=True)
        )
    texts = by_kind.get("text", [])
    many = _long({name: columns[name] for name in texts}, model)
    few = tuple(name for name in texts if name not in many)
    if many:
        steps.append(_step("target_encoder", columns=many))
    if few and not model.native_categories:
        steps.append(_step("one_hot_encoder", columns=few))
    if model.scale and (numbers or many):
        steps.append(_step("standard_scaler", columns="numeric"))
    return tuple(steps)


def _step(kind: str, **settings: Any) -> Step:
    return STEP_MODELS[kind](type=kind, **settings)


def most_levels(model: ModelRow) -> int:
    """Return the most levels of a text column that any model of the kind takes as they are."""
    return NATIVE_LEVELS if model.native_categories else ONE_HOT_LEVELS


def _long(texts: Columns, model: ModelRow) -> tuple[str, ...]:
    """Return the columns with more levels than the model takes as they are."""
    levels = {name: _n_levels(column) for name, column in texts.items()}
    many = {name for name, number in levels.items() if number > most_levels(model)}
    if model.shrinks:
        room = ONE_HOT_CELLS
        for name in sorted(many, key=levels.__getitem__):
            room -= levels[name] * len(texts[name].values)
            if room >= 0:
                many.remove(name)
    return tuple(name for name in texts if name in many)


def _n_levels(column: Column) -> int:
    present = column.values[column.values >= 0]
    return int(np.count_nonzero(np.bincount(present, minlength=1)))
