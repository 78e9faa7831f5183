"""The file .env: made once, with passwords that nobody chose, and never written over."""

from __future__ import annotations

import os
import re
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from localdev.failure import Failure
from localdev.program import command

EXAMPLE = Path(__file__).resolve().parents[1] / ".env.example"
GENERATED = ("POSTGRES_PASSWORD", "POSTGRES_READER_PASSWORD")
_LINE = re.compile(r"^(?P<export>(?:export )?)(?P<name>[A-Za-z_][A-Za-z0-9_]*)=(?P<value>.*)$", re.MULTILINE)
_PORTS = ("POSTGRES_PORT", "REDIS_PORT")
_ADDRESS = "MLFLOW_TRACKING_URI"
_HIGHEST = 65_535


def read(path: Path) -> dict[str, str]:
    """Return the values of a .env file; quotes around one are not part of it.

    Raises
    ------
    Failure
        When it is not there, cannot be read, or has a line that says nothing.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise Failure(f"{path} is not there", f"Run {command('up')} first.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"{path} cannot be read: {error}") from error
    values = {}
    for number, line in enumerate(text.splitlines(), 1):
        found = _LINE.fullmatch(line.strip())
        if found:
            values[found["name"]] = _unquoted(found["value"].strip())
        elif line.strip() and not line.strip().startswith("#"):
            raise Failure(f"line {number} of {path} is neither KEY=VALUE nor a comment", "Correct it.")
    return values


def make(path: Path, offset: int | None) -> bool:
    """Write the file where there is none, and ports into it where they are asked for.

    Parameters
    ----------
    path : Path
        The file.
    offset : int or None
        What is added to the ports of the example; where None, those of a file that is there stay.

    Returns
    -------
    bool
        Whether anything was written.

    Raises
    ------
    Failure
        When a port is none, or the file cannot be written.
    """
    example = EXAMPLE.read_text(encoding="utf-8")
    is_new = not path.exists()
    old = "" if is_new else path.read_text(encoding="utf-8")
    text = _replaced(example, {name: secrets.token_urlsafe(24) for name in GENERATED}) if is_new else old
    if offset is not None:
        text = _replaced(text, _moved(example, offset))
    if text != old:
        _write(path, text, is_new=is_new)
    return text != old


def _unquoted(value: str) -> str:
    if len(value) > 1 and value[0] in "\"'" and value[-1] == value[0]:
        return value[1:-1]
    return re.split(r"\s#", value, maxsplit=1)[0].rstrip()


def _moved(example: str, offset: int) -> dict[str, str]:
    values = {line["name"]: line["value"] for line in _LINE.finditer(example)}
    ports = {name: int(values[name]) + offset for name in _PORTS}
    address = urlsplit(values[_ADDRESS])
    ports[_ADDRESS] = (address.port or 80) + offset
    if wrong := [port for port in ports.values() if not 0 < port <= _HIGHEST]:
        raise Failure(f"--port-offset {offset} makes port {wrong[0]}, which there is not", code=2)
    return {name: str(port) for name, port in ports.items()} | {
        _ADDRESS: f"{address.scheme}://{address.hostname}:{ports[_ADDRESS]}"
    }


def _replaced(text: str, values: dict[str, str]) -> str:
    there = {line["name"] for line in _LINE.finditer(text)}
    text = _LINE.sub(
        lambda line: f"{line['export']}{line['name']}={values.get(line['name'], line['value'])}", text
    )
    return "".join([text, *(f"{name}={value}\n" for name, value in values.items() if name not in there)])


def _write(path: Path, text: str, *, is_new: bool) -> None:
    """Write it whole or not at all, for its owner's eyes; of two new files the first one stays."""
    try:
        number, name = tempfile.mkstemp(prefix=".env.", suffix=".partial", dir=path.parent)
        partial = Path(name)
        with os.fdopen(number, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if not is_new:
            partial.replace(path)
            return
        with suppress(FileExistsError):
            path.hardlink_to(partial)
        partial.unlink()
    except OSError as error:
        raise Failure(f"{path} cannot be written: {error.strerror}") from error
