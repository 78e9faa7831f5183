"""Feast's definitions as plain values: which features a recipe takes, and whether they are what they were."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from mmp.errors import Finding, SettingsError, UnknownNameError
from mmp.features.references import KINDS, Feature, FeatureSet, JoinKey, Source, View
from mmp.features.registry.opened import opened
from mmp.lookup import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from mmp.settings.data import Fetcher
    from mmp.settings.stores import FeatureStore

_SERIALIZATION_VERSION = 3


@dataclass(frozen=True)
class ViewListing:
    """A feature view as a list shows it.

    Parameters
    ----------
    view : View
        All of its features.
    services : tuple of str
        The feature services that take some of them.
    is_online : bool
        Whether it is written to the online store.
    materialized_until : datetime or None
        How far that went.
    """

    view: View
    services: tuple[str, ...]
    is_online: bool
    materialized_until: datetime | None


class _Wish(NamedTuple):
    """Features of one view: all of them for None, and columns of the rows that hold its keys."""

    view: str
    features: tuple[str, ...] | None
    columns: Mapping[str, str] | str | None


def resolve(fetcher: Fetcher, store: FeatureStore) -> FeatureSet:
    """Return what a recipe takes from the feature store.

    Parameters
    ----------
    fetcher : Fetcher
        ``data.fetcher`` of the recipe.
    store : FeatureStore
        The config's feature store.

    Returns
    -------
    FeatureSet
        A name that two views have becomes ``<view>__<feature>`` in both; `findings` tells of it.

    Raises
    ------
    UnknownNameError
        Naming what the registry does not know, and the nearest that it does.
    SettingsError
        The recipe takes no feature, or one of a kind that mmp does not have.
    FeatureStoreError
        The registry does not answer.
    """
    with opened(store) as feast:
        registered = _Registered(feast)
        taken = tuple(_taken(registered, wish) for wish in _wishes(fetcher, registered))
        return FeatureSet(
            feast.project,
            feast.config.entity_key_serialization_version,
            _distinct(taken),
            fetcher.on_missing,
            fetcher.timestamp_column,
        )


def findings(features: FeatureSet) -> tuple[Finding, ...]:
    """Return what is worth telling of a feature set: names that two views have."""
    return tuple(
        Finding(
            "feature_name",
            "info",
            f"Several feature views have a feature {feature.source_name!r}; this one is {feature.name!r}.",
            feature.name,
        )
        for feature in features.features
        if feature.name != feature.source_name
    )


def views(store: FeatureStore) -> tuple[ViewListing, ...]:
    """Return the feature views of the project, by name; those that mmp cannot take are left out.

    Raises
    ------
    FeatureStoreError
        The registry does not answer.
    """
    with opened(store) as feast:
        registered = _Registered(feast)
        return tuple(registered.listing(name) for name in sorted(registered.views))


def digest(features: FeatureSet) -> str:
    """Return a number of what the views are, equal where every definition is equal.

    What rows without features get is no part of it: that is the recipe's.

    Examples
    --------
    >>> digest(FeatureSet("shop", 3, ()))[:12]
    '7ca79c79c4fd'
    """
    defined = {name: features.to_json()[name] for name in ("project", "key_version", "views")}
    content = json.dumps(defined, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(content.encode()).hexdigest()


def compare(recorded: FeatureSet, store: FeatureStore) -> tuple[Finding, ...]:
    """Return how the registry differs from what a model was trained with.

    A view or a feature that is gone, or has another type or other keys, is an error; another TTL or
    source is a warning.

    Raises
    ------
    FeatureStoreError
        The registry does not answer.
    """
    with opened(store) as feast:
        registered = _Registered(feast)
        return tuple(finding for view in recorded.views for finding in _changes(view, registered))


def view_of(feast: Any, name: str) -> View:
    """Return a feature view with all of its features.

    Raises
    ------
    UnknownNameError, SettingsError
        There is no such view, or it is of a kind that mmp does not have.
    """
    registered = _Registered(feast)
    return _taken(registered, _Wish(name, None, None))


# ── what the recipe says ────────────────────────────────────────────────────


def _wishes(fetcher: Fetcher, registered: _Registered) -> list[_Wish]:
    wishes = [
        _Wish(name, view.features, view.join_key) for name, view in (fetcher.feature_views or {}).items()
    ]
    wishes += _listed(fetcher.features or ())
    if fetcher.feature_service is not None:
        wishes += registered.service(fetcher.feature_service)
    if not wishes:
        raise SettingsError(
            "data.fetcher takes no feature.", hint="Write feature_views, features or feature_service."
        )
    twice = [name for name, n in Counter(wish.view for wish in wishes).items() if n > 1]
    if twice:
        raise SettingsError(
            f"data.fetcher takes from the feature view {twice[0]!r} in two ways.",
            hint="Name each view once: in feature_views, in features or in one feature service.",
        )
    return wishes


def _listed(references: Iterable[str]) -> list[_Wish]:
    by_view: dict[str, list[str]] = {}
    for reference in references:
        view, colon, feature = reference.partition(":")
        if not (view and colon and feature):
            raise SettingsError(
                f"data.fetcher.features: {reference!r} is no reference.", hint="Write view:feature."
            )
        by_view.setdefault(view, []).append(feature)
    return [_Wish(view, tuple(dict.fromkeys(names)), None) for view, names in by_view.items()]


def _distinct(taken: tuple[View, ...]) -> tuple[View, ...]:
    counts = Counter(feature.source_name for view in taken for feature in view.features)
    return tuple(
        replace(
            view,
            features=tuple(
                replace(feature, name=f"{view.name}__{feature.source_name}")
                if counts[feature.source_name] > 1
                else feature
                for feature in view.features
            ),
        )
        for view in taken
    )


# ── what Feast says ─────────────────────────────────────────────────────────


class _Registered:
    """The definitions of one project."""

    def __init__(self, feast: Any) -> None:
        self._feast = feast
        self.views = {view.name: view for view in feast.list_batch_feature_views()}
        self._services = {service.name: service for service in feast.list_feature_services()}

    def view(self, name: str) -> Any:
        if name not in self.views:
            self._refuse(name)
        return self.views[name]

    def service(self, name: str) -> list[_Wish]:
        if name not in self._services:
            raise UnknownNameError(
                f"Feast's registry has no feature service {name!r}.",
                hint=did_you_mean(name, self._services) or f"It has: {', '.join(sorted(self._services))}.",
            )
        return [
            _Wish(each.name, tuple(field.name for field in each.features), each.join_key_map or None)
            for each in self._services[name].feature_view_projections
        ]

    def listing(self, name: str) -> ViewListing:
        view = self.views[name]
        services = tuple(
            sorted(
                service.name
                for service in self._services.values()
                if any(each.name == name for each in service.feature_view_projections)
            )
        )
        return ViewListing(
            _plain(view, readable(view)), services, bool(view.online), view.most_recent_end_time
        )

    def _refuse(self, name: str) -> None:
        kinds = {view.name: "an on-demand" for view in self._feast.list_on_demand_feature_views()}
        kinds |= {view.name: "a stream" for view in self._feast.list_stream_feature_views()}
        if name in kinds:
            raise SettingsError(
                f"{name!r} is {kinds[name]} feature view, which mmp does not take.",
                hint="Take features of batch views, and compute the rest in the query or in a step.",
            )
        raise UnknownNameError(
            f"Feast's registry has no feature view {name!r}.",
            hint=did_you_mean(name, self.views) or f"It has: {', '.join(sorted(self.views))}.",
        )


def _taken(registered: _Registered, wish: _Wish) -> View:
    view = registered.view(wish.view)
    known = {field.name: field for field in view.features}
    names = tuple(known) if wish.features is None else wish.features
    unknown = next((name for name in names if name not in known), None)
    if unknown is not None:
        raise UnknownNameError(
            f"The feature view {view.name!r} has no feature {unknown!r}.",
            hint=did_you_mean(unknown, known) or f"It has: {', '.join(known)}.",
        )
    fields = [known[name] for name in names]
    refused = [field for field in fields if _type(field) not in KINDS]
    if refused:
        described = ", ".join(f"{field.name!r} ({_type(field)})" for field in refused)
        raise SettingsError(
            f"The feature view {view.name!r} has features of types that no column here has: {described}.",
            hint=f"Take features of the types {', '.join(KINDS)}.",
        )
    plain = _plain(view, fields)
    return replace(plain, keys=_with_columns(plain, wish.columns))


def readable(view: Any) -> list[Any]:
    """Return the fields of a view whose types columns here have."""
    return [field for field in view.features if _type(field) in KINDS]


def _plain(view: Any, fields: Sequence[Any]) -> View:
    source = view.batch_source
    if source is None or not view.entity_columns or _is_dummy(view):
        what = "entity" if source is not None else "batch source"
        raise SettingsError(
            f"The feature view {view.name!r} has no {what}.",
            hint="mmp joins views of entities with a history.",
        )
    column_of = {feature: column for column, feature in dict(source.field_mapping).items()}
    keys = tuple(JoinKey(field.name, field.name, _type(field)) for field in view.entity_columns)
    return View(
        view.name,
        keys,
        tuple(
            Feature(field.name, field.name, column_of.get(field.name, field.name), _type(field))
            for field in fields
        ),
        view.ttl.total_seconds() or None if view.ttl is not None else None,
        _source(view, column_of),
    )


def _is_dummy(view: Any) -> bool:
    return any(name == "__dummy" for name in view.entities)


def _type(field: Any) -> Any:
    return field.dtype.to_value_type().name


def _source(view: Any, column_of: Mapping[str, str]) -> Source:
    from feast import FileSource
    from feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source import PostgreSQLSource

    source = view.batch_source
    clock = column_of.get(source.timestamp_field, source.timestamp_field)
    created = source.created_timestamp_column
    keys = {field.name: column_of[field.name] for field in view.entity_columns if field.name in column_of}
    if isinstance(source, PostgreSQLSource):
        query = source._postgres_options._query  # noqa: SLF001 - its only other form is quoted for a FROM
        table = source._postgres_options._table  # noqa: SLF001
        return Source("postgres", query or table, clock, created or None, bool(query), keys or None)
    if isinstance(source, FileSource):
        return Source("file", source.path, clock, created or None, key_columns=keys or None)
    raise SettingsError(
        f"The feature view {view.name!r} has a {type(source).__name__}, which mmp does not read.",
        hint="It reads PostgreSQLSource and FileSource.",
    )


def _with_columns(view: View, columns: Mapping[str, str] | str | None) -> tuple[JoinKey, ...]:
    if isinstance(columns, str):
        columns = _matched(view, [name.strip() for name in columns.split(",")])
    return tuple(replace(key, column=(columns or {}).get(key.name, key.name)) for key in view.keys)


def _matched(view: View, given: Sequence[str]) -> Mapping[str, str]:
    names = [key.name for key in view.keys]
    if len(given) != len(names):
        raise SettingsError(
            f"data.fetcher.feature_views.{view.name}.join_key names {len(given)} columns, and the view has "
            f"{len(names)} keys: {', '.join(names)}.",
            hint=f"Write the column of each, in this order: join_key: {', '.join(names)}",
        )
    # columns of the keys' own names may stand in any order
    return dict(zip(names, names if set(given) == set(names) else given, strict=True))


# ── then and now ────────────────────────────────────────────────────────────


def _changes(then: View, registered: _Registered) -> Iterator[Finding]:
    if then.name not in registered.views:
        yield _finding(then, "error", "is not in Feast's registry any more")
        return
    view = registered.views[then.name]
    now = _plain(view, view.features)
    yield from _feature_changes(then, now)
    keys = [(key.name, key.value_type) for key in then.keys]
    if keys != [(key.name, key.value_type) for key in now.keys]:
        described = ", ".join(f"{key.name} ({key.value_type})" for key in now.keys)
        yield _finding(then, "error", f"has other keys than when the model was trained: {described}")
    if then.ttl_s != now.ttl_s:
        yield _finding(then, "warn", f"has another TTL: {_span(then.ttl_s)} then, {_span(now.ttl_s)} now")
    if then.source != now.source:
        yield _finding(
            then, "warn", f"has another source: {then.source.location} then, {now.source.location} now"
        )


def _feature_changes(then: View, now: View) -> Iterator[Finding]:
    known = {feature.source_name: feature for feature in now.features}
    for feature in then.features:
        other = known.get(feature.source_name)
        if other is None:
            yield _finding(then, "error", f"has no feature {feature.source_name!r} any more", feature.name)
        elif other.value_type != feature.value_type:
            described = f"{feature.value_type} then, {other.value_type} now"
            yield _finding(
                then, "error", f"has another type of {feature.source_name!r}: {described}", feature.name
            )
        elif other.source_column != feature.source_column:
            described = f"{feature.source_column} then, {other.source_column} now"
            yield _finding(
                then, "warn", f"reads {feature.source_name!r} from another column: {described}", feature.name
            )


def _finding(view: View, level: Any, what: str, column: str | None = None) -> Finding:
    return Finding("feature_view", level, f"The feature view {view.name!r} {what}.", column)


def _span(seconds: float | None) -> str:
    return "none" if seconds is None else f"{seconds:g} s"
