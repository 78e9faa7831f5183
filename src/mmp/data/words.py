"""From words to values: what a column of text is, judged by every word of it.

A column of a CSV file arrives as text. Whole columns of plain integers, numbers and ISO times are
cast by Arrow directly; anything else is judged and read by its distinct words, of which there are few.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmp.data.buffers import INSTANT, one_chunk, values, wrap
from mmp.data.table import TypedColumn
from mmp.errors import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

MISSING = (
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
    "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
)  # fmt: skip
"""The words that `pandas.read_csv` takes for a missing value, quoted or not: ours are the same."""

MOSTLY = 0.9
"""The share of numbers from which a column with other words in it is worth a warning."""

_INTEGER = r"^[+-]?[0-9]+$"
_NUMBER = r"^([+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?(?i:inf|infinity))$"
_DECIMAL_COMMA = r"^[+-]?[0-9]+,[0-9]+$"
_PADDED = r"^[+-]?0([0-9]+|[xX].*)$"  # Arrow reads 0x1F as 31
_DIGITS = r"^[0-9]+$"
_BOOLEAN = r"^(?i:true|false)$"
_BLANK = r"^\s*$"

_ISO = r"^\d{4}-\d{2}-\d{2}([ T]\d{2}(:\d{2}(:\d{2}(\.\d+)?)?)?( ?(Z|z|UTC|[+-]\d{2}(:?\d{2})?))?)?$"
_ZONED = r"[ T].*(Z|[+-]\d{2}(:?\d{2})?)$"
_DATELIKE = r"^\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}( \d{1,2}:\d{2}(:\d{2})?)?$"
_DATES = (
    ("%Y-%m-%d", r"^(\d{4})-(\d{2})-(\d{2})", r"\1-\2-\3"),
    ("%Y/%m/%d", r"^(\d{4})/(\d{2})/(\d{2})", r"\1-\2-\3"),
    ("%Y.%m.%d", r"^(\d{4})\.(\d{2})\.(\d{2})", r"\1-\2-\3"),
    ("%d.%m.%Y", r"^(\d{2})\.(\d{2})\.(\d{4})", r"\3-\2-\1"),
    ("%d/%m/%Y", r"^(\d{2})/(\d{2})/(\d{4})", r"\3-\2-\1"),
    ("%m/%d/%Y", r"^(\d{2})/(\d{2})/(\d{4})", r"\3-\1-\2"),
    ("%d-%m-%Y", r"^(\d{2})-(\d{2})-(\d{4})", r"\3-\2-\1"),
    ("%m-%d-%Y", r"^(\d{2})-(\d{2})-(\d{4})", r"\3-\1-\2"),
)
_TIMES = (("", r"$"), (" %H:%M", r" \d{2}:\d{2}$"), (" %H:%M:%S", r" \d{2}:\d{2}:\d{2}$"))


def typed(name: str, words: pa.ChunkedArray) -> TypedColumn:
    """Read a column of words as what all of them are.

    Parameters
    ----------
    name : str
        Name of the column, for the spec and the findings.
    words : pyarrow.ChunkedArray of string
        The words as they stand in the file, null where one of `MISSING` stood.

    Returns
    -------
    TypedColumn
        Integers, numbers, booleans or times where every word is one; else text.

    Examples
    --------
    >>> import pyarrow as pa
    >>> typed("zip", pa.chunked_array([["00123", "10115"]])).spec
    ColumnSpec(name='zip', kind='text', has_nulls=False, digits=5, time_format=None)
    >>> typed("n", pa.chunked_array([["1", None, "3"]])).spec.kind
    'integer'
    """
    if words.null_count == len(words):
        return TypedColumn.of(name, pa.nulls(len(words), pa.float64()))
    plain = plain_integers(words) or plain_floats(words) or plain_instants(words)
    if plain is not None:
        return TypedColumn.of(name, one_chunk(plain))
    return _by_distinct_words(name, one_chunk(words.dictionary_encode()))


def times(column: TypedColumn) -> TypedColumn | None:
    """Return a column of text as the times that all of its words are, None where they are not.

    Examples
    --------
    >>> import pyarrow as pa
    >>> day = TypedColumn.of("day", pa.array(["2026-01-02", None]).dictionary_encode())
    >>> times(day).spec.kind
    'timestamp'
    """
    name = column.spec.name
    reading = _instants(name, _Lexicon.of(column.array)) if len(column.array.dictionary) else None
    if reading is None:
        return None
    array = reading.meaning.take(column.array.indices)
    findings = (*column.findings, *reading.findings)
    return TypedColumn.of(name, array, findings, time_format=reading.time_format)


def digits(words: pa.StringArray) -> int | None:
    """Return how many digits every word has: 0 where zeros lead and widths differ, None without digits.

    Examples
    --------
    >>> import pyarrow as pa
    >>> digits(pa.array(["007", "120"])), digits(pa.array(["07", "120"])), digits(pa.array(["x07"]))
    (3, 0, None)
    """
    lengths = values(pc.binary_length(words))
    if not len(lengths) or not _all(words, _DIGITS):
        return None
    if lengths.min() == lengths.max():
        return int(lengths[0])
    lead = values(pc.starts_with(words, "0")) & (lengths > 1)
    return 0 if lead.any() else None


def _cast(words: pa.ChunkedArray, type_: pa.DataType) -> pa.ChunkedArray | None:
    try:
        words.slice(0, 100).cast(type_)  # Arrow words an error for every value of a chunk
        return words.cast(type_)
    except pa.ArrowInvalid:
        return None


def plain_integers(words: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Return words as integers where each is one that fits into 64 bits; zeros that lead are none."""
    numbers = _cast(words, pa.int64())
    return None if numbers is None or _any_padded(words) else numbers


def plain_floats(words: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Return words as numbers where each is one, written plainly."""
    numbers = _cast(words, pa.float64())
    if numbers is None or _any_padded(words) or _any_long(words):
        return None
    # "NAN" is a word, "+5" an integer: both are for the slow way
    odd = pc.any(pc.or_(pc.is_nan(numbers), pc.starts_with(words, "+"))).as_py()
    return None if odd else numbers


def plain_instants(words: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Return words as times where each is ISO 8601, all with a zone or none."""
    naive = _cast(words, pa.timestamp("us"))
    return _cast(words, INSTANT) if naive is None else naive.cast(INSTANT)


def plain_booleans(words: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Return words as 0 and 1 where they are that; what is written out is left to whoever reads words."""
    return plain_integers(words)


def _any_padded(words: pa.ChunkedArray) -> bool:
    """Tell whether a number starts with a zero that does not count."""
    for start in ("0", "-0"):
        suspects = words.filter(pc.starts_with(words, start))
        if len(suspects) and pc.any(pc.match_substring_regex(suspects, _PADDED)).as_py():
            return True
    return False


def _any_long(words: pa.ChunkedArray) -> bool:
    """Tell whether an integer may have more digits than int64 holds."""
    longest = pc.max(pc.binary_length(words)).as_py()
    return longest >= 19 and bool(pc.any(pc.match_substring_regex(words, r"^[+-]?[0-9]{19,}$")).as_py())


@dataclass(frozen=True)
class _Lexicon:
    """The distinct words of a column, trimmed, and in how many rows each stands."""

    words: pa.StringArray
    counts: npt.NDArray[np.int64]
    blank: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, column: pa.DictionaryArray) -> _Lexicon:
        words = pc.ascii_trim_whitespace(column.dictionary)
        codes = values(column.indices.drop_null())
        blank = values(pc.match_substring_regex(words, _BLANK))
        return cls(words, np.bincount(codes, minlength=len(words)), blank)

    def are(self, pattern: str) -> npt.NDArray[np.bool_]:
        """Return which words match."""
        return values(pc.match_substring_regex(self.words, pattern))

    def all_are(self, pattern: str) -> bool:
        """Tell whether every word that is not blank matches, and there is one."""
        return not self.blank.all() and bool((self.are(pattern) | self.blank).all())

    def filled(self) -> pa.StringArray:
        """Return the words with null for the blank ones."""
        return pc.if_else(wrap(~self.blank, pa.bool_()), self.words, pa.nulls(len(self.words), pa.string()))


@dataclass(frozen=True)
class _Reading:
    """What the distinct words mean, one value a word, and what is worth telling of it."""

    meaning: pa.Array
    findings: tuple[Finding, ...] = ()
    time_format: str | None = None


def _by_distinct_words(name: str, column: pa.DictionaryArray) -> TypedColumn:
    lexicon = _Lexicon.of(column)
    reading = _numbers(lexicon) or _booleans(lexicon) or _instants(name, lexicon)
    if reading is None:
        return _text(name, column, lexicon)
    array = reading.meaning.take(column.indices)
    findings = (*reading.findings, *_blanks(name, lexicon))
    return TypedColumn.of(name, array, findings, time_format=reading.time_format)


def _numbers(lexicon: _Lexicon) -> _Reading | None:
    if not lexicon.all_are(_NUMBER) or bool(lexicon.are(_PADDED).any()):
        return None
    unsigned = pc.replace_substring_regex(lexicon.filled(), pattern=r"^\+", replacement="")
    if not lexicon.all_are(_INTEGER):
        return _Reading(unsigned.cast(pa.float64()))
    numbers = _cast(unsigned, pa.int64())
    return None if numbers is None else _Reading(numbers)


def _booleans(lexicon: _Lexicon) -> _Reading | None:
    if not lexicon.all_are(_BOOLEAN):
        return None
    truth = pc.match_substring_regex(lexicon.filled(), "^true$", ignore_case=True)
    return _Reading(truth)


def _instants(name: str, lexicon: _Lexicon) -> _Reading | None:
    if lexicon.all_are(_ISO):
        return _iso(name, lexicon)
    if not lexicon.all_are(_DATELIKE):
        return None
    fits = list(_fitting_formats(lexicon))
    if len(fits) != 1:
        return None
    time_format, meaning = fits[0]
    message = f"Column {name!r} holds times written as {time_format}; they were read as such."
    return _Reading(meaning, (Finding("time_format", "info", message, name),), time_format)


def _iso(name: str, lexicon: _Lexicon) -> _Reading | None:
    zone = pc.replace_substring_regex(lexicon.filled(), pattern=r" ?(Z|z|UTC)$", replacement="Z")
    zone = pc.replace_substring_regex(zone, pattern=r" ([+-])", replacement=r"\1")
    words = pc.replace_substring_regex(zone, pattern=r"(\.\d{6})\d+", replacement=r"\1")
    meaning = _instants_of(words)
    if meaning is None:
        return None
    if pc.all(pc.equal(zone, words)).as_py():
        return _Reading(meaning)
    return _Reading(meaning, (finer_than_microseconds(name),))


def finer_than_microseconds(name: str) -> Finding:
    """Return the finding for times that were cut to microseconds."""
    message = f"Column {name!r} has times finer than a microsecond; they were cut to microseconds."
    return Finding("time_precision", "info", message, name)


def _instants_of(words: pa.StringArray) -> pa.Array | None:
    """Return ISO 8601 words, with or without zone, as instants; without zone is UTC."""
    is_zoned = pc.match_substring_regex(words, _ZONED)
    nothing = pa.nulls(len(words), pa.string())
    zoned = _cast(pc.if_else(is_zoned, words, nothing), INSTANT)
    naive = _cast(pc.if_else(is_zoned, nothing, words), pa.timestamp("us"))
    return None if zoned is None or naive is None else pc.coalesce(zoned, naive.cast(INSTANT))


def _fitting_formats(lexicon: _Lexicon) -> Iterator[tuple[str, pa.Array]]:
    words = pc.replace_substring_regex(lexicon.filled(), pattern=r"\b(\d)\b", replacement=r"0\1")
    for date_format, date, iso in _DATES:
        for time_format, time in _TIMES:
            if not _all(words, date + time):
                continue
            instants = _instants_of(pc.replace_substring_regex(words, pattern=date, replacement=iso))
            if instants is not None:
                yield date_format + time_format, instants


def _all(words: pa.Array, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(words, pattern)).as_py())


def _blanks(name: str, lexicon: _Lexicon) -> tuple[Finding, ...]:
    n_blank = int(lexicon.counts[lexicon.blank].sum())
    if not n_blank:
        return ()
    message = f"Column {name!r} has {n_blank} blank texts among its values; they were read as missing."
    return (Finding("blank_text", "warn", message, name),)


def _text(name: str, column: pa.DictionaryArray, lexicon: _Lexicon) -> TypedColumn:
    findings = tuple(_why_text(name, lexicon))
    return TypedColumn.of(name, column, findings, digits=digits(column.dictionary))


def _why_text(name: str, lexicon: _Lexicon) -> Iterator[Finding]:
    """Tell why a column that looks like something else is text."""
    is_number = lexicon.are(_NUMBER)
    if lexicon.all_are(_NUMBER):
        yield _unreadable_numbers(name, lexicon)
    elif lexicon.counts[is_number].sum() >= MOSTLY * lexicon.counts.sum():
        odd = np.flatnonzero(~is_number)
        n_odd, example = int(lexicon.counts[odd].sum()), lexicon.words[int(odd[0])].as_py()
        message = (
            f"Column {name!r} is text: {n_odd} of its {int(lexicon.counts.sum())} values "
            f"are not numbers, such as {example!r}."
        )
        yield Finding("mixed_column", "warn", message, name)
    elif lexicon.all_are(_DECIMAL_COMMA):
        message = f"Column {name!r} is text: its numbers are written with a decimal comma."
        yield Finding("decimal_comma", "warn", message, name)
    elif lexicon.all_are(_DATELIKE):
        message = f"Column {name!r} is text: its dates fit no one format, or more than one."
        yield Finding("ambiguous_dates", "warn", message, name)


def _unreadable_numbers(name: str, lexicon: _Lexicon) -> Finding:
    padded = lexicon.are(_PADDED)
    if padded.any():
        example: Any = lexicon.words[int(padded.argmax())].as_py()
        message = f"Column {name!r} is text: zeros lead some of its numbers, such as {example!r}."
        return Finding("leading_zeros", "info", message, name)
    message = f"Column {name!r} is text: some of its integers have more digits than 64 bits hold."
    return Finding("big_integers", "info", message, name)
