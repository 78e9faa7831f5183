from __future__ import annotations

import dataclasses
import datetime as dt
import json
import resource
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from tests import bundles

from mmp.data import files
from mmp.errors import ArtifactError, DataError, MissingColumnsError
from mmp.modeling.bundle import Bundle
from mmp.modeling.predictions import Predictions


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tables")


@pytest.fixture(scope="module")
def trained(folder):
    def trained(labels, engine="xgboost", **options):
        path = bundles.write_csv(folder / f"{labels}.csv", labels=labels)
        task = "regression" if labels == "value" else "classification"
        return bundles.train(path, engine=engine, task=task, **options), files.read(str(path)).arrow

    return trained


@pytest.mark.parametrize(
    ("labels", "names", "kinds"),
    [
        ("text", ["prediction", "probability", "probability_no", "probability_yes"], {"no", "yes"}),
        ("integer", ["prediction", "probability", "probability_0", "probability_1"], {0, 1}),
        ("boolean", ["prediction", "probability", "probability_False", "probability_True"], {False, True}),
        ("numbers", ["prediction", "probability_10", "probability_20", "probability_30"], {10, 20, 30}),
        (
            "three",
            ["prediction", "probability_50K_0", "probability_50K_1", "probability_ünknown"],
            {"<=50K", ">50K", "ünknown"},
        ),
        ("value", ["prediction"], None),
    ],
)
def test_the_one_table_of_predictions(trained, labels, names, kinds):
    bundle, table = trained(labels)
    predictions = bundle.predict(table)
    assert list(predictions.names) == ["user id", *names]
    assert len(predictions) == table.num_rows
    records = predictions.records()
    assert json.loads(json.dumps(records)) == records
    assert [row["user id"] for row in records] == table.column("user id").to_pylist()
    if kinds is None:
        assert {type(row["prediction"]) for row in records} == {float}
        return
    assert {row["prediction"] for row in records} <= kinds
    assert {type(row["prediction"]) for row in records} == {type(next(iter(kinds)))}
    for row in records:
        of_classes = [row[name] for name in names if name.startswith("probability_")]
        assert sum(of_classes) == pytest.approx(1, abs=1e-6)
        assert row["prediction"] == bundle.classes[int(np.argmax(of_classes))]
        if "probability" in row:
            assert row["probability"] == of_classes[bundle.positive]


def test_a_threshold_decides_for_the_positive_class(trained):
    bundle, table = trained("integer")
    strict = dataclasses.replace(bundle, threshold=0.9)
    for row in strict.predict(table).records():
        assert row["prediction"] == int(row["probability"] >= 0.9)


def test_records_and_tables_are_the_same_rows(trained):
    bundle, table = trained("three")
    shuffled = table.select(list(reversed(table.column_names)))
    assert bundle.predict(table.to_pylist()).records() == bundle.predict(shuffled).records()


def test_every_row_is_answered_by_itself(trained):
    for engine in ["xgboost", "lightgbm", "catboost", "linear", "sklearn"]:
        bundle, table = trained("text", engine=engine)
        whole = bundle.predict(table).records()
        assert [bundle.predict(table.slice(row, 1)).records()[0] for row in range(0, 200, 23)] == whole[::23]


def test_no_rows_have_no_answers(trained):
    bundle, table = trained("text")
    predictions = bundle.predict(table.slice(0, 0))
    assert len(predictions) == 0
    assert predictions.records() == []
    assert predictions.to_arrow().num_rows == 0
    assert list(predictions.to_pandas().columns) == list(predictions.names)


def test_keys_are_echoed_when_sent(trained):
    bundle, table = trained("text")
    assert "user id" not in bundle.predict(table.drop_columns("user id")).names
    rows = table.drop_columns("user id").to_pylist()[:3]
    rows[1]["user id"] = "anything"
    assert [row["user id"] for row in bundle.predict(rows).records()] == [None, "anything", None]


def test_an_integer_key_never_passes_through_float(trained):
    bundle, table = trained("text")
    keys = table.column("user id")
    assert bundle.predict(table).to_arrow().column("user id").equals(keys)
    floats = table.set_column(
        table.column_names.index("user id"), "user id", keys.cast(pa.float64(), safe=False)
    )
    with pytest.raises(DataError, match="stands for several integers") as caught:
        bundle.predict(floats)
    assert caught.value.hint
    rows = table.slice(0, 1).to_pylist()
    with pytest.raises(DataError, match=r"'user id' holds 9007199254740992\.0"):
        bundle.predict([rows[0] | {"user id": 2.0**53}])
    assert bundle.predict([rows[0] | {"user id": 12.0}]).records()[0]["user id"] == 12.0


def test_arrow_tables_of_predictions_are_typed(trained):
    for labels, kind in [("text", "string"), ("integer", "int64"), ("boolean", "bool"), ("value", "double")]:
        bundle, table = trained(labels)
        arrow = bundle.predict(table).to_arrow()
        assert str(arrow.schema.field("prediction").type) == kind
        assert arrow.to_pylist() == bundle.predict(table).records()


def test_keys_of_any_type_are_json_in_records():
    moment = dt.datetime(2024, 1, 2, tzinfo=dt.UTC)
    keys = {"key": [moment, moment.date(), Decimal("1.50"), float("nan"), None]}
    predictions = Predictions(keys, {"prediction": np.arange(5.0)})
    assert [row["key"] for row in predictions.records()] == [
        "2024-01-02T00:00:00+00:00", "2024-01-02", "1.50", None, None,
    ]  # fmt: skip


def test_missing_columns_and_bad_values_are_named(trained):
    bundle, table = trained("text")
    with pytest.raises(MissingColumnsError, match="'age' is missing"):
        bundle.predict(table.drop_columns("age"))
    row = table.slice(0, 1).to_pylist()[0]
    with pytest.raises(DataError, match="'age', row 0: 'old' is not an integer") as caught:
        bundle.predict([row | {"age": "old"}], where="request")
    assert caught.value.where == "request"


def test_missing_values_that_a_model_cannot_take_are_named(folder):
    path = folder / "whole.csv"
    path.write_text("a,b,label\n" + "".join(f"{n},{n * n % 7},{n % 2}\n" for n in range(60)))
    bundle = bundles.train(path, engine="linear", entities=(), steps=[])
    assert all(value is not None for row in bundle.examples for value in row.values())
    with pytest.raises(DataError, match="takes no missing values, and there are some in 'a'") as caught:
        bundle.predict([{"a": 1, "b": 2}, {"a": None, "b": 1}])
    assert "simple_imputer" in caught.value.hint
    forest = bundles.train(path, engine="sklearn", entities=(), steps=[])
    assert len(forest.predict([{"a": None, "b": 1}])) == 1


def test_a_key_may_not_be_called_as_a_prediction(trained):
    bundle, _ = trained("text")
    for name in ("prediction", "probability", "probability_yes"):
        key = dataclasses.replace(bundle.entities[0], name=name)
        with pytest.raises(DataError, match=f"'{name}' has the name of a column of the predictions"):
            dataclasses.replace(bundle, entities=(key,))


def test_saved_and_loaded_it_is_the_same_value(trained, tmp_path):
    bundle, table = trained("numbers", engine="linear")
    odd = {"missing": float("nan"), "when": dt.date(2024, 1, 2), "weights": {1: 0.5, "a": (1, 2)}, "n": None}
    bundle = dataclasses.replace(bundle, parameters=odd, metrics={"test": {"accuracy": 0.5}}, threshold=0.25)
    bundle.save(tmp_path)
    loaded = Bundle.load(tmp_path)
    assert loaded.parameters == {
        "missing": "nan", "n": None, "weights": {"1": 0.5, "a": [1, 2]}, "when": "2024-01-02",
    }  # fmt: skip
    for name in (
        "classes",
        "positive",
        "threshold",
        "target",
        "inputs",
        "entities",
        "baseline",
        "metrics",
        "task",
    ):
        assert getattr(loaded, name) == getattr(bundle, name), name
    assert loaded.predict(table).records() == bundle.predict(table).records()


def test_another_format_asks_for_another_version(trained, tmp_path):
    bundle, _ = trained("numbers", engine="linear")
    bundle.save(tmp_path)
    path = tmp_path / "bundle.json"
    path.write_bytes(path.read_bytes().replace(b'"format":1', b'"format":9'))
    with pytest.raises(ArtifactError, match="format 9; this version of mmp reads 1"):
        Bundle.load(tmp_path)


@pytest.mark.parametrize("engine", bundles.SMALL)
def test_a_file_that_has_no_room_is_an_error(trained, engine, tmp_path):
    model = trained("text", engine)[0].model
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(OSError, match="too large"):
            model.save(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
