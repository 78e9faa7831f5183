"""Text files in pieces of whole rows, which can be read from the beginning of any of them."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

PIECE_BYTES: Final = 1 << 22
MOST_ROW_BYTES: Final = 1 << 26

_QUOTE: Final = ord('"')


class Piece(NamedTuple):
    """Some neighbouring rows of a file, as they are written.

    Parameters
    ----------
    offset : int
        The byte that they begin at.
    content : bytes
        The rows.
    is_whole : bool
        Whether a row ends at its end. Where none does, it is the last: the file ends, or goes on with
        the same row for too long.
    """

    offset: int
    content: bytes
    is_whole: bool = True


def pieces(content: BinaryIO, end_of_rows: Callable[[bytes], int], n_bytes: int) -> Iterator[Piece]:
    r"""Cut what is left of a file into pieces of whole rows.

    Parameters
    ----------
    content : binary file
        At the beginning of a row.
    end_of_rows : callable
        Tells of bytes that begin with a row where the last row ends that is whole, 0 where none is.
    n_bytes : int
        How much to read at once; a longer row makes a longer piece.

    Yields
    ------
    Piece
        All of them together are the file.

    Examples
    --------
    >>> [piece.content for piece in pieces(io.BytesIO(b"1\n22\n3"), end_of_lines, n_bytes=4)]
    [b'1\n', b'22\n', b'3']
    """
    offset, waiting = content.tell(), b""
    while read := content.read(max(n_bytes, len(waiting))):
        waiting += read
        if end := end_of_rows(waiting):
            yield Piece(offset, waiting[:end])
            offset, waiting = offset + end, waiting[end:]
        elif len(waiting) > MOST_ROW_BYTES:
            break
    if waiting:
        yield Piece(offset, waiting, is_whole=False)


def end_of_lines(content: bytes) -> int:
    """Return where the last line ends that is whole, 0 where none is."""
    return content.rfind(b"\n") + 1


def end_of_csv_rows(content: bytes, delimiter: str) -> int:
    r"""Return where the last row of CSV ends that is whole, 0 where none is.

    Parameters
    ----------
    content : bytes
        Begins with a row.
    delimiter : str
        Between values.

    Examples
    --------
    >>> end_of_csv_rows(b'1,"a\nb"\n2,"c\n', ",")
    8
    """
    if b'"' not in content:
        return _end_of_lines(content, len(content))
    quotes = np.flatnonzero(np.frombuffer(content, np.uint8) == _QUOTE)
    if not _are_in_pairs(content, quotes, delimiter):
        return _end_by_reading(content, delimiter)
    end = _end_of_lines(content, len(content))
    while (n_before := int(np.searchsorted(quotes, end))) % 2:  # the line ends within quotes
        end = _end_of_lines(content, int(quotes[n_before - 1]))
    return end


def _end_of_lines(content: bytes, stop: int) -> int:
    """Return where the last line before some byte ends, whatever it ends with."""
    # the other half of a line break may be in the next piece
    return max(content.rfind(b"\n", 0, stop), content.rfind(b"\r", 0, min(stop, len(content) - 1))) + 1


def _are_in_pairs(content: bytes, quotes: npt.NDArray[np.intp], delimiter: str) -> bool:
    """Tell whether odd quotes begin values and even ones end them, or stand side by side.

    Only then does the number of quotes before a byte say whether it is quoted: within a value that is not
    quoted, they are letters.
    """
    bytes_ = np.frombuffer(content, np.uint8)
    borders = np.zeros(256, np.bool_)
    borders[[ord(delimiter), ord("\n"), ord("\r"), _QUOTE]] = True
    opening, closing = quotes[::2], quotes[1::2]
    before = bytes_[opening[opening > 0] - 1]
    after = bytes_[closing[closing < len(bytes_) - 1] + 1]
    return bool(borders[before].all() and borders[after].all())


def _end_by_reading(content: bytes, delimiter: str) -> int:
    """Return the same, found row by row: slow, for files whose quotes stand anywhere."""
    position = 0

    def lines() -> Iterator[str]:
        nonlocal position
        for line in io.StringIO(content.decode("latin-1"), newline=""):  # a letter a byte
            position += len(line)
            yield line

    ends = [0]
    try:
        ends.extend(position for _ in csv.reader(lines(), delimiter=delimiter))
    except csv.Error:  # a value too long for this reader
        return ends[-1]
    return ends[-2]  # the last row may go on
