"""The ordered target encoder against category_encoders' own."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from category_encoders import CatBoostEncoder
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.steps import classes, fit, matrix, step, supervised

from mmp.modeling.target import Target


def frame(cells):
    return pd.DataFrame({"x": pd.Series([np.nan if cell is None else cell for cell in cells], dtype=object)})


@pytest.mark.parametrize("sigma", [0.0, 0.05])
@pytest.mark.parametrize("outcome", ["binary", "regression"])
@settings(max_examples=40, deadline=None, derandomize=True)
@given(data=st.data())
def test_ordered_means_are_those_of_catboost_encoder(outcome, sigma, data):
    cells, others, target = data.draw(supervised("text", outcome))
    fitted, trained = fit([step("catboost_encoder", sigma=sigma)], "text", cells, target=target, seed=7)
    twin = CatBoostEncoder(cols=["x"], sigma=sigma or None, random_state=7)
    expected = twin.fit_transform(frame(cells), pd.Series(target.values))
    scale = np.abs(target.values).max()
    np.testing.assert_allclose(trained.values, expected.to_numpy(float), rtol=1e-10, atol=1e-10 * scale)
    np.testing.assert_allclose(
        matrix(fitted, "text", others),
        twin.transform(frame(others)).to_numpy(float),
        rtol=1e-12,
        atol=1e-12 * scale,
    )


def test_each_class_has_a_column():
    codes = [0, 1, 2] * 10
    fitted, trained = fit(
        [step("catboost_encoder", sigma=0)], "text", list("abcab" * 6), target=classes(codes)
    )
    assert fitted.names == ("x:0", "x:1", "x:2")
    np.testing.assert_allclose(trained.values.sum(axis=1), 1)
    np.testing.assert_allclose(matrix(fitted, "text", ["a", None, "?"]).sum(axis=1), 1)


@pytest.mark.parametrize("outcome", ["binary", "regression"])
def test_a_random_target_does_not_correlate_with_its_own_encoding(outcome):
    generator = np.random.default_rng(3)
    cells = [f"id {number}" for number in generator.integers(0, 1500, 3000)]
    values = generator.integers(0, 2, 3000)
    target = classes(values.tolist()) if outcome == "binary" else Target("regression", values.astype(float))
    fitted, trained = fit([step("catboost_encoder")], "text", cells, target=target)
    assert abs(np.corrcoef(trained.values[:, 0], values)[0, 1]) < 0.05
    leaking = matrix(fitted, "text", cells)[:, 0]
    assert np.corrcoef(leaking, values)[0, 1] > 0.4


def test_numeric_ids_are_encoded_where_they_are_named():
    fitted, _ = fit(
        [step("catboost_encoder", columns="x")], "integer", [7, 8, 7, 8, None, 7],
        target=Target("regression", np.arange(6.0)),
    )  # fmt: skip
    np.testing.assert_allclose(
        matrix(fitted, "integer", [7, 9, None]).ravel(), [(0 + 2 + 5 + 2.5) / 4, 2.5, 2.5]
    )
