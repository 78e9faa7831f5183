"""Slices: every row in one, measured as by hand; what is bad is found, and luck is not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from mmp.evaluation.plots import canvas, slices
from mmp.evaluation.slices import FEWEST_ROWS, MISSING, MOST_VALUES, Cut, cut, each, search
from mmp.modeling.columns import column_of


def words(rng, n_rows, n_words, shares=None):
    return column_of("text", [f"w{code}" for code in rng.choice(n_words, n_rows, p=shares)])


def cuts_of(rng, n_rows):
    """The columns of a table as they come: numbers, words, gaps, and many values."""
    numbers = [column_of("float", rng.normal(size=n_rows).tolist()) for _ in range(8)]
    gaps = [
        column_of("integer", [None if gone else int(age) for age, gone in zip(rng.integers(18, 90, n_rows), rng.random(n_rows) < 0.1, strict=True)])
    ]  # fmt: skip
    columns = [*numbers, *gaps, *(words(rng, n_rows, n) for n in (2, 3, 7, 60))]
    return [cut(f"c{place}", column) for place, column in enumerate(columns)]


@given(
    st.sampled_from(["float", "integer", "boolean", "text", "timestamp"]).flatmap(
        lambda kind: st.tuples(
            st.just(kind),
            st.lists(
                st.none()
                | {
                    "float": st.floats(-1e9, 1e9),
                    "integer": st.integers(-9, 9) | st.integers(-(2**62), 2**62),
                    "boolean": st.booleans(),
                    "text": st.sampled_from([f"word {n}" for n in range(40)]),
                    "timestamp": st.integers(-(10**15), 10**16) | st.integers(0, 9),
                }[kind],
                min_size=1,
                max_size=80,
            ),
        )
    )
)
@settings(max_examples=150, deadline=None)
def test_every_row_is_in_one_slice_and_equal_values_are_together(case):
    kind, cells = case
    found = cut("column", column_of(kind, cells))
    assert len(found.codes) == len(cells)
    assert found.codes.min() >= 0
    assert found.codes.max() <= len(found.labels) - (0 if found.n_rare else 1)
    by_value = {}
    for value, code in zip(cells, found.codes.tolist(), strict=True):
        assert by_value.setdefault(value, code) == code
        if value is None and code < len(found.labels):
            assert found.labels[code] == MISSING
    assert len(set(found.labels)) == len(found.labels)
    if kind == "text":
        assert len(found.labels) <= MOST_VALUES
        assert found.n_rare == max(len(set(cells)) - MOST_VALUES, 0)
    elif kind != "boolean":
        known = [
            (value, code)
            for value, code in zip(cells, found.codes.tolist(), strict=True)
            if value is not None
        ]
        assert [code for _, code in sorted(known)] == sorted(code for _, code in known)


def test_numbers_are_divided_at_the_quartiles():
    rng = np.random.default_rng(0)
    values = rng.exponential(size=1001)
    found = cut("income", column_of("float", values.tolist()))
    edges = np.percentile(values, [25, 50, 75])
    assert np.abs(np.bincount(found.codes) - 250).max() <= 1
    assert (found.codes == np.searchsorted(edges, values)).all()


def test_a_slice_is_measured_as_by_hand():
    rng = np.random.default_rng(1)
    losses = rng.exponential(size=400)
    one = cut("word", words(rng, 400, 5))
    for found in each(one, losses):
        ((_, label),) = found.values
        own = losses[one.codes == one.labels.index(label)]
        error = max(own.std(ddof=1), losses.std()) / math.sqrt(len(own))
        assert (found.n_rows, found.loss) == (len(own), pytest.approx(own.mean()))
        assert found.high - found.loss == pytest.approx(1.96 * error, rel=1e-4)


@pytest.mark.parametrize("draw", [
    lambda rng, n: rng.exponential(size=n),
    lambda rng, n: np.abs(rng.standard_t(3, n)),
    lambda rng, n: (rng.random(n) < 0.03) * 3.5,
    lambda rng, n: 1 - (rng.random(n) < 0.03) * 0.99,
], ids=["log loss", "heavy tails", "rare errors", "rare successes"])  # fmt: skip
@pytest.mark.parametrize("n_rows", [200, 1500])
def test_luck_is_not_told(draw, n_rows):
    """Of tables in which no slice is worse than another, at most one in twenty may say so."""
    rng = np.random.default_rng(3)
    told = sum(bool(search(cuts_of(rng, n_rows), draw(rng, n_rows)).worst) for _ in range(120))
    assert binom.sf(told - 1, 120, 0.05) > 1e-3


def test_luck_of_groups_is_not_told():
    """Rows of a group are alike, and in one slice: there are fewer of them than it seems."""
    rng = np.random.default_rng(9)
    told = {True: 0, False: 0}
    for _ in range(60):
        groups = rng.permutation(np.repeat(np.arange(100), 15))
        losses = rng.exponential(size=100)[groups] + 0.1 * rng.exponential(size=1500)
        columns = (rng.choice(["a", "b", "c", "d"], 100)[groups].tolist() for _ in range(6))
        cuts = [cut(f"c{place}", column_of("text", column)) for place, column in enumerate(columns)]
        for together in told:
            told[together] += bool(search(cuts, losses, groups if together else None).worst)
    assert told[True] <= 8
    assert told[False] > 30


def test_a_bad_slice_of_groups_is_found():
    rng = np.random.default_rng(10)
    groups = rng.permutation(np.repeat(np.arange(200), 10))
    words = rng.choice(["a", "b", "c"], 200)[groups]
    losses = rng.exponential(size=200)[groups] + 3.0 * (words == "b")
    found = search([cut("word", column_of("text", words.tolist()))], losses, groups)
    assert [one.name for one in found.worst] == ["word = b"]
    (own,) = [
        one
        for one in each(cut("word", column_of("text", words.tolist())), losses, groups)
        if one.name == "word = b"
    ]
    sums = np.array(
        [
            (losses - own.loss)[(groups == group) & (words == "b")].sum()
            for group in np.unique(groups[words == "b"])
        ]
    )
    assert own.high - own.loss >= 1.959 * math.sqrt((sums**2).sum()) / own.n_rows


def test_a_bad_slice_is_found_and_how_bad_it_is():
    rng = np.random.default_rng(4)
    cuts = cuts_of(rng, 3000)
    bad = cuts[10].codes == 1
    losses = rng.exponential(size=3000) * np.where(bad, 2, 1)
    first, *others = search(cuts, losses).worst
    assert first.values == (("c10", cuts[10].labels[1]),)
    assert first.low < losses[bad].mean() < first.high
    assert not others


def test_a_bad_pair_is_found_and_not_blamed_on_its_columns():
    rng = np.random.default_rng(5)
    cuts = cuts_of(rng, 6000)
    bad = (cuts[10].codes == 1) & (cuts[9].codes == 0)
    losses = rng.exponential(size=6000) + 2.0 * bad
    names = [found.name for found in search(cuts, losses).worst]
    assert names[0] == f"c9 = {cuts[9].labels[0]} and c10 = {cuts[10].labels[1]}"


def test_a_small_slice_is_not_told_however_bad():
    rng = np.random.default_rng(6)
    losses = rng.exponential(size=1000)
    few = np.arange(1000) < FEWEST_ROWS - 1
    column = column_of("text", ["few" if is_few else "many" for is_few in few])
    assert not search([cut("size", column)], losses + 20 * few).worst
    enough = np.arange(1000) < FEWEST_ROWS
    column = column_of("text", ["few" if is_few else "many" for is_few in enough])
    assert [found.name for found in search([cut("size", column)], losses + 20 * enough).worst] == [
        "size = few"
    ]


def test_nothing_is_said_of_a_handful_of_rows_and_of_equal_losses():
    rng = np.random.default_rng(7)
    assert not search(cuts_of(rng, 20), rng.exponential(size=20)).worst
    assert not search(cuts_of(rng, 500), np.ones(500)).worst
    assert not search([], np.ones(500)).worst


def test_the_picture_shows_every_slice(tmp_path):
    rng = np.random.default_rng(8)
    cuts, losses = cuts_of(rng, 3000), rng.exponential(size=3000)
    found = search(cuts, losses * np.where(cuts[10].codes == 1, 3, 1))
    asked = [each(cuts[place], losses) for place in (8, 11, 12)]
    made = slices.picture(asked, found, loss="log_loss")
    canvas.save(made, tmp_path / "slices.png")
    (axes,) = made.axes
    said = [text.get_text() for text in axes.texts]
    assert sum(" = " in text for text in said) == len(found.worst) + sum(map(len, asked))
    assert axes.get_legend().get_texts()[0].get_text() == "worst, corrected for luck"


def test_what_explains_the_colors_hides_no_title():
    rng = np.random.default_rng(9)
    cuts, losses = cuts_of(rng, 3000), rng.exponential(size=3000)
    found = search(cuts, losses * np.where(cuts[10].codes == 1, 3, 1))
    seldom = Cut("a column with a long name", ("often", "seldom"), (np.arange(3000) < 20).astype(np.int32))
    (axes,) = slices.picture([each(seldom, losses)], found, loss="log_loss").axes
    words = axes.get_title("left")
    (title,) = [part for part in axes.get_children() if getattr(part, "get_text", str)() == words]
    assert len(axes.get_legend().get_texts()) == 3
    assert not axes.get_legend().get_window_extent().overlaps(title.get_window_extent())
