"""Stores as the file of a Feast repository describes them."""

from __future__ import annotations

import pytest
from tests.features.shop import write_repo

from mmp.errors import SettingsError
from mmp.features import registry
from mmp.features.offline import join
from mmp.features.repository import complete
from mmp.settings.data import Fetcher
from mmp.settings.stores import FeatureStore

YAML = """
project: shop
registry: {folder}/registry.db
provider: local
offline_store:
  type: duckdb
  staging_location_endpoint_override: http://nowhere
online_store:
  type: redis
  connection_string: "${{SHOP_REDIS}}:6379"
  skip_dedup: true
"""


def named(folder, **more):
    return FeatureStore.model_validate(
        {"provider": "feast", "feast_config": {"repo_path": str(folder), **more}}
    )


@pytest.fixture
def repo(tmp_path, monkeypatch):
    monkeypatch.setenv("SHOP_REDIS", "cache")
    write_repo(tmp_path / "shop")
    (tmp_path / "shop" / "feature_store.yaml").write_text(YAML.format(folder=tmp_path))
    return tmp_path / "shop"


def test_takes_what_the_config_leaves_open(repo):
    config = complete(named(repo)).feast_config
    assert (config.project, config.offline_store.type) == ("shop", "duckdb")
    assert config.online_store.connection_string.get_secret_value() == "cache:6379"
    config = complete(named(repo, project="mall", online_store={"type": "sqlite"})).feast_config
    assert (config.project, config.online_store.type) == ("mall", "sqlite")


def test_leaves_a_config_without_a_file_as_it_is(tmp_path):
    assert complete(named(tmp_path)) == named(tmp_path)
    assert complete(FeatureStore()) == FeatureStore()


@pytest.mark.parametrize("text", ["- a", "{", "project: [1]\noffline_store: file\n"])
def test_refuses_a_file_that_is_none(repo, text):
    (repo / "feature_store.yaml").write_text(text)
    with pytest.raises(SettingsError, match=r"feature_store\.yaml"):
        complete(named(repo))


def test_joins_from_a_repository_alone(repo):
    import datetime as dt

    import pyarrow as pa

    registry.apply(named(repo))
    features = registry.resolve(Fetcher(features=("users:age",)), named(repo))
    rows = pa.table({"user_id": [3, 1, 9]})
    joined = join(rows, features, named(repo), as_of=dt.datetime(2026, 1, 5))
    assert joined.table["age"].to_pylist() == [23, 21, None]
