"""JSON that people write: a key that stands twice is a mistake, not the last one's value."""

from __future__ import annotations

import json
from typing import Any


class RepeatedKeyError(ValueError):
    """An object with the same key twice.

    Parameters
    ----------
    key : str
        The key.
    """

    def __init__(self, key: str) -> None:
        super().__init__(f"the key {key!r} stands twice in one object")
        self.key = key


def parse(text: str) -> Any:
    """Read JSON.

    Raises
    ------
    json.JSONDecodeError
        It is none.
    RepeatedKeyError
        A key stands twice in one object.

    Examples
    --------
    >>> parse('{"age": 31, "name": "a"}')
    {'age': 31, 'name': 'a'}
    >>> parse('[{"age": 31, "age": 32}]')
    Traceback (most recent call last):
    mmp.settings.json_text.RepeatedKeyError: the key 'age' stands twice in one object
    """
    return json.loads(text, object_pairs_hook=once)


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of its members, for `json.loads`; raises `RepeatedKeyError`."""
    made: dict[str, Any] = {}
    for key, value in pairs:
        if key in made:
            raise RepeatedKeyError(key)
        made[key] = value
    return made
