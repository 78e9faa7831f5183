"""What each library says of its own predictions, held to adding up; a new row is tested unasked."""

from __future__ import annotations

import numpy as np
import pytest
from tests.conformance.test_models import MODELS, fitted, matrix_for, target_for

from mmp.modeling import engines

ROWS = list(MODELS.values())
# how many digits a library computes its trees with
TOLERANCE = {"xgboost": 1e-4, "lightgbm": 1e-6, "catboost": 1e-6, "linear": 1e-9}

every_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
every_size = pytest.mark.parametrize("n_classes", [2, 3])


def link(scores, row):
    """From scores to what `predict` gives."""
    if row.task == "regression":
        return scores[:, 0]
    if scores.shape[1] == 1:
        positive = 1 / (1 + np.exp(-scores[:, 0]))
        return np.stack((1 - positive, positive), axis=1)
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    if row.one_vs_rest:
        powers = 1 / (1 + np.exp(-scores))
    return powers / powers.sum(axis=1, keepdims=True)


@every_row
@every_size
def test_scores_are_what_is_predicted_before_the_link(row, n_classes):
    matrix = matrix_for(row)
    model = fitted(row, matrix, target_for(row, matrix, n_classes)).model
    scores, predicted = model.scores(matrix.values), model.predict(matrix.values)
    if model.engine == "sklearn":
        np.testing.assert_array_equal(scores, predicted.reshape(len(matrix.values), -1))
    else:
        np.testing.assert_allclose(link(scores, row), predicted, atol=1e-5, rtol=1e-5)


@every_row
@every_size
def test_contributions_and_the_base_sum_to_the_score(row, n_classes):
    matrix = matrix_for(row)
    model = fitted(row, matrix, target_for(row, matrix, n_classes)).model
    parts = model.contributions(matrix.values)
    if parts is None:
        assert model.engine == "sklearn"
        return
    scores = model.scores(matrix.values)
    assert parts.shape == (*scores.shape, matrix.values.shape[1] + 1)
    np.testing.assert_allclose(parts.sum(axis=2), scores, atol=TOLERANCE[model.engine] * np.abs(scores).max())
    assert np.ptp(parts[:, :, -1], axis=0).max() == 0, "one base value for all rows"


@every_row
def test_a_loaded_model_gives_the_same_contributions(row, tmp_path):
    matrix = matrix_for(row)
    model = fitted(row, matrix).model
    loaded = engines.load(row.engine, tmp_path, model.save(tmp_path))
    ours, theirs = model.contributions(matrix.values), loaded.contributions(matrix.values)
    if ours is None:
        assert theirs is None
    else:
        np.testing.assert_array_equal(ours, theirs)


@every_row
def test_a_feature_that_says_nothing_gets_nothing(row):
    matrix = matrix_for(row)
    target = target_for(row, matrix)
    matrix.values[:, 2] = 3
    parts = fitted(row, matrix, target).model.contributions(matrix.values)
    if parts is not None:
        assert np.abs(parts[:, :, 2]).max() < 1e-9
        strongest = np.abs(parts[:, :, :-1]).mean(axis=(0, 1)).argmax()
        assert strongest == 0, "the one that the target is made of"


@every_row
@every_size
def test_a_row_has_the_same_parts_whatever_stands_beside_it(row, n_classes):
    matrix = matrix_for(row)
    model = fitted(row, matrix, target_for(row, matrix, n_classes)).model
    together = model.contributions(matrix.values)
    if together is None:
        return
    for size in (1, 3, 33):
        cut = np.split(matrix.values, range(size, len(matrix.values), size))
        apart = np.concatenate([model.contributions(np.ascontiguousarray(rows)) for rows in cut])
        np.testing.assert_array_equal(apart[:, :, :-1], together[:, :, :-1])
