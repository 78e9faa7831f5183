"""Feast's registry over files: what is defined, what a recipe takes of it, and the way to the online store."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import replace

import pytest
from tests.features.shop import DEFINITIONS, START, settings, write, write_repo
from tests.servers import free_ports

from mmp.errors import FeatureStoreError, SettingsError, UnknownNameError
from mmp.features import registry
from mmp.features.registry.opened import opened
from mmp.settings.data import Fetcher

DAY = dt.timedelta(days=1)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A repository that was applied; nothing is materialized."""
    store = write_repo(tmp_path_factory.mktemp("feast") / "shop")
    assert registry.apply(store) == ("lists", "users", "visits")
    return store


@pytest.fixture
def online(tmp_path):
    """A repository of its own, for a test that materializes, and what Feast reads of it."""
    store = write_repo(tmp_path / "shop")
    registry.apply(store)

    def ages(*users):
        with opened(store) as feast:
            found = feast.get_online_features(
                features=["users:age"], entity_rows=[{"user_id": user} for user in users]
            )
        return found.to_dict()["age"]

    return store, tmp_path / "shop" / "users.parquet", ages


def taken(shop, **fetcher):
    return registry.resolve(Fetcher(type="feature_store", **fetcher), shop)


def test_takes_a_service_and_tells_names_of_two_views_apart(shop):
    features = taken(shop, feature_service="buying", timestamp_column="when", on_missing="error")
    assert features.names == ("age", "users__city", "n", "visits__city")
    assert features.key_columns == ("user_id", "shop_id")
    assert (features.project, features.key_version, features.on_missing) == ("shop", 3, "error")
    users, visits = features.views
    assert (users.ttl_s, visits.ttl_s) == (30 * 86400, None)
    assert users.source.created_column == "created"
    assert [feature.source_column for feature in users.features] == ["age", "town"]
    assert [finding.column for finding in registry.findings(features)] == ["users__city", "visits__city"]


def test_takes_views_by_columns_of_the_rows(shop):
    views = {
        "users": {"join_key": "buyer", "features": ["score"]},
        "visits": {"join_key": "buyer, store", "features": ["n"]},
    }
    features = taken(shop, feature_views=views)
    assert features.key_columns == ("buyer", "store")
    assert [key.name for view in features.views for key in view.keys] == ["user_id", "user_id", "shop_id"]


def test_takes_keys_by_their_own_names_in_any_order(shop):
    features = taken(shop, feature_views={"visits": {"join_key": "shop_id, user_id", "features": ["n"]}})
    assert all(key.name == key.column for key in features.views[0].keys)


@pytest.mark.parametrize(
    ("fetcher", "error", "words"),
    [
        ({"features": ["usrs:age"]}, UnknownNameError, "no feature view 'usrs'. did you mean 'users'?"),
        ({"features": ["users:agee"]}, UnknownNameError, "no feature 'agee'. did you mean 'age'?"),
        ({"feature_service": "buyin"}, UnknownNameError, "service 'buyin'. did you mean 'buying'?"),
        ({"features": ["users"]}, SettingsError, "Write view:feature."),
        ({"features": ["lists:tags"]}, SettingsError, "'tags' (STRING_LIST)"),
        (
            {"feature_views": {"visits": {"join_key": "x", "features": ["n"]}}},
            SettingsError,
            "user_id, shop_id",
        ),
        ({"features": ["users:age"], "feature_service": "buying"}, SettingsError, "in two ways"),
        ({}, SettingsError, "takes no feature"),
    ],
)
def test_refuses_what_is_not_there(shop, fetcher, error, words):
    with pytest.raises(error) as raised:
        taken(shop, **fetcher)
    assert words in f"{raised.value.message} {raised.value.hint}"


def test_refuses_views_that_are_computed(shop, tmp_path):
    computed = """
from feast.on_demand_feature_view import on_demand_feature_view

@on_demand_feature_view(sources=[users], schema=[Field(name="older", dtype=Int64)], mode="python")
def older(inputs):
    return {"older": [age + 1 for age in inputs["age"]]}
"""
    store = write_repo(tmp_path / "shop", DEFINITIONS + computed)
    registry.apply(store)
    with pytest.raises(SettingsError, match="'older' is an on-demand feature view"):
        taken(store, features=["older:older"])


def test_lists_views(shop):
    lists, users, visits = registry.views(shop)
    assert [each.view.name for each in (lists, users, visits)] == ["lists", "users", "visits"]
    assert (users.services, lists.services) == (("buying",), ())
    assert (users.is_online, lists.is_online, users.materialized_until) == (True, False, None)


def test_notices_what_changed_since_training(shop, tmp_path):
    features = taken(shop, features=["users:age", "users:score", "visits:n"])
    assert registry.compare(features, shop) == ()
    changed = (
        DEFINITIONS.replace('        Field(name="score", dtype=Float32),\n', "")
        .replace('Field(name="age", dtype=Int64)', 'Field(name="age", dtype=Float64)')
        .replace("days=30", "days=7")
        .replace('source("users"', 'source("people"')
        .replace('name="visits"', 'name="calls"')
    )
    other = write_repo(tmp_path / "shop", changed)
    (tmp_path / "shop" / "users.parquet").rename(tmp_path / "shop" / "people.parquet")
    registry.apply(other)
    found = [(each.level, each.message) for each in registry.compare(features, other)]
    assert found == [
        ("error", "The feature view 'users' has another type of 'age': INT64 then, DOUBLE now."),
        ("error", "The feature view 'users' has no feature 'score' any more."),
        ("warn", "The feature view 'users' has another TTL: 2.592e+06 s then, 604800 s now."),
        ("warn", "The feature view 'users' has another source: users.parquet then, people.parquet now."),
        ("error", "The feature view 'visits' is not in Feast's registry any more."),
    ]


def test_numbers_definitions(shop):
    features = taken(shop, features=["users:age"])
    assert registry.digest(features) == registry.digest(taken(shop, features=["users:age"]))
    view = replace(features.views[0], ttl_s=1.0)
    assert registry.digest(features) != registry.digest(replace(features, views=(view,)))


def test_applies_once_more_without_what_is_gone(tmp_path):
    store = write_repo(tmp_path / "shop")
    registry.apply(store)
    (tmp_path / "shop" / "definitions.py").write_text(DEFINITIONS.partition("lists = ")[0])
    assert registry.apply(store) == ("users", "visits")
    assert [each.view.name for each in registry.views(store)] == ["users", "visits"]


# ── to the online store ─────────────────────────────────────────────────────


def test_materializes_what_is_new(online):
    store, _, ages = online
    seen = []
    done = registry.materialize(store, until=START + DAY, on_progress=lambda *each: seen.append(each[:3]))
    assert [(each.view, each.n_rows, each.since) for each in done] == [
        ("users", 3, None),
        ("visits", 2, None),
    ]
    # a slow moment is told more often
    assert [each for each in seen if each[1] == each[2]] == [("users", 3, 3), ("visits", 2, 2)]
    assert ages(1, 3, 9) == [21, 23, None]
    again = registry.materialize(store, ["users"], until=START + 2 * DAY)
    assert [(each.n_rows, each.since) for each in again] == [(0, START + DAY)]
    full = registry.materialize(store, ["users"], until=START + 2 * DAY, is_full=True)
    assert [each.n_rows for each in full] == [3]


def test_materializes_late_rows_and_corrections_that_feast_passes_over(online):
    store, file, ages = online
    registry.materialize(store, ["users"], until=START + 10 * DAY)
    late = (1, 31, START + 5 * DAY, START + 11 * DAY)  # happened before the watermark, was known after it
    correction = (2, 32, START, START + 11 * DAY)  # of a row that was written
    write(file, users=[1, 2, 3], extra=[late, correction])
    done = registry.materialize(store, ["users"], until=START + 12 * DAY)
    assert (done[0].n_rows, ages(1, 2, 3)) == (2, [31, 32, 23])


def test_materializes_nothing_before_it_was_known(online):
    store, file, ages = online
    write(file, users=[1], extra=[(1, 99, START, START + 2 * DAY), (1, 98, START + 2 * DAY, START)])
    registry.materialize(store, ["users"], until=START + DAY)
    assert ages(1) == [21]
    registry.materialize(store, ["users"], until=START + 3 * DAY)
    assert ages(1) == [98]


def test_settles_ties_as_the_join_does(online):
    store, file, ages = online
    write(file, users=[], extra=[(1, age, START, START) for age in (40, 42, 41)])
    registry.materialize(store, ["users"], until=START + DAY)
    assert ages(1) == [42]


# ── what does not answer ────────────────────────────────────────────────────


def test_says_that_nothing_was_applied(tmp_path):
    with pytest.raises(FeatureStoreError) as raised:
        registry.views(settings(tmp_path))
    assert (raised.value.exit_code, "mmp features apply" in raised.value.hint) == (5, True)
    assert list(tmp_path.iterdir()) == []


def test_knows_no_other_project(shop):
    feast = shop.feast_config.model_copy(update={"project": "shpo"})
    with pytest.raises(UnknownNameError) as raised:
        registry.views(shop.model_copy(update={"feast_config": feast}))
    assert "did you mean 'shop'?" in raised.value.hint


def test_says_soon_that_a_registry_does_not_answer(tmp_path):
    (port,) = free_ports(1)
    store = settings(tmp_path, registry=f"postgresql://app:hunter2@localhost:{port}/shop")
    began = time.monotonic()
    with pytest.raises(FeatureStoreError) as raised:
        registry.views(store)
    assert time.monotonic() - began < 5
    assert "Connection refused" in raised.value.message
    assert "hunter2" not in f"{raised.value.message} {raised.value.hint}"
