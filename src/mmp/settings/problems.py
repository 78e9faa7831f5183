"""What is wrong with a settings file, in plain sentences that say where."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from pydantic import Tag

from mmp.errors import SettingsError
from mmp.lookup import did_you_mean
from mmp.settings.base import Section
from mmp.settings.secrets import is_secret

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

    from mmp.settings.document import Path_

# What a value must be, by pydantic's word for what it is not.
_EXPECTED = {
    "number_expected": "a number",
    "int_type": "an integer",
    "int_parsing": "an integer",
    "int_parsing_size": "an integer of usual size",
    "int_from_float": "an integer",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "dict_attributes_type": "a mapping",
}
_BOUNDS = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "greater than"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "less than"),
}
_QUOTED = re.compile(r"'([^']*)'")


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Parameters
    ----------
    key : tuple
        Where, as a path of keys and indexes.
    sentence : str
        What, without the place.
    """

    key: Path_
    sentence: str


def raise_all(problems: Sequence[Problem], place: Callable[[Path_], str]) -> None:
    """Raise one error that lists every problem with its place; do nothing where there is none.

    Raises
    ------
    SettingsError
        One line a problem.
    """
    if not problems:
        return
    lines = dict.fromkeys(f"{place(problem.key)}: {problem.sentence}" for problem in problems)
    raise SettingsError("\n".join(lines), where=place(problems[0].key))


def translate(
    error: ValidationError, model: type[Section], data: Mapping[str, Any], outside: Callable[[Path_], bool]
) -> list[Problem]:
    """Turn what pydantic says into problems.

    Parameters
    ----------
    error : ValidationError
        What pydantic says.
    model : type of Section
        What was validated.
    data : mapping
        The values it was validated on.
    outside : callable
        Whether the value of a key came from the environment, and so is not to be shown.
    """
    by_key: dict[Path_, list[ErrorDetails]] = {}
    for detail in error.errors(include_url=False):
        by_key.setdefault(_key(detail, data), []).append(detail)
    problems = []
    for key, details in by_key.items():
        # Of a union only the branch that got furthest speaks.
        if any(len(other) > len(key) and other[: len(key)] == key for other in by_key) and _is_mismatch(
            details[0]
        ):
            continue
        hidden = is_secret(key) or outside(key)
        problems.append(_problem(key, details, model, hidden=hidden))
    return problems


def _is_mismatch(detail: ErrorDetails) -> bool:
    return detail["type"] in _EXPECTED or detail["type"] == "literal_error"


def _key(detail: ErrorDetails, data: Any) -> Path_:
    """Find the key in the file: pydantic's location also names branches of unions."""
    loc = detail["loc"]
    key: list[Hashable] = []
    for part in loc:
        is_there = (
            part in data if isinstance(data, dict) else isinstance(data, list) and isinstance(part, int)
        )
        if is_there:
            data = data[part]
            key.append(part)
    if detail["type"] == "missing" and loc[-1] not in key[-1:]:
        key.append(loc[-1])
    if detail["type"].startswith("union_tag"):
        key.append("adapter_type" if "adapter" in detail["ctx"]["discriminator"] else "type")
    return tuple(key)


def _problem(key: Path_, details: list[ErrorDetails], model: type[Section], *, hidden: bool) -> Problem:
    detail = details[0]
    if len(details) == 1 and detail["type"] in _SENTENCES:
        return Problem(key, _SENTENCES[detail["type"]](key, detail, model))
    expected = dict.fromkeys(expectation for detail in details for expectation in _expectations(detail))
    found = _found(detail["input"], hidden=hidden)
    sentence = f"must be {_either(list(expected))}, not {found}"
    words = [word for detail in details for word in _literals(detail)]
    question = did_you_mean(detail["input"], words) if isinstance(detail["input"], str) and not hidden else ""
    return Problem(key, f"{sentence} ({question})" if question else sentence)


def _expectations(detail: ErrorDetails) -> Iterator[str]:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "literal_error":
        yield from (repr(word) for word in _literals(detail))
    elif kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        yield f"{words} {context[name]:g}"
    else:
        yield _EXPECTED.get(kind, detail["msg"])


def _literals(detail: ErrorDetails) -> list[str]:
    return _QUOTED.findall(detail["ctx"]["expected"]) if detail["type"] == "literal_error" else []


def _either(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _found(value: object, *, hidden: bool) -> str:
    if isinstance(value, dict | list | tuple):
        return "a mapping" if isinstance(value, dict) else "a list"
    if hidden:
        return "what is there"
    if value is None or isinstance(value, bool):
        return "empty" if value is None else str(value).lower()
    return repr(value) if len(repr(value)) <= 60 else f"{repr(value)[:57]}…"


def _missing(key: Path_, _: ErrorDetails, model: type[Section]) -> str:
    return "the key is required and not there"


def _extra(key: Path_, detail: ErrorDetails, model: type[Section]) -> str:
    known = _fields(model, detail["loc"][:-1])
    question = did_you_mean(str(key[-1]), known)
    return f"there is no such key ({question or 'the keys here are: ' + ', '.join(known)})"


def _unknown_tag(key: Path_, detail: ErrorDetails, model: type[Section]) -> str:
    context = detail["ctx"]
    known = _QUOTED.findall(context["expected_tags"])
    question = did_you_mean(context["tag"], known)
    return f"{context['tag']!r} is not known ({question or 'known are: ' + ', '.join(known)})"


def _no_tag(key: Path_, detail: ErrorDetails, model: type[Section]) -> str:
    if not isinstance(detail["input"], dict):
        return f"must be a mapping with a {key[-1]!r}, not {_found(detail['input'], hidden=False)}"
    return "the key is required and must be text"


_SENTENCES: dict[str, Callable[[Path_, ErrorDetails, type[Section]], str]] = {
    "missing": _missing,
    "extra_forbidden": _extra,
    "union_tag_invalid": _unknown_tag,
    "union_tag_not_found": _no_tag,
    "invalid_key": lambda *_: "a key here must be text",
    "string_pattern_mismatch": lambda *_: "must be a dotted path, package.module.Name",
    "string_too_short": lambda *_: "must not be empty",
    "too_short": lambda _, detail, __: f"needs at least {detail['ctx']['min_length']} entries",
    "range": lambda _, detail, __: detail["msg"],
}


def _fields(model: type[Section], loc: Sequence[Hashable]) -> list[str]:
    """Return the keys of the section that a location of pydantic's leads to."""
    current: list[tuple[str | None, type[Section]]] = [(None, model)]
    for part in loc:
        tagged = [section for tag, section in current if tag == part]
        below = [
            found
            for _, section in current
            if part in section.model_fields
            for found in _sections(section.model_fields[str(part)].annotation)
        ]
        current = [(None, tagged[0])] if tagged else below or current
    return sorted({name for _, section in current for name in section.model_fields})


def _sections(annotation: Any, tag: str | None = None) -> Iterator[tuple[str | None, type[Section]]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield tag, annotation
        return
    arguments = get_args(annotation)
    tags = [argument.tag for argument in arguments if isinstance(argument, Tag)]
    for argument in arguments:
        yield from _sections(argument, tags[0] if tags else None)
