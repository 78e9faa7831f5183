"""Which keys hold secrets, and how a text loses them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mmp.settings.environment import REFERENCE

if TYPE_CHECKING:
    from mmp.settings.document import Document, Path_

MASK = "***"

_SECRET = re.compile(
    r"pass(word|wd|phrase)?$|pwd$|secret|token|api_?key|access_?key|account_?key|private_?key$|^sas|credentials?$",
    re.IGNORECASE,
)
_SECRET_OPTION = re.compile(_SECRET.pattern + r"|key", re.IGNORECASE)
_NAMES = r"(?:pass(?:word|wd)?|pwd|secret|token|sig|(?:api|access|account)_?key)"
_PAIR = re.compile(rf"({_NAMES}[\"']?\s*=\s*[\"']?)([^\s&;,\"']+)", re.IGNORECASE)
_COMMENT = re.compile(rf"((?:^|\s)#[^\n]*?{_NAMES}[\"']?\s*:\s*)([^\s,}}]+)", re.IGNORECASE)
_AUTHORITY = re.compile(r"(://[^\s/:@\"']*:)([^\s\"']*)(@)")
_HELD = re.compile("\x00([0-9]+)\x00")


def is_secret(key: Path_) -> bool:
    """Tell from its name whether a key holds a secret.

    Examples
    --------
    >>> is_secret(("mlflow", "tracking_password")), is_secret(("serving", "auth", "keys_file"))
    (True, False)
    """
    name = str(key[-1]) if key else ""
    if "storage_options" in key[:-1]:
        return _SECRET_OPTION.search(name) is not None
    return _SECRET.search(name) is not None


def without_credentials(text: str) -> str:
    """Mask passwords in URLs, and what follows `password=` and the like; references stay.

    Examples
    --------
    >>> without_credentials("postgresql://${USER:app}:hunter2@db/x")
    'postgresql://${USER:app}:***@db/x'
    >>> without_credentials("redis:6379,password=hunter2")
    'redis:6379,password=***'
    """
    held: list[str] = []

    def hold(match: re.Match[str]) -> str:
        held.append(match[0])
        return f"\x00{len(held) - 1}\x00"

    def secret(value: str) -> str:
        return (
            _HELD.sub(lambda match: _without_default(held[int(match[1])]), value) if _is_held(value) else MASK
        )

    text = REFERENCE.sub(hold, text)
    text = _AUTHORITY.sub(lambda match: match[1] + secret(match[2]) + match[3], text)
    text = _PAIR.sub(lambda match: match[1] + secret(match[2]), text)
    return _HELD.sub(lambda match: held[int(match[1])], text)


def _is_held(value: str) -> bool:
    return _HELD.fullmatch(value) is not None or not value


def _without_default(reference: str) -> str:
    match = REFERENCE.fullmatch(reference)
    return f"${{{match[1]}:{MASK}}}" if match and match[2] else reference


def redacted(document: Document) -> str:
    """Return a settings file as it may be stored: references unresolved, literal secrets masked."""
    text = document.text
    spans = {leaf.span: leaf for key, leaf in document.leaves() if is_secret(key) and leaf.text}
    for (start, end), leaf in sorted(spans.items(), reverse=True):
        source = text[start:end]
        anchor = re.match(r"&\S+\s+", source)
        ending = "\n" if source.endswith("\n") else ""
        kept = _without_default(leaf.text) if REFERENCE.fullmatch(leaf.text) else MASK
        text = f"{text[:start]}{anchor[0] if anchor else ''}'{kept}'{ending}{text[end:]}"
    return _COMMENT.sub(rf"\1{MASK}", without_credentials(text))
