"""Feast's registry in PostgreSQL and its online store in Redis, as a team has them."""

from __future__ import annotations

import datetime as dt
from contextlib import closing

import psycopg
import pytest
from tests.features.shop import START, settings, write, write_repo

from mmp.errors import FeatureStoreError, UnknownNameError
from mmp.features import registry
from mmp.features.registry.opened import opened
from mmp.settings.data import Fetcher

pytestmark = pytest.mark.infra

DAY = dt.timedelta(days=1)


@pytest.fixture
def shop(postgres, redis, tmp_path):
    """A repository of files whose registry is in PostgreSQL, and whose online store is Redis."""
    write_repo(tmp_path / "shop")
    with closing(psycopg.connect(postgres.uri, autocommit=True)) as connection:
        connection.execute("CREATE SCHEMA IF NOT EXISTS shop_registry")
    store = settings(
        tmp_path / "shop",
        registry=f"{postgres.uri}?options=-csearch_path%3Dshop_registry",
        online_store={
            "type": "redis",
            "connection_string": f"{redis.host}:{redis.port}",
            "password": redis.password,
        },
    )
    yield store
    with closing(psycopg.connect(postgres.uri, autocommit=True)) as connection:
        connection.execute("DROP SCHEMA shop_registry CASCADE")


def projects(postgres):
    with closing(psycopg.connect(postgres.uri, autocommit=True)) as connection:
        return {row[0] for row in connection.execute("SELECT project_id FROM shop_registry.feast_metadata")}


def configured(store, **values):
    return store.model_copy(update={"feast_config": store.feast_config.model_copy(update=values)})


def test_a_name_that_was_mistyped_makes_no_project(shop, postgres):
    with pytest.raises(UnknownNameError) as raised:
        registry.views(shop)
    assert raised.value.hint == "Run mmp features apply first."
    assert registry.apply(shop) == ("lists", "users", "visits")
    with pytest.raises(UnknownNameError, match="'shpo'"):
        registry.views(configured(shop, project="shpo"))
    assert projects(postgres) == {"shop"}
    assert registry.resolve(Fetcher(features=("users:age",)), shop).names == ("age",)


def test_corrections_reach_redis(shop, tmp_path):
    registry.apply(shop)
    users = tmp_path / "shop" / "users.parquet"

    def ages():
        with opened(shop) as feast:
            rows = [{"user_id": user} for user in (1, 2, 3)]
            return feast.get_online_features(features=["users:age"], entity_rows=rows).to_dict()["age"]

    registry.materialize(shop, ["users"], until=START + DAY)
    assert ages() == [21, 22, 23]
    write(users, users=[1, 2, 3], extra=[(1, 31, START, START + 2 * DAY)])
    assert [each.n_rows for each in registry.materialize(shop, ["users"], until=START + 3 * DAY)] == [1]
    assert ages() == [31, 22, 23]


def test_goes_on_with_the_view_that_failed(shop, tmp_path):
    registry.apply(shop)
    visits = tmp_path / "shop" / "visits.parquet"
    visits.rename(tmp_path / "visits.parquet")
    with pytest.raises(FeatureStoreError, match="No files found"):
        registry.materialize(shop, until=START + DAY)
    (tmp_path / "visits.parquet").rename(visits)
    done = registry.materialize(shop, until=START + DAY)
    assert [(each.view, each.n_rows) for each in done] == [("users", 0), ("visits", 2)]


def test_never_says_a_password(shop, redis):
    registry.apply(shop)
    secret = "s3cr3t"
    online = shop.feast_config.online_store.model_copy(
        update={"password": type(shop.feast_config.registry)(secret)}
    )
    with pytest.raises(FeatureStoreError) as raised:
        registry.materialize(configured(shop, online_store=online), ["users"], until=START + DAY)
    assert "online store" in raised.value.message
    uri = shop.feast_config.registry.get_secret_value().replace("mlpipeline_user:", f"nobody:{secret}")
    with pytest.raises(FeatureStoreError) as refused:
        registry.views(configured(shop, registry=type(shop.feast_config.registry)(uri)))
    assert all(secret not in f"{each.value.message} {each.value.hint}" for each in (raised, refused))
    assert 'user "nobody"' in refused.value.message
