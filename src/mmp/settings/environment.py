"""Values from outside: `.env` files, and `${VAR:default}` in settings.

Nothing here changes the process's own environment: the values of `.env` files are a mapping that
is passed along.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from mmp.errors import Finding, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

REFERENCE = re.compile(r"\$\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*(?::([^${}]*))?\}")
_ASSIGNMENT = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_.]*)\s*=\s*(.*)", re.DOTALL)
_QUOTED = re.compile(r"'(?P<single>[^']*)'|\"(?P<double>(?:[^\"\\]|\\.)*)\"", re.DOTALL)
_USERINFO = re.compile(r"(?<=://)[^/?#@\s]*(?=@)")
_LONE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


@dataclass(frozen=True)
class Surroundings:
    """Environment values, and where those that the process does not hold come from.

    Parameters
    ----------
    process : Mapping of str to str
        The process environment, which always wins.
    files : Mapping of str to str
        Values of the `.env` files.
    origins : Mapping of str to str
        The file of each of these.
    findings : tuple of Finding
        What is worth telling about the files.
    """

    process: Mapping[str, str] = field(repr=False)
    files: Mapping[str, str] = field(default_factory=dict, repr=False)
    origins: Mapping[str, str] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    def get(self, name: str) -> str | None:
        """Return the value of a variable, or nothing where it is not set."""
        return self.process.get(name, self.files.get(name))

    def values(self) -> dict[str, str]:
        """Return everything as one mapping."""
        return {**self.files, **self.process}


def surroundings(paths: Iterable[Path] = (), process: Mapping[str, str] | None = None) -> Surroundings:
    """Read the `.env` files among `paths`; the first that has a variable gives its value."""
    values: dict[str, str] = {}
    origins: dict[str, str] = {}
    findings: list[Finding] = []
    for path in dict.fromkeys(paths):
        if not path.is_file():
            continue
        for name, value in read_env(path).items():
            if name not in values:
                values[name], origins[name] = value, str(path)
            elif value != values[name]:
                message = f"{name} stands in {origins[name]} and, differently, in {path}; the first counts."
                findings.append(Finding("environment", "warn", message, where=str(path)))
    return Surroundings(os.environ if process is None else process, values, origins, tuple(findings))


def env_files(config: Path | None, *, is_dev: bool) -> list[Path]:
    """Return the `.env` files that go with a config, first the ones that count first.

    Parameters
    ----------
    config : Path or None
        The config file.
    is_dev : bool
        Whether the local infrastructure's own file belongs to them.
    """
    folder = config.parent.parent if config is not None and config.parent.name == "configs" else Path()
    paths = [folder / ".env"]
    if config is not None:
        paths.append(folder / f".env.{config.stem}")
    if is_dev:
        paths += [place / ".env" for place in local_dev_places(folder) if (place / ".env").is_file()][:1]
    return paths


def local_dev_places(folder: Path) -> list[Path]:
    """Return where the local infrastructure of a project may lie, the place that counts first.

    Parameters
    ----------
    folder : Path
        The project.
    """
    named = os.environ.get("MMP_LOCAL_DEV")
    places = [Path(named)] if named else []
    return [*places, folder / ".." / "mmp-local-dev", folder / "mmp-local-dev"]


def read_env(path: Path) -> dict[str, str]:
    r"""Read one `.env` file: `NAME=value` lines, with quotes, `export` and comments.

    Double quotes may span lines and know ``\n``, ``\t``, ``\"``; single quotes and bare values
    are taken as they are. Nothing in a value is expanded.

    Raises
    ------
    SettingsError
        It is not text, or a line is no assignment.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read as text.", where=str(path)) from error
    values: dict[str, str] = {}
    position, line = 0, 1
    while position < len(text):
        end = text.find("\n", position)
        end = len(text) if end < 0 else end
        content = text[position:end].strip()
        if content and not content.startswith("#"):
            name, value, end = _assignment(text, position, end, f"{path}:{line}")
            values[name] = value
        line += text.count("\n", position, end + 1)
        position = end + 1
    return values


def _assignment(text: str, start: int, end: int, where: str) -> tuple[str, str, int]:
    match = _ASSIGNMENT.match(text[start:end].strip())
    if match is None:
        raise SettingsError(
            f"{where}: the line is not NAME=value.", hint="Mend it, or begin it with #.", where=where
        )
    value = match[2]
    if not value.startswith(("'", '"')):
        return match[1], re.split(r"\s#", f" {value}", maxsplit=1)[0].strip(), end
    quote = text.index(value[0], text.index("=", start))
    quoted = _QUOTED.match(text, quote)
    if quoted is None:
        raise SettingsError(f"{where}: the quote of {match[1]} does not end.", hint="Close it.", where=where)
    newline = text.find("\n", quoted.end())
    rest = len(text) if newline < 0 else newline
    single = quoted["single"]
    return match[1], _unescaped(quoted["double"]) if single is None else single, rest


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[1]), text, flags=re.DOTALL)


class BadReferenceError(Exception):
    """A reference that cannot be resolved; the text says why, and holds no value."""


def interpolate(text: str, get: Callable[[str], str | None]) -> tuple[str, bool]:
    """Put environment values into a text.

    Between the ``://`` and the ``@`` of a URI they are percent-encoded, so that a password may hold
    any character; what is percent-encoded already stays as it is.

    Parameters
    ----------
    text : str
        Text with ``${VAR}`` or ``${VAR:default}`` in it; ``$${`` stands for ``${``.
    get : callable
        Gives the value of a variable, or None.

    Returns
    -------
    tuple of str and bool
        The text, and whether it was one whole reference. A value is not looked into again.

    Raises
    ------
    BadReferenceError
        A variable is not set and has no default, or something is no reference.

    Examples
    --------
    >>> interpolate("${HOST:localhost}:${PORT}", {"PORT": "5432"}.get)
    ('localhost:5432', False)
    >>> interpolate("postgresql://app:${PW}@db/x", {"PW": "p@ss:100%"}.get)
    ('postgresql://app:p%40ss%3A100%25@db/x', False)
    """
    whole = REFERENCE.fullmatch(text)
    if whole:
        return _value(whole, get), True
    out, position = [], 0
    users = _userinfo(text)
    while (dollar := text.find("${", position)) >= 0:
        if dollar > position and text[dollar - 1] == "$":
            out.append(text[position : dollar - 1] + "${")
            position = dollar + 2
            continue
        match = REFERENCE.match(text, dollar)
        if match is None:
            raise BadReferenceError(
                "'${' begins no reference; write ${NAME} or ${NAME:default}, or $${ for the text"
            )
        out.append(text[position:dollar] + _embedded(match, get, users))
        position = match.end()
    return "".join(out) + text[position:], False


def _userinfo(text: str) -> list[tuple[int, int]]:
    """Return where the users and passwords of URIs stand in a text."""
    hidden = REFERENCE.sub(lambda match: "_" * len(match[0]), text)
    return [match.span() for match in _USERINFO.finditer(hidden)]


def _embedded(
    match: re.Match[str], get: Callable[[str], str | None], users: Iterable[tuple[int, int]]
) -> str:
    value = _value(match, get)
    if not any(start <= match.start() and match.end() <= end for start, end in users):
        return value
    # one variable may hold user and password together
    safe = "%:" if match.span() in users else "%"
    return quote(_LONE_PERCENT.sub("%25", value), safe=safe)


def _value(match: re.Match[str], get: Callable[[str], str | None]) -> str:
    value = get(match[1])
    if value is not None:
        return value
    if match[2] is None:
        raise BadReferenceError(f"the environment variable {match[1]} is not set, and there is no default")
    return match[2].strip()
