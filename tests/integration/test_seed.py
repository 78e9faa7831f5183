"""The world of cards: the same everywhere, and worth joining at the right moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

LOCAL_DEV = Path(__file__).parents[2] / "mmp-local-dev"


@pytest.fixture(scope="module")
def package():
    sys.path.insert(0, str(LOCAL_DEV))
    from localdev import seed, world

    yield seed, world
    sys.path.remove(str(LOCAL_DEV))


@pytest.fixture(scope="module")
def tables(package):
    return {table.name.partition(".")[2]: table for table in package[1].generate()}


def _rows(table, keys, moments, *, only_known):
    """Return the row of each key as of a moment, found one by one; -1 where there is none."""
    own, event, created = table.columns[0].values, table["event_timestamp"], table["created_timestamp"]
    found = []
    order = np.lexsort((created, event, own))
    own, event, created = own[order], event[order], created[order]
    for key, moment in zip(keys.tolist(), moments.tolist(), strict=True):
        place = np.searchsorted(own, key, "left")
        place += np.searchsorted(event[place : np.searchsorted(own, key, "right")], moment, "right") - 1
        while only_known and own[place] == key and created[place] > moment and place >= 0:
            place -= 1
        found.append(order[place] if place >= 0 and own[place] == key else -1)
    return np.array(found)


def test_every_machine_makes_the_same_world(package, tables):
    seed, world = package
    assert world.digest(tuple(tables.values())) == seed.DIGEST


def test_the_world_is_as_large_as_it_is_said_to_be(tables):
    spending = tables["transactions"]
    assert len(spending) == 50_000
    assert spending["is_fraud"].sum() == 600
    assert [len(np.unique(spending[name])) for name in ("user_id", "merchant_id", "category_id")] == [
        1000,
        500,
        14,
    ]
    days = np.ptp(spending["event_timestamp"]) / 86_400
    assert 547 < days < 548
    assert [len(table.columns) - 3 for table in list(tables.values())[1:]] == [15, 9, 10, 7]


@pytest.mark.parametrize(
    "name", ["user_transaction_features", "user_demographics", "merchant_features", "category_features"]
)
def test_histories_have_late_rows_and_one_last_word_per_moment(tables, name):
    table = tables[name]
    keys = np.stack([table.columns[0].values, table["event_timestamp"], table["created_timestamp"]])
    assert np.unique(keys, axis=1).shape[1] == len(table)
    late = table["created_timestamp"] - table["event_timestamp"] > 86_400
    assert 0.03 < late.mean() < 0.15
    assert table["created_timestamp"].max() < tables["transactions"]["event_timestamp"].max() + 86_400


def test_users_have_corrections_gaps_and_nulls(tables):
    users = tables["user_transaction_features"]
    moments = np.stack([users["user_id"], users["event_timestamp"]])
    assert len(users) - np.unique(moments, axis=1).shape[1] > 500
    order = np.lexsort((users["event_timestamp"], users["user_id"]))
    gaps = np.diff(users["event_timestamp"][order])[np.diff(users["user_id"][order]) == 0]
    assert (gaps > 90 * 86_400).sum() > 20  # longer than the view's time to live
    assert {c.name for c in users.columns if c.valid is not None and not c.valid.all()} >= {
        "amount_mean_30d",
        "last_channel",
    }


def test_features_known_at_the_moment_tell_fraud_and_later_knowledge_leaks(tables):
    spending, users = tables["transactions"], tables["user_transaction_features"]
    which = np.flatnonzero(spending["is_fraud"] + (spending["transaction_id"] % 7 == 0))
    fraud, moment = spending["is_fraud"][which], spending["event_timestamp"][which]
    auc = {}
    for only_known in (True, False):
        rows = _rows(users, spending["user_id"][which], moment, only_known=only_known)
        at = {
            name: np.where(rows < 0, 0, users[name][rows]) for name in ("failed_logins_7d", "chargebacks_90d")
        }
        auc[only_known] = [roc_auc_score(fraud, values) for values in at.values()]
    assert auc[True][0] > 0.75  # failed logins as of the moment
    assert auc[True][1] < 0.6  # no chargeback is known yet
    assert auc[False][1] > 0.75  # entered under the old time, but days later


def _counted(infra, query, *, reader=False):
    import psycopg

    with psycopg.connect(infra.postgres.reader_uri if reader else infra.postgres.uri) as connection:
        return connection.execute(query).fetchall()


@pytest.mark.infra
def test_the_database_holds_the_world_and_a_second_run_leaves_it_alone(world, tables):
    before = _counted(world, "SELECT until, loaded_at FROM public.seed")
    assert "the rows are there" in world.run("-m", "localdev.seed")
    assert _counted(world, "SELECT until, loaded_at FROM public.seed") == before
    for name, table in tables.items():
        place = "public" if name == "transactions" else "features"
        assert _counted(world, f"SELECT count(*) FROM {place}.{name}", reader=True) == [(len(table),)]
    spending = tables["transactions"]
    assert _counted(
        world, "SELECT (sum(amount) * 100)::bigint, sum(device_age_days) FROM transactions", reader=True
    )[0] == (
        spending["amount"].sum(),
        spending["device_age_days"][spending.columns[7].valid].sum(),
    )
    assert _counted(world, "SELECT min(category_id) FROM transactions", reader=True) == [("0742",)]


@pytest.mark.infra
def test_emptied_redis_is_filled_again_and_a_filled_one_left_alone(world):
    from redis import Redis

    assert "nothing to do" in world.run("-m", "localdev.features")
    with Redis.from_url(world.redis.uri) as client:
        # other tests have other projects in this Redis
        ours = {key for key in client.scan_iter() if key.endswith(b"mmp_local_dev")}
        client.flushall()
        assert "features: materialized" in world.run("-m", "localdev.features")
        assert ours
        assert ours <= set(client.scan_iter())


def test_a_wrong_date_is_a_usage_error():
    command = [sys.executable, "-m", "localdev.seed", "--until", "soon"]
    done = subprocess.run(command, cwd=LOCAL_DEV, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--until" in done.stderr


def test_the_world_ends_where_it_is_told_to(package, tables):
    seed, _ = package
    spending = tables["transactions"]
    first = next(seed._lines(spending, date(2026, 1, 1))).decode().splitlines()[0].split("\t")
    assert first[0] == "1"
    assert first[9].startswith("2024-07-02T")
    assert first[9].endswith("Z")


@pytest.mark.infra
def test_a_run_that_was_killed_half_way_is_made_good_by_the_next(world):
    from redis import Redis

    world.run("-m", "localdev.features")
    command = [sys.executable, "-m", "localdev.features", "--home", str(world.folder)]
    clean = {name: value for name, value in os.environ.items() if name not in world.values}
    with Redis.from_url(world.redis.uri) as client:
        filled = client.dbsize()
        client.flushall()
        with subprocess.Popen(command, cwd=LOCAL_DEV, env=clean, stdout=subprocess.DEVNULL) as running:
            while not client.dbsize() and running.poll() is None:
                pass
            running.send_signal(signal.SIGKILL)
        assert "features: materialized" in world.run("-m", "localdev.features")
        assert client.dbsize() == filled
