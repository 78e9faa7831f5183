"""A preset: what is known to be good is tried on the folds of the training rows for as long as there is time.

1. The first booster on one fold says how long a fit takes, and so how many folds there is time for.
2. The portfolio (`mmp.catalog.portfolio`) is tried in its order; with `best`, then variations of what did
   best, until the time is up or nothing gets better.
3. The best by their out-of-fold loss are joined, greedily or by stacking, whichever says more of rows that
   its weights do not know; as many of them as there is time to fit again.

Time is that of the whole training after the table was read and divided. What comes after the last fit has
its share of it, and a booster that would take longer ends as it is. What is tried so depends on the machine;
what came out is written as a recipe that does not.
"""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mmp.catalog.portfolio import MEMBERS, SECONDS
from mmp.errors import Finding, MissingExtraError, MmpError
from mmp.lookup import install_line
from mmp.modeling.blending import Method, loss_of
from mmp.pipelines.check import model_row
from mmp.pipelines.ensemble import Joined, finish, row_weights
from mmp.pipelines.fitting import fit
from mmp.pipelines.out_of_fold import Folds, Said, out_of_fold
from mmp.pipelines.prepare import divide
from mmp.settings.emit import render
from mmp.settings.members import candidate_recipes
from mmp.settings.model import Ensemble

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from mmp.catalog.portfolio import Effort
    from mmp.catalog.row import Space
    from mmp.pipelines.fitting import Ready
    from mmp.pipelines.prepare import Parts, Prepared
    from mmp.pipelines.record import Findings
    from mmp.pipelines.rows import Rows
    from mmp.pipelines.steps import Steps
    from mmp.settings.recipe import Recipe
    from mmp.tracking.run import ActiveRun

RECIPE_FILE = "ensemble/recipe.yaml"
"""Where the run keeps what came out, as a recipe that trains it again."""

_ENDED = frozenset({"xgboost", "lightgbm", "catboost"})  # engines whose fits end where they are told to
_MARGIN = 1.3  # what a fit may take longer than it was reckoned to
_MORE_ROWS = 1.3  # what it takes longer on all training rows than on those of a fold
_LEAST_AGAIN, _MOST_AGAIN = 0.1, 0.3  # of the limit, that is kept for weights and the last fits
_FEW_ROWS = 1000  # whose fits need no reckoning
_SAMPLE, _WARMING = 8, 100  # one row in so many, after a few, says how long a fit takes that cannot be ended
_POWERS = {"SVC": 2.2, "SVR": 2.2, "LogisticRegression": 1.4}
_POWER = 1.15  # of the rows, in which the time of a fit grows
_IDLE_DRAWS = 40  # variations in a row that are not among the best
_POOL, _OF_KIND = 24, 4  # of the best that are joined, and of those with one estimator
_PARENTS = 4  # of the best that are varied
_STEP = 0.2  # of the width of a space that a value moves by
_FITS = 16  # of the first booster on a fold, as which the portfolio is reckoned
_MOST_SHARE = 0.7  # of the time that is left, for one of the portfolio
_LEAST_DONE = 0.3  # of what the first booster took, in which another is worth beginning
_LEAST = 0.01
_METHODS: tuple[Method, ...] = ("greedy", "stacking")


@dataclass
class Budget:
    """Seconds, and what they are needed for.

    Parameters
    ----------
    limit_s : float
        All of them.
    after_s : float
        Those that are needed after the last fit.
    clock : callable
        Tells the time in seconds.
    """

    limit_s: float
    after_s: float = 0.0
    clock: Callable[[], float] = time.perf_counter
    began: float = field(init=False)

    def __post_init__(self) -> None:
        self.began = self.clock()

    @property
    def ends_at(self) -> float:
        """When the last fit has to be done."""
        return self.began + self.limit_s - self.after_s

    @property
    def left(self) -> float:
        """Seconds until then."""
        return self.ends_at - self.clock()

    @classmethod
    def of(cls, recipe: Recipe) -> Budget:
        """Return the time that a recipe gives, a part of it kept for what is shown of the model."""
        limit = recipe.model.time_limit_s or SECONDS[effort_of(recipe)]
        wanted = recipe.evaluation
        shown = 0.15 * limit if wanted.explain.enabled else 0.0
        drawn = min(6.0, 0.2 * limit) if wanted.plots else 0.0
        return cls(limit, 0.06 * limit + shown + drawn)


def effort_of(recipe: Recipe) -> Effort:
    """Return the preset of a recipe."""
    assert recipe.model.preset is not None
    return recipe.model.preset


def choose(
    active: ActiveRun,
    rows: Rows,
    parts: Parts,
    divisions: Sequence[Parts],
    recipe: Recipe,
    steps: Steps,
    findings: Findings,
) -> Ready:
    """Find models within the time limit, and make ready to fit the best together.

    Parameters
    ----------
    active, rows, parts, divisions, steps, findings
        As of `mmp.pipelines.ensemble.join`.
    recipe : Recipe
        Its ``model.preset`` and ``model.time_limit_s``.

    Raises
    ------
    MmpError
        Where nothing could be fitted.
    """
    budget = Budget.of(recipe)
    with steps("search") as note:
        made = divisions or tuple(reversed(divide(rows, parts["train"], recipe, every_class=False)))
        search = Search(recipe, Folds(rows, made), budget, steps.progress)
        search.run(may_use_fewer=not divisions)
        joined = search.joined()
        findings.add(search.findings())
        folds = "1 fold" if len(search.folds) == 1 else f"{len(search.folds)} folds"
        note(f"{len(search.tried)} tried on {folds}; {joined.in_words()}")
    active.log_text(_written(joined.recipe), RECIPE_FILE)
    ready = finish(active, joined, parts, steps, findings, is_judged=bool(divisions), ends_at=budget.ends_at)
    return replace(ready, ends_at=budget.began + budget.limit_s, limit_s=budget.limit_s)


@dataclass(frozen=True)
class Tried:
    """What was tried.

    Parameters
    ----------
    member : Recipe
        As it was tried: boosters end by themselves.
    said : Said
        What it said, and the recipe of its last fit.
    loss : float
        Out of fold: log loss, or the squared error.
    """

    member: Recipe
    said: Said
    loss: float

    @property
    def refit_s(self) -> float:
        """Return the seconds that its fit on all training rows is reckoned to take."""
        return _MARGIN * _MORE_ROWS * self.said.once_s


class Search:
    """Models tried one after the other.

    Parameters
    ----------
    recipe : Recipe
        Of the whole.
    folds : Folds
        The rows of all folds.
    budget : Budget
        The time.
    tell : callable
        Is told in words how far it is.
    fit_out_of_fold : callable
        Fits a member on folds within seconds.
    """

    def __init__(
        self,
        recipe: Recipe,
        folds: Folds,
        budget: Budget,
        tell: Callable[[str], None],
        fit_out_of_fold: Callable[..., Said] = out_of_fold,
    ) -> None:
        self.recipe = recipe
        self.folds = folds
        self.budget = budget
        self.tried: list[Tried] = []
        self.failed: list[tuple[str, MmpError]] = []
        self.skipped: list[str] = []
        self._tell = tell
        self._fit = fit_out_of_fold
        self._most = MEMBERS[effort_of(recipe)]
        self._rng = np.random.default_rng(recipe.evaluation.random_state)

    def run(self, *, may_use_fewer: bool) -> None:
        """Try models until the time is up or nothing gets better.

        Parameters
        ----------
        may_use_fewer : bool
            Whether some of the folds will do.

        Raises
        ------
        MmpError
            What the first failure was, where nothing could be fitted.
        """
        portfolio = candidate_recipes(self.recipe, self.folds.n_rows)
        if not portfolio:
            raise MissingExtraError(
                "A preset needs a library of models, and none is installed.", hint=install_line("xgboost")
            )
        if may_use_fewer:
            self._use_fewer(portfolio[0])
        for member in portfolio:
            self._attempt(member, self._seconds() * _MOST_SHARE)
        if not self.tried:
            raise self.failed[0][1]
        if self.recipe.model.preset == "best":
            self._vary()

    def _vary(self) -> None:
        """Try variations of the best until the time is up, or many in a row are not among the best."""
        idle = 0
        while idle < _IDLE_DRAWS:
            seconds, before = self._seconds(), self._best(_POOL // 2)
            if seconds < min(one.said.seconds for one in self.tried):
                return
            self._attempt(self._varied(), seconds)
            after = self._best(_POOL // 2)
            idle = idle + 1 if all(one is other for one, other in zip(before, after, strict=False)) else 0

    def _use_fewer(self, member: Recipe) -> None:
        """Use as many folds as leave time for the portfolio, by how long one fit takes."""
        one, tell, clock = self.folds.first(1), self._tell_of(member), self.budget.clock
        try:
            self._fit(one, member, tell, seconds=0.0, clock=clock)  # loads what is loaded once
            said = self._fit(one, member, tell, seconds=self.budget.left / 10, clock=clock)
        except MmpError:
            return  # which is told of when it is tried
        n_folds = int(self.budget.left / (_FITS * max(said.once_s, 1e-9)))
        self.folds = self.folds.first(min(max(n_folds, 1), len(self.folds)))

    def _best(self, most: int) -> list[Tried]:
        return sorted(self.tried, key=lambda one: one.loss)[:most]

    def _seconds(self) -> float:
        """Return how long a member may take, so that it and those so far can be fitted again."""
        again = sum(one.refit_s for one in self._best(self._most))
        kept = np.clip(again, _LEAST_AGAIN * self.budget.limit_s, _MOST_AGAIN * self.budget.limit_s)
        left = self.budget.left - float(kept)
        return left / (1 + _MARGIN * _MORE_ROWS / len(self.folds))

    def _attempt(self, member: Recipe, seconds: float) -> None:
        row, tell = model_row(member), self._tell_of(member)
        try:
            if not self._is_worth_trying(member, seconds):
                self.skipped.append(row.name)
                return
            said = self._fit(self.folds, member, tell, seconds=seconds, clock=self.budget.clock)
        except MmpError as error:
            self.failed.append((row.name, error))
            return
        self.tried.append(Tried(member, said, self._loss(said.output)))

    def _tell_of(self, member: Recipe) -> Callable[[str], None]:
        name, number = model_row(member).name, len(self.tried) + 1
        best = f", best so far {self._best(1)[0].said.row.name}" if self.tried else ""
        return lambda detail: self._tell(f"{number}: {name}, {detail}{best}")

    def _is_worth_trying(self, member: Recipe, seconds: float) -> bool:
        """Tell whether fits will be done in time or, where they can be ended, far enough; the first is."""
        if not self.tried:
            return True
        if model_row(member).engine in _ENDED:
            return seconds > _LEAST_DONE * self.tried[0].said.seconds
        return seconds > _MARGIN * self._reckoned(member)

    def _reckoned(self, member: Recipe) -> float:
        """Return the seconds that fits are reckoned to take which cannot be ended."""
        path, n_rows = member.model.class_path, self.folds.n_rows
        known = [one.said.seconds for one in self.tried if one.member.model.class_path == path]
        if known or n_rows <= _FEW_ROWS:
            return max(known, default=0.0)
        prepared, row = self.folds.prepared(0, member), model_row(member)
        n_rows = len(prepared.targets["train"])
        n_few = max(_FEW_ROWS // 2, n_rows // _SAMPLE)
        for size in (_WARMING, n_few):  # the first loads what is loaded once
            few = np.sort(self._rng.choice(n_rows, size, replace=False))
            began = self.budget.clock()
            fit(_of_rows(prepared, few), member, row)
        once = (self.budget.clock() - began) * (n_rows / n_few) ** _POWERS.get(row.name, _POWER)
        return float(once * len(self.folds))

    def _varied(self) -> Recipe:
        """Return one of the best, with some of its values moved within the catalog's space."""
        best = self._best(_PARENTS)
        parent = best[
            int(len(best) * self._rng.random() * self._rng.random())
        ].member  # the better the likelier
        row, settings = model_row(parent), parent.model.hyperparameters
        known = {**row.defaults, **settings.values}
        fixed = row.of_target | ({row.rounds_param} if row.early_stopping else set())
        moved = {
            name: moved_within(one, known.get(name), self._rng)
            for name, one in row.search_space.items()
            if name not in fixed and self._rng.random() < 0.5
        }
        varied = settings.model_copy(update={"values": {**settings.values, **moved}})
        return parent.model_copy(
            update={"model": parent.model.model_copy(update={"hyperparameters": varied})}
        )

    def joined(self) -> Joined:
        """Return the best, joined in the way that says most of rows that its weights do not know."""
        pool = [one.said for one in self._pool()]
        weights = self._by(pool, "greedy").blend.weights
        kept = self._affordable(sorted(zip(weights, pool, strict=True), key=lambda one: -one[0]))
        ways = {method: self._by(kept, method) for method in _METHODS[: len(kept)]}
        method = min(ways, key=lambda method: self._loss(np.concatenate(ways[method].outputs())))
        heavy = [one for one, weight in zip(kept, ways[method].blend.weights, strict=True) if weight > _LEAST]
        return self._by(heavy, method) if len(heavy) < len(kept) else ways[method]

    def _by(self, members: Sequence[Said], method: Method) -> Joined:
        return Joined.of(self._of(members, method), members, self.folds)

    def _loss(self, output: npt.NDArray[np.float64]) -> float:
        target = self.folds.target
        return loss_of(output, target, row_weights(self.recipe, target))

    def _pool(self) -> list[Tried]:
        """Return the best, and the best of each kind: what errs in other ways is worth more than its loss."""
        of_kind: dict[str, int] = defaultdict(int)
        pool = []
        for one in self._best(len(self.tried)):
            kind = model_row(one.member).class_path
            of_kind[kind] += 1
            if of_kind[kind] <= _OF_KIND:
                pool.append(one)
        return pool[:_POOL]

    def _affordable(self, weighted: Sequence[tuple[float, Said]]) -> list[Said]:
        """Return those that count and that there is time to fit again, one in any case."""
        refit_s = {id(one.said): one.refit_s for one in self.tried}
        kept, left = [weighted[0][1]], self.budget.left
        for weight, said in weighted[: self._most]:
            spent = sum(refit_s[id(one)] for one in kept)
            if weight > _LEAST and said is not kept[0] and spent + refit_s[id(said)] < left:
                kept.append(said)
        return kept

    def _of(self, members: Sequence[Said], method: Method) -> Recipe:
        """Return the recipe that trains the members together, or the only one."""
        whole, models = self.recipe.model, tuple(one.recipe.model for one in members)
        if len(models) == 1:
            made = models[0].model_copy(update={"calibration": whole.calibration})
        else:
            made = whole.model_copy(
                update={
                    "preset": None,
                    "time_limit_s": None,
                    "ensemble": Ensemble(members=models, method=method),
                }
            )
        return self.recipe.model_copy(update={"model": made})

    def findings(self) -> list[Finding]:
        """Return what is worth telling of the search."""
        told = [
            Finding("preset", "warn", f"{name} was left out: {error.message}") for name, error in self.failed
        ]
        tried = {one.said.row.name for one in self.tried}
        if names := ", ".join(dict.fromkeys(name for name in self.skipped if name not in tried)):
            told.append(Finding("preset", "info", f"There was no time to try {names}."))
        message = (
            f"What is tried in a time depends on the machine; {RECIPE_FILE} of the run trains the same again."
        )
        return [*told, Finding("preset", "info", message)]


def moved_within(space: Space, value: Any, rng: np.random.Generator) -> Any:
    """Return a value near another one of a space, anywhere in it where there is none.

    Examples
    --------
    >>> from mmp.catalog.row import Space
    >>> rng = np.random.default_rng(0)
    >>> [moved_within(Space("int", (2, 10)), 4, rng) for _ in range(5)]
    [4, 4, 5, 4, 3]
    """
    if space.type == "categorical":
        return space.range[int(rng.integers(len(space.range)))]
    low, high = map(float, space.range)
    ends = np.log((low, high)) if space.log else np.array((low, high))
    if isinstance(value, int | float) and low <= value <= high:
        at = np.log(value) if space.log else float(value)
        at = float(np.clip(at + _STEP * (ends[1] - ends[0]) * rng.normal(), *ends))
    else:
        at = float(rng.uniform(*ends))
    made = float(np.clip(np.exp(at) if space.log else at, low, high))
    return round(made) if space.type == "int" else float(f"{made:.4g}")


def _of_rows(prepared: Prepared, rows: npt.NDArray[np.int64]) -> Prepared:
    """Return some training rows and nothing else."""
    matrix, target = prepared.matrices["train"], prepared.targets["train"]
    few = replace(matrix, values=matrix.values[rows])
    return replace(prepared, matrices={"train": few}, targets={"train": target.take(rows)})


def _written(recipe: Recipe) -> str:
    """Return a recipe as a file."""
    return render(recipe.model_dump(mode="json", exclude_unset=True, exclude_none=True), {})
