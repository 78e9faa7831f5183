"""SHAP values in the user's columns: they add up, and agree with what others compute."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from tests import bundles

from mmp.catalog.models import row_for
from mmp.data import files
from mmp.errors import MissingExtraError, SettingsError
from mmp.evaluation import explain as explaining
from mmp.evaluation.explain import credits_of, explain, write
from mmp.evaluation.importance import importance
from mmp.evaluation.sampling import background
from mmp.modeling import columns, pipeline, target
from mmp.modeling.fit import fit_model
from mmp.settings.steps import STEP_MODELS

ENGINES = ["xgboost", "lightgbm", "catboost", "linear", "sklearn"]
TOLERANCE = {"xgboost": 1e-4, "lightgbm": 1e-6, "catboost": 1e-6, "linear": 1e-6, "sklearn": 1e-6}
LABELS = {"text": "classification", "three": "classification", "value": "regression"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A model of each library for each kind of label, with the rows that it was trained on."""
    folder, known = tmp_path_factory.mktemp("explain"), {}

    def make(engine, labels):
        if (engine, labels) not in known:
            path = folder / f"{labels}.csv"
            if not path.exists():
                bundles.write_csv(path, labels=labels)
            bundle = bundles.train(path, engine=engine, task=LABELS[labels])
            known[engine, labels] = bundle, columns.coerce(bundle.inputs, files.read(str(path)).arrow)
        return known[engine, labels]

    return make


def explained(bundle, typed, n_rows=60, **options):
    rows = np.arange(n_rows)
    return explain(bundle, columns.take(typed, rows), rows, **options)[0]


def sigmoid(scores):
    return 1 / (1 + np.exp(-scores))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("labels", LABELS)
def test_base_and_parts_sum_to_what_the_model_says(engine, labels, made):
    if engine == "sklearn":
        pytest.importorskip("shap")
    bundle, typed = made(engine, labels)
    found = explained(bundle, typed)
    assert found.columns == tuple(spec.name for spec in bundle.inputs)
    matrix = bundle.pipeline.matrix(columns.take(typed, np.arange(60))).values
    scores, output = bundle.model.scores(matrix), bundle.model.predict(matrix)
    if labels == "text":
        assert found.classes == (bundle.classes[bundle.positive],)
        probability = output[:, bundle.positive]
        says = found.scores[:, 0] if engine == "sklearn" else sigmoid(found.scores[:, 0])
        np.testing.assert_allclose(says, probability, atol=1e-5)
        assert found.unit == ("probability" if engine == "sklearn" else "log-odds")
    else:
        assert found.classes == bundle.classes
        np.testing.assert_allclose(found.scores, scores, atol=TOLERANCE[engine] * np.abs(scores).max())
        assert found.unit == {"value": "value"}.get(labels, "probability" if engine == "sklearn" else "score")


@pytest.mark.filterwarnings("ignore:LightGBM binary classifier")
@pytest.mark.parametrize("engine", ["xgboost", "lightgbm", "sklearn"])
@pytest.mark.parametrize("labels", LABELS)
def test_shap_says_the_same(engine, labels, tmp_path):
    shap = pytest.importorskip("shap")
    # shap reads no categories of XGBoost
    steps = [
        STEP_MODELS[kind](type=kind) for kind in ("datetime_features", "simple_imputer", "one_hot_encoder")
    ]
    path = bundles.write_csv(tmp_path / "t.csv", labels=labels)
    bundle = bundles.train(path, engine=engine, task=LABELS[labels], steps=steps)
    typed = columns.coerce(bundle.inputs, files.read(str(path)).arrow)
    matrix = bundle.pipeline.matrix(columns.take(typed, np.arange(40))).values
    model = bundle.model.estimator if engine == "sklearn" else bundle.model.booster
    theirs = np.asarray(shap.TreeExplainer(model).shap_values(matrix))
    theirs = theirs[:, None] if theirs.ndim == 2 else theirs.transpose(0, 2, 1)
    if labels == "text":
        flip = 1 if bundle.positive == 1 else -1
        theirs = theirs * flip if theirs.shape[1] == 1 else theirs[:, [bundle.positive]]
    ours = explained(bundle, typed, 40).values
    np.testing.assert_allclose(ours, theirs @ credits_of(bundle.pipeline), atol=1e-4 * np.abs(theirs).max())


def test_encoded_parts_are_summed_back_into_their_column(made):
    bundle, _ = made("linear", "value")
    credit = credits_of(bundle.pipeline)
    assert credit.shape == (len(bundle.pipeline.names), len(bundle.inputs))
    np.testing.assert_array_equal(credit.sum(axis=1), 1)
    names = [spec.name for spec in bundle.inputs]
    for feature, shares in zip(bundle.pipeline.names, credit, strict=True):
        (place,) = np.flatnonzero(shares)
        assert feature.startswith(names[place])
    assert (credit.sum(axis=0) > 1).any(), "one column became several features"


def test_the_positive_class_is_the_one_that_is_explained(tmp_path):
    from dataclasses import replace

    path = bundles.write_csv(tmp_path / "t.csv")
    bundle = bundles.train(path)
    typed = columns.coerce(bundle.inputs, files.read(str(path)).arrow)
    one, other = (explained(replace(bundle, positive=code), typed) for code in (1, 0))
    assert (one.classes, other.classes) == (bundle.classes[1:], bundle.classes[:1])
    np.testing.assert_array_equal(one.values, -other.values)
    np.testing.assert_array_equal(one.base, -other.base)


def of_any_estimator(path, class_path, task, *, native_categories=False):
    """A bundle of an estimator that knows no contributions."""
    table = files.read(str(path))
    typed = columns.from_table(table, table.specs)
    wanted, _ = target.encode(typed["label"], name="label", task=task)
    row = row_for(class_path, task)
    kinds = ["datetime_features", *([] if native_categories else ["simple_imputer", "one_hot_encoder"])]
    steps = [STEP_MODELS[kind](type=kind) for kind in kinds]
    specs = [spec for spec in table.specs if spec.name not in {"label", "user id", "nothing"}]
    fitted, matrix = pipeline.fit(
        steps, typed, specs, wanted, seed=0, dtype=row.matrix_dtype, native_categories=native_categories
    )
    template = bundles.train(path, engine="linear", task=task)
    from dataclasses import replace

    model = fit_model(row, {}, matrix, wanted).model
    return replace(template, pipeline=fitted, model=model, class_path=class_path), typed


@pytest.mark.parametrize(
    ("labels", "class_path"),
    [
        ("three", "sklearn.neighbors.KNeighborsClassifier"),
        ("text", "sklearn.naive_bayes.GaussianNB"),
        ("value", "sklearn.neighbors.KNeighborsRegressor"),
    ],
)
def test_any_estimator_is_explained_by_sampling(labels, class_path, tmp_path):
    path = bundles.write_csv(tmp_path / "t.csv", labels=labels)
    bundle, typed = of_any_estimator(path, class_path, LABELS[labels])
    found, again = explained(bundle, typed, 20), explained(bundle, typed, 20)
    np.testing.assert_array_equal(found.values, again.values)
    matrix = bundle.pipeline.matrix(columns.take(typed, np.arange(20))).values
    output = bundle.model.predict(matrix).reshape(20, -1)
    if labels == "text":
        output = output[:, [bundle.positive]]
    np.testing.assert_allclose(found.scores, output, atol=1e-9)
    assert found.unit == ("value" if labels == "value" else "probability")
    assert found.values.shape[2] == len(bundle.inputs)


@pytest.mark.parametrize("labels", ["three", "value"])
def test_histograms_with_categories_are_sampled(labels, tmp_path):
    path = bundles.write_csv(tmp_path / "t.csv", labels=labels)
    kind = "Regressor" if labels == "value" else "Classifier"
    class_path = f"sklearn.ensemble.HistGradientBoosting{kind}"
    bundle, typed = of_any_estimator(path, class_path, LABELS[labels], native_categories=True)
    assert bundle.model.estimator.is_categorical_.any()
    found = explained(bundle, typed, 20)
    output = bundle.model.predict(bundle.pipeline.matrix(columns.take(typed, np.arange(20))).values)
    np.testing.assert_allclose(found.scores, output.reshape(20, -1), atol=1e-9)


def test_time_bounds_the_rows_that_are_sampled(tmp_path):
    path = bundles.write_csv(tmp_path / "t.csv", labels="three")
    bundle, typed = of_any_estimator(path, "sklearn.neighbors.KNeighborsClassifier", "classification")
    rows = np.arange(60)
    found, findings = explain(bundle, columns.take(typed, rows), rows, budget_s=0)
    assert len(found.rows) == 32
    assert [finding.message for finding in findings] == [
        "Only 32 of 60 rows were explained within 0 seconds."
    ]


def test_sampling_a_linear_model_finds_its_coefficients(made):
    from mmp.evaluation.sampling import sampled

    bundle, typed = made("linear", "value")
    references = background(bundle)
    matrix = bundle.pipeline.matrix(columns.take(typed, np.arange(10))).values
    parts = sampled(bundle.model, references, bundle.pipeline.origins)(matrix)
    exact = bundle.model.coefficients * (matrix - references.mean(axis=0))
    np.testing.assert_allclose(
        parts[:, 0, :-1] @ credits_of(bundle.pipeline),
        exact @ credits_of(bundle.pipeline),
        atol=1e-6 * np.abs(exact).max(),
    )


def test_the_references_are_nobodys_rows(made):
    bundle, typed = made("linear", "value")
    references, rows = background(bundle), bundle.pipeline.matrix(typed).values
    np.testing.assert_array_equal(references, background(bundle))
    assert np.isfinite(references).all()
    assert not (references[:, None] == rows[None]).all(axis=2).any()


def test_time_bounds_the_rows(tmp_path):
    path = bundles.write_csv(tmp_path / "t.csv", n_rows=300)
    bundle = bundles.train(path)
    typed = columns.coerce(bundle.inputs, files.read(str(path)).arrow)
    found, findings = explain(bundle, typed, np.arange(1000, 1300), budget_s=0)
    assert found.rows.tolist() == list(range(1000, 1256))
    assert [(finding.check, finding.level) for finding in findings] == [("explain", "warn")]
    assert "256 of 300 rows" in findings[0].message


@pytest.mark.parametrize("labels", LABELS)
def test_what_is_written_is_what_was_found(labels, made, tmp_path):
    bundle, typed = made("lightgbm", labels)
    found = explained(bundle, typed)
    write(found, tmp_path)
    table = pq.read_table(tmp_path / "shap_values.parquet")
    n_scores = len(found.base)
    classes = [] if labels == "value" else ["class"]
    assert table.column_names == ["row", *classes, *found.columns, "base"]
    assert table.num_rows == 60 * n_scores
    assert table["row"].to_pylist()[::n_scores] == list(range(60))
    if classes:
        assert table["class"].to_pylist()[:n_scores] == [str(label) for label in found.classes]
    values = np.array([table[name].to_pylist() for name in found.columns])
    np.testing.assert_array_equal(values, found.values.reshape(-1, len(found.columns)).T)
    summary = json.loads((tmp_path / "importance.json").read_text(encoding="utf-8"))
    strengths = [line["mean_abs_shap"] for line in summary["columns"]]
    assert strengths == sorted(strengths, reverse=True)
    assert summary["columns"][0]["column"] == "income [€]"
    assert summary["n_rows"] == 60


def test_columns_with_our_names_are_kept_apart(made, tmp_path):
    from dataclasses import replace

    bundle, typed = made("lightgbm", "text")
    found = explained(bundle, typed)
    renamed = replace(found, columns=("row", "base", "class", *found.columns[3:]))
    write(renamed, tmp_path)
    names = pq.read_table(tmp_path / "shap_values.parquet").column_names
    assert names == ["row_", "class_", *renamed.columns, "base_"]


def test_a_missing_package_is_named_with_its_line(made, monkeypatch):
    import sys

    bundle, typed = made("sklearn", "text")
    monkeypatch.setitem(sys.modules, "shap", None)
    with pytest.raises(MissingExtraError, match="RandomForestClassifier needs the package 'shap'") as raised:
        explained(bundle, typed)
    assert raised.value.hint == "Install it with: pip install shap"


def test_a_model_without_contributions_is_refused_in_a_sentence(tmp_path):
    from dataclasses import replace

    path = bundles.write_csv(tmp_path / "t.csv", labels="value")
    bundle = bundles.train(path, engine="lightgbm", task="regression")
    typed = columns.coerce(bundle.inputs, files.read(str(path)).arrow)
    matrix = bundle.pipeline.matrix(typed)
    row = row_for(bundle.class_path, "regression")
    wanted = target.Target("regression", np.nan_to_num(matrix.values[:, 0].astype(float)))
    params = {"linear_tree": True, "n_estimators": 3}
    numbers = pipeline.Matrix(matrix.values, matrix.names)
    bundle = replace(bundle, model=fit_model(row, params, numbers, wanted).model)
    with pytest.raises(SettingsError, match="LGBMRegressor cannot be explained") as raised:
        explained(bundle, typed)
    assert "explain: {enabled: false}" in raised.value.hint


def test_the_column_that_matters_is_the_one_that_is_missed(made):
    bundle, typed = made("xgboost", "text")
    table_target = target.Target(
        "classification", bundle.model.predict(bundle.pipeline.matrix(typed).values).argmax(axis=1).astype(np.int32),
        bundle.classes, bundle.positive,
    )  # fmt: skip
    losses = importance(bundle, typed, table_target, seed=1)
    assert losses.keys() == {spec.name for spec in bundle.inputs}
    assert max(losses, key=losses.get) == "income [€]"
    assert losses["income [€]"] > 0.3
    one_class = target.Target("classification", table_target.values * 0, bundle.classes, bundle.positive)
    assert importance(bundle, typed, one_class, seed=1) == {}
    assert importance(bundle, typed, table_target, seed=1, budget_s=-1) == {}


def test_the_budget_is_stated():
    assert explaining.BUDGET_S == 20
