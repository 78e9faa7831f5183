"""Selection of columns, names, policies and what a step may do."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from mmp.data.table import ColumnSpec
from mmp.errors import DataError, SettingsError, UnknownNameError
from mmp.modeling import pipeline
from mmp.modeling.columns import column_of
from mmp.modeling.steps import FIT_FUNCTIONS
from mmp.modeling.target import Target
from mmp.settings.steps import STEP_MODELS, ForeignStep

TABLE = {
    "age": ("integer", [1, None, 3, 4, 5, 6]),
    "price_a": ("float", [1.0, 2.0, None, 4.0, 5.0, 6.0]),
    "price_b": ("float", [2.0, 2.5, 3.0, 4.0, 5.0, 6.0]),
    "member": ("boolean", [True, False, None, True, True, False]),
    "zone_id": ("integer", [7, 8, 7, 8, 7, 9]),
    "city": ("text", ["Seoul", "Busan", None, "Seoul", "Busan", "Seoul"]),
    "plan [new]": ("text", ["a", "b", "c", "a", "b", "c"]),
    "joined": ("timestamp", [0, None, 86_400_000_000, 1, 2, 3]),
}
BINARY = Target("classification", np.array([0, 1, 0, 1, 0, 1], np.int32), (0, 1))


def step(kind, **parameters):
    return STEP_MODELS[kind](type=kind, **parameters)


def fit(*steps, names=tuple(TABLE), target=BINARY, native=True, table=TABLE):
    specs = [ColumnSpec(name, table[name][0]) for name in names]
    columns = {name: column_of(*table[name]) for name in names}
    return pipeline.fit(steps, columns, specs, target, seed=1, dtype="float64", native_categories=native)


DATES = step("datetime_features", parts=("day",))


def filled(fitted):
    """Return the inputs whose missing values become something."""
    row = fitted.row(dict.fromkeys(TABLE))
    return {name for name, value in zip(fitted.names, row[0], strict=True) if not np.isnan(value)}


NUMBERS = {"age", "price_a", "price_b", "member", "zone_id"}


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (None, NUMBERS | {"joined.day"}),
        ("numeric", NUMBERS | {"joined.day"}),
        ("price_*", {"price_a", "price_b"}),
        ("member", {"member"}),
        (("age", "price_?"), {"age", "price_a", "price_b"}),
        (("categorical", "age"), {"city", "age"}),
        ("datetime", set()),
    ],
)
def test_columns_are_honoured(columns, expected):
    strategy = "median" if columns is None or "categorical" not in columns else "constant"
    fitted, _ = fit(DATES, step("simple_imputer", strategy=strategy, columns=columns, fill_value=1))
    assert filled(fitted) == expected


@pytest.mark.parametrize("kind", sorted(set(STEP_MODELS) & set(FIT_FUNCTIONS)))
@pytest.mark.parametrize(("entry", "meant"), [("ctiy", "city"), ("prize_*", "price_"), ("Age", "age")])
def test_a_name_or_glob_that_matches_nothing_is_an_error(kind, entry, meant):
    with pytest.raises(DataError, match=f"The step {kind} is given") as caught:
        fit(step(kind, columns=(entry,)))
    assert meant in caught.value.hint


def test_a_name_with_the_signs_of_a_glob_is_a_name():
    fitted, _ = fit(DATES, step("one_hot_encoder", columns="plan [new]"))
    assert "plan [new]=a" in fitted.names


@pytest.mark.parametrize(
    ("kind", "column"),
    [
        ("standard_scaler", "city"),
        ("datetime_features", "age"),
        ("target_encoder", "joined"),
        ("one_hot_encoder", "joined"),
    ],
)
def test_a_column_that_does_not_suit_a_step_is_refused(kind, column):
    with pytest.raises(DataError, match=f"{kind} cannot take the .* column '{column}'"):
        fit(step(kind, columns=column))


@pytest.mark.parametrize("kind", ["one_hot_encoder", "ordinal_encoder", "target_encoder"])
def test_numeric_ids_and_booleans_are_encoded_where_they_are_named(kind):
    names = ("zone_id", "member")
    fitted, trained = fit(step(kind, columns=names), names=names)
    if kind == "one_hot_encoder":
        assert fitted.names == (
            "zone_id=7", "zone_id=8", "zone_id=9", "member=false", "member=true", "member is missing",
        )  # fmt: skip
    else:
        assert fitted.names == names
        assert set(trained.values[:, 0]) != {7.0, 8.0, 9.0}


def test_flags_are_not_numeric_but_have_names():
    hot = step("one_hot_encoder", columns="city")
    fitted, _ = fit(DATES, hot, step("standard_scaler", columns="numeric"))
    assert {op.source for op in fitted.ops if op.name == "affine"} == NUMBERS | {"joined.day"}
    fitted, _ = fit(DATES, hot, step("standard_scaler", columns=("city=*", "city is missing")))
    assert sum(op.name == "affine" for op in fitted.ops) == 3


def test_encoded_numbers_are_numeric():
    fitted, _ = fit(step("target_encoder", columns="city"), step("standard_scaler"), names=("city",))
    assert [op.name for op in fitted.ops] == ["lookup", "affine"]


def test_an_imputer_fills_columns_that_had_no_nulls_in_training():
    fitted, _ = fit(step("simple_imputer", strategy="median"), names=("price_b",))
    assert fitted.row({"price_b": None})[0, 0] == 3.5


def test_a_constant_is_read_as_a_value_of_its_column():
    fitted, _ = fit(DATES, step("constant_fill", columns=("age", "price_a"), fill_value="99"))
    row = fitted.row(dict.fromkeys(TABLE))[0]
    assert row[fitted.names.index("age")] == row[fitted.names.index("price_a")] == 99.0
    with pytest.raises(DataError, match="Column 'age' holds 'many'"):
        fit(step("constant_fill", columns="age", fill_value="many"))
    fitted, trained = fit(
        step("constant_fill", columns="joined", fill_value="1970-01-05"), DATES, names=("joined",)
    )
    assert trained.values[1, 0] == 5


def test_a_text_constant_without_columns_is_for_text():
    fitted, _ = fit(
        DATES,
        step("constant_fill", fill_value="none"),
        step("one_hot_encoder"),
        names=("city", "age", "joined"),
    )
    assert filled(fitted) == {"city=Busan", "city=Seoul", "city=none"}


def test_names_stay_apart():
    table = {
        "a": ("text", ["b=c", "x", "x", "b=c", "x", "x"]),
        "a=b": ("text", ["c", "x", "x", "c", "x", None]),
        "a=x": ("float", [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
        "a (2)": ("float", [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
    }
    fitted, trained = fit(step("one_hot_encoder"), names=tuple(table), table=table)
    assert fitted.names == ("a=x", "a (2)", "a=b=c", "a=x (2)", "a=b=c (2)", "a=b=x", "a=b is missing")
    assert len({variable for _, variable in fitted.features}) == 7
    assert trained.values[:, 2].tolist() == [1, 0, 0, 1, 0, 0]


def test_an_encoding_for_each_class():
    target = Target("classification", np.array([0, 1, 2, 0, 1, 2], np.int32), ("lo", "mid", "hi"))
    fitted, trained = fit(
        step("target_encoder", columns="city", cv=2, smooth=2), names=("city", "age"), target=target
    )
    assert fitted.names == ("age", "city:lo", "city:mid", "city:hi")
    assert trained.values[:, 1:].sum(axis=1) == pytest.approx(np.ones(6))


def test_text_left_is_categories_where_the_model_has_them():
    fitted, trained = fit(names=("age", "city"))
    assert trained.categorical == fitted.categorical == {1: 2}
    assert trained.values[:, 1].tolist()[:2] == [1.0, 0.0]
    assert np.isnan(trained.values[2, 1])
    assert np.isnan(fitted.row({"age": 1, "city": "Jeju"})[0, 1])


def test_text_left_is_an_error_elsewhere():
    with pytest.raises(DataError, match="'city' holds text") as caught:
        fit(names=("age", "city"), native=False)
    assert "one_hot_encoder" in caught.value.hint


def test_timestamps_left_are_an_error():
    with pytest.raises(DataError, match="'joined' holds timestamps") as caught:
        fit(names=("joined",))
    assert "datetime_features" in caught.value.hint


def test_a_column_without_values_in_training_is_left_out():
    table = {"age": TABLE["age"], "empty": ("text", [None] * 6)}
    fitted, trained = fit(names=("age", "empty"), table=table)
    assert [spec.name for spec in fitted.inputs] == ["age"]
    assert trained.names == ("age",)


def test_without_any_value_there_is_nothing_to_fit():
    with pytest.raises(DataError, match="No feature has a value"):
        fit(names=("empty",), table={"empty": ("text", [None] * 6)})


def test_any_name_is_a_name():
    names = ("", "a b", "[x]<y>", "🙂", "col (2)", "col")
    table = {name: ("text", ["a", "b", None, "a", "b", "c"]) for name in names}
    fitted, trained = fit(
        step("one_hot_encoder", columns=("[x]<y>", "🙂")),
        step("target_encoder", cv=2),
        names=names,
        table=table,
    )
    assert trained.values.shape == (6, 4 + 2 * 4)
    assert len(set(fitted.names)) == len(fitted.names)


@pytest.mark.parametrize("kind", ["one_hot_encoder", "ordinal_encoder"])
def test_an_unseen_category_can_be_an_error(kind):
    fitted, _ = fit(step(kind, columns="city", handle_unknown="error"), names=("city",))
    fitted.row({"city": None})
    with pytest.raises(DataError, match="'Jeju' was not seen in training"):
        fitted.row({"city": "Jeju"})
    with pytest.raises(DataError, match="'Jeju' was not seen in training"):
        fitted.matrix({"city": column_of("text", ["Seoul", "Jeju"])})
    known_but_absent = column_of("text", ["Jeju", "Seoul"]).take(np.array([1]))
    assert fitted.matrix({"city": known_but_absent}).values.shape[0] == 1


def test_usual_parts_are_those_that_vary():
    days = [day * 86_400_000_000 for day in (0, 1, 2, 3, 9, 400)]
    table = {"w": ("timestamp", days), "still": ("timestamp", [5_000_000, 6_000_000] * 3)}
    fitted, _ = fit(step("datetime_features"), names=("w", "still"), table=table)
    assert fitted.names == ("w.year", "w.month", "w.day", "w.day_of_week", "still.epoch_s")


def test_folds_need_rows():
    with pytest.raises(DataError, match="needs 7 rows"):
        fit(step("target_encoder", columns="city", cv=7))


def test_the_training_matrix_is_out_of_fold_and_everything_else_as_for_new_rows():
    steps = (DATES, step("target_encoder", columns="city", cv=2), step("standard_scaler", columns="price_?"))
    fitted, trained = fit(*steps)
    again = fitted.matrix({name: column_of(*TABLE[name]) for name in TABLE}).values
    encoded = fitted.names.index("city")
    rest = [position for position in range(len(fitted.names)) if position != encoded]
    np.testing.assert_array_equal(trained.values[:, rest], again[:, rest])
    assert not np.array_equal(trained.values[:, encoded], again[:, encoded])


OWN_STEPS = """
import numpy as np
from mmp.modeling.ops import Affine
from mmp.modeling.steps.base import Fitted

def halve(step, names, training):
    return Fitted(tuple(Affine(name, (name,), 0.0, step.by) for name in names))

def drop_young(step, names, training):
    return Fitted((), rows=np.flatnonzero(training["age"].values >= 4))

class Transformer:
    pass
"""


@pytest.fixture
def own_steps(tmp_path, monkeypatch):
    (tmp_path / "own_steps.py").write_text(OWN_STEPS)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("own_steps", None)


@pytest.mark.usefixtures("own_steps")
def test_a_step_of_ones_own_by_its_dotted_path():
    _, trained = fit(ForeignStep(type="own_steps.halve", columns="price_b", by=2.0), names=("age", "price_b"))
    assert trained.values[:, 1].tolist() == [1.0, 1.25, 1.5, 2.0, 2.5, 3.0]


@pytest.mark.usefixtures("own_steps")
def test_a_step_may_leave_out_training_rows():
    steps = (ForeignStep(type="own_steps.drop_young"), step("target_encoder", columns="city", cv=2))
    fitted, trained = fit(*steps, names=("age", "city"))
    assert trained.rows.tolist() == [3, 4, 5]
    assert trained.values[:, 0].tolist() == [4.0, 5.0, 6.0]
    assert fitted.matrix({name: column_of(*TABLE[name]) for name in ("age", "city")}).values.shape == (6, 2)


@pytest.mark.usefixtures("own_steps")
def test_what_is_no_step_is_refused():
    with pytest.raises(UnknownNameError, match="'one_hot'"):
        fit(SimpleNamespace(type="one_hot", columns=None))
    with pytest.raises(SettingsError, match=r"own_steps\.Transformer"):
        fit(ForeignStep(type="own_steps.Transformer"))
