"""What reading needs of a database, whichever it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa

from mmp.data.arrow import is_text
from mmp.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BATCH_BYTES = 16 << 20
"""How large a batch is meant to be."""

FIRST_ROWS = 4096
MOST_ROWS = 1 << 17


class TransientError(Exception):
    """A failure that may be gone at the next try: no row has come yet."""


class Session(Protocol):
    """A connection with a query: opened, read once, closed; cancelled from another thread."""

    def open(self) -> pa.Schema:
        """Ask, and return what the rows will be; refuse what no table holds."""

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows, each batch of that schema."""

    def cancel(self) -> None:
        """Stop the query in the database; whoever waits for it gets an error."""

    def close(self) -> None:
        """Give everything back."""


@dataclass(frozen=True)
class Options:
    """How to read.

    Parameters
    ----------
    timeout_s : int
        Seconds that the database may work.
    application : str
        What the database calls us.
    is_prompt : bool
        Whether the rows are taken as fast as they come.
    """

    timeout_s: int
    application: str
    is_prompt: bool = False


def next_rows(batch: pa.RecordBatch) -> int:
    """Return how many rows make a batch of about `BATCH_BYTES`, from how large one was."""
    if not batch.num_rows:
        return FIRST_ROWS
    n_rows: int = BATCH_BYTES * batch.num_rows // max(batch.nbytes, 1)
    return max(256, min(MOST_ROWS, n_rows))


def require_readable(schema: pa.Schema, kinds: Sequence[str], source: str, *, cast: str) -> None:
    """Refuse columns whose type no table of ours has, all at once.

    Parameters
    ----------
    schema : pyarrow.Schema
        What the query gives.
    kinds : sequence of str
        What the database calls the types.
    source : str
        For messages.
    cast : str
        How to make text of a column, with ``{}`` for its name.

    Raises
    ------
    SourceError
        Naming them, and the cast to write.
    """
    wrong = [
        (each.name, kind) for each, kind in zip(schema, kinds, strict=True) if not _is_readable(each.type)
    ]
    if wrong:
        named = ", ".join(f"{name!r} ({kind})" for name, kind in wrong)
        casts = ", ".join(cast.format(_quoted(name)) for name, _ in wrong)
        raise SourceError(
            f"{source}: no table of ours holds the values of {named}.",
            hint=f"Leave them out of the query, or cast them: {casts}",
        )


def _is_readable(type_: pa.DataType) -> bool:
    if pa.types.is_dictionary(type_):
        return is_text(type_.value_type)
    return is_text(type_) or any(holds(type_) for holds in _READABLE)


_READABLE = (
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_boolean,
    pa.types.is_timestamp,
    pa.types.is_date,
    pa.types.is_decimal,
    pa.types.is_null,
)


def _quoted(name: str) -> str:
    return name if name.isidentifier() and name == name.lower() else '"' + name.replace('"', '""') + '"'
