from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmp.cli.ask import Force, Output, Yes, ask, can_ask, may_replace
from mmp.cli.screen import Screen, program
from mmp.errors import SettingsError

if TYPE_CHECKING:
    from mmp.data.table import Table
    from mmp.pipelines.authoring.recipes import Question, Wish


def main(  # noqa: PLR0913, PLR0917 - one for each flag
    ctx: typer.Context,
    output: Output = None,
    data: Annotated[
        str | None, typer.Option("-d", "--data", help="A table, to infer roles, types and steps from.")
    ] = None,
    target: Annotated[str | None, typer.Option("--target", help="The column to be predicted.")] = None,
    task: Annotated[str | None, typer.Option("--task", help="The task: `mmp list tasks`.")] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="A class path, or the name of a class: `mmp list models`.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="What the recipe is called.")] = None,
    entity: Annotated[
        list[str] | None, typer.Option("--entity", help="A column that is a key. Repeatable.")
    ] = None,
    yes: Yes = False,
    force: Force = False,
) -> None:
    """Write a commented recipe: for a model of the catalog, or from what a table shows.

    On a terminal it asks for what the flags leave open.
    """
    from mmp.pipelines.authoring import files, recipes

    screen: Screen = ctx.obj
    asking = can_ask(screen, yes=yes)
    if asking and data is None:
        data = _data(screen)
    wish = recipes.Wish(data, target, task, model, name, tuple(entity or ()))
    wish, table = recipes.read(recipes.checked(wish))
    wish = _complete(screen, wish, table, asking=asking)
    draft = recipes.draft(wish, table)
    screen.findings(draft.findings)
    if output is None:
        text = files.text("recipe", draft.settings, draft.notes)
        screen.result({"path": None, "text": text}, text.rstrip("\n"))
        return
    path = Path(output)
    replacing = may_replace(screen, path, force=force, asking=asking)
    written = files.write(path, "recipe", draft.settings, draft.notes, replace=replacing)
    screen.result({"path": str(path), "files": [str(file) for file in written]}, str(path))
    mmp, at = program(), shlex.quote(str(path))
    screen.say(f"\nnext\n  {mmp} validate -r {at}\n  {mmp} plan -r {at}\n  {mmp} train -r {at}")


def _data(screen: Screen) -> str | None:
    answer = ask(
        screen, "Which table? A .csv or .parquet file, a directory or a glob of them.", default="none"
    )
    return None if answer == "none" else answer


def _complete(screen: Screen, wish: Wish, table: Table | None, *, asking: bool) -> Wish:
    """Settle what is open, by asking where somebody is there, else by what is likeliest."""
    from mmp.pipelines.authoring import recipes

    while question := recipes.next_question(wish, table):
        answer = _asked(screen, question) if asking else _taken(screen, question, table)
        wish = wish.settled(question.key, answer)
    return wish


def _asked(screen: Screen, question: Question) -> str:
    return ask(
        screen, question.text, options=question.options, default=question.default, check=question.checked
    )


def _taken(screen: Screen, question: Question, table: Table | None) -> str:
    from mmp.pipelines.authoring import recipes

    if question.default is None:
        known = f" There are {', '.join(question.options)}." if question.options else ""
        raise SettingsError(
            f"--{question.key} is missing, and nothing says what it could be.",
            hint=f"Pass --{question.key}.{known}",
        )
    if question.key == "target" and table is not None and not recipes.is_sure(question):
        others = [repr(name) for name in question.options if name != question.default][:5]
        also = f"; {', '.join(others)} could be as well" if others else ""
        screen.warn(f"The target is taken to be {question.default!r}{also}. --target says which.")
    return question.default
