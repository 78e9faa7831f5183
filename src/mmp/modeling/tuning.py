"""The search for better parameters: a study of trials, each scored by a function that is passed in.

This module is the only one that knows Optuna. What a trial fits, and what its score means, is the
caller's: an objective takes the values that were drawn and returns a score.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from mmp.errors import MissingExtraError, MmpError, SettingsError, TrackingError, TrainingError
from mmp.lookup import install_line, is_installed
from mmp.modeling.pruned import Pruned
from mmp.settings.secrets import without_credentials

if TYPE_CHECKING:
    from collections.abc import Iterator

    from optuna import Study as OptunaStudy
    from optuna import Trial as OptunaTrial
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

    from mmp.catalog.row import Space

Report = Callable[[int, float], None]
"""Is told a score on the way and its step; raises `Pruned` where the trial has fallen behind."""

Objective = Callable[[Mapping[str, Any], Report], float]
"""From drawn values to a score; `MmpError` fails the trial, anything else the study."""

_STATES: Final[Mapping[str, Literal["complete", "pruned", "failed"]]] = {
    "COMPLETE": "complete",
    "PRUNED": "pruned",
    "FAIL": "failed",
}
_START, _PROCESS, _ERROR = "mmp.start", "mmp.process", "mmp.error"
_RANDOM_TRIALS = 10  # before there is something to learn from
_HEARTBEAT_S, _DEAD_AFTER_S = 20, 90
_SQLITE_WAIT_S = 60
_CREATIONS = 3  # of the tables in a storage, which several processes may begin with
_FEW = 4  # trials from which nothing can be said of parameters


@dataclass(frozen=True)
class Search:
    """What to look for, and for how long.

    Parameters
    ----------
    space : mapping of str to Space
        Where to look, by the name of what is drawn.
    metric : str
        What the score is called.
    greater_is_better : bool
        Its direction.
    start : mapping
        The values of trial 0 as far as they are known and lie in the space; the objective knows the rest.
    seed : int
        With the number of a trial it decides what is drawn at random.
    n_trials : int
        Trials of the study, whichever process runs them; each further process may add one to them.
    timeout_s : float or None
        Seconds after which no new trial begins.
    n_jobs : int
        Trials at a time; more than one and the order in which they end has a say in what is drawn.
    pruning : bool
        Whether to give trials up that fall behind.
    storage : str or None
        URL of a database that keeps the study; in memory where None.
    study : str
        Its name there: who finds it goes on with it.
    """

    space: Mapping[str, Space]
    metric: str
    greater_is_better: bool
    start: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 42
    n_trials: int = 50
    timeout_s: float | None = None
    n_jobs: int = 1
    pruning: bool = True
    storage: str | None = field(default=None, repr=False)
    study: str = "study"


@dataclass(frozen=True)
class Trial:
    """One set of values and how it did.

    Parameters
    ----------
    number : int
        From 0, which is the start.
    state : {"complete", "pruned", "failed"}
        How it ended.
    params : mapping
        What was drawn.
    score : float or None
        Of a complete trial.
    began_ms, ended_ms : int
        When, in milliseconds since 1970.
    error : str
        Why it failed.
    """

    number: int
    state: Literal["complete", "pruned", "failed"]
    params: Mapping[str, Any]
    score: float | None
    began_ms: int
    ended_ms: int
    error: str = ""

    @property
    def seconds(self) -> float:
        """How long it took."""
        return (self.ended_ms - self.began_ms) / 1000


@dataclass(frozen=True)
class Study:
    """Every trial that ended, and the best.

    Parameters
    ----------
    search : Search
        What was looked for.
    trials : tuple of Trial
        By number, those of earlier runs and of other processes among them.
    best : Trial
        The one with the best score, the first of equals.
    importance : mapping of str to float
        Share that each parameter has in the differences between scores, the largest first; empty where
        there are too few trials.
    """

    search: Search
    trials: tuple[Trial, ...]
    best: Trial
    importance: Mapping[str, float]


def tune(objective: Objective, search: Search, on_trial: Callable[[Trial], None] | None = None) -> Study:
    """Run trials until there are as many as asked for, or time is up.

    Parameters
    ----------
    objective : callable
        Scores the values of a trial. With several trials at a time it is called from several threads.
    search : Search
        What to look for.
    on_trial : callable, optional
        Is told about each trial of this process as it ends, in the thread that called.

    Raises
    ------
    MissingExtraError
        Optuna is not installed.
    SettingsError
        The storage's URL is none.
    TrackingError
        The storage does not answer.
    TrainingError
        No trial of the study came to its end.

    Examples
    --------
    >>> from mmp.catalog.row import Space
    >>> search = Search({"x": Space("float", (-1.0, 1.0))}, "loss", greater_is_better=False, n_trials=20)
    >>> study = tune(lambda values, report: values.get("x", 1.0) ** 2, search)
    >>> len(study.trials), study.best.score < study.trials[0].score
    (20, True)
    """
    if not is_installed("optuna"):
        raise MissingExtraError("Tuning needs the package 'optuna'.", hint=install_line("optuna"))
    with _quiet(), _translated(search.storage):
        study = _open(search)
        _fail_dead(study)
        missing = search.n_trials - _counted(study)
        if missing > 0:
            _start(study, search)
            _run(study, objective, search, missing, on_trial or _nothing)
        return _study(study, search)


def better(search: Search, best: Trial | None, trial: Trial) -> Trial | None:
    """Return the better of two trials, the earlier of equals; only a complete one is better than none."""
    if trial.score is None:
        return best
    if best is None or best.score is None:
        return trial
    gain = trial.score - best.score if search.greater_is_better else best.score - trial.score
    return trial if (gain, best.number) > (0, trial.number) else best


def _nothing(_: Trial) -> None:
    """Tell nobody."""


# -- the study -----------------------------------------------------------------------------------------


def _open(search: Search) -> OptunaStudy:
    import optuna

    pruner = optuna.pruners.MedianPruner(n_startup_trials=5) if search.pruning else optuna.pruners.NopPruner()
    return optuna.create_study(
        storage=_storage(search.storage) if search.storage else None,
        sampler=_sampler(search.seed),
        pruner=pruner,
        study_name=search.study,
        direction="maximize" if search.greater_is_better else "minimize",
        load_if_exists=True,
    )


def _storage(url: str) -> BaseStorage:
    """Open a database; its tables may come into being twice, where several processes begin at once."""
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    scheme, _, rest = url.partition("://")
    # SQLAlchemy would look for psycopg2
    scheme = "postgresql+psycopg" if scheme in {"postgres", "postgresql"} else scheme
    options = {"connect_args": {"timeout": _SQLITE_WAIT_S}} if scheme.startswith("sqlite") else {}
    for attempt in range(_CREATIONS):
        try:
            return optuna.storages.RDBStorage(
                f"{scheme}://{rest}",
                engine_kwargs=options,
                heartbeat_interval=_HEARTBEAT_S,
                grace_period=_DEAD_AFTER_S,
            )
        except SQLAlchemyError:
            if attempt == _CREATIONS - 1:
                raise
    raise AssertionError


def _sampler(seed: int) -> BaseSampler:
    """Return TPE whose random numbers go by a trial's number: it matters not who runs it, and when."""
    import optuna

    class ByNumber(optuna.samplers.TPESampler):
        def __init__(self) -> None:
            super().__init__(multivariate=False)
            self._by_number: dict[int, BaseSampler] = {}

        def sample_independent(
            self,
            study: OptunaStudy,
            trial: FrozenTrial,
            param_name: str,
            param_distribution: BaseDistribution,
        ) -> Any:
            if trial.number not in self._by_number:
                own = int(np.random.SeedSequence([seed, trial.number]).generate_state(1)[0])
                self._by_number[trial.number] = optuna.samplers.TPESampler(
                    seed=own, n_startup_trials=_RANDOM_TRIALS, multivariate=False, constant_liar=True
                )
            sampler = self._by_number[trial.number]
            return sampler.sample_independent(study, trial, param_name, param_distribution)

    return ByNumber()


def _start(study: OptunaStudy, search: Search) -> None:
    """Let the first trial of a study be the one that nobody drew."""
    if not study.get_trials(deepcopy=False):
        known = {name: _label(value) for name, value in search.start.items() if name in search.space}
        study.enqueue_trial(known, user_attrs={_START: sorted(known)})


def _run(
    study: OptunaStudy,
    objective: Objective,
    search: Search,
    missing: int,
    on_trial: Callable[[Trial], None],
) -> None:
    runner = _Runner(objective, search)

    def ended(study: OptunaStudy, frozen: FrozenTrial, tell: Callable[[Trial], None]) -> None:
        tell(_trial(frozen, search))
        if _counted(study, running=True) >= search.n_trials:
            study.stop()

    n_jobs = min(search.n_jobs, missing)
    optimize = partial(
        study.optimize, runner, n_trials=missing, timeout=search.timeout_s, n_jobs=n_jobs, catch=(MmpError,)
    )
    if n_jobs == 1:
        optimize(callbacks=[partial(ended, tell=on_trial)])
        return
    queue: SimpleQueue[Trial | None] = SimpleQueue()
    with ThreadPoolExecutor(1) as beside:
        running = beside.submit(optimize, callbacks=[partial(ended, tell=queue.put)])
        running.add_done_callback(lambda _: queue.put(None))
        try:
            for trial in iter(queue.get, None):
                on_trial(trial)
        except BaseException:
            runner.is_over = True
            raise
    running.result()


class _Runner:
    """The objective as Optuna calls it."""

    def __init__(self, objective: Objective, search: Search) -> None:
        self.objective = objective
        self.search = search
        self.is_over = False

    def __call__(self, trial: OptunaTrial) -> float:
        import optuna

        self._go_on()
        trial.set_user_attr(_PROCESS, _process())
        names = trial.user_attrs.get(_START, self.search.space)
        values = {name: _draw(trial, name, self.search.space[name]) for name in names}

        def report(step: int, score: float) -> None:
            self._go_on()
            if self.search.pruning and np.isfinite(score):
                trial.report(score, step)
                if trial.should_prune():
                    raise Pruned

        try:
            return self.objective(values, report)
        except Pruned as error:
            raise optuna.TrialPruned from error
        except MmpError as error:
            trial.set_user_attr(_ERROR, error.message)
            raise

    def _go_on(self) -> None:
        if self.is_over:
            raise _OverError


class _OverError(Exception):
    """Who asked for trials has gone; the ones that are under way count for nothing."""


def _draw(trial: OptunaTrial, name: str, space: Space) -> Any:
    if space.type == "categorical":
        choices = {_label(choice): choice for choice in space.range}
        return choices[trial.suggest_categorical(name, list(choices))]
    low, high = space.range
    if space.type == "int":
        return trial.suggest_int(name, int(low), int(high), log=space.log)
    return trial.suggest_float(name, float(low), float(high), log=space.log)


def _label(choice: Any) -> Any:
    """Return a choice as databases keep it: a list or a mapping as text."""
    return choice if choice is None or isinstance(choice, bool | int | float | str) else json.dumps(choice)


# -- who runs what -------------------------------------------------------------------------------------


def _counted(study: OptunaStudy, *, running: bool = False) -> int:
    """Return how many trials count: those that came to an end of their own, and those on their way."""
    trials = study.get_trials(deepcopy=False)
    ended = [trial for trial in trials if trial.state.is_finished()]
    n_ended = sum(trial.state.name != "FAIL" or _ERROR in trial.user_attrs for trial in ended)
    return n_ended + (sum(trial.state.name == "RUNNING" for trial in trials) if running else 0)


def _process() -> str:
    return f"{socket.gethostname()} {os.getpid()}"


def _fail_dead(study: OptunaStudy) -> None:
    """Fail the trials whose process is gone; those of other machines are known by their silence."""
    import optuna

    optuna.storages.fail_stale_trials(study)
    for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        host, _, number = str(trial.user_attrs.get(_PROCESS, "")).rpartition(" ")
        if host == socket.gethostname() and not _is_alive(int(number)):
            # another process may say so in the same moment
            with suppress(optuna.exceptions.UpdateFinishedTrialError):
                study.tell(trial.number, state=optuna.trial.TrialState.FAIL, skip_if_finished=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


# -- what came of it -----------------------------------------------------------------------------------


def _study(study: OptunaStudy, search: Search) -> Study:
    frozen = [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
    trials = tuple(_trial(trial, search) for trial in frozen)
    complete = [trial for trial in trials if trial.score is not None]
    best: Trial | None = None
    for trial in complete:
        best = better(search, best, trial)
    if best is None:
        first = next((trial.error for trial in trials if trial.error), "none was finished.")
        raise TrainingError(
            f"None of the {len(trials)} trials could be scored by {search.metric}: {first}",
            hint="Look at model.hyperparameters: what is fixed, and the ends of what is tunable.",
        )
    return Study(search, trials, best, _importance(study, complete))


def _trial(frozen: FrozenTrial, search: Search) -> Trial:
    state = _STATES[frozen.state.name]
    began, ended = (
        round(t.timestamp() * 1000) if t else 0 for t in (frozen.datetime_start, frozen.datetime_complete)
    )
    error = str(frozen.user_attrs.get(_ERROR, "its process ended")) if state == "failed" else ""
    params = {name: _chosen(value, search.space.get(name)) for name, value in frozen.params.items()}
    return Trial(
        frozen.number,
        state,
        params,
        frozen.value if state == "complete" else None,
        began or ended,
        ended,
        error,
    )


def _chosen(value: Any, space: Space | None) -> Any:
    if space is None or space.type != "categorical":
        return value
    return {_label(choice): choice for choice in space.range}.get(value, value)


def _importance(study: OptunaStudy, complete: list[Trial]) -> dict[str, float]:
    import optuna

    varied = {name for trial in complete for name in trial.params}
    if len(complete) <= _FEW or not varied or len({trial.score for trial in complete}) == 1:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that shares of few trials are rough
        return dict(optuna.importance.get_param_importances(study))


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave the telling to `on_trial`; the order matters, for Optuna sets its own level on import."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(logging.CRITICAL)
    # trials in threads put each other's filters back
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        try:
            yield
        finally:
            optuna.logging.set_verbosity(before)


@contextmanager
def _translated(storage: str | None) -> Iterator[None]:
    if storage is None:
        yield
        return
    import optuna
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

    place = without_credentials(storage)
    try:
        yield
    except (ArgumentError, NoSuchModuleError) as error:
        raise SettingsError(
            f"model.hyperparameters.storage: '{place}' is no URL of a database.",
            hint="Write sqlite:///study.db, or postgresql://user:password@host/database.",
        ) from error
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        raise TrackingError(
            f"The study's storage {place} does not answer.",
            hint="Start the database, or correct model.hyperparameters.storage.",
        ) from error
