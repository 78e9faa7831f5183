"""SQL text as a query of one statement: where its literals and comments are, and what it begins with.

A lexer and no parser: enough to put a placeholder where a template has a value, and to refuse early
what a database would refuse late. That nothing is written is for the read-only transaction to hold.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, NamedTuple

from mmp.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Dialect = Literal["postgresql", "sqlite", "duckdb"]

MARK = re.compile(r"\x00(\d+)\x00")
"""Where a template has a value: its number between two characters that no SQL has."""

_SPACE = r"(?P<space>\s+)"
_COMMENT = r"(?P<comment>--[^\n]*)|(?P<block>/\*)"
_MARK = r"(?P<mark>\x00\d+\x00)"
_WORD = r"(?P<word>[^\W\d][\w$]*)|(?P<number>\d[\w.]*)"
_STRING = r"(?P<string>(?:[uU]&|[xXbBnN])?'(?:[^']|'')*')"
_QUOTED = r'(?P<quoted>(?:[uU]&)?"(?:[^"]|"")*")'
_REST = r"(?P<open>['\"`]|\$\w*\$)|(?P<other>.)"
_POSTGRES = (
    r"(?P<escaped>[eE]'(?:[^'\\]|\\.|'')*')"
    r"|(?P<dollar>\$(?P<tag>[^\W\d]\w*)?\$.*?\$(?(tag)(?P=tag))\$)"
)
_LEXERS = {
    "postgresql": (_COMMENT, _MARK, _POSTGRES, _STRING, _QUOTED, r"(?P<bound>\$\d+)"),
    "duckdb": (_COMMENT, _MARK, _POSTGRES, _STRING, _QUOTED, r"(?P<bound>\$\w+|\?\d*)"),
    "sqlite": (
        _COMMENT,
        _MARK,
        _STRING,
        _QUOTED,
        r"(?P<ticks>`(?:[^`]|``)*`|\[[^\]]*\])",
        r"(?P<bound>\?\d*|[:@$#][^\W\d]\w*)",
    ),
}
_PATTERNS = {
    dialect: re.compile("|".join((_SPACE, *parts, _WORD, _REST)), re.DOTALL)
    for dialect, parts in _LEXERS.items()
}
_KINDS = {"escaped": "string", "dollar": "string", "ticks": "quoted", "block": "comment"}
_BEGINNINGS = {"SELECT", "WITH", "VALUES", "TABLE", "("}
# A word is a statement of its own where the next one goes on with it: `update` alone may be a column.
_WRITES = {
    "INSERT": {"INTO", "OR"},
    "REPLACE": {"INTO"},
    "MERGE": {"INTO"},
    "DELETE": {"FROM"},
    "UPDATE": set(),
}


class Token(NamedTuple):
    """A piece of SQL text.

    Parameters
    ----------
    kind : str
        ``space``, ``comment``, ``string``, ``quoted``, ``mark``, ``bound``, ``word``, ``number``, ``other``.
    text : str
        As it was written.
    line : int
        Where it begins, from 1.
    """

    kind: str
    text: str
    line: int

    @property
    def upper(self) -> str:
        """The keyword that a word may be; other tokens as they are, but for literals and quoted names."""
        return "" if self.kind in ("string", "quoted") else self.text.upper()


def tokens(text: str, dialect: Dialect) -> list[Token]:
    """Return the tokens of SQL text; together they are the text.

    Raises
    ------
    SettingsError
        A literal, a quoted name or a comment does not end.

    Examples
    --------
    >>> [token.kind for token in tokens("SELECT 'a;b' -- c", "sqlite")]
    ['word', 'space', 'string', 'space', 'comment']
    """
    found: list[Token] = []
    position, line = 0, 1
    while position < len(text):
        match = _PATTERNS[dialect].match(text, position)
        assert match is not None  # the last alternative takes anything
        kind = str(match.lastgroup)
        end = match.end()
        if kind == "block":
            end = _end_of_comment(text, position, line, nested=dialect != "sqlite")
        elif kind == "open":
            raise SettingsError(f"line {line}: {match[0]} is not closed.", hint="Close it.")
        found.append(Token(_KINDS.get(kind, kind), text[position:end], line))
        line += text.count("\n", position, end)
        position = end
    return found


def _end_of_comment(text: str, start: int, line: int, *, nested: bool) -> int:
    depth = 0
    for match in re.compile(r"/\*|\*/").finditer(text, start):
        if match[0] == "*/":
            depth -= 1
        elif nested or depth == 0:
            depth += 1
        if depth == 0:
            return match.end()
    raise SettingsError(f"line {line}: /* is not closed.", hint="Close it with */.")


def require_query(found: Sequence[Token], dialect: Dialect) -> None:
    """Refuse what is not exactly one query that reads.

    Raises
    ------
    SettingsError
        Naming the line: nothing, several statements, a write, or a placeholder that nothing binds.
    """
    words = [token for token in found if token.kind not in ("space", "comment")]
    while words and words[-1].text == ";":
        words.pop()
    if not words:
        raise SettingsError("it holds no statement.", hint="Write a SELECT.")
    beginnings = _BEGINNINGS | ({"FROM"} if dialect == "duckdb" else set())
    if words[0].upper not in beginnings:
        raise SettingsError(
            f"line {words[0].line}: {words[0].text[:40]!r} begins no query.",
            hint="A source reads: it begins with SELECT, WITH, VALUES or TABLE.",
        )
    for before, token, after in _threes(words):
        _refuse(before, token, after)


def without_end(found: Sequence[Token]) -> list[Token]:
    """Return the tokens of one statement without the ``;`` that may end it."""
    return [token for token in found if token.text != ";"]


def _threes(words: Sequence[Token]) -> Iterator[tuple[Token, Token, Token]]:
    edge = Token("other", "", 0)
    return zip([edge, *words], words, [*words[1:], edge], strict=False)


def _refuse(before: Token, token: Token, after: Token) -> None:
    where = f"line {token.line}: "
    if token.text == ";":
        raise SettingsError(
            f"{where}another statement follows after ';'.",
            hint="A source is one statement; write one file each.",
        )
    if token.kind == "bound":
        raise SettingsError(
            f"{where}nothing gives {token.text} a value.", hint="Write {{ name }}, and its value by -p."
        )
    if token.kind != "word" or before.text == ".":
        return
    if _is_write(before, token, after):
        raise SettingsError(
            f"{where}{token.upper} writes, and a source only reads.", hint="Write a query without it."
        )


def _is_write(before: Token, token: Token, after: Token) -> bool:
    if token.upper == "INTO":
        return before.upper != "AS"
    going_on = _WRITES.get(token.upper)
    if going_on is None or before.text not in ("(", ")", ""):
        return False
    return after.upper in going_on if going_on else after.kind in ("word", "quoted")
