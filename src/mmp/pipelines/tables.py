"""The tables behind `mmp list` and the generated reference."""

from __future__ import annotations

from mmp.catalog import quantiles
from mmp.catalog.metrics import METRICS
from mmp.catalog.models import MODELS, find
from mmp.catalog.steps import STEPS
from mmp.catalog.tasks import TASKS
from mmp.data.stored import LISTED

Rows = tuple[list[str], list[list[str]]]


def _models() -> Rows:
    rows = [
        [
            row.class_path,
            row.task,
            row.extra,
            _yes(row.native_categories),
            _yes(row.handles_nulls),
            _yes(row.weighted),
            row.file,
        ]
        for row in (*MODELS.values(), *filter(None, [find(quantiles.CLASS_PATH)]))
    ]
    return ["class_path", "task", "extra", "categories", "nulls", "weights", "file"], rows


def _metrics() -> Rows:
    better = {True: "higher", False: "lower"}
    rows = [
        [m.name, ", ".join(m.tasks), better[m.greater_is_better], m.description] for m in METRICS.values()
    ]
    return ["metric", "task", "better", "description"], rows


def _preprocessors() -> Rows:
    rows = [[row.type, ", ".join(row.parameters), row.description] for row in STEPS.values()]
    return ["type", "parameters", "description"], rows


def _adapters() -> Rows:
    return ["adapter_type", "reads"], [
        ["local_files", f"files below base_path: {LISTED}, a directory or a glob of one kind"],
        ["storage", "the same"],
        ["sql", "queries (.sql, .sql.j2) to the database of connection_uri: PostgreSQL, SQLite, DuckDB"],
        ["postgresql", "the same"],
    ]


def _evaluators() -> Rows:
    rows = [[task.name, ", ".join(task.metrics)] for task in TASKS.values() if task.available]
    return ["task", "metrics unless the recipe names others"], rows


def _tasks() -> Rows:
    rows = [
        [task.name, ", ".join(task.roles), task.primary_metric, _yes(task.available)]
        for task in TASKS.values()
    ]
    return ["task", "columns it needs", "primary metric", "available"], rows


TABLES = {
    "models": _models,
    "metrics": _metrics,
    "preprocessors": _preprocessors,
    "adapters": _adapters,
    "evaluators": _evaluators,
    "tasks": _tasks,
}


def table(name: str) -> Rows:
    """Return the header and the rows of one table.

    Parameters
    ----------
    name : str
        A key of `TABLES`.
    """
    return TABLES[name]()


def _yes(value: bool) -> str:  # noqa: FBT001 - a table cell
    return "yes" if value else "no"
