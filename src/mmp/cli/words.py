"""The words after a verb: one value for each option, and none without an option."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any, Final

from typer.core import TyperCommand

from mmp.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable

# which option a word was probably meant for: the first that the verb has and that was not given
_MEANT: Final = (
    ("recipe", re.compile(r".+\.ya?ml", re.IGNORECASE)),
    ("config", re.compile(r".+\.ya?ml", re.IGNORECASE)),
    ("data", re.compile(r".+\.(csv|csv\.gz|parquet|sql|sql\.j2)|\w+://.+", re.IGNORECASE)),
    ("rows", re.compile(r".+\.(csv|csv\.gz|parquet|sql|sql\.j2|json)|\w+://.+|\s*[\[{].*", re.IGNORECASE)),
    ("run_id", re.compile(r"latest|best|[0-9a-f]{6,32}")),
)


class Verb(TyperCommand):
    """A command that takes an option twice, or a word that belongs to an option, for a mistake."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Look at the words before their values are read."""
        _, words, order = self.make_parser(ctx).parse_args(args=list(args))
        if not any(option.is_eager for option in order):  # --help
            _refuse_twice(order)
            _refuse_bare(words, self.params, order, ctx.command_path)
        return super().parse_args(ctx, args)


def _refuse_twice(order: list[Any]) -> None:
    for option in order:
        if order.count(option) > 1 and not (getattr(option, "multiple", True) or option.is_flag):
            raise SettingsError(
                f"{_flag(option)} is given {order.count(option)} times, and takes one value.",
                hint="Keep the one that is meant.",
            )


def _refuse_bare(words: list[str], known: Iterable[Any], order: list[Any], command: str) -> None:
    options = {option.name: option for option in known if option not in order}
    for word in words if not any(option.param_type_name == "argument" for option in known) else ():
        for name, pattern in _MEANT:
            if name in options and pattern.fullmatch(word):
                raise SettingsError(
                    f"{command} takes no {word!r} by itself.",
                    hint=f"Did you mean {_flag(options[name])} {shlex.quote(word)}?",
                )


def _flag(option: Any) -> str:
    return str(min(option.opts, key=len))
