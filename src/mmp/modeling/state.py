"""State on disk that is only data: canonical JSON, and arrays that cannot grow, run or unpickle.

What is read here may have been damaged or made by a stranger. So everything that a parser would
do on its own (keep the last of two equal keys, make ``1e400`` infinite, allocate what a header
asks for, inflate, unpickle) is refused, with one sentence that names the file.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

from mmp.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy.typing as npt

_EPOCH = (1980, 1, 1, 0, 0, 0)
_MAX_HEADER = 10_000


def to_json(value: object) -> bytes:
    r"""Write a value as canonical JSON: sorted keys, no spaces, ASCII, no NaN; equal values, equal bytes.

    Examples
    --------
    >>> to_json({"b": 0.1, "a": ["é", None]})
    b'{"a":["\\u00e9",null],"b":0.1}'
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode("ascii")


def from_json(data: bytes, name: str) -> Any:
    """Read JSON strictly.

    Parameters
    ----------
    data : bytes
        The file's content.
    name : str
        The file's name, for the message.

    Raises
    ------
    ArtifactError
        Where it is not UTF-8 or not JSON, a key stands twice, a number is not finite, or the
        nesting is deeper than the parser goes.
    """
    try:
        return json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_distinct,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except RecursionError as error:
        raise _damaged(name, "it is nested too deeply") from error
    except ValueError as error:
        raise _damaged(name, f"it is not valid JSON ({error})") from error


def write_arrays(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write arrays as an ``npz`` whose bytes depend on nothing but the arrays.

    Members are sorted by name, stored without compression and dated 1980, which `numpy.load` reads.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for key in sorted(arrays):
            member = io.BytesIO()
            np.lib.format.write_array(member, np.asarray(arrays[key], order="C"), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{key}.npy", _EPOCH), member.getvalue())


def read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Read the arrays of `write_arrays`.

    Raises
    ------
    ArtifactError
        Where the file is not such an archive: compressed members (they could inflate without
        bound), objects (they would be unpickled), or headers that ask for other than what is there.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _check_members(archive, path.stat().st_size)
            return {
                member.filename.removesuffix(".npy"): _array(archive.read(member))
                for member in archive.infolist()
            }
    except (zipfile.BadZipFile, ValueError, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise _damaged(path.name, f"it is not an archive of plain arrays ({error})") from error


def _check_members(archive: zipfile.ZipFile, size: int) -> None:
    members = archive.infolist()
    if len({member.filename for member in members}) != len(members):
        raise ValueError("a member stands twice")
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise ValueError("a member is compressed")
    if sum(member.file_size for member in members) > size:
        raise ValueError("its members are larger than the file")


def _array(data: bytes) -> npt.NDArray[Any]:
    stream = io.BytesIO(data)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("unknown version of the array format")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream, max_header_size=_MAX_HEADER)
    content = data[stream.tell() :]
    if dtype.hasobject or fortran or math.prod(shape) * dtype.itemsize != len(content):
        raise ValueError("the header of an array does not fit its content")
    return np.frombuffer(content, dtype).reshape(shape).copy()


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return value


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is not a number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is too large")
    return number


def _damaged(name: str, what: str) -> ArtifactError:
    return ArtifactError(
        f"The model's file '{name}' cannot be read: {what}.",
        hint="Train again, or fetch the model again from where it was logged.",
    )
