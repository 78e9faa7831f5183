"""Which steps a recipe without `preprocessor.steps` gets: what the model cannot do for itself, no more.

1. Timestamps become their parts.
2. Where the model takes no missing values, number columns are filled with the median, with an
   indicator for each that had missing values in training.
3. Text with more levels than `ONE_HOT_LEVELS`, or than `NATIVE_LEVELS` where the model has native
   categories, is replaced by target means; other text becomes 0/1 columns, or stays for the model.
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

NATIVE_LEVELS = {"xgboost": 64, "lightgbm": 64, "sklearn": 64}
"""Most levels that a library's own categories are used for, where it is not good at more.

They try partitions of the levels at each node, XGBoost and LightGBM of up to 64 and 32 groups by
default, and start to learn single levels by heart beyond; scikit-learn's histograms take 255 at most.
CatBoost encodes by the target itself, so it takes any number.
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
    texts = {name: _n_levels(columns[name]) for name in by_kind.get("text", ())}
    limit = NATIVE_LEVELS.get(model.engine) if model.native_categories else ONE_HOT_LEVELS
    many = tuple(name for name, levels in texts.items() if limit is not None and levels > limit)
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


def _n_levels(column: Column) -> int:
    present = column.values[column.values >= 0]
    return int(np.count_nonzero(np.bincount(present, minlength=1)))
