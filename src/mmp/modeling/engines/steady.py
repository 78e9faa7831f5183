"""skops files that depend on the estimator alone; as skops writes them they hold the time and addresses."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any, Final

_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
_SCHEMA: Final = "schema.json"


def steady(data: bytes) -> bytes:
    """Rewrite a skops file so that its objects are numbered in the order of its schema.

    Parameters
    ----------
    data : bytes
        What `skops.io.dumps` returned.

    Returns
    -------
    bytes
        The same estimator to `skops.io.loads`, and the same bytes whenever it is saved.
    """
    numbers: dict[str, str] = {}
    with zipfile.ZipFile(io.BytesIO(data)) as found:
        schema = _renumbered(json.loads(found.read(_SCHEMA)), numbers)
        members = {_renamed(name, numbers): found.read(name) for name in found.namelist() if name != _SCHEMA}
    members[_SCHEMA] = json.dumps(schema, indent=2).encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(members):
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), members[name])
    return out.getvalue()


def _renumbered(node: Any, numbers: dict[str, str]) -> Any:
    if isinstance(node, list):
        return [_renumbered(child, numbers) for child in node]
    if not isinstance(node, dict):
        return node
    own: dict[str, Any] = {}
    if isinstance(address := node.get("__id__"), int):
        own["__id__"] = int(_number(str(address), numbers))
    if isinstance(file := node.get("file"), str):
        own["file"] = _renamed(file, numbers)
    return {key: own[key] if key in own else _renumbered(child, numbers) for key, child in node.items()}


def _renamed(file: str, numbers: dict[str, str]) -> str:
    stem, dot, suffix = file.partition(".")
    return _number(stem, numbers) + dot + suffix if stem.isdecimal() else file


def _number(address: str, numbers: dict[str, str]) -> str:
    return numbers.setdefault(address, str(len(numbers)))
