"""What is remembered of texts: the same numbers as if they were made anew."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.bundles import train, write_csv

from mmp.errors import DataError
from mmp.modeling import program
from mmp.modeling.columns import column_of
from mmp.modeling.pipeline import FittedPipeline
from mmp.settings.steps import STEP_MODELS

TEXTS = ["Köln", "New York", "St. John's", "東京", "unheard of", "another", "", None]


def steps(*named):
    return [STEP_MODELS[kind](type=kind, **options) for kind, options in named]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    path = write_csv(tmp_path_factory.mktemp("program") / "table.csv")
    chosen = steps(
        ("datetime_features", {}),
        ("one_hot_encoder", {"columns": ["city"]}),
        ("target_encoder", {"columns": ["zip"]}),
    )
    return train(path, steps=chosen).pipeline


def anew(pipeline):
    """Return the pipeline without what it remembers."""
    return FittedPipeline.from_state(*pipeline.to_state())


def table(pipeline, cities):
    cells = {"city": [city or None for city in cities], "zip": [f"0100{len(c or '') % 9}" for c in cities]}
    numbers = {"integer": 1, "float": 0.5, "boolean": True, "timestamp": 1_700_000_000_000_000}
    return {
        spec.name: column_of(spec.kind, cells.get(spec.name) or [numbers[spec.kind]] * len(cities))
        for spec in pipeline.inputs
    }


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(TEXTS), min_size=1, max_size=6), min_size=1, max_size=6), st.booleans()
)
def test_texts_seen_before_make_the_numbers_that_new_ones_do(fitted, batches, forgets):
    remembers = anew(fitted)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(program, "_MOST_TEXTS", 3 if forgets else 1_000)
        for cities in batches:
            columns = table(fitted, cities)
            expected = anew(fitted).matrix(columns).values
            np.testing.assert_array_equal(remembers.matrix(columns).values, expected)


def test_more_texts_than_are_remembered_make_the_same(fitted, monkeypatch):
    columns = table(fitted, TEXTS * 3)
    expected = fitted.matrix(columns).values
    monkeypatch.setattr(program, "_FEW_TEXTS", 1)
    np.testing.assert_array_equal(anew(fitted).matrix(columns).values, expected)


def test_threads_that_learn_at_once_do_not_mix_their_texts(fitted, monkeypatch):
    monkeypatch.setattr(program, "_MOST_TEXTS", 20)
    remembers = anew(fitted)
    batches = [[f"town {n}", TEXTS[n % len(TEXTS)], f"town {n // 2}"] for n in range(60)]
    expected = [anew(fitted).matrix(table(fitted, cities)).values for cities in batches]
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda cities: remembers.matrix(table(fitted, cities)).values, batches * 3))
    for each, wanted in zip(made, expected * 3, strict=True):
        np.testing.assert_array_equal(each, wanted)


def test_a_text_that_an_encoder_refuses_is_refused_each_time(tmp_path):
    path = write_csv(tmp_path / "table.csv")
    chosen = steps(
        ("datetime_features", {}), ("one_hot_encoder", {"columns": ["city"], "handle_unknown": "error"})
    )
    pipeline = train(path, steps=chosen).pipeline
    assert len(pipeline.matrix(table(pipeline, ["Köln"])).values) == 1
    for _ in range(2):
        with pytest.raises(DataError, match="unheard of"):
            pipeline.matrix(table(pipeline, ["Köln", "unheard of"]))


def test_long_texts_are_not_kept(fitted):
    remembers = anew(fitted)
    long = ["x" * 1_000, "Köln"]
    columns = table(fitted, long)
    np.testing.assert_array_equal(remembers.matrix(columns).values, anew(fitted).matrix(columns).values)
    assert "x" * 1_000 not in _known(remembers)
    remembers.matrix(table(fitted, ["Köln"]))
    assert "Köln" in _known(remembers)


def _known(pipeline):
    """Return every text that a pipeline remembers."""
    return {text for memory in pipeline._program.memories.values() for text in memory._known[0]}
