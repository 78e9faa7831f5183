"""Which features a model takes from the feature store, as plain values: what a bundle keeps of Feast."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mmp.data.table import Kind

ValueType = Literal["INT32", "INT64", "FLOAT", "DOUBLE", "STRING", "BOOL", "UNIX_TIMESTAMP"]

Default = float | int | bool | str
"""What a row without features gets for one: a plain value, a moment in microseconds since the epoch."""

KINDS: Final[Mapping[ValueType, Kind]] = {
    "INT32": "integer",
    "INT64": "integer",
    "FLOAT": "float",
    "DOUBLE": "float",
    "STRING": "text",
    "BOOL": "boolean",
    "UNIX_TIMESTAMP": "timestamp",
}
"""Feast's scalar types, and what they are here.

The online store keeps a FLOAT in 32 bits and a UNIX_TIMESTAMP in whole seconds. The offline join
rounds the same way, or a served number would differ from the one that was trained.
"""


@dataclass(frozen=True, slots=True)
class JoinKey:
    """How rows find their entity.

    Parameters
    ----------
    name : str
        The entity's join key, as the feature view and the online store know it.
    column : str
        The column of the rows that holds it; the same but where a recipe says otherwise.
    value_type : str
        Feast's type of the key.
    """

    name: str
    column: str
    value_type: ValueType


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature of a view.

    Parameters
    ----------
    name : str
        The column that it becomes.
    source_name : str
        Its name in the view and in the online store.
    source_column : str
        Its column in the view's source.
    value_type : str
        Feast's type.
    """

    name: str
    source_name: str
    source_column: str
    value_type: ValueType

    @property
    def kind(self) -> Kind:
        """What its values are here."""
        return KINDS[self.value_type]


@dataclass(frozen=True, slots=True)
class Source:
    """Where a view's history is.

    Parameters
    ----------
    kind : {"postgres", "file"}
        What reads it.
    location : str
        A table with its schema, a query, or the path of Parquet files.
    is_query : bool
        Whether `location` is a query.
    timestamp_column : str
        When a value came to hold.
    created_column : str or None
        When it was known.
    key_columns : mapping of str to str
        Join key to column of the source, where they differ.
    """

    kind: Literal["postgres", "file"]
    location: str
    timestamp_column: str
    created_column: str | None = None
    is_query: bool = False
    key_columns: Mapping[str, str] | None = None

    def key_column(self, key: JoinKey) -> str:
        """Return the column of the source that holds a join key."""
        return (self.key_columns or {}).get(key.name, key.name)


@dataclass(frozen=True, slots=True)
class View:
    """What is taken from one feature view.

    Parameters
    ----------
    name : str
        The view.
    keys : tuple of JoinKey
        How rows find their entity; several for a composite entity.
    features : tuple of Feature
        What is taken.
    ttl_s : float or None
        Seconds after which a value no longer holds; None for never.
    source : Source
        Where the history is.
    """

    name: str
    keys: tuple[JoinKey, ...]
    features: tuple[Feature, ...]
    ttl_s: float | None
    source: Source


@dataclass(frozen=True, slots=True)
class FeatureSet:
    """Everything that a model takes from the feature store.

    Parameters
    ----------
    project : str
        Feast's project; part of every online key.
    key_version : int
        Feast's ``entity_key_serialization_version``.
    views : tuple of View
        In the order of the recipe.
    on_missing : {"error", "null", "default"}
        What an entity without features gets.
    timestamp_column : str or None
        Event timestamp of the rows, for the point-in-time join.
    defaults : mapping of str to number, bool or str
        By feature, what rows without features get where `on_missing` says so; filled by a training.
    """

    project: str
    key_version: int
    views: tuple[View, ...]
    on_missing: Literal["error", "null", "default"] = "null"
    timestamp_column: str | None = None
    defaults: Mapping[str, Default] = field(default_factory=dict)

    @property
    def features(self) -> Iterator[Feature]:
        """Every feature, view by view."""
        return (feature for view in self.views for feature in view.features)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that the features become."""
        return tuple(feature.name for feature in self.features)

    @property
    def key_columns(self) -> tuple[str, ...]:
        """The columns that rows must have to find their entities, each once."""
        return tuple(dict.fromkeys(key.column for view in self.views for key in view.keys))

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON that `from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> FeatureSet:
        """Return what `to_json` wrote."""
        return cls(**{**content, "views": tuple(_view(view) for view in content["views"])})


def _view(content: Mapping[str, Any]) -> View:
    return View(
        **{
            **content,
            "keys": tuple(JoinKey(**key) for key in content["keys"]),
            "features": tuple(Feature(**feature) for feature in content["features"]),
            "source": Source(**content["source"]),
        }
    )
