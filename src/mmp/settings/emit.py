"""Settings written as YAML that a person would write: the way back from `mmp.settings.document`.

What is written here reads as the same value in mmp's loader and in a YAML 1.1 reader such as PyYAML:
``Yes``, ``012`` and ``1:30`` are quoted, ``1e-9`` gets its dot, and ``${`` is doubled to be text.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import yaml

from mmp.settings.document import Path_, scalar

WIDTH = 100
_NOTE_COLUMN = 44
_PLAIN = re.compile(r"(\.{0,2}/)?[^\W\d][\w./-]*( [\w./-]+)*")

Notes: TypeAlias = Mapping[Path_, str]


@dataclass(frozen=True)
class Off:
    """A value that is written as a comment, for the reader to take in.

    Parameters
    ----------
    value : object
        What stands behind the ``#``.
    """

    value: Any


@dataclass(frozen=True)
class Reference:
    """A reference to the environment, which is not text.

    Parameters
    ----------
    text : str
        Such as ``${PORT:5432}``.
    """

    text: str


def render(settings: Mapping[str, Any], notes: Notes) -> str:
    """Write a settings file.

    Parameters
    ----------
    settings : mapping
        Its keys; `Off` values become comments.
    notes : mapping of key to str
        What is said of a key: behind it where there is room, else above.

    Examples
    --------
    >>> print(render({"name": "a", "data": {"rows": [1, 2], "folds": Off(5)}}, {("name",): "what it is"}))
    name: a                                     # what it is
    <BLANKLINE>
    data:
      rows: [1, 2]
      # folds: 5
    <BLANKLINE>
    """
    lines: list[str] = []
    for key, value in settings.items():
        is_section = isinstance(value.value if isinstance(value, Off) else value, Mapping)
        entry = _entry(f"{inline(key)}:", value, (key,), notes, 0)
        lines += ["", *entry] if is_section and lines else entry
    return "\n".join(lines) + "\n"


def without_comments(value: Any) -> Any:
    """Return settings as a reader gets them: what is `Off` is not there.

    Examples
    --------
    >>> without_comments({"a": Off(1), "b": [{"c": 2}]})
    {'b': [{'c': 2}]}
    """
    if isinstance(value, Mapping):
        return {key: without_comments(inner) for key, inner in value.items() if not isinstance(inner, Off)}
    if isinstance(value, list | tuple):
        return [without_comments(inner) for inner in value]
    return value.text if isinstance(value, Reference) else value


def inline(value: Any) -> str:
    """Write a value on one line.

    Examples
    --------
    >>> print(inline({"a": ["Yes", "no: [way]", 1e-9, 12, "012", None, True], "b": "${x}"}))
    {a: ["Yes", "no: [way]", 1.0e-09, 12, "012", null, true], b: "$${x}"}
    """
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{inline(key)}: {inline(inner)}' for key, inner in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(inline, value))}]"
    if isinstance(value, Reference):
        return value.text
    return _text(value) if isinstance(value, str) else _plain(value)


def _plain(value: bool | float | None) -> str:  # noqa: FBT001 - any scalar
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    text = repr(float(value)).replace("inf", ".inf").replace("nan", ".nan")
    mantissa, exponent, power = text.partition("e")
    return f"{mantissa}.0{exponent}{power}" if exponent and "." not in mantissa else text


def _text(value: str) -> str:
    value = value.replace("${", "$${")
    if _PLAIN.fullmatch(value) and scalar(value) == value == yaml.safe_load(value):
        return value
    quoted: str = yaml.safe_dump(value, default_style='"', allow_unicode=True, width=sys.maxsize)
    return quoted.rstrip("\n")


def _entry(head: str, value: Any, key: Path_, notes: Notes, indent: int) -> list[str]:
    # a comment ends at a line break, of which YAML knows more than one
    note = "".join(letter if letter.isprintable() else " " for letter in notes.get(key, ""))
    is_off = isinstance(value, Off)
    lines = _node(head, value.value if is_off else value, key, notes, indent)
    if is_off:
        lines = [f"{' ' * indent}# {line[indent:]}" for line in lines]
    if not note:
        return lines
    behind = f"{lines[0]:<{_NOTE_COLUMN - 1}} # {note}"
    if len(lines) == 1 and len(behind) <= WIDTH:
        return [behind]
    width = WIDTH - indent - 2
    return [f"{' ' * indent}# {line}" for line in textwrap.wrap(note, width)] + lines


def _node(head: str, value: Any, key: Path_, notes: Notes, indent: int) -> list[str]:
    """Write a value behind its key, or the dash of its item: on one line where that is good, or below."""
    pad = " " * indent
    if not isinstance(value, Mapping | list | tuple) or not value:
        return [f"{pad}{head} {inline(value)}"]
    if not _is_block(value, key, notes) and len(line := f"{pad}{head} {inline(value)}") <= WIDTH:
        return [line]
    inner = indent + 2
    items: list[str] = []
    if isinstance(value, Mapping):
        for name, member in value.items():
            items += _entry(f"{inline(name)}:", member, (*key, name), notes, inner)
        return [f"{pad}- {items[0][inner:]}", *items[1:]] if head == "-" else [f"{pad}{head}", *items]
    for position, member in enumerate(value):
        items += _entry("-", member, (*key, position), notes, inner)
    return [f"{pad}{head}", *items]


def _is_block(value: Any, key: Path_, notes: Notes) -> bool:
    """Tell whether something is said of what is inside, or whether it is a section of the file."""
    if isinstance(value, Mapping) and (len(key) == 1 or any(isinstance(v, Off) for v in value.values())):
        return True
    return any(len(noted) > len(key) and noted[: len(key)] == key for noted in notes)
