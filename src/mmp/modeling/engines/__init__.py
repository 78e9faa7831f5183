"""The libraries that fit: one module each, behind the four names of `Engine`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from mmp.errors import ArtifactError, MmpError
from mmp.modeling import threads

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from mmp.modeling.engines.base import Engine, FitJob, Model

ENGINES = (
    "xgboost",
    "lightgbm",
    "catboost",
    "linear",
    "sklearn",
    "calibrated",
    "interval",
    "quantiles",
    "ensemble",
)


def engine(name: str) -> Engine:
    """Return the module of an engine, which imports its library only when called."""
    return cast("Engine", import_module(f"{__name__}.{name}"))


def fit(job: FitJob) -> Model:
    """Fit the estimator of a job; what the library raises comes through as it is."""
    threads.shorten_spinning()
    return engine(job.row.engine).fit(job)


def errors(model: Model) -> tuple[type[Exception], ...]:
    """Return what the libraries of a model raise."""
    return tuple(error for name in model.libraries for error in engine(name).errors())


def load(
    name: str,
    folder: Path,
    meta: Mapping[str, Any],
    *,
    trust: Collection[str] = (),
    n_threads: int | None = None,
) -> Model:
    """Read a model that `Model.save` wrote.

    Parameters
    ----------
    name : str
        Its engine.
    folder : Path
        Where its files are. They are parsed as they stand, so whoever calls has verified them.
    meta : mapping
        What `Model.save` returned.
    trust : collection of str
        Dotted types beyond those in code that the estimator may hold; ``pickle`` where it may be a
        pickle, which is code that runs when it is loaded.
    n_threads : int, optional
        Most threads that a prediction may use. Default: all cores.

    Raises
    ------
    ArtifactError
        Where the model holds what is not trusted, its engine is not one of this version, or the library
        cannot read its file.
    """
    if name not in ENGINES:
        raise ArtifactError(
            f"The model was saved by an engine '{name}', which this version of mmp does not have.",
            hint="Load it with the version of mmp that wrote it.",
        )
    threads.shorten_spinning()
    try:
        return engine(name).load(folder, meta, trust=trust, n_threads=n_threads or threads.cores())
    except MmpError:
        raise
    except engine(name).errors() as error:
        reason = str(error).partition("\n")[0]
        raise ArtifactError(
            f"The estimator's file cannot be read by this version of {name}: {reason}.",
            hint="Install the version that wrote it (requirements.txt beside the model), or train again.",
        ) from error


def save(model: Model, folder: Path) -> dict[str, Any]:
    """Write a model that another one is made of into a new folder; return what `load_saved` wants to know."""
    folder.mkdir()
    return {"engine": model.engine, "model": model.save(folder)}


def load_saved(
    saved: Mapping[str, Any], folder: Path, *, trust: Collection[str] = (), n_threads: int | None = None
) -> Model:
    """Read what `save` wrote; raises what `load` does."""
    return load(saved["engine"], folder, saved["model"], trust=trust, n_threads=n_threads)
