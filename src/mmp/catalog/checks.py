"""The checks of data, as `data.checks` addresses them: pure data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Check:
    """One check of the table before training.

    Parameters
    ----------
    name : str
        Name in `data.checks`.
    level : {"error", "warn", "info"}
        What happens when it finds something, unless the recipe says otherwise.
    finds : str
        What it finds, one line.
    """

    name: str
    level: Literal["error", "warn", "info"]
    finds: str


_ROWS = (
    # leakage
    Check("target_copy", "error", "a feature that equals the target in every row"),
    Check("target_recoded", "warn", "a feature that names each class of the target by another word"),
    Check("target_predictor", "warn", "a feature that gives the target almost perfectly on its own"),
    # columns that say nothing: left out of the features
    Check("all_null", "warn", "a feature without any value; it is left out"),
    Check("constant", "warn", "a feature with one value in all rows; it is left out"),
    Check("unique_text", "warn", "a text feature that is different in every row; it is left out"),
    # quality
    Check("id_like", "warn", "an integer feature that counts the rows up or down"),
    Check("missing_share", "warn", "a feature that is missing in more than half of the rows"),
    Check("duplicate_rows", "warn", "rows that equal an earlier row in every column"),
    Check("null_target", "warn", "rows without a target; they are left out"),
    Check("many_classes", "warn", "a target of numbers with very many classes"),
    Check("rare_class", "info", "a class twenty times as rare as the most frequent one"),
    # what reading the source brought to light
    Check("blank_text", "warn", "blank texts among other values, read as missing"),
    Check("mixed_column", "warn", "a column of numbers that a few words make text"),
    Check("decimal_comma", "warn", "numbers with a decimal comma, which stay text"),
    Check("ambiguous_dates", "warn", "dates that fit no format or several, which stay text"),
    Check("leading_zeros", "info", "numbers with leading zeros, which stay text"),
    Check("big_integers", "info", "integers past 64 bits, which stay text"),
    Check("time_format", "info", "times in another format than ISO 8601"),
    Check("time_precision", "info", "times finer than a microsecond, which are cut"),
    Check("decimal", "info", "decimal numbers, read as 64-bit floats"),
)

CHECKS: dict[str, Check] = {check.name: check for check in _ROWS}
