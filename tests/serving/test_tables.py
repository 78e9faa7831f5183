"""Batches as columns: read in one go or row by row they are the same, and so are their answers."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.bundles import CLASS_PATHS, train, write_csv

from mmp.modeling.golden import UNSEEN
from mmp.serving.answers import Refusal, encode
from mmp.serving.parse import read_json
from mmp.serving.served import Served
from mmp.serving.tables import MANY

ROW = {"whole": 3, "number": 1.5, "truth": True, "word": "a", "gappy": 2.5}


def served(bundle):
    return Served(bundle, run_id="r", name="n", uri="u")


@pytest.fixture(scope="module", params=CLASS_PATHS, ids="-".join)
def any_model(request, tmp_path_factory):
    task, engine = request.param
    labels = "value" if task == "regression" else "three"
    path = write_csv(tmp_path_factory.mktemp("tables") / "table.csv", labels=labels)
    return served(train(path, engine=engine, task=task))


def test_the_example_has_a_value_that_was_seen_in_every_column(any_model):
    assert not any_model.form.problems(any_model.example)
    assert None not in any_model.example.values()
    assert UNSEEN not in any_model.example.values()
    assert set(any_model.example) == {
        spec.name for spec in (*any_model.form.optional, *any_model.form.required)
    }


def test_no_golden_row_needs_to_be_an_example(any_model):
    """Of many columns, one of every row has a gap or a category that nobody saw."""
    rows = [
        {**row, name: value}
        for row in any_model.bundle.examples
        for name, value in (("text", UNSEEN), ("text", None))
        if name in row
    ]
    gappy = served(replace(any_model.bundle, examples=(*rows, *any_model.bundle.examples)))
    assert gappy.example == any_model.example


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model of a key and a column of each kind that JSON has; one of them has gaps."""
    path = tmp_path_factory.mktemp("tables") / "table.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["user id", *ROW, "label"])
        for n in range(60):
            word, gappy = "abc"[n % 3], "" if n % 5 == 0 else n * 0.25
            writer.writerow([n, n % 7, n * 0.5, n % 2 == 0, word, gappy, "yes" if n % 3 else "no"])
    return served(train(path, steps=[]))


def as_bytes(samples):
    return json.dumps({"samples": samples}).encode()


def test_answers_of_a_table_are_those_of_its_rows(any_model):
    rows = [any_model.example] * MANY
    table = any_model.tables.of(rows)
    outputs = any_model.single.table(table.columns)
    expected = [any_model.answer(output, row) for output, row in zip(outputs.tolist(), rows, strict=True)]
    assert encode(any_model.answers(outputs, table)) == encode(expected)
    assert any_model.tables.of([*rows, {**rows[0], "unheard of": 1}]) is None


KEYS = st.sampled_from([7, "x", None, 0.5, True])
CELLS = st.sampled_from(
    [0, -3, 2**62, 2**63, 2**64, 1.5, 3.0, -0.0, 1e308, True, False, "a", "new", "", "4", "x:y", None, [], {}]
)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.dictionaries(st.sampled_from([*ROW, "unheard of"]), CELLS, max_size=2), min_size=1, max_size=3
    ),
    st.lists(KEYS, max_size=3),
)
@example([{}], [])
@example([{"gappy": None}], [1])
@example([{"number": 1e308}] * 3, [])
@example([{"number": 7}], ["a", None])
def test_read_in_one_go_a_batch_is_what_it_is_row_by_row(model, changes, keys):
    rows = [{**ROW, **(changes[n] if n < len(changes) else {})} for n in range(MANY)]
    rows = [{**row, **({"user id": keys[n]} if n < len(keys) else {})} for n, row in enumerate(rows)]
    at_once, one_by_one = (model.tables.read(as_bytes(rows)), model.tables.of(rows))
    if at_once is None:
        return
    assert one_by_one is not None
    assert {name: column.to_list() for name, column in at_once.columns.items()} == {
        name: column.to_list() for name, column in one_by_one.columns.items()
    }
    assert {name: list(cells) for name, cells in at_once.keys.items()} == one_by_one.keys


def test_typed_rows_are_read_in_one_go(model):
    rows = [{**ROW, "user id": n} for n in range(MANY)]
    assert model.tables.read(as_bytes(rows)) is not None
    assert model.tables.read(as_bytes([ROW] * MANY)).keys == {}
    assert model.tables.read(as_bytes([{**ROW, "gappy": None}] * MANY)).columns["gappy"].has_missing()
    assert model.tables.read(as_bytes([{**ROW, "number": 2}] * MANY)).columns["number"].values[0] == 2.0


@pytest.mark.parametrize(
    "body",
    [
        as_bytes([ROW] * (MANY - 1)),
        as_bytes([{**ROW, "whole": None}] * MANY),
        as_bytes([{**ROW, "user id": 2.0**60}] * MANY),
        as_bytes([ROW] * MANY).replace(b'"truth": true', b'"truth": true, "truth": true', 1),
        as_bytes([ROW] * MANY).replace(b"}]}", b'}], "more": 1}'),
        as_bytes([ROW] * MANY)[:-1],
        b"",
    ],
)
def test_what_must_be_looked_at_is_not_read_in_one_go(model, body):
    assert model.tables.read(body) is None


def test_a_key_that_stands_twice_is_refused_in_a_batch_too(model):
    body = as_bytes([ROW] * MANY).replace(b'"truth": true', b'"truth": true, "truth": true', 1)
    with pytest.raises(Refusal, match="twice"):
        read_json(body)
