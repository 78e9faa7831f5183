"""Batches of a model whose features come from a store: those of `mmp predict`, block by block."""

from __future__ import annotations

import csv
import json

import pyarrow.parquet as pq
import pytest
from tests.features import small_shop
from tests.features.small_shop import CONFIG, ORDERS, RECIPE

from mmp.errors import DataError, MissingColumnsError
from mmp.pipelines.batch import batch_inference
from mmp.pipelines.predict import predict
from mmp.pipelines.train import train
from mmp.settings.load import load_config, load_recipe


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop")
    small_shop.build(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        small_shop.fill()
        return folder, train(load_recipe(RECIPE), load_config(CONFIG)).run_id


@pytest.fixture
def run_id(trained, monkeypatch):
    monkeypatch.chdir(trained[0])
    return trained[1]


def test_rows_get_the_features_of_their_moment(run_id, tmp_path):
    config = load_config(CONFIG).value
    batch_inference(run_id, config, data=ORDERS, output=str(tmp_path / "o.parquet"), part_rows=300)
    expected = predict(run_id, config, ORDERS).records
    assert pq.read_table(tmp_path / "o.parquet").to_pylist() == expected


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_rows_of_text_get_the_same(run_id, tmp_path, suffix):
    config = load_config(CONFIG).value
    rows = small_shop.orders(60).to_pylist()
    with (tmp_path / f"t.{suffix}").open("w", newline="", encoding="utf-8") as file:
        if suffix == "csv":
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
        else:
            file.writelines(json.dumps(row, default=str) + "\n" for row in rows)
    pq.write_table(small_shop.orders(60), tmp_path / "t.parquet")
    for name in (f"t.{suffix}", "t.parquet"):
        output = str(tmp_path / f"of_{name}.parquet")
        batch_inference(run_id, config, data=str(tmp_path / name), output=output, part_rows=25)
    ours = (tmp_path / f"of_t.{suffix}.parquet").read_bytes()
    assert ours == (tmp_path / "of_t.parquet.parquet").read_bytes()


def test_rows_without_a_moment_get_those_of_the_beginning(run_id, tmp_path):
    config = load_config(CONFIG).value
    rows = small_shop.orders(40).drop_columns(["ordered_at"])
    pq.write_table(rows, tmp_path / "now.parquet")
    result = batch_inference(
        run_id, config, data=str(tmp_path / "now.parquet"), output=str(tmp_path / "o.csv")
    )
    assert result.rows == 40


def test_a_key_that_is_missing_is_told_before(run_id, tmp_path):
    config = load_config(CONFIG).value
    pq.write_table(small_shop.orders(40).drop_columns(["customer_id"]), tmp_path / "t.parquet")
    with pytest.raises(MissingColumnsError, match="'customer_id' is missing"):
        batch_inference(run_id, config, data=str(tmp_path / "t.parquet"), output=str(tmp_path / "o.csv"))
    with pytest.raises(DataError):
        predict(run_id, config, str(tmp_path / "t.parquet"))
