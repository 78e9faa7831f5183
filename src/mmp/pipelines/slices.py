"""Metrics by slice as a part of a run: of the columns that a recipe names, and the worst among its inputs."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from mmp.data.classes import classes
from mmp.data.table import select, take
from mmp.errors import Finding, TrainingError
from mmp.evaluation.confidence import intervals
from mmp.evaluation.evaluate import requests
from mmp.evaluation.metrics import Errors, UndefinedMetricError
from mmp.evaluation.slices import FEWEST_ROWS, cut, each, search
from mmp.lookup import is_installed
from mmp.modeling.columns import from_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from mmp.evaluation.confidence import Interval, Resampled
    from mmp.evaluation.slices import Cut, Search, Slice
    from mmp.pipelines.rows import Rows
    from mmp.settings.recipe import Recipe

_LOSSES = {"classification": "log_loss", "regression": "mae"}


@dataclass(frozen=True)
class Cuts:
    """The test rows divided by columns.

    Parameters
    ----------
    asked : tuple of Cut
        By the columns that ``evaluation.slices`` names.
    looked_at : tuple of Cut
        By these and all inputs of the model.
    groups : ndarray of int64, shape (n_rows,), or None
        The group of each row, where the split keeps groups together.
    """

    asked: tuple[Cut, ...] = ()
    looked_at: tuple[Cut, ...] = ()
    groups: npt.NDArray[np.int64] | None = None

    @classmethod
    def of(cls, rows: Rows, test: npt.NDArray[np.int64] | None, recipe: Recipe) -> Cuts:
        """Divide the test rows, where there are any, while the table is there."""
        if test is None:
            return cls()
        asked = tuple(dict.fromkeys(recipe.evaluation.slices))
        names = tuple(dict.fromkeys((*asked, *(spec.name for spec in rows.features))))
        part = take(select(rows.table, names), test)
        cuts = {name: cut(name, column) for name, column in from_table(part, part.specs).items()}
        groups = _groups(rows, test, recipe)
        return cls(tuple(cuts[name] for name in asked), tuple(cuts.values()), groups)


@dataclass(frozen=True, eq=False)
class BySlice:
    """How a model does by slice.

    Parameters
    ----------
    loss : str
        The metric by which slices are compared.
    found : Search
        The worst.
    asked : tuple of tuple of Slice
        All slices of each column that was asked for.
    metrics : mapping of str to mapping
        Metrics with their intervals, by the name of a slice that was asked for.
    rare : mapping of str to int
        How many values of a column that was asked for are no slices.
    """

    loss: str
    found: Search
    asked: tuple[tuple[Slice, ...], ...] = ()
    metrics: Mapping[str, Mapping[str, Mapping[str, float | None]]] = field(default_factory=dict)
    rare: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, cuts: Cuts, resampled: Resampled, names: Sequence[str]) -> BySlice:
        """Compute metrics by slice, and look for the worst.

        Parameters
        ----------
        cuts : Cuts
            The slices.
        resampled : Resampled
            The test rows.
        names : sequence of str
            What to compute; a metric without a value on a slice is left out there.
        """
        rows = resampled.rows
        losses = rows.absolute if isinstance(rows, Errors) else rows.surprises
        asked = tuple(each(one, losses, cuts.groups) for one in cuts.asked)
        return cls(
            _LOSSES[resampled.target.kind],
            search(cuts.looked_at, losses, cuts.groups),
            asked,
            {
                found.name: _metrics(resampled.take(_rows_of(one, found)), names)
                for one, slices in zip(cuts.asked, asked, strict=True)
                for found in slices
            },
            {one.column: one.n_rare for one in cuts.asked if one.n_rare},
        )

    @property
    def findings(self) -> list[Finding]:
        """What is worth telling."""
        told = [
            f"Column {column!r} has {count:,} values that are too rare to be slices."
            for column, count in self.rare.items()
        ]
        if self.found.worst:
            listed = "; ".join(
                f"{one.name} ({self.loss} {one.loss:.4f}, {one.n_rows:,} rows)" for one in self.found.worst
            )
            told.append(
                f"The model does worse than on all rows ({self.loss} {self.found.loss:.4f}) where {listed}."
            )
        return [Finding("slices", "info", message) for message in told]

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {
            "loss": self.loss,
            "value": self.found.loss,
            "rows": self.found.n_rows,
            "worst": [_written(one) for one in self.found.worst],
            "slices_looked_at": self.found.n_slices,
            "asked": [
                {**_written(one), "is_small": one.n_rows < FEWEST_ROWS, "metrics": self.metrics[one.name]}
                for slices in self.asked
                for one in slices
            ],
            "too_rare": dict(self.rare),
        }

    def write(self, folder: Path, *, with_plots: bool) -> None:
        """Write ``slices.json``; where slices were asked for, ``slices.csv`` too; and a picture."""
        write_json(folder / "slices.json", self.as_dict())
        if self.asked:
            import csv

            with (folder / "slices.csv").open("w", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows(self._lines())
        if with_plots and (self.asked or self.found.worst) and is_installed("matplotlib"):
            from mmp.evaluation.plots import canvas, slices

            made = slices.picture(self.asked, self.found, loss=self.loss)
            canvas.save(made, folder / "slices.png")

    def _lines(self) -> list[list[object]]:
        names = list(dict.fromkeys(name for of_slice in self.metrics.values() for name in of_slice))
        ends = ("value", "low", "high")
        header = [
            "column",
            "value",
            "rows",
            *(f"{name}{end}" for name in names for end in ("", "_ci_low", "_ci_high")),
        ]
        lines: list[list[object]] = [list(header)]
        for one in (one for slices in self.asked for one in slices):
            found = self.metrics[one.name]
            cells = [found.get(name, {}).get(end) for name in names for end in ends]
            lines.append([*one.values[0], one.n_rows, *cells])
        return lines


def with_ends(
    values: Mapping[str, float], found: Mapping[str, Interval]
) -> dict[str, dict[str, float | None]]:
    """Return metrics with the ends of their intervals, as a JSON object."""
    ends = {name: found.get(name) or (None, None) for name in values}
    return {
        name: {"value": value, "low": ends[name][0], "high": ends[name][1]} for name, value in values.items()
    }


def write_json(path: Path, content: object) -> None:
    """Write a file that people may look at."""
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _groups(rows: Rows, test: npt.NDArray[np.int64], recipe: Recipe) -> npt.NDArray[np.int64] | None:
    """Return the groups of rows that the split keeps together, None where it divides row by row."""
    split = recipe.data.split
    if split.group_column is None or split.strategy not in {"group", "cross_validation"}:
        return None
    found = classes(take(select(rows.table, [split.group_column]), test).arrow.column(split.group_column))
    return found.codes.astype(np.int64)


def _rows_of(one: Cut, found: Slice) -> npt.NDArray[np.int64]:
    ((_, label),) = found.values
    return np.flatnonzero(one.codes == one.labels.index(label))


def _metrics(resampled: Resampled, names: Sequence[str]) -> dict[str, dict[str, float | None]]:
    values: dict[str, float] = {}
    for metric in requests(names, task=resampled.target.kind, classes=resampled.target.classes):
        with suppress(UndefinedMetricError, TrainingError):
            values[metric.name] = resampled.value(metric)
    return with_ends(values, intervals(resampled, values))


def _written(one: Slice) -> dict[str, Any]:
    return {
        "slice": one.name,
        "columns": dict(one.values),
        "rows": one.n_rows,
        "loss": one.loss,
        "low": one.low,
        "high": one.high,
    }
