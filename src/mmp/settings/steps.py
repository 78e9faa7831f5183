"""The steps of `preprocessor`: one model for each row of the catalog, and one for any dotted path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PrivateAttr,
    Tag,
    create_model,
)

from mmp.catalog.steps import STEPS, Parameter, StepRow
from mmp.settings.base import Float, Int, Scalar, Section, Text


class Step(Section):
    """One preprocessing step."""

    type: Text
    """Which step it is."""

    columns: tuple[Text, ...] | Text | None = None
    """Which columns it works on: names, a glob, or numeric, categorical, datetime; else those it suits."""

    _position: int = PrivateAttr(0)

    @property
    def position(self) -> int:
        """Where the step stands in the file: `preprocessor.steps[position]`."""
        return self._position


class ForeignStep(Step):
    """Any transformer of scikit-learn's kind, by dotted path; other keys are its parameters."""

    model_config = ConfigDict(extra="allow")

    type: Annotated[str, Field(pattern=r"^[^.]+(\.[^.]+)+$")]
    """Dotted path of its class."""


# What modern-ml-pipeline 1.x also took: a key that means nothing here, and other words for the same.
KEPT_PARAMETERS: dict[str, tuple[str, Any]] = {"one_hot_encoder": ("sparse_output", bool | None)}
_OLD_WORDS = {"infrequent_if_exist": "ignore", "onehot-dense": "onehot"}


def _today(word: object) -> object:
    return _OLD_WORDS.get(word, word) if isinstance(word, str) else word


def _annotation(row: StepRow, name: str, parameter: Parameter) -> Any:
    if (row.type, name) == ("constant_fill", "fill_value"):
        return Scalar | dict[str, Scalar] | None
    members = get_args(parameter.type) if get_origin(parameter.type) is not Literal else ()
    if bool in members:
        return parameter.type
    bound = Field(ge=parameter.minimum)
    kinds = {int: Annotated[Int, bound], float: Annotated[Float, bound]}
    if get_origin(parameter.type) is tuple or not members:
        plain = kinds.get(parameter.type, parameter.type)
        return Annotated[plain, BeforeValidator(_today)] if get_origin(plain) is Literal else plain
    return Union[tuple(kinds.get(member, member) for member in members)]  # noqa: UP007 - members are a value


def _model(row: StepRow) -> type[Step]:
    fields: dict[str, Any] = {
        name: (_annotation(row, name, parameter), Field(parameter.default, description=parameter.description))
        for name, parameter in row.parameters.items()
    }
    if row.type in KEPT_PARAMETERS:
        name, kind = KEPT_PARAMETERS[row.type]
        fields[name] = (
            kind,
            Field(None, description="Kept for recipes of modern-ml-pipeline 1.x; has no effect."),
        )
    title = row.type.title().replace("_", "")
    kind = (Literal[row.type], Field(description="Which step it is."))
    return create_model(
        title, __base__=Step, __module__=__name__, __doc__=row.description, type=kind, **fields
    )


STEP_MODELS: dict[str, type[Step]] = {row.type: _model(row) for row in STEPS.values()}
"""Step type to the model of its settings."""

FOREIGN = "a dotted path"


def _tag(given: Any) -> str | None:
    kind = given.get("type") if isinstance(given, dict) else getattr(given, "type", None)
    if not isinstance(kind, str):
        return None
    return FOREIGN if "." in kind else kind


def _split(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """Give each step its position, and make a `constant_fill` of several values several."""
    out: list[Step] = []
    for position, step in enumerate(steps):
        values = getattr(step, "fill_value", None)
        apart = [step]
        if isinstance(values, dict):
            apart = [
                step.model_copy(update={"columns": (name,), "fill_value": value})
                for name, value in values.items()
            ]
        for one in apart:
            one._position = position  # noqa: SLF001 - frozen to everybody else
            out.append(one)
    return tuple(out)


_MEMBERS = [Annotated[model, Tag(kind)] for kind, model in {**STEP_MODELS, FOREIGN: ForeignStep}.items()]

if TYPE_CHECKING:
    Steps: TypeAlias = tuple[Step, ...]
else:
    AnyStep = Annotated[Union[tuple(_MEMBERS)], Discriminator(_tag)]  # noqa: UP007 - members are a value
    Steps = Annotated[tuple[AnyStep, ...], AfterValidator(_split)]
