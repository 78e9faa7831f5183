"""What a bundle does with a model that says more of a row than a number."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pytest
from tests import bundles

from mmp.modeling import engines
from mmp.modeling.engines.base import Model
from mmp.modeling.single import Single


@dataclass(frozen=True, eq=False)
class _Doubled(Model):
    """Another model's number, and twice the number."""

    engine = "linear"
    inner: Model = field(kw_only=True)

    @property
    def columns(self):
        return ("twice",)

    @property
    def parts(self):
        return (self.inner,)

    def _made_of(self, parts):
        return replace(self, inner=parts[0])

    def _predict(self, values):
        inner = self.inner.predict(values)
        return np.stack((inner, 2 * inner), axis=1)

    def _save(self, folder):
        raise NotImplementedError


@pytest.fixture
def plain(tmp_path):
    return bundles.train(bundles.write_csv(tmp_path / "t.csv", labels="value"), task="regression")


@pytest.fixture
def doubled(plain):
    return replace(plain, model=_Doubled(0, plain.model.n_features, inner=plain.model))


def test_its_columns_stand_beside_the_prediction_on_every_path(plain, doubled):
    rows = list(plain.examples)
    alone = plain.predict(rows).values["prediction"]
    values = doubled.predict(rows).values
    assert list(values) == ["prediction", "twice"]
    assert values["prediction"].tolist() == alone.tolist()
    assert values["twice"].tolist() == (2 * alone).tolist()
    single = Single(doubled)
    for row, number in zip(rows, alone.tolist(), strict=True):
        assert single.predict(row) == {"prediction": number, "twice": 2 * number}


def test_no_rows_have_all_columns(doubled):
    none = pa.table({spec.name: pa.array([], pa.string()) for spec in doubled.inputs})
    assert doubled.predict(none).to_arrow().column_names[-2:] == ["prediction", "twice"]


def test_threads_reach_the_model_inside(doubled):
    assert doubled.model.with_threads(1).inner.threads == 1


def test_what_is_quickest_inside_is_used_and_said(tmp_path):
    table = bundles.write_csv(tmp_path / "t.csv", labels="value")
    inner = bundles.train(table, engine="lightgbm", task="regression").model
    doubled = _Doubled(0, inner.n_features, inner=inner)
    ready = doubled.ready_for(None)
    assert (doubled.predictor(), ready.predictor()) == ("lightgbm's own call", "compiled trees")
    rows = np.random.default_rng(0).normal(size=(40, inner.n_features))
    np.testing.assert_array_equal(ready.predict(rows), doubled.predict(rows))


def test_errors_are_those_of_the_libraries_inside(plain, doubled):
    assert engines.errors(doubled.model) == engines.errors(plain.model) != ()


def test_output_has_a_column_for_each(plain, doubled):
    output = doubled.output(list(plain.examples))
    assert output.shape == (len(plain.examples), 2)
