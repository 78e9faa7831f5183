"""`mmp get-recipe`: a commented recipe, from a few words or from a table."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmp.catalog.models import MODELS, ModelRow, find, row_for
from mmp.catalog.tasks import TASKS
from mmp.errors import Finding, SettingsError, UnknownNameError
from mmp.lookup import did_you_mean, is_dotted, is_installed
from mmp.settings import checks
from mmp.settings.config import Config
from mmp.settings.emit import Off, without_comments
from mmp.settings.recipe import Recipe
from mmp.settings.sources import source_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mmp.data.table import Table
    from mmp.settings.document import Path_

FAVOURITES = ("xgboost", "lightgbm", "catboost", "sklearn")


@dataclass(frozen=True)
class Wish:
    """What is known of a recipe that is to be written.

    Parameters
    ----------
    data, target, task, model, name : str or None
        Its source, its target, its task, a class path or the name of a class, and its name.
    entities : tuple of str
        Columns that are keys.
    """

    data: str | None = None
    target: str | None = None
    task: str | None = None
    model: str | None = None
    name: str | None = None
    entities: tuple[str, ...] = ()

    def settled(self, key: str, answer: str | None) -> Wish:
        """Return the wish with the answer to a question."""
        return replace(self, **{key: answer})  # type: ignore[arg-type]


@dataclass(frozen=True)
class Question:
    """What a wish leaves open.

    Parameters
    ----------
    key : str
        The field of `Wish`; ``--key`` is the flag that answers it.
    text : str
        The question.
    options : mapping of str to str
        Possible answers, each with a word about it; empty where any text may be.
    default : str or None
        The answer where nobody can be asked.
    """

    key: str
    text: str
    options: Mapping[str, str] = field(default_factory=dict)
    default: str | None = None

    def checked(self, answer: str) -> str:
        """Return an answer that is possible.

        Raises
        ------
        UnknownNameError
            It is none of the options.
        """
        known = find(answer) if self.key == "model" else None
        answer = known.class_path if known else answer
        if self.options and answer not in self.options and not (self.key == "model" and is_dotted(answer)):
            names = {name.rpartition(".")[2]: name for name in self.options} if self.key == "model" else {}
            question = did_you_mean(answer, [*self.options, *names])
            raise UnknownNameError(
                f"--{self.key}: there is no {answer!r}.",
                hint=question.replace("did", "Did", 1) or f"There are {', '.join(self.options)}.",
            )
        return answer


@dataclass(frozen=True)
class Draft:
    """A recipe to be written.

    Parameters
    ----------
    settings : mapping
        Its keys, in order.
    notes : mapping of key to str
        What is said of them.
    findings : tuple of Finding
        What whoever asked for it should know.
    """

    settings: dict[str, Any]
    notes: dict[Path_, str] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    @property
    def recipe(self) -> Recipe:
        """The recipe that a reader of the file gets."""
        return Recipe.model_validate(without_comments(self.settings))


def checked(wish: Wish) -> Wish:
    """Return a wish whose words are known ones, in the spelling of the catalog.

    Raises
    ------
    UnknownNameError
        There is no such task or model.
    """
    for key in ("task", "model"):
        answer = getattr(wish, key)
        if answer is not None:
            wish = wish.settled(key, _QUESTIONS[key](wish.settled(key, None), None).checked(answer))
    return wish


def read(wish: Wish) -> tuple[Wish, Table | None]:
    """Read the table of a wish; where a recipe may not name it as it is, the wish then has its full path."""
    if not wish.data:
        return wish, None
    from mmp.data import sources

    table = sources.read(wish.data if Path(wish.data).is_absolute() else source_path(_named(wish.data)))
    return replace(wish, data=_named(wish.data)), table


def _named(data: str) -> str:
    try:
        source_path(data)
    except SettingsError:
        if "://" in data or Path(data).is_absolute() or not Path(data).exists():
            raise
        return str(Path(data).resolve())
    return data


def next_question(wish: Wish, table: Table | None) -> Question | None:
    """Return the first thing that a wish leaves open, None where it is complete.

    Raises
    ------
    MissingColumnsError
        The wish names a column that the table does not have.
    """
    if table is not None:
        from mmp.data.names import require

        require([name for name in (wish.target, *wish.entities) if name], table.names, table.source)
    for key, ask in _QUESTIONS.items():
        if getattr(wish, key) is None:
            return ask(wish, table)
    return None


def _ask_target(wish: Wish, table: Table | None) -> Question:
    text = "Which column is to be predicted?"
    if table is None:
        return Question("target", text)
    from mmp.pipelines.authoring.guess import target_candidates

    candidates = target_candidates(table)
    described = {name: str(table.spec(name).kind) for name in candidates}
    return Question("target", text, described, candidates[0] if candidates else None)


def _ask_task(wish: Wish, table: Table | None) -> Question:
    described = {task.name: task.description for task in TASKS.values() if task.available}
    row = find(wish.model or "")
    default = row.task if row else None
    if default is None and table is not None and wish.target is not None:
        from mmp.pipelines.authoring.guess import task_of

        default = task_of(table, wish.target)[0]
    return Question("task", "What is predicted?", described, default)


def _ask_model(wish: Wish, table: Table | None) -> Question:
    able = [row for row in MODELS.values() if wish.task in (None, row.task)]
    described = {row.class_path: _in_words(row) for row in able}
    ready = sorted(
        (row for row in able if is_installed(row.class_path.partition(".")[0])),
        key=lambda row: FAVOURITES.index(row.class_path.partition(".")[0]),
    )
    return Question("model", "Which model?", described, ready[0].class_path if ready else None)


def _in_words(row: ModelRow) -> str:
    takes = [
        *(["missing values"] if row.handles_nulls else []),
        *(["categories"] if row.native_categories else []),
    ]
    return f"takes {' and '.join(takes)}" if takes else ""


def _ask_name(wish: Wish, table: Table | None) -> Question:
    stem = re.split(r"[/\\]", (wish.data or "").rstrip("/\\"))[-1].partition(".")[0]
    words = f"{stem or wish.target or wish.task}_{(wish.model or '').rpartition('.')[2]}"
    plain = re.sub(r"\W+", "_", words).strip("_").lower()
    return Question("name", "What is the recipe called?", {}, plain or "recipe")


_QUESTIONS = {"target": _ask_target, "task": _ask_task, "model": _ask_model, "name": _ask_name}


def draft(wish: Wish, table: Table | None) -> Draft:
    """Write a recipe down.

    Parameters
    ----------
    wish : Wish
        Complete: `next_question` finds nothing open.
    table : Table or None
        The table at `Wish.data`; with one, everything that can be seen in it is written.

    Raises
    ------
    SettingsError
        The words of the wish do not go together.
    DataError
        No recipe can train on this table.
    """
    task = str(wish.task)
    row = row_for(str(wish.model), task)  # type: ignore[arg-type]
    made = _first_draft(wish, row)
    checks.require(checks.check(made.recipe, Config()))
    if table is None:
        return made
    from mmp.pipelines.authoring.look import fill_in

    return fill_in(made, table, row)


def _first_draft(wish: Wish, row: ModelRow) -> Draft:
    """Write what needs no table."""
    interface: dict[str, Any] = {"target_column": wish.target}
    if row.task == "classification":
        interface["positive_class"] = Off("yes")
    interface["entity_columns"] = list(wish.entities) if wish.entities else Off(["customer_id"])
    settings: dict[str, Any] = {
        "name": wish.name,
        "task_choice": wish.task,
        "model": _model(row),
        "data": {
            "loader": {"source_uri": wish.data} if wish.data else Off({"source_uri": "data/table.csv"}),
            "data_interface": interface,
            "split": {"strategy": "random", "train": 0.7, "validation": 0.15, "test": 0.15},
        },
        "preprocessor": Off(
            {"steps": [{"type": "simple_imputer", "columns": "numeric", "strategy": "median"}]}
        ),
        "evaluation": {"metrics": Off(_metrics(row)), "random_state": 42},
        "metadata": Off({"description": "what this model is for", "tags": {"team": "mine"}}),
    }
    return Draft(settings, {**_NOTES, **_model_notes(row)})


def _model(row: ModelRow) -> dict[str, Any]:
    model: dict[str, Any] = {"class_path": row.class_path}
    moving = row.yielding.keys() | row.of_target
    moving = moving.union(*row.cases.values())  # what goes by the rows is left to go by them
    if row.early_stopping:
        model["early_stopping"] = {"rounds": 50}
        moving |= {"early_stopping"}  # the hyperparameter that says the same in another way
    values = {name: value for name, value in row.defaults.items() if name not in moving}
    if values:
        model["hyperparameters"] = {"values": values}
    if row.task == "classification" and row.weighted:
        model["class_weight"] = Off("balanced")
    return model


def _model_notes(row: ModelRow) -> dict[Path_, str]:
    above = ("model", "hyperparameters", "values")
    notes: dict[Path_, str] = {}
    for name in row.defaults.keys() - row.of_target:
        space = row.search_space.get(name)
        if space and space.type != "categorical":
            notes[*above, name] = f"worth trying: {space.range[0]:g} to {space.range[1]:g}"
        elif space:
            notes[*above, name] = f"worth trying: {', '.join(map(str, space.range))}"
    if notes or row.defaults:
        notes["model", "hyperparameters"] = (
            f"What the catalog advises for {row.name}; `mmp plan` shows every parameter there is."
        )
    return notes


def _metrics(row: ModelRow) -> list[str]:
    return list(TASKS[row.task].metrics[:3])


def is_sure(question: Question) -> bool:
    """Tell whether a default says itself what it is: a column called target, label or the like."""
    from mmp.pipelines.authoring.guess import is_called_target

    return question.default is not None and is_called_target(question.default)


_NOTES: dict[Path_, str] = {
    ("name",): "runs are called after it",
    ("model", "early_stopping"): "ends when the validation part gets no better",
    ("model", "class_weight"): "where one class is rare",
    ("data", "loader"): "or -d FILE on the command line",
    ("data", "data_interface", "positive_class"): "what `probability` is of; else 1, true or the rarer",
    ("data", "data_interface", "entity_columns"): "ids: carried to the output, never features",
    ("data", "split"): "random is stratified by class; also temporal, group, predefined",
    ("preprocessor",): "Left out: the steps are chosen from the task, the model and the columns.",
    ("evaluation", "metrics"): "left out: all of the task's",
    ("evaluation", "random_state"): "the one seed: split, model, sampling",
}
