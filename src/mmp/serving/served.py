"""The model that is served: a bundle, what it is called, and what its requests look like."""

from __future__ import annotations

import math
import statistics
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Final

import msgspec

from mmp.errors import ArtifactError, SettingsError
from mmp.modeling import conformal, golden
from mmp.modeling.predictions import as_list
from mmp.modeling.single import Single
from mmp.serving.answers import Refusal
from mmp.serving.rows import Form
from mmp.serving.tables import Tables

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from mmp.modeling.bundle import Bundle
    from mmp.modeling.engines.base import Output
    from mmp.serving.predict import Lookup
    from mmp.serving.tables import Table

QUICK_S: Final = 0.00025
_ROUNDS: Final = 15
_TAKEN: Final = (
    "prediction", "probability", "probabilities", "prediction_set", "interval", "model_uri", "request_id",
    "degraded",
)  # fmt: skip


class Pace:
    """How long the rows of tables take, as the last one showed."""

    def __init__(self) -> None:
        self._row_s = math.inf

    def of(self, n_rows: int) -> float:
        """Return the seconds to expect of a table."""
        return n_rows * self._row_s

    @contextmanager
    def measured(self, n_rows: int) -> Iterator[None]:
        """Take note of how long a block took that predicted so many rows, on this thread."""
        started = time.thread_time()
        yield
        self._row_s = (time.thread_time() - started) / n_rows


@dataclass(frozen=True, eq=False)
class Served:
    """A loaded model under its name.

    Parameters
    ----------
    bundle : Bundle
        The model.
    run_id, name, uri : str
        Its run, what it is called, and its MLflow URI.
    facts : mapping
        More about the run, for `/model/info`.
    allow_extra : bool
        Whether requests may have columns that the model does not know.
    lookup : Lookup or None
        Reads its features, where it takes some from the store.
    pace : Pace
        How long its tables take.
    """

    bundle: Bundle
    run_id: str
    name: str
    uri: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    allow_extra: bool = False
    lookup: Lookup | None = None
    pace: Pace = field(default_factory=Pace)

    def __post_init__(self) -> None:
        if taken := {spec.name for spec in self.bundle.entities}.intersection(_TAKEN):
            raise SettingsError(
                f"The entity column '{min(taken)}' has the name of a field of the server's answers.",
                hint=f"Rename it and train again; answers have {', '.join(_TAKEN)}.",
            )

    @cached_property
    def form(self) -> Form:
        """What requests look like."""
        return Form.of(self.bundle, allow_extra=self.allow_extra)

    @cached_property
    def tables(self) -> Tables:
        """Reads the rows of batches."""
        return Tables(self.form)

    @cached_property
    def single(self) -> Single:
        """Predicts row by row."""
        return Single(self.bundle)

    @cached_property
    def example(self) -> dict[str, Any]:
        """A request that this model answers, synthetic: of each column a value that is there and was seen."""
        names = [spec.name for spec in (*self.form.optional, *self.form.required)]
        first, *_ = rows = self.bundle.examples
        seen = {
            name: [row[name] for row in rows if row.get(name) not in {None, golden.UNSEEN}] for name in names
        }
        return {name: seen[name][0] if seen[name] else first.get(name) for name in names if name in first}

    @cached_property
    def is_quick(self) -> bool:
        """Whether a complete row takes so few microseconds that handing it to a thread would cost more."""
        if not self.bundle.examples:
            return False
        seconds = []
        for _ in range(_ROUNDS):
            start = time.perf_counter()
            self.single.predict(self.bundle.examples[0])
            seconds.append(time.perf_counter() - start)
        return statistics.median(seconds) < QUICK_S

    def warm(self) -> None:
        """Answer every example both ways, and refuse a model that answers one row otherwise than many.

        Raises
        ------
        ArtifactError
            It does.
        """
        names = {spec.name for spec in self.bundle.entities}
        for row, expected in zip(
            self.bundle.examples, self.bundle.predict(self.bundle.examples).records(), strict=True
        ):
            alone = self.single.predict(row)
            if alone != {name: value for name, value in expected.items() if name not in names}:
                raise ArtifactError(
                    "The model answers a row by itself otherwise than among others.",
                    hint="This is a bug in mmp; please report the estimator and the steps.",
                )
        assert self.is_quick in {True, False}  # measured now, not at the first request

    def refuse_successor(self, other: Served) -> None:
        """Refuse a model that clients of this one would not understand, or it them.

        Raises
        ------
        ArtifactError
            It predicts something else, or does not take this model's example.
        """
        ours, theirs = self.bundle, other.bundle
        if (ours.task, ours.target.name) != (theirs.task, theirs.target.name):
            raise ArtifactError(
                f"The run {other.run_id} predicts {theirs.target.name}, and {ours.target.name} is served.",
                hint="Serve it on a port of its own.",
            )
        if problems := other.form.problems(self.example):
            first = problems[0]
            raise ArtifactError(
                f"The run {other.run_id} refuses today's requests: '{first['path']}' {first['message']}",
                hint="Change the clients, and restart the server with it.",
            )

    def info(self) -> dict[str, Any]:
        """Return what `/model/info` says."""
        bundle = self.bundle
        return {
            "model_name": self.name,
            "model_uri": self.uri,
            "run_id": self.run_id,
            "recipe_name": bundle.recipe_name,
            "task": bundle.task,
            "class_path": bundle.class_path,
            "target": bundle.target.name,
            "classes": list(bundle.classes),
            "threshold": bundle.threshold if bundle.positive is not None else None,
            "decision": dict(bundle.decision),
            "calibration": bundle.calibration,
            "coverage": bundle.coverage,
            "metrics": dict(bundle.metrics),
            "hyperparameters": dict(bundle.parameters),
            "stored_features": [spec.name for spec in bundle.stored],
            **self.facts,
        }

    def answer(self, output: Output, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return one row's answer as JSON holds it."""
        answer = self.form.keys(row)
        answer["prediction"] = self.single.prediction(output)
        if self.bundle.classes and isinstance(output, list):
            if self.bundle.positive is not None:
                answer["probability"] = output[self.bundle.positive]
            answer["probabilities"] = dict(zip(self._class_names, output, strict=True))
            if self.bundle.sets:
                answer[conformal.COLUMN] = self.single.prediction_set(output)
        elif isinstance(output, list):
            beside = dict(zip(self.bundle.model.columns, output[1:], strict=True))
            if self.bundle.has_bounds:
                answer["interval"] = {name: beside.pop(name) for name in conformal.BOUNDS}
            answer |= beside
        return answer

    def answers(self, output: npt.NDArray[np.float64], table: Table) -> list[msgspec.Struct]:
        """Return the answers of many rows, made column by column of what `Single.table` said of them."""
        values = {name: as_list(column) for name, column in self.bundle.values(output).items()}
        columns = dict(table.keys)
        columns["prediction"] = values.pop("prediction")
        if self.bundle.classes:
            columns |= {"probability": values["probability"]} if self.bundle.positive is not None else {}
            columns["probabilities"] = _records(self._class_names, output.T.tolist())
            columns |= {conformal.COLUMN: values[conformal.COLUMN]} if self.bundle.sets else {}
        else:
            if self.bundle.has_bounds:
                columns["interval"] = _records(
                    conformal.BOUNDS, [values.pop(name) for name in conformal.BOUNDS]
                )
            columns |= values
        return _records(tuple(columns), list(columns.values()))

    @cached_property
    def _class_names(self) -> tuple[str, ...]:
        return tuple(str(label) for label in self.bundle.classes)


def _records(names: tuple[str, ...], columns: Sequence[Sequence[Any]]) -> list[msgspec.Struct]:
    """Return the rows of columns as JSON objects with these names."""
    return list(map(_record(names), *columns))


@lru_cache(64)
def _record(names: tuple[str, ...]) -> type[msgspec.Struct]:
    fields = {f"field_{place}": name for place, name in enumerate(names)}
    return msgspec.defstruct("Record", [(field, Any) for field in fields], rename=fields, gc=False)


def starting() -> Refusal:
    """Return the refusal of a server that has no model yet."""
    return Refusal.busy("The model is still being loaded.", code="starting")
