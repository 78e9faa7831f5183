"""Every error a user can meet, and the number it ends with.

::

    MmpError                   one sentence of what and where; .hint says what to do
     ├ SettingsError       2   a recipe, a config or the command line
     │  ├ UnknownNameError     a name that is in no table (did you mean …)
     │  └ MissingExtraError    a library that is not installed (the install line)
     ├ DataError           3   the table
     │  ├ MissingColumnsError  columns the recipe or the model needs
     │  ├ SourceError          a file or a database that cannot be read
     │  ├ EmptySplitError      a part of the split without rows or without a class
     │  ├ LeakageError         a feature that gives the target away
     │  └ UnknownEntityError   a key for which the feature store has nothing
     ├ TrainingError       4   fitting
     ├ FeatureStoreError   5   Feast and its stores
     ├ TrackingError       6   MLflow
     │  ├ RunNotFoundError     no such run
     │  └ ArtifactError        a model that is damaged, not a server that is down
     └ GateError           7   a metric gate, a contract, a parity or a drift limit did not hold

Anything else that escapes is a bug: exit code 70.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

EXIT_DONE = 0
EXIT_BUG = 70
EXIT_INTERRUPTED = 130


class MmpError(Exception):
    """Base of all errors that a user can mend.

    Parameters
    ----------
    message : str
        One sentence: what is wrong, and with what.
    hint : str, optional
        One sentence: what to do about it.
    where : str, optional
        File, line and key, or column and row, as far as they are known.

    Examples
    --------
    >>> error = DataError("Column 'age' is not in the table.", hint="Columns: Age, name.")
    >>> error.exit_code, error.code
    (3, 'data')
    """

    exit_code: ClassVar[int] = EXIT_BUG
    code: ClassVar[str] = "error"
    http_status: ClassVar[int] = 500

    def __init__(self, message: str, *, hint: str = "", where: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.where = where

    def as_dict(self) -> dict[str, str]:
        """Return the object that ``--json`` and HTTP answers carry."""
        return {"code": self.code, "message": self.message, "hint": self.hint, "where": self.where}


class SettingsError(MmpError):
    """A recipe, a config or a command line that cannot be carried out."""

    exit_code = 2
    code = "settings"
    http_status = 422


class UnknownNameError(SettingsError):
    """A name that stands in no table."""

    code = "unknown_name"


class MissingExtraError(SettingsError):
    """A library that an extra brings and that is not installed."""

    code = "missing_extra"


class DataError(MmpError):
    """A table that does not fit the recipe or the model."""

    exit_code = 3
    code = "data"
    http_status = 422


class MissingColumnsError(DataError):
    """Columns that are needed and not there.

    Parameters
    ----------
    message, hint, where : str
        As of every error.
    columns : tuple of str
        The columns, where the source was looked at as a whole.
    """

    code = "missing_columns"

    def __init__(
        self, message: str, *, hint: str = "", where: str = "", columns: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message, hint=hint, where=where)
        self.columns = columns


class SourceError(DataError):
    """A source that cannot be read."""

    code = "source"


class EmptySplitError(DataError):
    """A part of the split without rows, or without a class."""

    code = "empty_split"


class LeakageError(DataError):
    """A feature that gives the target away."""

    code = "leakage"


class UnknownEntityError(DataError):
    """A key for which the feature store has nothing, where the recipe calls that an error."""

    code = "unknown_entity"
    http_status = 404


class TrainingError(MmpError):
    """A fit that failed."""

    exit_code = 4
    code = "training"


class FeatureStoreError(MmpError):
    """A feature store that does not answer, or not as agreed."""

    exit_code = 5
    code = "feature_store"
    http_status = 503


class TrackingError(MmpError):
    """A tracking server or store that does not answer, or not as agreed."""

    exit_code = 6
    code = "tracking"
    http_status = 503


class RunNotFoundError(TrackingError):
    """A run that the tracking store does not know."""

    code = "run_not_found"
    http_status = 404


class ArtifactError(TrackingError):
    """A logged model that is damaged, incomplete or not trusted."""

    code = "artifact"


class GateError(MmpError):
    """A promise that did not hold."""

    exit_code = 7
    code = "gate"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something worth telling about settings or data that may or may not stop the run.

    Parameters
    ----------
    check : str
        Name of the check, as in ``data.checks``.
    level : {"error", "warn", "info"}
        Whether it stops the run.
    message : str
        One sentence: what was found, where, and what it means.
    column : str or None
        The column it is about.
    where : str
        File, line and key where it was found in a settings file.
    """

    check: str
    level: Literal["error", "warn", "info"]
    message: str
    column: str | None = None
    where: str = ""
