"""Which columns the prediction of one row comes from."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import numpy as np

from mmp.evaluation.explain import explain as explain_rows
from mmp.modeling.columns import column_of
from mmp.modeling.values import written

if TYPE_CHECKING:
    from mmp.evaluation.explain import Explanation
    from mmp.serving.predict import Cells, Predictor
    from mmp.serving.served import Served


async def explain(served: Served, predictor: Predictor, row: Any) -> dict[str, Any]:
    """Predict a row and share its score out among the columns, on a thread.

    Raises
    ------
    Refusal
        The row is not as it must be.
    MmpError
        The model cannot be explained, or the feature store does not answer.
    """
    cells = served.form.cells(row)
    (complete,), degraded = await predictor.completed(served, [cells])
    (output,), _ = await predictor.outputs(served, [complete], is_complete=True)
    explanation = await asyncio.to_thread(_explained, served, complete)
    answer = served.answer(output, row)
    if degraded:
        answer["degraded"] = True
    values = {spec.name: written(spec, complete[spec.name]) for spec in served.bundle.inputs}
    return {**answer, "explanation": _as_json(explanation, values)}


def _explained(served: Served, cells: Cells) -> Explanation:
    columns = {spec.name: column_of(spec.kind, [cells[spec.name]]) for spec in served.bundle.inputs}
    explanation, _ = explain_rows(served.bundle, columns, np.zeros(1, np.int64))
    return explanation


def _as_json(explanation: Explanation, values: Cells) -> dict[str, Any]:
    parts = explanation.values[0]
    order = np.argsort(-np.abs(parts).mean(axis=0), kind="stable").tolist()
    return {
        "unit": explanation.unit,
        "base": _by_class(explanation, explanation.base),
        "score": _by_class(explanation, explanation.scores[0]),
        "columns": [
            {
                "column": explanation.columns[place],
                "value": values[explanation.columns[place]],
                "shap": _by_class(explanation, parts[:, place]),
            }
            for place in order
        ],
    }


def _by_class(explanation: Explanation, values: Any) -> Any:
    if len(values) == 1:
        return float(values[0])
    return {str(label): float(value) for label, value in zip(explanation.classes, values, strict=True)}
