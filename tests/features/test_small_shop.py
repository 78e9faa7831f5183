"""A recipe with features from its training to its answers, without a server."""

from __future__ import annotations

import json
import shutil
import sqlite3
import warnings
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from tests.commands import call
from tests.features import small_shop
from tests.features.small_shop import CONFIG, DATA, ONLINE, ORDERS, RECIPE

from mmp.errors import UnknownEntityError
from mmp.features import registry
from mmp.features.online import OnlineReader
from mmp.modeling.bundle import Bundle
from mmp.modeling.columns import coerce
from mmp.modeling.complete import complete, complete_cells, historical, now, online
from mmp.pipelines.model import load_model
from mmp.pipelines.train import train
from mmp.settings.load import load_config, load_recipe
from mmp.tracking.signature import signature

FEATURES = [
    "orders_90d", "return_rate_90d", "is_member", "city", "last_order_at", "return_rate", "rating", "kind",
]  # fmt: skip


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    """The folder of the shop, filled; not to be changed."""
    folder = tmp_path_factory.mktemp("shop")
    small_shop.build(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        small_shop.fill()
    return folder


@pytest.fixture(scope="module")
def trained(pristine):
    """What the recipe as it is trains."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(pristine)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        return train(load_recipe(RECIPE), load_config(CONFIG))


@pytest.fixture
def shop(pristine, trained, monkeypatch):
    """The working directory is the shop."""
    monkeypatch.chdir(pristine)
    return pristine


@pytest.fixture
def own(shop, tmp_path, monkeypatch):
    """A copy of the shop that a test may break."""
    shutil.copytree(shop, tmp_path / "own")
    monkeypatch.chdir(tmp_path / "own")
    return tmp_path / "own"


@pytest.fixture
def bundle(shop, trained) -> Bundle:
    return load_model(trained.run_id, load_config(CONFIG).value).bundle


def test_features_help(mmp, shop, trained):
    without = mmp(
        "train", "-c", CONFIG, "-r", RECIPE, "--json",
        "--set", "data.fetcher.type=pass_through", "--set", "data.data_interface.feature_columns=[amount]",
    )  # fmt: skip
    assert trained.metrics["test"]["roc_auc"] > without.json["metrics"]["test"]["roc_auc"] + 0.2


def test_a_run_records_what_it_took(bundle, trained):
    logged = load_model(trained.run_id, load_config(CONFIG).value).run
    assert {"features.json"} <= set(trained.artifacts)
    assert logged.tags["mmp.features.digest"] == registry.digest(bundle.features)
    assert bundle.features.names == tuple(FEATURES)
    assert [spec.name for spec in bundle.request] == ["customer_id", "product_code", "amount"]
    assert [spec.name for spec in bundle.entities] == ["order_id", "customer_id", "product_code"]
    assert trained.example.keys() == {"order_id", "customer_id", "product_code", "amount"}
    found = [warning.message for warning in trained.warnings if warning.check == "features_found"]
    assert len(found) == 1
    assert found[0].startswith("The feature view 'customers' has nothing for ")


def test_checks_and_plans(mmp, shop):
    assert mmp("validate", "-c", CONFIG, "-r", RECIPE).code == 0
    roles = {
        each["name"]: each["role"]
        for each in mmp("plan", "-c", CONFIG, "-r", RECIPE, "--json").json["columns"]
    }
    assert roles == {
        "order_id": "entity", "customer_id": "entity", "product_code": "entity", "amount": "feature",
        "ordered_at": "timestamp", "is_returned": "target", **dict.fromkeys(FEATURES, "feature"),
    }  # fmt: skip


def test_answers_keys_alone(mmp, shop, trained):
    """Trap 1: the signature held features only, and a request of keys could not be answered."""
    row = {"customer_id": 7, "product_code": "0104", "amount": 50}
    answer = mmp("predict", "-c", CONFIG, "--run-id", trained.run_id, "-i", json.dumps(row), "--json").json
    assert answer["prediction"].keys() >= {"customer_id", "product_code", "probability"}


def test_answers_keys_alone_through_mlflow(shop, bundle, trained, monkeypatch):
    import pandas as pd

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's own, on being imported
        import mlflow.pyfunc

    (folder,) = shop.glob(f"mlruns/**/{trained.run_id}/artifacts/model")
    model = mlflow.pyfunc.load_model(str(folder))
    required = {each.name for each in model.metadata.signature.inputs if each.required}
    assert required == {"customer_id", "product_code", "amount"}
    rows = pd.DataFrame(
        {"customer_id": [7, 8, 7], "product_code": ["0104", "nobody's", "0104"], "amount": [5, 6, 5]},
        index=[3, 1, 2],
    )
    with pytest.raises(Exception, match="MMP_CONFIG names no config"):
        model.predict(rows)
    monkeypatch.setenv("MMP_CONFIG", CONFIG)
    answers = model.predict(rows)
    assert list(answers.index) == [3, 1, 2]
    assert list(answers["customer_id"]) == [7, 8, 7]
    assert answers["probability"].iloc[0] == answers["probability"].iloc[2]
    # rows that were joined already need no store
    monkeypatch.delenv("MMP_CONFIG")
    with now(bundle.features, load_config(CONFIG).value) as lookup:
        whole = complete(bundle, pa.Table.from_pandas(rows, preserve_index=False), lookup).to_pandas()
    assert list(model.predict(whole)["probability"]) == list(answers["probability"])


@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Seoul"])
def test_times_of_any_zone_train(shop, zone, tmp_path, trained):
    """Trap 2: UTC compared with a time without a zone failed every run."""
    table = small_shop.orders()
    place = table.column_names.index("ordered_at")
    times = (
        table["ordered_at"].cast(pa.timestamp("ms", zone))
        if zone
        else table["ordered_at"].cast(pa.timestamp("us"))
    )
    pq.write_table(table.set_column(place, "ordered_at", times), tmp_path / "orders.parquet")
    again = train(load_recipe(RECIPE), load_config(CONFIG), data=str(tmp_path / "orders.parquet"))
    assert [each.check for each in again.warnings] == [each.check for each in trained.warnings]
    assert zone or again.metrics == trained.metrics


@pytest.mark.parametrize("offline", ["{type: file, path: somewhere}", "{type: duckdb}", "{type: dask}"])
def test_stores_as_the_old_wizard_wrote_them(own, mmp, offline):
    """Trap 3: what the wizard wrote was refused by Feast."""
    text = (own / CONFIG).read_text().replace("offline_store: {type: duckdb}", f"offline_store: {offline}")
    (own / CONFIG).write_text(text)
    assert mmp("validate", "-c", CONFIG, "-r", RECIPE).code == 0


def test_rows_keep_their_order_and_their_number(bundle, shop):
    """Traps 4 and 5: rows came back in another order, and equal keys multiplied."""
    config = load_config(CONFIG).value
    table = small_shop.orders(200)
    order = np.random.default_rng(0).integers(0, 200, 500)
    shuffled = table.take(pa.array(order))
    lookup = historical(bundle.features, config)
    straight = bundle.predict(complete(bundle, table, lookup))
    mixed = bundle.predict(complete(bundle, shuffled, lookup))
    assert mixed.keys["order_id"].to_pylist() == shuffled["order_id"].to_pylist()
    assert mixed.values["probability"].tolist() == straight.values["probability"][order].tolist()
    with now(bundle.features, config) as lookup:
        records = shuffled.select(["order_id", "customer_id", "product_code", "amount"]).to_pylist()
        answers = bundle.predict(complete(bundle, records, lookup))
        one_by_one = [bundle.predict(complete(bundle, [row], lookup)).records()[0] for row in records[:20]]
    assert answers.records()[:20] == one_by_one
    assert [row["order_id"] for row in answers.records()] == shuffled["order_id"].to_pylist()


def requests():
    """Rows of every customer and product, and of nobody."""
    n_rows = 400
    codes = pq.read_table(f"{DATA}/products.parquet")["product_code"].unique().to_pylist()
    return pa.table(
        {
            "customer_id": pa.array([None, *range(-1, n_rows - 2)], pa.int64()),
            "product_code": ["", "nobody's", *(codes[n % len(codes)] for n in range(n_rows - 2))],
            "amount": np.linspace(1, 300, n_rows),
        }
    )


def test_both_stores_give_the_same_bits(bundle, shop):
    """Numbers of 32 bits, whole seconds, nulls, late rows, stale values and entities that nobody knows."""
    config = load_config(CONFIG).value
    rows = requests()
    offline = complete(bundle, rows, historical(bundle.features, config))
    with now(bundle.features, config) as lookup:
        live = complete(bundle, rows, lookup)
        records = complete(bundle, rows.to_pylist(), lookup)
    for name in FEATURES:
        then, today = (
            coerce([s for s in bundle.inputs if s.name == name], each)[name] for each in (offline, live)
        )
        assert then.to_list() == today.to_list(), name
        assert None in then.to_list(), name
        assert any(value is not None for value in then.to_list()), name
    expected = bundle.output(offline)
    assert bundle.output(live).tobytes() == expected.tobytes()
    assert bundle.output(records).tobytes() == expected.tobytes()


def test_many_rows_are_as_many_few(bundle, shop):
    """The time budget is that of a request: more rows are read in several, as of one moment."""
    rows = requests()
    many = pa.concat_tables([rows] * 4)
    with now(bundle.features, load_config(CONFIG).value) as lookup:
        once = bundle.output(complete(bundle, rows, lookup))
        assert bundle.output(complete(bundle, many, lookup)).tolist() == np.tile(once, (4, 1)).tolist()
        assert complete(bundle, rows.slice(0, 0), lookup).num_rows == 0


def test_cells_are_completed_as_tables_are(bundle, shop):
    config = load_config(CONFIG).value
    rows = requests()
    columns = coerce(bundle.request, rows)
    cells = [
        dict(zip(columns, row, strict=True))
        for row in zip(*(column.to_list() for column in columns.values()), strict=True)
    ]
    with OnlineReader.open(bundle.features, config.feature_store.feast_config.online, timeout_s=5) as reader:
        table = complete(bundle, rows, online(reader))
        whole = complete_cells(reader, cells)
    typed = {name: column.to_list() for name, column in coerce(bundle.inputs, table).items()}
    assert [{name: row[name] for name in typed} for row in whole] == [
        dict(zip(typed, row, strict=True)) for row in zip(*typed.values(), strict=True)
    ]


def test_a_planted_future_changes_nothing(own, trained):
    """What will be known tells the target; a training must not see a bit of it."""
    orders = pq.read_table(ORDERS)
    path = own / DATA / "customers.parquet"
    history = pq.read_table(path)
    end = orders["ordered_at"].to_pylist()[-1]
    customers = sorted(set(orders["customer_id"].to_pylist()))
    target = dict(zip(orders["customer_id"].to_pylist(), orders["is_returned"].to_pylist(), strict=True))
    # happened long ago and known tomorrow; and happening a moment after an order
    planted = {
        "customer_id": customers * 2,
        "orders_90d": [10**6 * target[each] for each in customers] * 2,
        "event_timestamp": [end - timedelta(days=2)] * len(customers)
        + [end + timedelta(microseconds=1)] * len(customers),
        "created_timestamp": [end + timedelta(seconds=1)] * len(customers) * 2,
    }
    future = pa.table(
        {
            field.name: pa.array(planted.get(field.name, [None] * 2 * len(customers)), field.type)
            for field in history.schema
        }
    )
    pq.write_table(pa.concat_tables([history, future]), path)
    again = train(load_recipe(RECIPE), load_config(CONFIG))
    assert again.metrics == trained.metrics
    assert [(each.check, each.message) for each in again.warnings] == [
        (each.check, each.message) for each in trained.warnings
    ]


def test_an_unknown_entity_as_the_recipe_says(shop, mmp):
    refused = mmp("train", "-c", CONFIG, "-r", RECIPE, "--set", "data.fetcher.on_missing=error", "--json")
    assert (refused.code, refused.error["code"]) == (3, "unknown_entity")
    assert "The feature view 'customers' has nothing for" in refused.error["message"]
    assert "such as customer_id=" in refused.error["message"]


def test_defaults_are_of_training_rows_and_for_unknown_entities_alone(shop, mmp):
    trained = mmp(
        "train", "-c", CONFIG, "-r", RECIPE, "--set", "data.fetcher.on_missing=default", "--json"
    ).json
    config = load_config(CONFIG).value
    bundle = load_model(trained["run_id"], config).bundle
    assert bundle.features.defaults.keys() == set(FEATURES)
    rows = requests()
    offline = complete(bundle, rows, historical(bundle.features, config))
    with now(bundle.features, config) as lookup:
        live = complete(bundle, rows, lookup)
    assert bundle.output(live).tobytes() == bundle.output(offline).tobytes()
    nobody = live.slice(1, 1).to_pylist()[0]
    assert nobody["orders_90d"] == bundle.features.defaults["orders_90d"]
    assert nobody["kind"] == bundle.features.defaults["kind"]
    # a value that is missing in the store stays missing
    known = {row["customer_id"]: row for row in live.to_pylist()}
    assert known[18]["return_rate_90d"] is None
    assert known[18]["orders_90d"] is not None


def test_defaults_of_rows_with_a_target(shop, mmp, tmp_path):
    """Rows without a target are left out after the join; what was found stays beside its row."""
    orders = small_shop.orders()
    place = orders.column_names.index("is_returned")
    is_left = np.arange(len(orders)) % 3 != 0
    gone = pa.array(np.asarray(orders["is_returned"]), mask=~is_left)
    pq.write_table(orders.set_column(place, "is_returned", gone), tmp_path / "some.parquet")
    pq.write_table(orders.filter(pa.array(is_left)), tmp_path / "left.parquet")
    said = [
        mmp(
            "train", "-c", CONFIG, "-r", RECIPE, "--json", "-d", tmp_path / f"{name}.parquet",
            "--set", "data.fetcher.on_missing=default",
        ).json
        for name in ("some", "left")
    ]  # fmt: skip
    config = load_config(CONFIG).value
    defaults = [load_model(each["run_id"], config).bundle.features.defaults for each in said]
    assert defaults[0] == defaults[1]
    assert said[0]["metrics"] == said[1]["metrics"]


def test_an_unknown_entity_is_an_error_of_its_row(bundle, shop):
    from dataclasses import replace

    strict = replace(bundle, features=replace(bundle.features, on_missing="error"))
    config = load_config(CONFIG).value
    with OnlineReader.open(strict.features, config.feature_store.feast_config.online, timeout_s=5) as reader:
        known, nobody = complete_cells(
            reader,
            [
                {"customer_id": 7, "product_code": bundle_code(), "amount": 1.0},
                {"customer_id": 10**6, "product_code": bundle_code(), "amount": 1.0},
            ],
        )
        assert known["orders_90d"] is not None
        assert isinstance(nobody, UnknownEntityError)
        assert nobody.message == "The feature view 'customers' has nothing for customer_id=1000000."
        with pytest.raises(UnknownEntityError, match="1 of 2 rows, such as customer_id=1000000"):
            complete(
                strict,
                [{"customer_id": each, "product_code": bundle_code(), "amount": 1} for each in (7, 10**6)],
                online(reader),
            )


def bundle_code():
    return pq.read_table(f"{DATA}/products.parquet")["product_code"][0].as_py()


def test_a_key_that_is_listed_is_a_feature_too(shop, mmp):
    listed = mmp(
        "train", "-c", CONFIG, "-r", RECIPE, "--json",
        "--set", "data.data_interface.feature_columns=[customer_id, amount, orders_90d]",
    )  # fmt: skip
    assert listed.code == 0, listed.out
    assert any("does not list 7 of the 8 features" in each["message"] for each in listed.json["warnings"])
    bundle = load_model(listed.json["run_id"], load_config(CONFIG).value).bundle
    assert {spec.name for spec in bundle.inputs} == {"customer_id", "amount", "orders_90d"}
    assert [spec.name for spec in bundle.request] == ["customer_id", "product_code", "amount"]
    row = {"customer_id": 7, "product_code": "0104", "amount": 50}
    answer = mmp("predict", "-c", CONFIG, "--run-id", listed.json["run_id"], "-i", json.dumps(row), "--json")
    assert answer.code == 0, answer.out


def test_a_key_that_is_listed_and_tells_nothing_is_a_key_still(own, mmp):
    orders = small_shop.orders()
    place = orders.column_names.index("customer_id")
    pq.write_table(
        orders.set_column(place, "customer_id", pa.array([7] * len(orders))), own / "one_customer.parquet"
    )
    listed = mmp(
        "train", "-c", CONFIG, "-r", RECIPE, "--json", "-d", "one_customer.parquet",
        "--set", "data.data_interface.feature_columns=[customer_id, amount, orders_90d]",
    )  # fmt: skip
    run = listed.json["run_id"]
    bundle = load_model(run, load_config(CONFIG).value).bundle
    assert {spec.name for spec in bundle.inputs} == {"amount", "orders_90d"}
    assert {"customer_id", "product_code", "amount"} <= listed.json["example"].keys()
    required = {each["name"] for each in json.loads(signature(bundle)["inputs"]) if each["required"]}
    assert required == {"customer_id", "product_code", "amount"}
    row = json.dumps({"customer_id": 7, "product_code": "0104", "amount": 50})
    assert mmp("predict", "-c", CONFIG, "--run-id", run, "-i", row).code == 0


def test_requests_do_not_bring_features(shop, mmp, trained, tmp_path, bundle):
    row = {"customer_id": 7, "product_code": "0104", "amount": 50, "rating": 3.0}
    refused = mmp("predict", "-c", CONFIG, "--run-id", trained.run_id, "-i", json.dumps(row), "--json")
    assert (refused.code, refused.error["message"]) == (
        3, "A request does not send 'rating', which comes from the feature store.",
    )  # fmt: skip
    # a table brings all or none
    table = complete(bundle, small_shop.orders(20), historical(bundle.features, load_config(CONFIG).value))
    pq.write_table(table, tmp_path / "all.parquet")
    pq.write_table(table.drop_columns(["kind"]), tmp_path / "some.parquet")
    pq.write_table(table.drop_columns(FEATURES), tmp_path / "none.parquet")
    said = {
        name: mmp(
            "predict", "-c", CONFIG, "--run-id", trained.run_id, "-i", tmp_path / f"{name}.parquet", "--json"
        )
        for name in ("all", "some", "none")
    }
    assert said["all"].json["predictions"] == said["none"].json["predictions"]
    assert said["some"].code == 3
    assert "but not 'kind'" in said["some"].error["message"]


def test_keys_of_a_csv_keep_their_zeros(shop, trained, mmp, tmp_path):
    orders = small_shop.orders()
    pyarrow.csv.write_csv(orders, tmp_path / "orders.csv")
    again = mmp("train", "-c", CONFIG, "-r", RECIPE, "-d", tmp_path / "orders.csv", "--json").json
    assert again["metrics"] == json.loads(json.dumps(trained.metrics))
    evaluated = [
        mmp("evaluate", "-c", CONFIG, "--run-id", run, "-d", data, "--json").json["metrics"]
        for run, data in ((trained.run_id, ORDERS), (again["run_id"], tmp_path / "orders.csv"))
    ]
    assert evaluated[0] == evaluated[1]


def test_a_view_that_lost_a_feature_is_refused(own, mmp, trained):
    file = own / "recipes/features/store/definitions.py"
    text = file.read_text()
    file.write_text(text.replace('        Field(name="rating", dtype=Float32),\n', ""))
    assert mmp("features", "apply", "-c", CONFIG).code == 0
    for verb in ("evaluate", "explain"):
        refused = mmp(verb, "-c", CONFIG, "--run-id", trained.run_id, "-d", ORDERS, "--json")
        assert (refused.code, refused.error["message"]) == (
            5, "The feature view 'products' has no feature 'rating' any more.",
        )  # fmt: skip
    # what was renamed or aged is worth a word, and no more
    file.write_text(text.replace("ttl=timedelta(days=30)", "ttl=timedelta(days=60)"))
    assert mmp("features", "apply", "-c", CONFIG).code == 0
    told = mmp("evaluate", "-c", CONFIG, "--run-id", trained.run_id, "-d", ORDERS)
    assert told.code == 0
    assert "has another TTL" in told.err


def test_a_source_that_lost_a_column_is_an_error(own, mmp, trained):
    path = own / DATA / "products.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["rating"]), path)
    refused = mmp("predict", "-c", CONFIG, "--run-id", trained.run_id, "-i", ORDERS, "--json")
    assert refused.code == 5
    assert "rating" in refused.error["message"]


def test_an_online_store_that_is_not_there_is_an_error(own, mmp, trained):
    (own / ONLINE).unlink()
    row = json.dumps({"customer_id": 7, "product_code": "0104", "amount": 50})
    refused = mmp("predict", "-c", CONFIG, "--run-id", trained.run_id, "-i", row, "--json")
    assert (refused.code, refused.error["code"]) == (5, "feature_store")


def test_the_verbs(own, mmp):
    listed = mmp("features", "list", "-c", CONFIG, "--json").json["views"]
    assert [each["view"]["name"] for each in listed] == ["customers", "products"]
    assert all(each["materialized_until"] for each in listed)
    again = mmp("features", "materialize", "-c", CONFIG, "--json").json["views"]
    assert [(each["view"], each["n_rows"]) for each in again] == [("customers", 0), ("products", 0)]
    whole = mmp("features", "materialize", "-c", CONFIG, "--view", "products", "--full", "--json").json[
        "views"
    ]
    assert [(each["view"], each["n_rows"]) for each in whole] == [("products", 60)]
    assert mmp("features", "materialize", "-c", CONFIG, "--view", "prodcts", "--json").code == 2
    assert mmp("features", "materialize", "-c", CONFIG, "--until", "tomorrow", "--json").code == 2


def test_parity_holds_and_finds_what_differs(own, mmp, trained):
    equal = mmp("features", "parity", "-c", CONFIG, "--run-id", trained.run_id, "--rows", 300, "--json")
    assert equal.code == 0, equal.out
    assert equal.json["ok"]
    assert equal.json["predictions"]["n_different"] == 0
    with sqlite3.connect(own / ONLINE) as online_store:
        online_store.execute(
            "UPDATE small_shop_products SET value = x'350000803f' WHERE feature_name = 'rating'"
        )
        online_store.execute("UPDATE small_shop_customers SET event_ts = event_ts - 40 * 86400")
        online_store.execute("DELETE FROM small_shop_customers WHERE rowid % 2 = 0")
    differs = mmp("features", "parity", "-c", CONFIG, "--run-id", trained.run_id, "--rows", 300, "--json")
    assert differs.code == 7
    found = {each["feature"]: each for each in differs.json["features"]}
    assert found["rating"]["n_different"] == 300
    assert found["rating"]["worst"][0]["reason"] == "value"
    assert found["kind"]["n_different"] == 0
    assert {each["reason"] for each in found["city"]["worst"]} <= {"stale", "absent"}
    assert differs.json["predictions"]["n_different"] > 0
    text = mmp("features", "parity", "-c", CONFIG, "--view", "products", "--rows", 300, "--tolerance", 10)
    assert text.code == 0
    assert "rating" in text.out


def test_parity_of_views_without_rows(own, mmp):
    path = own / DATA / "products.parquet"
    pq.write_table(pq.read_table(path).slice(0, 0), path)
    refused = mmp("features", "parity", "-c", CONFIG, "--json")
    assert (refused.code, refused.error["message"]) == (
        5, "The feature view 'products' has no row in its source.",
    )  # fmt: skip
    refused = mmp("features", "parity", "-c", CONFIG, "--view", "product", "--json")
    assert (refused.code, refused.error["hint"]) == (2, "did you mean 'products'?")


def test_a_command_ends_without_a_word_of_duckdb(shop, trained):
    outcome = call("features", "parity", "-c", CONFIG, "--rows", 5, "-q", cwd=shop)
    assert (outcome.code, outcome.err) == (0, "")
