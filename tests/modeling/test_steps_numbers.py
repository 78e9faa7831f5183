"""Steps on numbers against their scikit-learn twins: scaling, bins and products."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.preprocessing import KBinsDiscretizer, MinMaxScaler, PolynomialFeatures, RobustScaler
from tests.steps import as_objects, fit, matrix, quick, step, train_and_test

from mmp.data.table import ColumnSpec
from mmp.errors import DataError
from mmp.modeling import pipeline
from mmp.modeling.columns import column_of
from mmp.modeling.target import Target

tame = st.one_of(st.floats(-1e6, 1e6, allow_subnormal=False), st.sampled_from([0.0, -0.0, 0.1, 1e-300]))
gaps = st.one_of(tame, st.none())


def bounded(cells):
    return [cell if cell is None or abs(cell) < 1e150 else 7.5 for cell in cells]


def close(ours, theirs, cells, others, spread):
    largest = max(abs(cell) for cell in [*cells, *others, 1.0] if cell is not None)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12 * largest / spread, equal_nan=True)


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-3.0, 0.5)])
@pytest.mark.parametrize("clip", [False, True])
@quick
@given(data=train_and_test("float"))
def test_ranges_are_those_of_min_max_scaler(bounds, clip, data):
    cells, others = map(bounded, data)
    fitted, trained = fit([step("min_max_scaler", feature_range=bounds, clip=clip)], "float", cells)
    twin = MinMaxScaler(feature_range=bounds, clip=clip).fit(as_objects("float", cells))
    spread = float(1 / twin.scale_[0])
    close(trained.values, twin.transform(as_objects("float", cells)), cells, others, spread)
    close(matrix(fitted, "float", others), twin.transform(as_objects("float", others)), cells, others, spread)


@pytest.mark.parametrize(
    ("centering", "scaling", "quantiles"),
    [(True, True, (25.0, 75.0)), (False, True, (10.0, 60.0)), (True, False, (25.0, 75.0))],
)
@quick
@given(data=train_and_test("float"))
def test_quantiles_are_those_of_robust_scaler(centering, scaling, quantiles, data):
    cells, others = map(bounded, data)
    settings = {"with_centering": centering, "with_scaling": scaling, "quantile_range": quantiles}
    fitted, _ = fit([step("robust_scaler", **settings)], "float", cells)
    twin = RobustScaler(**settings).fit(as_objects("float", cells))
    spread = 1.0 if twin.scale_ is None else float(twin.scale_[0])
    close(matrix(fitted, "float", others), twin.transform(as_objects("float", others)), cells, others, spread)


@pytest.mark.parametrize("kind", ["min_max_scaler", "robust_scaler"])
def test_a_constant_column_is_only_shifted(kind):
    fitted, trained = fit([step(kind)], "float", [0.1] * 5)
    assert trained.values.tolist() == [[0.0]] * 5
    assert matrix(fitted, "float", [1.1]).tolist() == [[1.0]]


@pytest.mark.parametrize("encode", ["ordinal", "onehot"])
@pytest.mark.parametrize("strategy", ["uniform", "quantile"])
@quick
@given(
    cells=st.lists(tame, min_size=1, max_size=40), others=st.lists(tame, min_size=1, max_size=10),
    n_bins=st.integers(2, 7),
)  # fmt: skip
def test_bins_are_those_of_kbins_discretizer(strategy, encode, cells, others, n_bins):
    assume(len(set(cells)) == 1 or max(cells) - min(cells) > 1e-6)  # scikit-learn stumbles over less
    settings = {"n_bins": n_bins, "strategy": strategy}
    fitted, trained = fit([step("kbins_discretizer", encode=encode, **settings)], "float", cells)
    encode = {"onehot": "onehot-dense"}.get(encode, encode)
    twin = KBinsDiscretizer(encode=encode, subsample=None, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = twin.fit_transform(as_objects("float", cells))
    assert np.array_equal(trained.values, expected)
    assert np.array_equal(matrix(fitted, "float", others), twin.transform(as_objects("float", others)))
    fewer = [finding for finding in trained.findings if finding.check == "kbins_discretizer"]
    assert bool(fewer) == (twin.n_bins_[0] < n_bins)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("draw", ["normal", "exponential", "clumps"])
def test_kmeans_bins_are_those_of_kbins_discretizer(draw, seed):
    generator = np.random.default_rng(seed)
    values = {
        "normal": generator.normal(50, 3, 500),
        "exponential": generator.exponential(2.0, 300) ** 2,  # its even first centres leave some empty
        "clumps": np.concatenate([generator.normal(c, 0.1, 60) for c in (0, 1, 9, 40)]),
    }[draw]
    fitted, trained = fit([step("kbins_discretizer", strategy="kmeans", n_bins=6)], "float", values.tolist())
    twin = KBinsDiscretizer(n_bins=6, strategy="kmeans", encode="ordinal", subsample=None)
    expected = twin.fit_transform(values[:, None])
    np.testing.assert_allclose(fitted.ops[0].edges, twin.bin_edges_[0][1:-1], rtol=1e-9)
    assert np.array_equal(trained.values, expected)


def test_what_is_missing_has_no_bin():
    cells = [1.0, 2.0, None, 4.0, 5.0, 6.0]
    fitted, trained = fit([step("kbins_discretizer", n_bins=2)], "float", cells)
    assert np.isnan(trained.values[2, 0])
    assert np.isnan(matrix(fitted, "float", [None])[0, 0])
    fitted, trained = fit([step("kbins_discretizer", n_bins=2, encode="onehot")], "float", cells)
    assert fitted.names == ("x=bin 0", "x=bin 1", "x is missing")
    assert trained.values[2].tolist() == [0, 0, 1]


def products(cells, others, **settings):
    names = [f"c{number}" for number in range(len(cells[0]))]
    tables = [
        {name: column_of("float", [row[at] for row in rows]) for at, name in enumerate(names)}
        for rows in (cells, others)
    ]
    specs = [ColumnSpec(name, "float") for name in names]
    fitted, trained = pipeline.fit(
        [step("polynomial_features", **settings)], tables[0], specs,
        Target("regression", np.zeros(len(cells))), seed=0, dtype="float64", native_categories=False,
    )  # fmt: skip
    return fitted, trained.values, fitted.matrix(tables[1]).values


rows_of_three = st.lists(st.tuples(tame, tame, tame), min_size=1, max_size=8)


@pytest.mark.parametrize(
    "settings", [{"degree": 3}, {"degree": 3, "interaction_only": True}, {"degree": 1}, {}]
)
@pytest.mark.parametrize("include_bias", [False, True])
@quick
@given(cells=rows_of_three, others=rows_of_three)
def test_products_are_those_of_polynomial_features(settings, include_bias, cells, others):
    fitted, ours, theirs = products(cells, others, include_bias=include_bias, **settings)
    twin = PolynomialFeatures(include_bias=include_bias, **settings).fit(np.array(cells))
    order = [fitted.names.index(name) for name in twin.get_feature_names_out(["c0", "c1", "c2"])]
    assert sorted(order) == list(range(len(fitted.names)))
    for made, table in ((ours, cells), (theirs, others)):
        np.testing.assert_allclose(made[:, order], twin.transform(np.array(table)), rtol=1e-12, atol=1e-300)


def test_a_product_with_a_gap_is_missing():
    fitted, trained, _ = products([(1.0, None, 3.0), (2.0, 2.0, 2.0)], [(1.0, 1.0, 1.0)])
    missing = {name for name, value in zip(fitted.names, trained[0], strict=True) if np.isnan(value)}
    assert missing == {name for name in fitted.names if "c1" in name}


def test_too_many_products_are_refused():
    with pytest.raises(DataError, match="would make 18,564 products of degree 12 of 7 columns"):
        products([(1.0,) * 7], [(1.0,) * 7], degree=12)
