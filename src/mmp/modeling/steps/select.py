"""Which columns a step is given.

An entry of a list under ``columns`` is, in this order: the name of a column as it is at that point; a
word; a glob. What stands there alone, or for a step without ``columns``, is a word first: ``columns:
datetime`` means every timestamp, also where a column has that name, and ``columns: [datetime]`` that one.

=============== ======================================================================
``numeric``     integer, float and boolean columns of the table and the numbers that
                earlier steps made (encodings, parts of a timestamp), but not the 0/1
                columns of one_hot_encoder and of missing indicators: scaling or filling
                those is hardly ever meant. A name or a glob reaches them.
``categorical`` text columns that no step has encoded yet
``datetime``    timestamps that no step has taken apart yet
=============== ======================================================================

A word may match nothing; a name or a glob that matches nothing is an error. Numeric ids and
booleans are encoded where they are named.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from mmp.catalog.steps import STEPS
from mmp.errors import DataError
from mmp.lookup import did_you_mean
from mmp.modeling.steps.base import NUMBERS

if TYPE_CHECKING:
    from mmp.modeling.steps.base import StepSettings
    from mmp.modeling.training import Training

_WORDS = {"numeric": NUMBERS, "categorical": ("text",), "datetime": ("timestamp",)}
_NATURAL = {**{word: (word,) for word in _WORDS}, "any": ("numeric", "categorical")}


def select(step: StepSettings, training: Training) -> tuple[str, ...]:
    """Return the columns of a step, in their own order and each once.

    Raises
    ------
    DataError
        Names the entry that matches nothing and the nearest column.
    """
    entries = step.columns
    if entries is None:
        row = STEPS.get(step.type)
        groups = [_of_word(word, training) for word in _NATURAL[row.fits if row else "any"]]
    elif isinstance(entries, str) and entries in _WORDS:
        groups = [_of_word(entries, training)]
    else:
        listed = (entries,) if isinstance(entries, str) else entries
        groups = [_matches(entry, step, training) for entry in listed]
    chosen = {name for group in groups for name in group}
    return tuple(name for name in training if name in chosen)


def _of_word(word: str, training: Training) -> list[str]:
    return [name for name in training if training.kind(name) in _WORDS[word] and not training.is_flag(name)]


def _matches(entry: str, step: StepSettings, training: Training) -> list[str]:
    if entry in training:
        return [entry]
    if entry in _WORDS:
        return _of_word(entry, training)
    found = [name for name in training if fnmatchcase(name, entry)]
    if not found:
        raise DataError(
            f"The step {step.type} is given '{entry}', which is no column at that point.",
            hint=did_you_mean(entry, training) or f"The columns are {', '.join(training)}.",
        )
    return found
