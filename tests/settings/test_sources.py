"""Sources that are no files of this machine: what a recipe may name, and where it starts."""

from __future__ import annotations

import sys

import pytest

from mmp.errors import SettingsError
from mmp.settings.checks import check
from mmp.settings.config import Config
from mmp.settings.recipe import Recipe
from mmp.settings.sources import source_path


def config(base_path, **options):
    files = {"base_path": base_path, "storage_options": options}
    return Config.model_validate({"data_source": {"adapter_type": "s3", "config": files}})


def told(source, settings):
    recipe = Recipe.model_validate(
        {
            "name": "a",
            "task_choice": "regression",
            "model": {"class_path": "xgboost.XGBRegressor"},
            "data": {"loader": {"source_uri": source}, "data_interface": {"target_column": "y"}},
        }
    )
    return [finding.message for finding in check(recipe, settings) if finding.level == "error"]


@pytest.mark.parametrize("scheme", ["s3", "gs"])
def test_a_relative_source_starts_from_a_bucket(scheme):
    base = f"{scheme}://shop/orders/"
    assert source_path("2026/*.parquet", base) == f"{scheme}://shop/orders/2026/*.parquet"
    assert source_path("./a.csv", base) == f"{scheme}://shop/orders/a.csv"
    assert source_path("/data/a.csv", base) == "/data/a.csv"
    assert source_path("s3://other/a.csv", base) == "s3://other/a.csv"
    assert source_path("python:shop.orders", base) == "python:shop.orders"
    assert told("a.csv", config(base)) == []
    for outside in ("../a.csv", "a/../../b.csv"):
        with pytest.raises(SettingsError, match="leads out of"):
            source_path(outside, base)


@pytest.mark.parametrize(
    "uri", ["s3://key:c4n4ry@shop/a.csv", "s3://shop/a.csv?secret_key=c4n4ry", "gs:///c4n4ry.csv"]
)
def test_a_uri_carries_no_credentials(uri):
    with pytest.raises(SettingsError, match="a bucket and a key") as raised:
        source_path(uri)
    assert "c4n4ry" not in raised.value.message + raised.value.hint


@pytest.mark.parametrize("uri", ["python:", "python:orders", "python:shop.orders()", "python:os; x"])
def test_a_function_goes_by_its_dotted_path(uri):
    with pytest.raises(SettingsError, match="does not name a function"):
        source_path(uri)


def test_a_function_that_is_not_there_is_found_without_running_its_module(tmp_path, monkeypatch):
    (tmp_path / "shop_unread.py").write_text("def orders():\n    pass\n\n\nraise SystemExit\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert told("python:shop_unread.orders", Config()) == []
    assert told("python:shop_unread.order", Config()) == [
        "there is no python:shop_unread.order: 'shop_unread' has no 'order' (did you mean 'orders'?)"
    ]
    assert told("python:nowhere.orders", Config()) == [
        "there is no python:nowhere.orders: the package 'nowhere' is not installed"
    ]
    assert "shop_unread" not in sys.modules
