"""Files of text as their readers want them: unzipped, UTF-8, and one sentence where they are not."""

from __future__ import annotations

import gzip
import io
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from mmp.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mmp.data.stored import StoredFile

HEAD_BYTES: Final = 1 << 20

_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


@contextmanager
def opened(file: StoredFile) -> Iterator[BinaryIO]:
    """Open a file to read its bytes, unzipped.

    Raises
    ------
    SourceError
        It cannot be read, or is a broken archive.
    """
    try:
        with file.open() as stored:
            yield stored if file.is_plain else cast("BinaryIO", gzip.GzipFile(fileobj=stored))
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable(file, error) from error


@contextmanager
def lines(file: StoredFile) -> Iterator[io.TextIOWrapper]:
    """Open a file to read its text; what is not UTF-8 is replaced."""
    with opened(file) as content:
        yield io.TextIOWrapper(content, "utf-8-sig", errors="replace", newline="")


def head(file: StoredFile) -> tuple[str, bool]:
    """Return the first lines of a file, and whether they are all of it.

    Raises
    ------
    SourceError
        They are not UTF-8.
    """
    with opened(file) as content:
        first = content.read(HEAD_BYTES)
        is_whole = not content.read(1)
    if first.startswith(_UTF_16):
        raise SourceError(f"{file} is UTF-16, not UTF-8.", hint=_recode(file, "UTF-16"))
    if not is_whole:
        first = first[: first.rfind(b"\n") + 1] or first
    try:
        return first.decode("utf-8-sig"), is_whole
    except UnicodeDecodeError as error:
        raise not_utf8(file) from error


def unreadable(file: StoredFile, error: Exception) -> SourceError:
    """Return the error for a file that cannot be read."""
    hint = "Is the file complete? Compare it with where it came from."
    return SourceError(f"{file} cannot be read: {error}.", hint=hint)


def not_utf8(file: StoredFile) -> SourceError:
    """Return the error that names the first byte that is not UTF-8."""
    offset = 0
    with opened(file) as content:
        for number, line in enumerate(content, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                at = offset + error.start
                return SourceError(
                    f"{file} is not UTF-8: byte {line[error.start]:#04x} at offset {at}, on line {number}.",
                    hint=_recode(file, "WINDOWS-1252"),
                )
            offset += len(line)
    return SourceError(f"{file} is not UTF-8.", hint=_recode(file, "WINDOWS-1252"))


def _recode(file: StoredFile, encoding: str) -> str:
    return f"Save it as UTF-8, such as by: iconv -f {encoding} -t UTF-8 {file.name} > utf8{file.suffix or ''}"
