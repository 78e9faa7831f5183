"""JSON as input: strict, bounded and quick.

msgspec reads what is plain. It does not see a key that stands twice, and says little of what it refuses; so
where there may be such a key, or something is wrong, the standard library reads again, with every check. Both
give the same values: integers of any size, and floats that round as Python's do.
"""

from __future__ import annotations

import json
from typing import Any, Final, NoReturn

import msgspec
import numpy as np

from mmp.serving.answers import Refusal
from mmp.settings.json_text import RepeatedKeyError, once

DEEPEST: Final = 64
_LONG: Final = 4096
_COLON: Final = ord(":")
_decode = msgspec.json.Decoder().decode
UNREAD: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def read_json(body: bytes) -> Any:
    """Read a body.

    Returns
    -------
    object
        A number may be infinite where it was written too large; whoever takes it looks.

    Raises
    ------
    Refusal
        400 where it is not JSON: broken, not UTF-8, NaN or Infinity, half a surrogate pair, a key
        twice, or nested more than `DEEPEST` times.

    Examples
    --------
    >>> read_json(b'{"id": 18446744073709551616}')
    {'id': 18446744073709551616}
    """
    try:
        value = _decode(body)
    except UNREAD:
        return _strictly(body)
    n_keys = _count_keys_of_rows(value, body)
    if n_keys is None:
        n_keys = _count_keys(value, DEEPEST)
    if n_keys != count_colons(body):  # a key twice, or a colon in a text
        return _strictly(body)
    return value


def count_colons(body: bytes) -> int:
    """Return as many as there are keys, but where texts have colons, or keys stand twice."""
    if len(body) < _LONG:
        return body.count(b":")
    return int(np.count_nonzero(np.frombuffer(body, np.uint8) == _COLON))  # all at once, and not one by one


def _count_keys_of_rows(value: Any, body: bytes) -> int | None:
    """Count the keys of an object, or of one that holds a list of objects; None where more may be nested."""
    if type(value) is not dict:
        return None
    n_objects, n_lists = body.count(b"{"), body.count(b"[")
    if n_objects == 1 and not n_lists:
        return len(value)
    rows = next((child for child in value.values() if type(child) is list), ())
    if n_lists != 1 or n_objects != 1 + len(rows) or set(map(type, rows)) != {dict}:
        return None
    return len(value) + sum(map(len, rows))


def _count_keys(value: Any, levels: int) -> int:
    if type(value) is dict:
        count, children = len(value), tuple(value.values())
    elif type(value) is list:
        count, children = 0, tuple(value)
    else:
        return 0
    if not levels:
        raise _malformed(f"it is nested more than {DEEPEST} times")
    for child in children:
        if type(child) is dict or type(child) is list:
            count += _count_keys(child, levels - 1)
    return count


def _strictly(body: bytes) -> Any:
    try:
        value = json.loads(body.decode("utf-8"), object_pairs_hook=once, parse_constant=_no_constant)
        _check_texts(value)
    except RecursionError:
        raise _malformed(f"it is nested more than {DEEPEST} times") from None
    except json.JSONDecodeError as error:
        raise _malformed(f"{error.msg} at line {error.lineno}, column {error.colno}") from None
    except RepeatedKeyError as error:
        raise _malformed(f"the key {_shown(error.key)} stands in one object twice") from None
    except UnicodeError:
        raise _malformed("it holds bytes or escapes that are no Unicode text") from None
    except ValueError:
        raise _malformed("it holds a number of too many digits") from None
    _count_keys(value, DEEPEST)
    return value


def _check_texts(value: Any) -> None:
    """Raise `UnicodeError` where a text, or a key, cannot be written as UTF-8."""
    if isinstance(value, str):
        value.encode("utf-8")
    elif isinstance(value, dict):
        for name, child in value.items():
            name.encode("utf-8")
            _check_texts(child)
    elif isinstance(value, list):
        for child in value:
            _check_texts(child)


def _no_constant(name: str) -> NoReturn:
    raise _malformed(f"{name} is no JSON number; write null where a value is missing")


def _shown(name: str) -> str:
    return repr(name.encode("utf-8", "replace").decode()[:40])


def _malformed(reason: str) -> Refusal:
    return Refusal(
        400, "json", f"The body is not JSON as we take it: {reason}.", hint="Send one JSON object."
    )
