"""Every row of the table of metrics against scikit-learn, and each of its variants."""

import math
import subprocess
import sys
import warnings
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk
from sklearn.isotonic import IsotonicRegression

from mmp.catalog.metrics import METRICS
from mmp.errors import DataError
from mmp.evaluation.evaluate import evaluate
from mmp.evaluation.metrics import confusion
from mmp.modeling.decision import class_names, decide
from mmp.modeling.target import Target

LABELS = {2: ("<=50K", ">50K"), 3: (10, 20, 30), 4: ("a", "b", "macro", "ü"), 5: (0.5, 1.0, 1.5, 2.0, 7.0)}


@dataclass(frozen=True)
class Case:
    truth: np.ndarray
    output: np.ndarray
    positive: int | None = None
    threshold: float = 0.5

    @property
    def codes(self):
        return range(self.output.shape[1])

    @property
    def decided(self):
        return decide(self.output, threshold=self.threshold, positive=self.positive)

    @property
    def target(self):
        if self.output.ndim == 1:
            return Target("regression", self.truth)
        labels = LABELS[self.output.shape[1]]
        return Target("classification", self.truth.astype(np.int32), labels, self.positive)


@st.composite
def classified(draw):
    """Few rows and few distinct scores, so that ties, absent classes and sure errors are common."""
    n_classes, n_rows = draw(st.integers(2, 5)), draw(st.integers(1, 30))
    weights = st.sampled_from([0, 0, 1, 1, 2, 3, 1e-20, 1e300])
    shares = draw(
        st.lists(
            st.lists(weights, min_size=n_classes, max_size=n_classes).filter(any),
            min_size=n_rows,
            max_size=n_rows,
        )
    )
    output = np.array(shares, np.float64)
    output /= output.max(axis=1, keepdims=True)
    output /= output.sum(axis=1, keepdims=True)
    truth = draw(st.lists(st.integers(0, n_classes - 1), min_size=n_rows, max_size=n_rows))
    positive = draw(st.sampled_from([0, 1])) if n_classes == 2 else None
    return Case(np.array(truth), output, positive, draw(st.sampled_from([0.5, 0.25, 0.9])))


@st.composite
def measured(draw):
    numbers = st.integers(-3_000, 3_000).map(lambda number: number / 1_000) | st.integers(-3, 3).map(float)
    rows = draw(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=30))
    truth, output = np.array(rows).T
    return Case(truth, output)


def of_labels(score):
    def oracle(case, variant):
        if variant in {"macro", "weighted"}:
            return score(case.truth, case.decided, average=variant, zero_division=0)
        return score(case.truth, case.decided, labels=[variant], average="macro", zero_division=0)

    return oracle


def of_scores(score):
    def oracle(case, variant):
        of_class = [score(case.truth == code, case.output[:, code]) for code in case.codes]
        if variant == "macro":
            return np.mean(of_class)
        if variant == "weighted":
            counts = np.bincount(case.truth, minlength=len(of_class))
            return (
                sum(value * count for value, count in zip(of_class, counts, strict=True) if count)
                / counts.sum()
            )
        return of_class[variant]

    return oracle


def recall(case, variant):
    absent = variant not in {"macro", "weighted"} and variant not in case.truth
    return math.nan if absent else of_labels(sk.recall_score)(case, variant)


def f1(case, variant):
    absent = variant in case.codes and variant not in [*case.truth, *case.decided]
    return math.nan if absent else of_labels(sk.f1_score)(case, variant)


def average_precision(truth, scores):
    return sk.average_precision_score(truth, scores) if truth.any() else math.nan


def binary_or_many(score):
    return lambda case: score(case.truth, case.output, labels=list(case.codes))


def ece(truth, scores):
    """Walk through the ranks, rows of one score together in the bin of their middle."""
    n_rows, apart, rank = len(scores), [0.0] * 10, 0
    for score in sorted(set(scores)):
        same = scores == score
        apart[int((rank + same.sum() / 2) * 10 / n_rows)] += (scores[same] - truth[same]).sum()
        rank += same.sum()
    return sum(map(abs, apart)) / n_rows


def decomposed(case):
    """Return Murphy's three parts, for the bins that isotonic regression makes."""
    parts = np.zeros(3)
    for code in case.codes if len(case.codes) > 2 else [1]:
        hits, scores = (case.truth == code).astype(float), case.output[:, code]
        level = IsotonicRegression().fit_transform(np.unique(scores, return_inverse=True)[1], hits)
        share = hits.mean()
        parts += (
            np.mean((scores - hits) ** 2 - (level - hits) ** 2),
            np.mean((level - share) ** 2),
            share * (1 - share),
        )
    return parts


ORACLES = {
    "accuracy": lambda case: sk.accuracy_score(case.truth, case.decided),
    "balanced_accuracy": lambda case: sk.balanced_accuracy_score(case.truth, case.decided),
    "precision": of_labels(sk.precision_score),
    "recall": recall,
    "f1": f1,
    "roc_auc": of_scores(sk.roc_auc_score),
    "average_precision": of_scores(average_precision),
    "log_loss": binary_or_many(sk.log_loss),
    "brier": binary_or_many(sk.brier_score_loss),
    "brier_reliability": lambda case: decomposed(case)[0],
    "brier_resolution": lambda case: decomposed(case)[1],
    "brier_uncertainty": lambda case: decomposed(case)[2],
    "ece": of_scores(ece),
    "cost": lambda case: 1 - sk.accuracy_score(case.truth, case.decided),
    "mcc": lambda case: sk.matthews_corrcoef(case.truth, case.decided),
    "mae": lambda case: sk.mean_absolute_error(case.truth, case.output),
    "mse": lambda case: sk.mean_squared_error(case.truth, case.output),
    "rmse": lambda case: sk.root_mean_squared_error(case.truth, case.output),
    "r2": lambda case: sk.r2_score(case.truth, case.output) if np.ptp(case.truth) else math.nan,
    "mape": lambda case: (
        sk.mean_absolute_percentage_error(case.truth, case.output) if case.truth.all() else math.nan
    ),
    "smape": lambda case: np.mean(
        [
            2 * abs(y - p) / (abs(y) + abs(p)) if y or p else 0
            for y, p in zip(case.truth, case.output, strict=True)
        ]
    ),
    "median_ae": lambda case: sk.median_absolute_error(case.truth, case.output),
    "max_error": lambda case: sk.max_error(case.truth, case.output),
}
# what bounds, quantiles and sets are judged by has its oracles in test_promises
OF_ANSWERS = {name: metric for name, metric in METRICS.items() if metric.needs != "promises"}
VARIANTS = [
    *((name, None) for name, metric in OF_ANSWERS.items() if not metric.by_class),
    *(
        (name, variant)
        for name, metric in OF_ANSWERS.items()
        if metric.by_class
        for variant in ("", "macro", "weighted", "class")
    ),
]


def ours(case, name):
    try:
        (value,) = evaluate(
            case.target,
            case.output,
            task=METRICS[name.split(":")[0]].tasks[0],
            metrics=[name.replace(":", "_")],
            threshold=case.threshold,
        ).values()
    except DataError:
        return math.nan
    return value


def same(left, right):
    return math.isclose(left, right, rel_tol=1e-12, abs_tol=1e-12) or (math.isnan(left) and math.isnan(right))


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_value_is_scikit_learns(name, variant, data):
    case = data.draw(classified() if "classification" in METRICS[name].tasks else measured())
    with warnings.catch_warnings(action="ignore"):
        if variant is None:
            pairs = [(ours(case, name), ORACLES[name](case))]
        elif variant == "":
            expected = ORACLES[name](case, "macro" if case.positive is None else case.positive)
            pairs = [(ours(case, name), expected)]
        elif variant == "class":
            names = class_names(case.target.classes)
            pairs = [(ours(case, f"{name}:{names[code]}"), ORACLES[name](case, code)) for code in case.codes]
        else:
            pairs = [(ours(case, f"{name}:{variant}"), ORACLES[name](case, variant))]
    for value, expected in pairs:
        assert same(value, float(expected)), (name, variant, value, expected)


def test_every_row_has_an_oracle_and_no_oracle_is_left_over():
    assert set(ORACLES) == set(OF_ANSWERS)


@pytest.mark.parametrize("metric", OF_ANSWERS.values(), ids=lambda metric: metric.name)
def test_direction_is_the_formulas(metric):
    rng = np.random.default_rng(0)
    if "classification" in metric.tasks:
        truth = rng.integers(0, 3, 60)
        right = np.eye(3)[truth] * 0.8 + 0.2 / 3
        wrong = np.roll(right, 1, axis=1)
    else:
        truth = rng.uniform(1, 9, 60)
        right, wrong = truth + 0.1, truth[::-1] * 3
    good, bad = (ours(Case(truth, output), metric.name) for output in (right, wrong))
    assert (good > bad) is metric.greater_is_better


@pytest.mark.parametrize("n_classes", [2, 5])
def test_many_rows_and_real_scores(n_classes):
    rng = np.random.default_rng(n_classes)
    truth = rng.integers(0, n_classes, 50_000)
    output = rng.dirichlet(np.ones(n_classes), len(truth)).astype(np.float32).astype(np.float64)
    output[np.arange(len(truth)), truth] += 0.2
    output /= output.sum(axis=1, keepdims=True)
    case = Case(truth, output, 1 if n_classes == 2 else None)
    for name, metric in OF_ANSWERS.items():
        if "classification" in metric.tasks:
            variant = ("macro" if n_classes > 2 else 1,) if metric.by_class else ()
            assert same(ours(case, name), float(ORACLES[name](case, *variant))), name


@settings(max_examples=50, deadline=None, derandomize=True)
@given(classified())
def test_confusion_is_scikit_learns(case):
    expected = sk.confusion_matrix(case.truth, case.decided, labels=list(case.codes))
    assert (confusion(case.truth, case.decided, n_classes=len(case.codes)) == expected).all()


def test_metrics_import_neither_scikit_learn_nor_scipy_nor_pandas():
    code = """
import sys
import numpy as np
from mmp.evaluation.evaluate import evaluate
from mmp.modeling.target import Target
target = Target("classification", np.array([0, 1, 1, 0], np.int32), ("a", "b"), 1)
evaluate(target, np.array([[.9, .1], [.2, .8], [.6, .4], [.7, .3]]), task="classification")
evaluate(Target("regression", np.array([1., 2.])), np.array([1., 3.]), task="regression")
print(sorted({"sklearn", "scipy", "pandas"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
