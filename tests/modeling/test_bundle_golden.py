from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import bundles

from mmp.data.table import ColumnSpec
from mmp.errors import DataError
from mmp.modeling import golden
from mmp.modeling.baseline import describe
from mmp.modeling.columns import coerce, column_of
from mmp.modeling.engines.base import Model
from mmp.modeling.pipeline import FittedPipeline
from mmp.settings.steps import STEP_MODELS


class _Known:
    """As much of a bundle as drawing needs."""

    def __init__(self, specs, training):
        self.entities = self.feature_keys = ()
        self.pipeline = FittedPipeline(tuple(specs), (), (), {}, "float64")
        self.baseline = {"features": {spec.name: describe(training[spec.name]) for spec in specs}}


def _drawn(specs, cells, **options):
    training = {spec.name: column_of(spec.kind, cells[spec.name]) for spec in specs}
    rows = golden.draw(_Known(specs, training), training, seed=1, **options)
    columns = coerce(specs, list(rows))
    return [tuple(row) for row in zip(*(columns[spec.name].to_list() for spec in specs), strict=True)]


CELLS = {
    "integer": st.integers(-5, 5),
    "float": st.floats(-1e300, 1e300) | st.sampled_from([0.0, 1.5]),
    "boolean": st.booleans(),
    "text": st.sampled_from(["a", "b", "ünï", golden.UNSEEN]),
    "timestamp": st.integers(-(10**15), 10**15) | st.integers(-20, 20).map(lambda day: day * 86_400_000_000),
}


@st.composite
def tables(draw):
    kinds = draw(st.lists(st.sampled_from(sorted(CELLS)), min_size=1, max_size=4))
    n_rows = draw(st.integers(1, 20))
    specs = [ColumnSpec(f"{kind} {position}", kind) for position, kind in enumerate(kinds)]
    cells = {
        spec.name: draw(st.lists(CELLS[spec.kind] | st.none(), min_size=n_rows, max_size=n_rows))
        for spec in specs
    }
    return specs, cells


@given(tables(), st.booleans())
@settings(deadline=None, max_examples=150)
def test_no_drawn_row_is_a_training_row(table, nulls):
    specs, cells = table
    if not any(spec.kind in {"integer", "float", "timestamp"} for spec in specs):
        specs = [*specs, ColumnSpec("number", "integer")]
        cells = {**cells, "number": list(range(len(next(iter(cells.values())))))}
    trained = set(zip(*(cells[spec.name] for spec in specs), strict=True))
    if all(
        value is None for spec in specs if spec.kind not in {"text", "boolean"} for value in cells[spec.name]
    ):
        return  # nothing to go beyond
    drawn = _drawn(specs, cells, nulls=nulls)
    assert len(drawn) == golden.N_ROWS
    assert not trained & set(drawn)


def test_numbers_are_inside_their_range_and_texts_are_categories():
    specs = [ColumnSpec("n", "integer"), ColumnSpec("x", "float"), ColumnSpec("t", "text")]
    cells = {"n": [10, 1000, 500], "x": [-1.0, 2.0, 0.0], "t": ["a", "b", "b"]}
    for number, value, text in _drawn(specs, cells):
        assert number is None or 10 <= number <= 1000
        assert value is None or -1 <= value <= 2
        assert text in {"a", "b", None, golden.UNSEEN}


def test_booleans_alone_tell_of_nobody():
    specs = [ColumnSpec("b", "boolean")]
    assert set(_drawn(specs, {"b": [True, False, None]})) <= {(True,), (False,), (None,)}


def test_extreme_ranges_do_not_overflow():
    specs = [ColumnSpec("x", "float"), ColumnSpec("n", "integer")]
    cells = {"x": [-1.7e308, 1.7e308], "n": [-(2**63), 2**63 - 1]}
    assert all(value is None or np.isfinite(value) for value, _ in _drawn(specs, cells))


def test_a_columns_own_time_format_is_served():
    spec = ColumnSpec("day", "timestamp", time_format="%d/%m/%Y")
    days = column_of("timestamp", [day * 86_400_000_000 for day in range(0, 4000, 7)])
    rows = golden.draw(_Known([spec], {"day": days}), {"day": days}, seed=1)
    assert all(row["day"] is None or len(row["day"]) == 10 for row in rows)
    drawn = coerce([spec], list(rows))["day"].to_list()
    assert not {value for value in drawn if value is not None} & set(days.to_list())


def test_equal_seeds_give_equal_rows(tmp_path):
    path = bundles.write_csv(tmp_path / "t.csv")
    first, second = bundles.train(path), bundles.train(path)
    assert first.examples == second.examples
    assert bundles.train(path, seed=4).examples != first.examples


@pytest.mark.parametrize("encoder", ["ordinal_encoder", "one_hot_encoder"])
def test_a_model_that_refuses_unseen_categories_is_not_asked_for_them(encoder, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(
        "city,size,label\n" + "".join(f"{'abc'[n % 3]},{n * 7 % 11},{n % 2}\n" for n in range(60))
    )
    steps = [STEP_MODELS[encoder](type=encoder, handle_unknown="error")]
    bundle = bundles.train(path, entities=(), steps=steps)
    assert {row["city"] for row in bundle.examples} <= {"a", "b", "c", None}
    golden.write(bundle, tmp_path)
    with pytest.raises(DataError, match="'d' was not seen in training"):
        bundle.predict([{"city": "d", "size": 1}])


class _Broken(Model):
    """A model whose answers are infinite."""

    engine = "linear"

    def _predict(self, values):
        return np.full(len(values), np.inf)

    def _save(self, folder):
        raise NotImplementedError


def test_a_model_without_finite_answers_is_not_packaged(tmp_path):
    bundle = bundles.train(bundles.write_csv(tmp_path / "t.csv", labels="value"), task="regression")
    whole = [row for row in bundle.examples if not {None, golden.UNSEEN} & set(row.values())]
    broken = dataclasses.replace(bundle, model=_Broken(0, bundle.model.n_features), examples=tuple(whole))
    with pytest.raises(DataError, match="no finite answer for row 0"):
        golden.write(broken, tmp_path)
