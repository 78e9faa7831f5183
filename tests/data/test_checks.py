"""Checks: what they find, at which level, what they leave out, and what they never let through."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from mmp.catalog.checks import CHECKS
from mmp.data.arrow import normalise
from mmp.data.checks import Roles, check, drop_null_target, roles
from mmp.data.table import Table
from mmp.errors import DataError, Finding, LeakageError, MissingColumnsError, SettingsError, UnknownNameError
from mmp.settings.data import Data

N = 400
RNG = np.random.default_rng(0)
NOISE = RNG.normal(size=N)
CLASSES = RNG.integers(0, 3, N)
NAMES = np.array(["low", "mid", "high"])[CLASSES]
VALUE = RNG.normal(size=N)


def table(**columns) -> Table:
    arrays = {name: pa.chunked_array([pa.array(values)]) for name, values in columns.items()}
    return Table.of([normalise(name, array) for name, array in arrays.items()], "t.csv")


def run(data: Table, task: str = "classification", **levels: str):
    features = tuple(name for name in data.names if name != "y")
    return check(data, Roles("y", features), task=task, levels=levels)


def with_feature(values, target=NAMES) -> Table:
    return table(y=target, noise=NOISE, x=values)


FOUND = {
    "target_recoded": with_feature(CLASSES * 10),
    "target_predictor": with_feature(CLASSES + NOISE / 100),
    "all_null": with_feature(pa.nulls(N, pa.float64())),
    "constant": with_feature(["same"] * N),
    "unique_text": with_feature([f"id-{i}" for i in range(N)]),
    "id_like": with_feature(np.arange(N) * 3 + 7),
    "missing_share": with_feature(pa.array([1.0, 2.0, 3.0, None, None, None, None, None] * (N // 8))),
}


@pytest.mark.parametrize("name", FOUND)
def test_finds_one_thing(name):
    findings, left_out = run(FOUND[name])
    assert [(finding.check, finding.column) for finding in findings] == [(name, "x")]
    assert findings[0].level == CHECKS[name].level == "warn"
    assert findings[0].message.startswith("Feature 'x' ")
    assert left_out == (("x",) if name in ("all_null", "constant", "unique_text") else ())


@pytest.mark.parametrize("name", FOUND)
def test_levels(name):
    also = {"target_recoded": {"target_predictor": "off"}, "all_null": {"missing_share": "off"}}
    assert run(FOUND[name], **{name: "off", **also.get(name, {})}) == ((), ())
    with pytest.raises(DataError, match="Feature 'x'") as caught:
        run(FOUND[name], **{name: "error"})
    assert name in caught.value.hint
    assert isinstance(caught.value, LeakageError) == name.startswith("target_")


@pytest.mark.parametrize(
    ("task", "target", "feature"),
    [
        ("classification", NAMES, NAMES),
        ("classification", CLASSES, CLASSES),
        ("classification", CLASSES, CLASSES * 1.0),
        ("classification", CLASSES > 0, (CLASSES > 0).astype(np.int64)),
        ("regression", VALUE, VALUE),
        ("regression", CLASSES, CLASSES),
    ],
)
def test_a_copy_of_the_target_is_an_error(task, target, feature):
    data = with_feature(feature, target)
    with pytest.raises(LeakageError, match="'x' equals the target 'y' in every row"):
        run(data, task)
    findings, left_out = run(data, task, target_copy="warn")
    assert [finding.check for finding in findings] == ["target_copy"]
    assert left_out == ()


def test_one_row_apart_is_no_copy():
    almost = NAMES.copy()
    almost[7] = "low" if almost[7] != "low" else "mid"
    findings, _ = run(with_feature(almost))
    assert [finding.check for finding in findings] == ["target_predictor"]


def test_predictors_of_a_quantity():
    assert [finding.check for finding in run(with_feature(VALUE * 2 + 1, VALUE), "regression").findings] == [
        "target_predictor"
    ]
    assert run(with_feature(VALUE + NOISE, VALUE), "regression").findings == ()


def test_many_levels_predict_nothing_by_chance():
    levels = [f"c{i}" for i in RNG.permutation(np.repeat(np.arange(N // 2), 2))]
    assert run(with_feature(levels)).findings == ()


def test_a_table_sorted_by_its_target_is_not_predicted_by_equal_values():
    data = with_feature(RNG.permutation(["u", "v"] * (N // 2)), np.sort(NAMES))
    assert run(data).findings == ()
    assert run(with_feature(RNG.permutation([0, 1] * (N // 2)), np.sort(VALUE)), "regression").findings == ()


def test_a_value_with_gaps_is_not_constant():
    assert run(with_feature(pa.array([5, None] * (N // 2)))).left_out == ()


def test_duplicate_rows():
    data = table(y=["a", "b", "a", "b"] * 10, x=[1.0, 2.0, 3.0, None] * 10, t=["u", None, "u", "v"] * 10)
    (finding,) = (found for found in run(data).findings if found.check == "duplicate_rows")
    assert finding.message.startswith("36 of 40 rows equal an earlier row")


def test_findings_of_reading_are_levelled_too():
    data = with_feature(NOISE * 2)
    found = Finding("mixed_column", "warn", "Column 'x' is text.", "x")
    data = Table(data.arrow, data.specs, (found,), data.source)
    assert run(data).findings == (found,)
    assert run(data, mixed_column="off").findings == ()
    with pytest.raises(DataError, match="Column 'x' is text"):
        run(data, mixed_column="error")


def test_unknown_check():
    with pytest.raises(UnknownNameError, match="no check 'constants'") as caught:
        run(with_feature(NOISE * 2), constants="off")
    assert caught.value.hint == "did you mean 'constant'?"


INFINITE = NOISE.copy()
INFINITE[[3, 5]] = np.inf
REFUSED = {
    "inf in a feature": (with_feature(INFINITE), "classification", "'x' (2 rows)"),
    "inf in the target": (with_feature(NOISE * 2, INFINITE), "regression", "'y' (2 rows)"),
    "one class": (with_feature(NOISE * 2, ["a"] * N), "classification", "only the class 'a'"),
    "constant": (with_feature(NOISE * 2, [2.5] * N), "regression", "is 2.5 in every row"),
    "text": (with_feature(NOISE * 2), "regression", "is text, not a number"),
    "boolean": (with_feature(NOISE * 2, CLASSES > 0), "regression", "is boolean, not a number"),
    "thousands": (
        with_feature(NOISE, [f"{1000 + n:,}" if n > 5 else str(n) for n in range(len(NOISE))]),
        "regression",
        "is text, not a number. One of its values is '1,006'",
    ),
    "quantity": (with_feature(NOISE * 2, VALUE), "classification", "400 different numbers with fractions"),
    "ids": (with_feature(NOISE * 2, np.arange(N)), "classification", "400 classes in 400 rows"),
    "time": (with_feature(NOISE * 2, pa.array(np.arange(N), pa.timestamp("s"))), "classification", "is a timestamp"),
    "nothing left": (table(y=NAMES, x=["same"] * N, t=[f"t{i}" for i in range(N)]), "classification", "No feature is left"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    data, task, says = REFUSED[case]
    with pytest.raises(DataError) as caught:
        run(data, task)
    assert says in caught.value.message
    assert caught.value.hint


def test_many_classes_that_are_numbers():
    findings, _ = run(with_feature(NOISE * 2, np.arange(N) % 120))
    assert [finding.check for finding in findings] == ["many_classes"]


@pytest.mark.parametrize(("n_rare", "found"), [(19, ["rare_class"]), (20, []), (21, [])])
def test_a_rare_class_is_told_and_not_weighed_unasked(n_rare, found):
    labels = np.array(["no"] * 400 + ["<=yes"] * n_rare)
    findings, _ = run(table(y=labels, x=np.random.default_rng(0).normal(size=len(labels))))
    assert [finding.check for finding in findings] == found
    assert all("'<=yes' in 4.5% of the rows" in finding.message for finding in findings)
    assert all("decide by evaluation.threshold" in finding.message for finding in findings)


def test_a_threshold_is_no_advice_for_three_classes():
    labels = np.array(["no"] * 400 + ["yes"] * 300 + ["perhaps"] * 5)
    (finding,), _ = run(table(y=labels, x=np.random.default_rng(0).normal(size=len(labels))))
    assert finding.check == "rare_class"
    assert finding.message.endswith("Weigh it by model.class_weight: balanced.")


def test_every_check_is_used():
    tested = {*FOUND, "target_copy", "duplicate_rows", "null_target", "many_classes", "rare_class"}
    read = {"blank_text", "mixed_column", "decimal_comma", "ambiguous_dates", "leading_zeros", "big_integers",
            "time_format", "time_precision", "decimal"}  # fmt: skip
    assert set(CHECKS) == tested | read


def test_null_targets_are_left_out_and_counted():
    data = table(y=["a", None, "b", None], x=[1, 2, 3, 4])
    kept, n_null = drop_null_target(data, "y")
    assert (n_null, kept.arrow.column("x").to_pylist(), kept.spec("y").has_nulls) == (2, [1, 3], False)
    assert [finding.check for finding in kept.findings] == ["null_target"]
    assert {column.num_chunks for column in kept.arrow.columns} == {1}
    assert drop_null_target(kept, "y") == (kept, 0)
    with pytest.raises(DataError, match="missing in all 2 rows"):
        drop_null_target(table(y=pa.nulls(2, pa.string())), "y")


def settings(split: dict | None = None, **interface) -> Data:
    return Data(loader={"source_uri": "t.csv"}, data_interface=interface, split=split or {})


def test_roles():
    data = table(y=[1], id=[1], when=[1], user=[1], a=[1], b=[1])
    division = {"strategy": "group", "group_column": "user"}
    found = roles(data, settings(division, target_column="y", entity_columns=["id"], timestamp_column="when"))
    assert found == Roles("y", ("a", "b"), ("id",), "when")
    listed = roles(data, settings(target_column="y", feature_columns=["b", "when"]))
    assert listed.features == ("b", "when")
    for name in ("y", "id"):
        with pytest.raises(SettingsError, match=f"'{name}' is the target or an entity key"):
            roles(data, settings(target_column="y", entity_columns=["id"], feature_columns=["a", name]))
    with pytest.raises(MissingColumnsError) as caught:
        roles(data, settings(target_column="yy", entity_columns=["idd"], feature_columns=["a", "c"]))
    assert all(f"'{name}'" in caught.value.message for name in ("yy", "idd", "c"))
