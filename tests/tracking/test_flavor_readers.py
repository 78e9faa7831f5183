"""Whatever `pandas.read_csv` makes of a file, the model sees the table that mmp reads from it."""

from __future__ import annotations

import csv
import json
import warnings
from datetime import UTC

import pandas as pd
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mmp.data import files
from mmp.modeling.columns import coerce
from mmp.tracking.flavor import _frame_source

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # MLflow's own, on being imported
    from mlflow.models.utils import _enforce_schema
    from mlflow.types.schema import Schema

MISSING = ["", "", "NA", "nan", "NULL", "None", "n/a", "<NA>"]
WORDS = {
    "integers": st.integers(-(2**31), 2**31).map(str),
    "large integers": st.integers(-(2**53), 2**53).map(str),
    "signed": st.integers(0, 99).map("{:+d}".format),
    "padded": st.integers(0, 99_999).map("{:05d}".format),
    "floats": st.floats(-1e6, 1e6, width=32).map(str),
    "decimals": st.decimals(-1000, 1000, places=2).map(str),
    "exponents": st.floats(-1e30, 1e30).map("{:e}".format),
    "whole floats": st.integers(-99, 99).map("{}.0".format),
    "flags": st.sampled_from(["True", "False"]),
    "small flags": st.sampled_from(["true", "false"]),
    "bits": st.sampled_from(["0", "1"]),
    "answers": st.sampled_from(["yes", "no"]),
    "days": st.dates().map(str),
    "moments": st.datetimes().map(lambda moment: moment.replace(microsecond=0).isoformat()),
    "zoned": st.datetimes(timezones=st.just(UTC)).map(lambda moment: moment.isoformat(" ")),
    "text": st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=6),
    "texts and numbers": st.sampled_from(["A1", "x"])
    | st.sampled_from(["A1", "12", "007", "1.50", "x", "1e3"]),
    "spaced": st.sampled_from([" a", "a ", "a b", "  "]),
    "nothing": st.just(""),
}


@st.composite
def tables(draw):
    kinds = draw(st.lists(st.sampled_from(sorted(WORDS)), min_size=1, max_size=4, unique=True))
    n_rows = draw(st.integers(1, 8))
    gaps = draw(st.booleans())
    columns = {}
    for kind in kinds:
        word = WORDS[kind] | st.sampled_from(MISSING) if gaps else WORDS[kind]
        columns[kind] = draw(st.lists(word, min_size=n_rows, max_size=n_rows))
    columns["last"] = ["x"] * n_rows  # a row of nothing but missing cells would be a blank line
    return columns


def _read(path, columns):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return files.read(str(path))


def _cells(specs, source):
    return {name: column.to_list() for name, column in coerce(specs, source).items()}


@given(tables())
@example({"age": ["1", "", "3"], "zip": ["00007", "", "12345"], "ok": ["True", "", "False"]})
@example({"a": ["9007199254740993", "2", "1"], "b": ["x", "NA", "y"], "c": ["", "", ""]})
@example(
    {"day": ["2024-01-02", "", "2024-02-29"], "at": ["2024-01-02T03:04:05Z", "", "2024-01-02T03:04:05Z"]}
)
@example({"share": [" ", "1", "2.5"], "charge": ["1", " ", "3"]})
@settings(deadline=None, max_examples=150)
def test_pandas_and_mmp_read_the_same_cells(tmp_path_factory, columns):
    path = tmp_path_factory.mktemp("file") / "table.csv"
    table = _read(path, columns)
    expected = _cells(table.specs, table.arrow)
    # the fast parser of pandas may miss the nearest float by a bit
    frame = pd.read_csv(path, float_precision="round_trip")
    assert _cells(table.specs, _frame_source(frame)) == expected
    schema = Schema.from_json(json.dumps([{"type": "any", "name": name} for name in columns]))
    assert _cells(table.specs, _frame_source(_enforce_schema(frame, schema))) == expected
    assert _cells(table.specs, frame.to_dict("records")) == expected
