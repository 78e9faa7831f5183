"""A matrix that does not fit is refused before it is made."""

from __future__ import annotations

import numpy as np
import pytest
from tests.steps import step

from mmp.data.table import ColumnSpec
from mmp.errors import DataError
from mmp.modeling import pipeline, width
from mmp.modeling.columns import Column
from mmp.modeling.target import Target

ROWS, LEVELS = 4_000, 2_000


def fit(*steps):
    codes = np.arange(ROWS, dtype=np.int32)
    vocabulary = tuple(f"level {number}" for number in range(LEVELS))
    columns = {"wide": Column("text", codes % LEVELS, None, vocabulary), "x": Column("float", codes / 7)}
    specs = [ColumnSpec("wide", "text"), ColumnSpec("x", "float")]
    target = Target("regression", np.arange(float(ROWS)))
    return pipeline.fit(steps, columns, specs, target, seed=1, dtype="float32", native_categories=False)


def test_a_matrix_beyond_the_memory_is_refused(monkeypatch):
    monkeypatch.setattr(width, "memory", lambda: 30 * 2**20)
    with pytest.raises(DataError, match="2,000 of them made of 'wide'") as caught:
        fit(step("one_hot_encoder"))
    assert "target_encoder" in caught.value.hint
    fit(step("target_encoder"))


def test_a_large_matrix_is_told_of(monkeypatch):
    monkeypatch.setattr(width, "memory", lambda: 100 * 2**20)
    _, trained = fit(step("one_hot_encoder"))
    assert trained.values.shape == (ROWS, LEVELS + 1)
    (finding,) = trained.findings
    assert (finding.check, finding.level) == ("width", "warn")


def test_there_is_memory():
    assert 2**27 < width.memory() < 2**50
    _, trained = fit(step("one_hot_encoder"))
    assert trained.findings == ()
