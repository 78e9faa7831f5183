"""Pictures, opened as what they are: PNG files, and the numbers that they are drawn from."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import precision_recall_curve, roc_curve

from mmp.evaluation.curves import Ranking, thinned
from mmp.evaluation.explain import Explanation
from mmp.evaluation.metrics import Decisions, Errors
from mmp.evaluation.plots import canvas, classes, features, numbers
from mmp.evaluation.plots.reliability import reliability
from mmp.evaluation.plots.thresholds import trade_off
from mmp.modeling.columns import Column

AWKWARD = [
    "<=50K",
    "_private",
    "$100$",
    "東京 🙂",
    "a label that goes on and on and on and on",
    "two\nlines",
    "",
    "نعم",
]


def judged(labels, n_rows=400, positive=None, seed=0, threshold=0.5):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, len(labels), n_rows).astype(np.int32)
    scores = rng.normal(size=(n_rows, len(labels)))
    scores[np.arange(n_rows), truth] += 1.5
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    rows = Decisions(truth, probabilities.argmax(axis=1), probabilities)
    return classes.Judged(rows, labels, positive, "test", threshold)


def measured(truth, predicted, target="price [$]"):
    return numbers.Measured(Errors(np.asarray(truth, float), np.asarray(predicted, float)), target, "test")


def explanation(n_classes, n_columns=5, n_rows=80):
    rng = np.random.default_rng(0)
    names = tuple(f"column {place} 🙂 {'x' * 30}" for place in range(n_columns))
    values = rng.normal(size=(n_rows, max(n_classes, 1), n_columns)) * np.arange(n_columns, 0, -1)
    labels = ("yes",) if n_classes == 1 else tuple(f"class {k}" for k in range(n_classes))
    unit = "log-odds" if n_classes else "value"
    found = Explanation(names, labels, unit, np.arange(n_rows), values, np.zeros(max(n_classes, 1)))
    kinds = [
        Column(
            "float",
            np.where(np.arange(n_rows) % 7 == 0, np.nan, rng.normal(size=n_rows)),
            np.arange(n_rows) % 7 > 0,
        ),
        Column("text", np.zeros(n_rows, np.int32), None, ("a",)),
        Column("boolean", rng.random(n_rows) > 0.5),
    ]
    return found, {name: kinds[place % 3] for place, name in enumerate(names)}


def drawn(pictures, folder):
    """Save pictures and open them again."""
    opened = {}
    for name, figure in pictures:
        canvas.save(figure, folder / f"{name}.png")
        with Image.open(folder / f"{name}.png") as image:
            image.load()
            opened[name] = image.convert("RGB")
    return opened


def check(image):
    width, height = image.size
    assert 500 <= width <= 1400
    assert 200 <= height <= 1400
    cells = np.asarray(image).reshape(-1, 3)
    assert (cells == 255).all(axis=1).mean() > 0.15, "room around what is drawn"
    assert len(np.unique(cells, axis=0)) > 20, "something is drawn"


@pytest.mark.parametrize("n_classes", [2, 3, 8, 20, 60])
def test_decisions_are_drawn(n_classes, tmp_path):
    labels = [f"{AWKWARD[code % 8]} {code}" if code >= 8 else AWKWARD[code] for code in range(n_classes)]
    images = drawn(classes.pictures(judged(labels, positive=1 if n_classes == 2 else None)), tmp_path)
    assert list(images) == ["confusion", "roc", "precision_recall", "lift"]
    for image in images.values():
        check(image)


def test_one_class_has_a_confusion_matrix_and_no_curves(tmp_path):
    rows = Decisions(np.zeros(9, np.int32), np.zeros(9, np.int32), np.tile([0.7, 0.3], (9, 1)))
    assert list(drawn(classes.pictures(classes.Judged(rows, ["no", "yes"], 1, "test")), tmp_path)) == [
        "confusion"
    ]


@pytest.mark.parametrize("n_classes", [2, 3, 8])
@pytest.mark.parametrize("is_calibrated", [True, False])
def test_reliability_is_drawn(n_classes, is_calibrated, tmp_path):
    shown = judged(AWKWARD[:n_classes], positive=1 if n_classes == 2 else None)
    before = (
        dataclasses.replace(shown.rows, probabilities=shown.rows.probabilities.round())
        if is_calibrated
        else None
    )
    made = reliability(shown, before)
    check(drawn([("reliability", made)], tmp_path)["reliability"])
    said = [text.get_text() for text in made.axes[0].get_legend().get_texts()]
    assert [line.partition(",")[0] for line in said] == (
        ["as often as said", "before calibration", "calibrated"]
        if is_calibrated
        else ["as often as said", "as they are"]
    )


def test_reliability_is_what_the_rows_say(tmp_path):
    p = np.repeat([0.0, 0.25, 1.0], 200)
    came = np.concatenate((np.arange(200) < 20, np.arange(200) < 50, np.arange(200) < 180))
    rows = Decisions(came.astype(np.int32), np.zeros(600, np.int32), np.stack((1 - p, p), axis=1))
    made = reliability(classes.Judged(rows, ["no", "yes"], 1, "test"))
    (line,) = [line for line in made.axes[0].lines if len(line.get_xdata()) == 3]
    assert line.get_xdata().tolist() == [0.0, 0.25, 1.0]
    assert line.get_ydata().tolist() == [0.1, 0.25, 0.9]
    assert "ece 0.0667" in made.axes[0].get_legend().get_texts()[1].get_text()


@pytest.mark.parametrize(
    "more", [{}, {"cost": np.array([5.0, 3.0, 2.5, 9.0])}, {"mcc": np.array([0, -0.1, 0.5, 0])}]
)
def test_thresholds_are_drawn(more, tmp_path):
    table = {
        "threshold": np.array([1.0, 0.7, 0.3, 0.0]),
        "selected": np.array([0, 10, 30, 100]),
        "precision": np.array([0.0, 0.9, 0.6, 0.2]),
        "recall": np.array([0.0, 0.5, 0.9, 1.0]),
        **more,
    }
    made = trade_off(table, 0.3, title="Threshold · validation, 100 rows")
    check(drawn([("thresholds", made)], tmp_path)["thresholds"])
    assert len(made.axes) == (2 if "cost" in more else 1)
    assert all("chosen, 0.3" in [t.get_text() for t in axes.get_legend().get_texts()] for axes in made.axes)


NUMBERS = {
    "usual": lambda rng: (x := rng.normal(100, 20, 500), x + rng.normal(0, 5, 500)),
    "heavy tails": lambda rng: (x := np.exp(rng.normal(3, 2, 5000)), x * np.exp(rng.normal(0, 0.3, 5000))),
    "both signs, far out": lambda rng: (x := rng.standard_cauchy(4000), x + rng.standard_cauchy(4000)),
    "one prediction": lambda rng: (rng.normal(size=50), np.full(50, 2.0)),
    "one row": lambda rng: ([3.0], [4.0]),
    "all the same": lambda rng: ([3.0, 3.0], [3.0, 3.0]),
    "very large": lambda rng: (rng.normal(size=50) * 1e200, rng.normal(size=50) * 1e200),
    "very small": lambda rng: (rng.random(50) * 1e-200, rng.random(50) * 1e-200),
}


@pytest.mark.parametrize("case", NUMBERS)
def test_numbers_are_drawn(case, tmp_path):
    images = drawn(numbers.pictures(measured(*NUMBERS[case](np.random.default_rng(0)))), tmp_path)
    assert list(images) == ["predicted_vs_true", "residuals"]
    for image in images.values():
        check(image)


def test_a_million_rows_are_drawn(tmp_path):
    rng = np.random.default_rng(0)
    truth = rng.gamma(2, 50, 1_000_000)
    for image in drawn(
        numbers.pictures(measured(truth, truth + rng.normal(0, 9, 1_000_000))), tmp_path
    ).values():
        check(image)


@pytest.mark.parametrize("n_classes", [0, 1, 3, 9])
@pytest.mark.parametrize("n_columns", [1, 5, 40])
def test_explanations_are_drawn(n_classes, n_columns, tmp_path):
    found, columns = explanation(n_classes, n_columns)
    images = drawn(features.pictures(found, columns, target="price [$]"), tmp_path)
    assert list(images) == ["shap_bar", "shap_beeswarm"]
    for image in images.values():
        check(image)


def test_importance_is_drawn(tmp_path):
    losses = {f"column {place}": 0.1 - place / 100 for place in range(30)}
    figure = features.importance(losses, metric="roc_auc", split="test")
    (axes,) = figure.axes
    names = [text.get_text() for text in axes.texts]
    assert names == [*(f"column {place}" for place in range(20)), "and 10 weaker"]
    assert axes.get_xlabel() == "what roc_auc loses when the column is shuffled"
    check(drawn([("importance", figure)], tmp_path)["importance"])


def test_bars_are_as_long_as_their_numbers():
    figure = features.importance({"up": 0.5, "none": 0.0, "down": -0.25}, metric="roc_auc", split="test")
    drawn_to = {}
    for patch in figure.axes[0].patches:
        ends, edges, _ = patch.get_data()
        for row, end in enumerate(ends[::2]):
            if end:
                assert edges[2 * row : 2 * row + 2].tolist() == pytest.approx([row - 0.35, row + 0.35])
                drawn_to[row] = end
    assert drawn_to == {0: 0.5, 2: -0.25}


def test_help_texts_are_left_out_of_processes_of_our_own_only():
    program = (
        "import sys; from mmp.modeling import lean; lean.enable() if sys.argv[1] == 'ours' else None\n"
        "import mmp.evaluation.plots.canvas, matplotlib.artist, matplotlib.lines\n"
        "print('Properties:\\n    a' in matplotlib.lines.Line2D.set.__doc__, matplotlib.artist.kwdoc.__name__)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "MMP_LEAN_IMPORTS"}
    for whose, expected in (("ours", "False kwdoc"), ("theirs", "True kwdoc")):
        command = [sys.executable, "-c", program, whose]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        assert done.stdout.strip() == expected


def test_files_have_the_pixels_that_were_drawn(tmp_path):
    figure = classes.roc(judged(["no", "yes"], positive=1))
    image = drawn([("roc", figure)], tmp_path)["roc"]
    assert (np.asarray(image) == np.asarray(figure.canvas.buffer_rgba())[..., :3]).all()


def test_equal_figures_are_equal_files(tmp_path):
    paths = tmp_path / "a.png", tmp_path / "b.png"
    for path in paths:
        canvas.save(classes.roc(judged(["no", "yes"], positive=1)), path)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_curves_are_those_of_scikit_learn():
    rows = judged(["no", "yes"], 300, 1).rows
    scores, truth = rows.probabilities[:, 1].round(2), rows.truth == 1
    ranking = Ranking.of(scores, truth)
    false, true, _ = roc_curve(truth, scores, drop_intermediate=False)
    np.testing.assert_allclose(ranking.roc(), (false, true))
    precision, recall, _ = precision_recall_curve(truth, scores)
    ours = ranking.precision_recall()
    np.testing.assert_allclose(ours[0], recall[:-1][::-1])
    np.testing.assert_allclose(ours[1], precision[:-1][::-1])
    taken, found = ranking.gain()
    assert (taken[0], found[0], taken[-1], found[-1]) == (0, 0, 1, 1)
    share, lift = ranking.lift()
    np.testing.assert_allclose(lift[-1], 1)
    np.testing.assert_allclose(lift * share, np.interp(share, taken, found))


def test_a_thinned_line_is_the_same_line():
    x = np.linspace(0, 1, 200_000)
    few = thinned(x, x**8)
    assert len(few[0]) <= 400
    assert (few[0][0], few[0][-1]) == (0, 1)
    assert np.abs(np.interp(x, *few) - x**8).max() < 0.01


def test_the_legend_says_the_logged_metric():
    case = judged(["no", "yes"], positive=1, threshold=0.3)
    (axes,) = classes.roc(case).axes
    area = case.rows.areas(1).roc
    said = [text.get_text() for text in axes.get_legend().get_texts()]
    assert said == [f"yes, area {area:.3f}", "by chance, area 0.5", "decided at 0.3"]
    recall = case.rows.hits[1] / case.rows.actual[1]
    assert axes.lines[-1].get_ydata()[0] == recall


def test_many_classes_are_merged_and_none_is_lost():
    case = judged([f"c{code}" for code in range(50)], 3000)
    counts, labels = classes.merged(case)
    assert counts.shape == (20, 20)
    assert labels[-1] == "31 others"
    rows = case.rows
    kept = [int(label[1:]) for label in labels[:-1]]
    np.testing.assert_array_equal(counts.sum(axis=1)[:-1], rows.actual[kept])
    np.testing.assert_array_equal(np.diag(counts)[:-1], rows.hits[kept])
    assert np.diag(counts).sum() == rows.hits.sum()


def test_labels_are_made_fit_to_be_drawn():
    made = canvas.readable(AWKWARD)
    assert made[:3] == ["<=50K", "_private", r"\$100\$"]
    assert made[5] == "two lines"
    assert len(set(made)) == len(made)
    assert max(map(len, made)) <= canvas.LONGEST
    assert all("\n" not in label and label for label in made)
    twins = canvas.readable(["x" * 60 + "a", "x" * 60 + "a", "y"])
    assert len(set(twins)) == 3
    assert all(ord(character) in canvas._glyphs() for label in made for character in label)


def test_an_axis_leaves_out_the_few_that_lie_far_out():
    values = np.append(np.random.default_rng(0).normal(size=5000), [1e6, -1e6])
    low, high = numbers.frame(values)
    assert -15 < low < -2
    assert 2 < high < 15
    assert np.count_nonzero(~numbers.within(values, low, high)) < 30
    low, high = numbers.frame(np.array([1.0, 2.0, 3.0]))
    assert low < 1
    assert high > 3
    assert numbers.is_heavy(np.exp(np.random.default_rng(0).normal(0, 2.5, 5000)))
    assert not numbers.is_heavy(np.arange(100.0))


def test_colours_are_ranks_and_words_have_none():
    column = Column("integer", np.array([5, 1, 1, 9]), np.array([True, True, True, False]))
    shades = features.shades(column)
    assert shades[1] == shades[2] < shades[0]
    assert np.isnan(shades[3])
    assert np.isnan(features.shades(Column("text", np.zeros(3, np.int32), None, ("a",)))).all()


def test_no_global_state():
    code = (
        "import sys, matplotlib\n"
        "before = dict(dict.items(matplotlib.rcParams))  # reading the backend would import pyplot\n"
        "from mmp.evaluation.plots import canvas, classes, features, numbers\n"
        "assert dict(dict.items(matplotlib.rcParams)) == before\n"
        "heavy = {'matplotlib.pyplot', 'pandas', 'sklearn', 'shap'} & sys.modules.keys()\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
