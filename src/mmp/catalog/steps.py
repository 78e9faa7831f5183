"""The preprocessing steps a recipe can name: their parameters, defaults and the columns they suit.

A parameter that a recipe leaves out, or sets to null, has the default written here. Every step also
takes ``columns``: a list of names, globs (``"price_*"``) and the words ``numeric``, ``categorical``
and ``datetime``; without it a step takes the columns it `fits`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Fits = Literal["numeric", "categorical", "datetime", "any"]

DATE_PARTS = (
    "year", "quarter", "month", "day", "day_of_week", "day_of_year", "hour", "minute", "second",
    "is_weekend", "epoch_s",
)  # fmt: skip
"""What `datetime_features` can make of a timestamp, in UTC; Monday is day 0 of the week."""

DatePartName = Literal[
    "year", "quarter", "month", "day", "day_of_week", "day_of_year", "hour", "minute", "second",
    "is_weekend", "epoch_s",
]  # fmt: skip

Scalar = bool | int | float | str


class Parameter(NamedTuple):
    """One parameter of a step: its type as an annotation, its default, what it does, its smallest value."""

    type: Any
    default: object
    description: str
    minimum: float | None = None


@dataclass(frozen=True, slots=True)
class StepRow:
    """One step type.

    Parameters
    ----------
    type : str
        Name in the recipe.
    description : str
        One line: what it does to its columns.
    fits : {"numeric", "categorical", "datetime", "any"}
        Which columns it takes where the recipe names none.
    parameters : dict of str to Parameter
        What can be set.
    of_series : bool
        Whether it looks at the rows before and after, so that it is for ordered series alone.
    """

    type: str
    description: str
    fits: Fits
    parameters: dict[str, Parameter] = field(default_factory=dict)
    of_series: bool = False


_FILL_LIMIT = Parameter(int | None, None, "Fill at most so many missing values in a row.", 1)

_ROWS = (
    StepRow(
        "simple_imputer",
        "Fill missing values with a statistic of the training rows.",
        "any",
        {
            "strategy": Parameter(
                Literal["mean", "median", "most_frequent", "constant"],
                "mean",
                "Statistic to fill with; mean and median take number columns only.",
            ),
            "fill_value": Parameter(
                Scalar | None, None, "Value for the strategy constant; 0, or 'missing' in text, where unset."
            ),
            "create_missing_indicators": Parameter(
                bool,
                default=False,
                description="Add a 0/1 column for each that had missing values in training.",
            ),
        },
    ),
    StepRow(
        "constant_fill",
        "Fill missing values with one value.",
        "any",
        {
            "fill_value": Parameter(
                Scalar | None, None, "The value; 0 for number columns and 'missing' for text where unset."
            )
        },
    ),
    StepRow(
        "ordinal_encoder",
        "Replace categories by their position in sorted order.",
        "categorical",
        {
            "handle_unknown": Parameter(
                Literal["use_encoded_value", "error"],
                "use_encoded_value",
                "What a category unseen in training becomes: unknown_value, or an error.",
            ),
            "unknown_value": Parameter(float, -1, "Number for a category unseen in training."),
        },
    ),
    StepRow(
        "one_hot_encoder",
        "Replace a column by one 0/1 column for each category.",
        "categorical",
        {
            "handle_unknown": Parameter(
                Literal["ignore", "error"],
                "ignore",
                "What a category unseen in training becomes: all zeros, or an error.",
            )
        },
    ),
    StepRow(
        "target_encoder",
        "Replace categories by the smoothed mean of the target, out of fold on the training rows.",
        "categorical",
        {
            "smooth": Parameter(
                Literal["auto"] | float,
                "auto",
                "Weight of the overall mean; auto is an empirical Bayes estimate.",
                0,
            ),
            "cv": Parameter(int, 5, "Number of folds for the values of the training rows.", 2),
        },
    ),
    StepRow(
        "catboost_encoder",
        "Replace categories by the mean of the target, over earlier rows on the training rows.",
        "categorical",
        {
            "sigma": Parameter(
                float | None,
                0.05,
                "Deviation of the noise that the training rows' values are multiplied by.",
                0,
            )
        },
    ),
    StepRow(
        "standard_scaler",
        "Shift to mean 0 and scale to standard deviation 1.",
        "numeric",
        {
            "with_mean": Parameter(bool, default=True, description="Shift to mean 0."),
            "with_std": Parameter(bool, default=True, description="Scale to standard deviation 1."),
        },
    ),
    StepRow(
        "min_max_scaler",
        "Scale the range of the training rows to a fixed range.",
        "numeric",
        {
            "feature_range": Parameter(
                tuple[float, float], (0.0, 1.0), "Smallest and largest value after scaling."
            ),
            "clip": Parameter(
                bool, default=False, description="Move values beyond the training rows' range to its ends."
            ),
        },
    ),
    StepRow(
        "robust_scaler",
        "Shift by the median and scale by a quantile range.",
        "numeric",
        {
            "with_centering": Parameter(bool, default=True, description="Shift by the median."),
            "with_scaling": Parameter(bool, default=True, description="Scale by the quantile range."),
            "quantile_range": Parameter(tuple[float, float], (25.0, 75.0), "The quantiles, in percent."),
        },
    ),
    StepRow(
        "datetime_features",
        "Replace a timestamp by numbers: year, month, hour and so on.",
        "datetime",
        {
            "parts": Parameter(
                tuple[DatePartName, ...] | None,
                None,
                "Where unset year, month, day, day_of_week and hour, as far as they vary in training.",
            ),
            "cyclic": Parameter(
                bool,
                default=False,
                description="Give parts that come round (month, hour, …) as a sine and a cosine.",
            ),
        },
    ),
    StepRow(
        "kbins_discretizer",
        "Replace numbers by the bin they fall in.",
        "numeric",
        {
            "n_bins": Parameter(int, 5, "Number of bins.", 2),
            "strategy": Parameter(Literal["uniform", "quantile", "kmeans"], "quantile", "How bins are cut."),
            "encode": Parameter(
                Literal["ordinal", "onehot"], "ordinal", "One number, or one 0/1 column a bin."
            ),
        },
    ),
    StepRow(
        "polynomial_features",
        "Add products and powers of columns.",
        "numeric",
        {
            "degree": Parameter(int, 2, "Highest degree of a product.", 1),
            "interaction_only": Parameter(
                bool, default=False, description="Products of distinct columns only."
            ),
            "include_bias": Parameter(bool, default=False, description="Add a column of ones."),
        },
    ),
    StepRow(
        "tree_based_feature_generator",
        "Add what the leaf of each tree of a small forest says of the row, out of fold on the training rows.",
        "numeric",
        {
            "n_estimators": Parameter(int, 10, "Number of trees.", 1),
            "max_depth": Parameter(int, 3, "Greatest depth of a tree.", 1),
            "random_state": Parameter(int | None, None, "Seed; evaluation.random_state where unset.", 0),
        },
    ),
    StepRow(
        "drop_missing",
        "Leave out training rows, or columns, with missing values.",
        "any",
        {
            "axis": Parameter(Literal["rows", "columns"], "rows", "What to leave out."),
            "threshold": Parameter(float, 0.0, "Leave out above this share of missing values.", 0),
        },
    ),
    StepRow(
        "forward_fill",
        "Fill missing values with the last one before of the same entity, in ordered series.",
        "any",
        {"limit": _FILL_LIMIT},
        of_series=True,
    ),
    StepRow(
        "backward_fill",
        "Fill missing training values with the next one after of the same entity, in ordered series.",
        "any",
        {"limit": _FILL_LIMIT},
        of_series=True,
    ),
    StepRow(
        "interpolation",
        "Fill missing values between two known ones of the same entity, in ordered series.",
        "numeric",
        {
            "method": Parameter(
                Literal["linear", "polynomial", "spline", "nearest", "zero"],
                "linear",
                "How values in between are found, by their times.",
            ),
            "order": Parameter(
                int, 2, "Degree, for polynomial and spline; lower where values are too few.", 1
            ),
            "limit": _FILL_LIMIT,
        },
        of_series=True,
    ),
)

STEPS: dict[str, StepRow] = {row.type: row for row in _ROWS}
"""Step type to its row."""
