"""Which columns a step is given, where columns are called as the words are."""

from __future__ import annotations

import numpy as np
import pytest

from mmp.modeling.columns import Column
from mmp.modeling.steps.select import select
from mmp.modeling.target import Target
from mmp.modeling.training import Training
from mmp.settings.steps import STEP_MODELS

COLUMNS = {
    "numeric": Column("text", np.zeros(2, np.int32), vocabulary=("a",)),
    "datetime": Column("timestamp", np.zeros(2, np.int64)),
    "seen": Column("timestamp", np.zeros(2, np.int64)),
    "x": Column("float", np.zeros(2)),
}


@pytest.mark.parametrize(
    ("kind", "columns", "chosen"),
    [
        ("datetime_features", None, ("datetime", "seen")),
        ("datetime_features", "datetime", ("datetime", "seen")),
        ("datetime_features", ("datetime",), ("datetime",)),
        ("standard_scaler", None, ("x",)),
        ("standard_scaler", "numeric", ("x",)),
        ("one_hot_encoder", ("numeric",), ("numeric",)),
        ("one_hot_encoder", "categorical", ("numeric",)),
        ("standard_scaler", ("x", "numeric"), ("numeric", "x")),
        ("datetime_features", "s*", ("seen",)),
    ],
)
def test_a_word_alone_is_the_word_and_in_a_list_the_column(kind, columns, chosen):
    training = Training(COLUMNS, Target("regression", np.zeros(2)), 0)
    assert select(STEP_MODELS[kind](type=kind, columns=columns), training) == chosen
