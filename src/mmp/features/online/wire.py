"""Feast's words in an online store, read and written without Feast.

Keys are ``serialize_entity_key`` of version 3, names of features MurmurHash3, values and timestamps
the protobuf messages ``feast.types.Value`` and ``google.protobuf.Timestamp``: each held equal to
Feast by a test, and none of them worth the seconds that importing Feast costs.
"""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from mmp.errors import FeatureStoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mmp.features.references import JoinKey

    Value = int | float | bool | str | datetime

_double, _single = struct.Struct("<d").unpack_from, struct.Struct("<f").unpack_from
_STRING, _INT32, _INT64, _UNIX_TIMESTAMP = 2, 3, 4, 8
_MASK = 0xFFFFFFFF


def _length_first(content: bytes) -> bytes:
    return struct.pack("<I", len(content)) + content


_KEY_VALUES: Final[Mapping[str, Callable[[Value], bytes]]] = {
    "STRING": lambda value: struct.pack("<I", _STRING) + _length_first(str(value).encode()),
    "INT32": lambda value: struct.pack("<IIi", _INT32, 4, value),
    "INT64": lambda value: struct.pack("<IIq", _INT64, 8, value),
    "UNIX_TIMESTAMP": lambda value: struct.pack("<IIq", _UNIX_TIMESTAMP, 8, value),
}
KEY_TYPES: Final = tuple(_KEY_VALUES)
"""The types that a join key can have: Feast serializes no others."""


class EntityKeys:
    """Writes the keys of one entity.

    Parameters
    ----------
    keys : sequence of JoinKey
        Its join keys; a composite entity has several.

    Examples
    --------
    >>> from mmp.features.references import JoinKey
    >>> EntityKeys([JoinKey("id", "id", "INT64")]).of([7]).hex()
    '010000000200000002000000696404000000080000000700000000000000'
    """

    def __init__(self, keys: Sequence[JoinKey]) -> None:
        order = sorted(range(len(keys)), key=lambda position: keys[position].name)
        names = (
            struct.pack("<I", _STRING) + _length_first(keys[position].name.encode()) for position in order
        )
        self._prefix = struct.pack("<I", len(keys)) + b"".join(names)
        self._values = [(position, _KEY_VALUES[keys[position].value_type]) for position in order]

    def of(self, values: Sequence[Value]) -> bytes | None:
        """Return the key of an entity, or None where no key of the store can have such a value."""
        try:
            return self._prefix + b"".join(write(values[position]) for position, write in self._values)
        except (struct.error, UnicodeEncodeError):  # beyond the type's range, or half a surrogate pair
            return None


def field_name(view: str, feature: str) -> bytes:
    """Return the field of a Redis hash that holds a feature: MurmurHash3 (x86, 32 bits), little endian."""
    content = f"{view}:{feature}".encode()
    state, whole = 0, len(content) & ~3
    for (block,) in struct.iter_unpack("<I", content[:whole]):
        state ^= _scrambled(block)
        state = (_rotated(state, 13) * 5 + 0xE6546B64) & _MASK
    state ^= _scrambled(int.from_bytes(content[whole:], "little"))
    state ^= len(content)
    state = ((state ^ state >> 16) * 0x85EBCA6B) & _MASK
    state = ((state ^ state >> 13) * 0xC2B2AE35) & _MASK
    return struct.pack("<I", state ^ state >> 16)


def _scrambled(block: int) -> int:
    return (_rotated((block * 0xCC9E2D51) & _MASK, 15) * 0x1B873593) & _MASK


def _rotated(value: int, by: int) -> int:
    return ((value << by) | (value >> (32 - by))) & _MASK


def _varint(content: bytes, at: int = 1) -> int:
    result = shift = 0
    while True:
        byte = content[at]
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            # negative numbers are written as 64 bits in two's complement
            return result - (1 << 64) if result >= 1 << 63 else result
        at, shift = at + 1, shift + 7


def _text(content: bytes) -> str:
    at = 1
    while content[at] >= 0x80:
        at += 1
    return content[at + 1 :].decode()


def _moment(content: bytes) -> datetime | None:
    seconds = _varint(content)
    # Feast's word for a missing timestamp is the smallest 64-bit number
    return None if seconds == -(1 << 63) else datetime.fromtimestamp(seconds, UTC)


_READ: Final[Mapping[int, Callable[[bytes], Value | None]]] = {
    0x12: _text,
    0x18: _varint,
    0x20: _varint,
    0x29: lambda content: _double(content, 1)[0],
    0x35: lambda content: _single(content, 1)[0],
    0x38: lambda content: bool(content[1]),
    0x40: _moment,
}
_NULL: Final = 0x98  # field 19, `null_val`, begins with the bytes 98 01


def read_value(content: bytes | None) -> Value | None:
    """Return what a stored ``feast.types.Value`` holds; None where that is nothing.

    Raises
    ------
    FeatureStoreError
        It holds what no scalar feature is, or is cut off.
    """
    if not content or content[0] == _NULL:
        return None
    try:
        value = _READ[content[0]](content)
    except (KeyError, IndexError, struct.error, UnicodeDecodeError, OverflowError, ValueError) as error:
        raise FeatureStoreError(
            f"The online store holds {content[:8].hex()}…, which is no value of a feature.",
            hint="Materialize the view again: mmp features materialize.",
        ) from error
    # a missing number may be stored as NaN; text without a letter is missing, as in any other source
    return None if value != value or value == "" else value  # noqa: PLR0124


def read_timestamp(content: bytes) -> float:
    """Return the seconds since the epoch that a stored ``google.protobuf.Timestamp`` says."""
    seconds, nanoseconds, at = 0, 0, 0
    while at < len(content):
        number = _varint(content, at + 1)
        if content[at] == 0x08:
            seconds = number
        else:
            nanoseconds = number
        at += 1
        while content[at] >= 0x80:
            at += 1
        at += 1
    return seconds + nanoseconds / 1e9
