"""The tasks a recipe can choose: the columns each needs and what it is judged by."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Task:
    """One task.

    Parameters
    ----------
    name : str
        Name in `task_choice`.
    description : str
        One line for lists and references.
    roles : tuple of str
        Keys of `data.data_interface` that must be set.
    metrics : tuple of str
        What is measured where `evaluation.metrics` is left out; families by class come on top.
    primary_metric : str
        What runs are ranked by, and tuned on, unless the recipe says otherwise.
    predicts : str
        What a prediction is.
    available : bool
        Whether this version can train it.
    """

    name: str
    description: str
    roles: tuple[str, ...]
    metrics: tuple[str, ...]
    primary_metric: str
    predicts: str
    available: bool = True


_ROWS = (
    Task(
        "classification",
        "Which of two or more classes a row belongs to.",
        ("target_column",),
        ("accuracy", "balanced_accuracy", "precision", "recall", "f1", "roc_auc", "average_precision",
         "log_loss", "brier", "mcc"),
        "roc_auc",
        "a class as the data writes it, and a probability for each",
    ),
    Task(
        "regression",
        "Which number belongs to a row.",
        ("target_column",),
        ("mae", "mse", "rmse", "r2", "mape", "smape", "median_ae", "max_error"),
        "rmse",
        "a number",
    ),
    Task(
        "timeseries",
        "How a series goes on.",
        ("target_column", "timestamp_column"),
        ("mae", "rmse", "mape", "smape", "mase"),
        "rmse",
        "a number for each step of the horizon",
        available=False,
    ),
    Task(
        "clustering",
        "Which rows belong together.",
        (),
        ("silhouette_score", "davies_bouldin", "calinski_harabasz"),
        "silhouette_score",
        "the number of a cluster",
        available=False,
    ),
    Task(
        "causal",
        "What a treatment changes, row by row.",
        ("target_column", "treatment_column"),
        ("ate", "qini", "uplift_at_k"),
        "qini",
        "the effect of the treatment",
        available=False,
    ),
)  # fmt: skip

TASKS: dict[str, Task] = {row.name: row for row in _ROWS}
"""Task name to its row."""
