"""What every section of a recipe or a config has in common, and the kinds of values in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    AllowInfNan,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    model_validator,
)
from pydantic_core import PydanticCustomError


class Section(BaseModel):
    """A block of a settings file: frozen, and with no key but those written here.

    A key set to null is a key left out. The text under a field is its description, in the JSON
    Schema and in the reference.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        defer_build=True,
        hide_input_in_errors=True,
        protected_namespaces=(),
    )

    @model_validator(mode="before")
    @classmethod
    def _null_is_left_out(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        fields = cls.model_fields
        return {key: value for key, value in given.items() if value is not None or key not in fields}


def section() -> Any:
    """Return the default of a block that may be left out: the block with all its defaults.

    The empty mapping is validated by the schema that is built for the whole file anyway; an
    instance made here would have to build one of its own.
    """
    return Field(default_factory=dict, validate_default=True)


def _no_truth(value: object) -> object:
    if isinstance(value, bool):
        raise PydanticCustomError("number_expected", "a number")
    return value


Int: TypeAlias = Annotated[int, BeforeValidator(_no_truth)]
Float: TypeAlias = Annotated[float, BeforeValidator(_no_truth), AllowInfNan(allow_inf_nan=False)]
Count: TypeAlias = Annotated[Int, Field(ge=1)]
Share: TypeAlias = Annotated[Float, Field(ge=0, le=1)]
Seconds: TypeAlias = Annotated[Float, Field(gt=0)]
Text: TypeAlias = Annotated[str, Field(min_length=1)]
Scalar: TypeAlias = bool | int | float | str
Port: TypeAlias = Annotated[Int, Field(ge=0, le=65535)]


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


Lower = BeforeValidator(_lower)
Upper = BeforeValidator(_upper)


class Concealed(dict[str, Any]):
    """A mapping whose values may be secrets: read it like any other, but it never prints them.

    Examples
    --------
    >>> Concealed(token="t0p")
    {'token': '**********'}
    """

    def __repr__(self) -> str:
        return repr(_masked(self))

    __str__ = __repr__


def _masked(options: Mapping[str, Any]) -> dict[str, str]:
    return dict.fromkeys(options, "**********")


Options: TypeAlias = Annotated[
    Mapping[str, Any], AfterValidator(Concealed), PlainSerializer(_masked, return_type=dict[str, str])
]
"""Options passed on to a storage library, credentials among them."""

TaskName: TypeAlias = Annotated[
    Literal["classification", "regression", "timeseries", "clustering", "causal"], Lower
]
