"""One row by itself: the same bits as among others, for every engine and task."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.bundles import CLASS_PATHS, train, write_csv

from mmp.data.table import ColumnSpec
from mmp.errors import DataError
from mmp.modeling.bundle import Bundle
from mmp.modeling.columns import column_of
from mmp.modeling.single import Single
from mmp.modeling.values import CellError, read, reader

CASES = [
    (engine, task, labels)
    for task, engine in CLASS_PATHS
    for labels in (("value",) if task == "regression" else ("text", "three"))
]


@pytest.fixture(scope="module", params=CASES, ids=map("-".join, CASES))
def bundle(request, tmp_path_factory):
    engine, task, labels = request.param
    folder = tmp_path_factory.mktemp("single")
    trained = train(write_csv(folder / "table.csv", labels=labels), engine=engine, task=task)
    (folder / "saved").mkdir()
    trained.save(folder / "saved")
    return replace(Bundle.load(folder / "saved"), examples=trained.examples)


def test_a_row_alone_is_the_row_among_others(bundle):
    expected = bundle.predict(bundle.examples).records()
    single = Single(bundle)
    for row, among in zip(bundle.examples, expected, strict=True):
        keys = {spec.name: row[spec.name] for spec in bundle.entities}
        assert {**keys, **single.predict(row)} == among


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_row_alone_is_the_row_among_others(bundle, data):
    cells = {
        "integer": st.integers(-(2**63), 2**63 - 1),
        "float": st.floats(allow_nan=False, allow_infinity=False),
        "boolean": st.booleans(),
        "text": st.text(max_size=8),
        "timestamp": st.datetimes().map(lambda moment: moment.isoformat()),
    }
    known = {spec.name: [row[spec.name] for row in bundle.examples] for spec in bundle.inputs}
    row = {
        spec.name: data.draw(
            (cells[spec.kind] if not spec.time_format else st.nothing()) | st.sampled_from(known[spec.name])
        )
        for spec in bundle.inputs
    }
    try:
        (among, *_) = bundle.predict([row, *bundle.examples]).records()
    except DataError as refused:
        with pytest.raises(DataError) as alone:
            Single(bundle).predict(row)
        assert _stem(alone.value) == _stem(refused)  # noqa: PT017 - both are errors
        return
    assert Single(bundle).predict(row) == {k: v for k, v in among.items() if k != "user id"}


def _stem(error):
    return error.message.split(",")[0].split("(")[0]


def test_a_threshold_decides_alone_as_among_others(bundle):
    if bundle.positive is None:
        return
    for threshold in (0.2, 0.5, 0.8):
        other = replace(bundle, threshold=threshold)
        expected = [row["prediction"] for row in other.predict(other.examples).records()]
        assert [Single(other).predict(row)["prediction"] for row in other.examples] == expected


def test_stacked_rows_are_the_rows_alone(bundle):
    single = Single(bundle)
    columns = bundle.read(bundle.examples)
    rows = [
        dict(zip(columns, cells, strict=True))
        for cells in zip(*(c.to_list() for c in columns.values()), strict=True)
    ]
    features = [single.features(row) for row in rows]
    assert single.outputs(features) == [single.outputs([one])[0] for one in features]
    np.testing.assert_array_equal(single.outputs(features), bundle.output(bundle.examples))


KINDS = st.sampled_from(["integer", "float", "boolean", "text", "timestamp"])
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=6),
    st.lists(st.integers(), max_size=1),
)


@given(KINDS, VALUES)
def test_a_quick_reader_reads_as_the_slow_one(kind, value):
    spec = ColumnSpec("x", kind)
    try:
        expected = read(spec, value)
    except CellError as reason:
        with pytest.raises(CellError, match="^" + str(reason).replace("(", ".").replace(")", ".")):
            reader(spec)(value)
        return
    assert column_of(kind, [reader(spec)(value)]).to_list() == column_of(kind, [expected]).to_list()
    assert type(reader(spec)(value)) is type(expected)
