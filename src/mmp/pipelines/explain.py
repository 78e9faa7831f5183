"""Which columns the predictions of a logged model come from, over a table or for one row of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mmp.errors import DataError
from mmp.evaluation.explain import explain as explain_rows
from mmp.pipelines.model import open_both
from mmp.pipelines.steps import Steps

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mmp.data.table import Table
    from mmp.errors import Finding
    from mmp.evaluation.explain import Explanation
    from mmp.modeling.bundle import Bundle
    from mmp.pipelines.steps import Watcher
    from mmp.settings.config import Config

MAX_ROWS = 2000
_SEED = 42


@dataclass(frozen=True)
class Explained:
    """SHAP values of a table, or of one row.

    Parameters
    ----------
    run_id, source, target : str
        The model's run, the table, and what is predicted.
    unit : str
        What the values are parts of: ``log-odds``, ``probability``, ``value`` or ``score``.
    of : list of str
        The classes that they are for, nothing for regression.
    n_rows : int
        Rows that were explained.
    columns : list of dict
        The strongest first: ``column`` and ``mean_abs_shap``, with ``classes`` where there are several;
        of one row ``column``, ``value`` and ``shap``, which goes by class where there are several.
    row : dict or None
        Of one row: ``position``, ``prediction``, ``base`` and ``score``; base and parts sum to the score.
    findings : tuple of Finding
        What was worth telling.
    """

    run_id: str
    source: str
    target: str
    unit: str
    of: list[str]
    n_rows: int
    columns: list[dict[str, Any]]
    row: dict[str, Any] | None
    findings: tuple[Finding, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the object that ``--json`` prints."""
        return asdict(self)


def explain(
    ref: str,
    config: Config,
    *,
    data: str,
    parameters: Mapping[str, Any] | None = None,
    row: int | None = None,
    watcher: Watcher | None = None,
) -> Explained:
    """Explain a logged model on a table.

    Parameters
    ----------
    ref : str
        The run: an id, ``latest``, ``best`` or an alias.
    config : Config
        Where runs are.
    data : str
        The table; it needs the model's inputs. Of more than 2,000 rows as many are drawn.
    parameters : Mapping, optional
        Values for the variables of a query.
    row : int, optional
        The one row to explain, from 0.
    watcher : Watcher, optional
        Is told about the steps.

    Raises
    ------
    MmpError
        Run, model or table are not as needed, or the model cannot be explained.
    """
    steps = Steps(watcher)
    logged, table, opened = open_both(ref, config, data, steps=steps, parameters=parameters)
    bundle, rows = logged.bundle, _rows(table, row)
    with steps("explain") as note:
        chosen = table.arrow.take(_indices(rows))
        columns = bundle.read(chosen, where=table.source)
        explanation, findings = explain_rows(bundle, columns, rows)
        note(f"{len(explanation.rows):,} row{'' if len(explanation.rows) == 1 else 's'}")
    return Explained(
        run_id=logged.run.run_id,
        source=table.source,
        target=bundle.target.name,
        unit=explanation.unit,
        of=[str(label) for label in explanation.classes],
        n_rows=len(explanation.rows),
        columns=explanation.ranking() if row is None else _parts(explanation, chosen),
        row=None if row is None else _row(bundle, explanation, chosen),
        findings=(*opened, *table.findings, *findings),
    )


def _rows(table: Table, row: int | None) -> Any:
    if not table.n_rows:
        raise DataError(f"{table.source} has no rows to explain.", hint="Pass a table with rows.")
    if row is not None:
        if not 0 <= row < table.n_rows:
            raise DataError(
                f"{table.source} has no row {row}.", hint=f"Rows are counted from 0 to {table.n_rows - 1}."
            )
        return np.array([row], np.int64)
    if table.n_rows <= MAX_ROWS:
        return np.arange(table.n_rows)
    return np.sort(np.random.default_rng(_SEED).choice(table.n_rows, MAX_ROWS, replace=False))


def _indices(rows: Any) -> Any:
    import pyarrow as pa

    from mmp.data.buffers import wrap

    return wrap(rows, pa.int64())


def _parts(explanation: Explanation, chosen: Any) -> list[dict[str, Any]]:
    """Return the columns of one row, the strongest first."""
    parts = explanation.values[0]
    order = np.argsort(-np.abs(parts).mean(axis=0), kind="stable").tolist()
    return [
        {
            "column": explanation.columns[place],
            "value": chosen.column(explanation.columns[place])[0].as_py(),
            "shap": _by_class(explanation, parts[:, place]),
        }
        for place in order
    ]


def _row(bundle: Bundle, explanation: Explanation, chosen: Any) -> dict[str, Any]:
    return {
        "position": int(explanation.rows[0]),
        "prediction": bundle.predict(chosen).records()[0],
        "base": _by_class(explanation, explanation.base),
        "score": _by_class(explanation, explanation.scores[0]),
    }


def _by_class(explanation: Explanation, values: Any) -> Any:
    if len(values) == 1:
        return float(values[0])
    return {str(label): float(value) for label, value in zip(explanation.classes, values, strict=True)}
