"""What a join says when PostgreSQL is away, refuses, is slow, freezes or dies in the middle."""

from __future__ import annotations

import datetime as dt
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import psycopg
import pyarrow as pa
import pytest
from tests.features.histories import PEOPLE, World, postgres_store, to_postgres
from tests.servers import free_ports, new_home

from mmp.errors import FeatureStoreError
from mmp.features import sources
from mmp.features.offline import join

pytestmark = pytest.mark.infra

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
HISTORY = [{"person": "ann", "score": 3, "word": "a", "ts": START}]
ROWS = World([{"who": "ann", "when": START}], {"people": HISTORY}, (PEOPLE,))
SLOW = "SELECT 'ann' AS person, 1 AS score, pg_sleep(60)::text AS word, timestamptz '2026-01-01' AS ts"
# a role sees what its own connections wait for, so these tests connect as the owner
SLEEPING = "FROM pg_stat_activity WHERE application_name = 'mmp' AND wait_event = 'PgSleep'"


@pytest.fixture
def people(postgres):
    """A view of one person, and the store that it is in."""
    return to_postgres(ROWS, postgres, "failing"), postgres_store(postgres)


def slow(world, query=SLOW):
    view = world.views[0]
    return replace(world, views=(replace(view, source=replace(view.source, location=query, is_query=True)),))


def failure(world, store, **more):
    with pytest.raises(FeatureStoreError) as raised:
        join(world.rows(), world.features, store, **more)
    assert raised.value.exit_code == 5
    return f"{raised.value.message} {raised.value.hint}"


def changed(store, **values):
    offline = store.feast_config.offline_store.model_copy(update=values)
    feast = store.feast_config.model_copy(update={"offline_store": offline})
    return store.model_copy(update={"feast_config": feast})


def test_says_that_a_column_is_gone(people, postgres):
    world, store = people
    with closing(psycopg.connect(postgres.uri, autocommit=True)) as connection:
        connection.execute("ALTER TABLE features.failing_people RENAME score TO scores")
    said = failure(world, store)
    assert "'people' has no column 'score' (did you mean 'scores'?)" in said


def test_says_that_a_table_is_gone(people, postgres):
    world, store = people
    with closing(psycopg.connect(postgres.uri, autocommit=True)) as connection:
        connection.execute("DROP TABLE features.failing_people")
    assert 'relation "features.failing_people" does not exist' in failure(world, store)


def test_never_says_the_password(people, monkeypatch):
    monkeypatch.setattr(sources, "RETRY_S", 0.5)
    world, store = people
    (port,) = free_ports(1)
    secret = store.feast_config.offline_store.password.get_secret_value()
    for other in (changed(store, user="nobody"), changed(store, port=port)):
        assert secret not in failure(world, other)


def test_tries_for_a_while_where_nothing_answers(people, monkeypatch):
    monkeypatch.setattr(sources, "RETRY_S", 0.5)
    world, store = people
    (port,) = free_ports(1)
    began = time.monotonic()
    said = failure(world, changed(store, port=port))
    assert "Connection refused" in said
    assert time.monotonic() - began < 3


def test_cannot_write_whatever_a_query_says(people, postgres):
    world, _ = people
    with closing(psycopg.connect(postgres.uri, autocommit=True)) as connection:
        connection.execute(
            "CREATE OR REPLACE FUNCTION features.sneak() RETURNS text LANGUAGE sql AS "
            "$$ INSERT INTO features.failing_people (person) VALUES ('eve') RETURNING person $$"
        )
    query = "SELECT person, score, features.sneak() AS word, ts FROM features.failing_people"
    owner = postgres_store(postgres, reader=False)
    assert "read-only transaction" in failure(slow(world, query), owner)


def test_ends_a_slow_query_in_time(people):
    world, store = people
    began = time.monotonic()
    assert "longer than it may" in failure(slow(world), store, query_timeout=0.5)
    assert time.monotonic() - began < 5


def test_says_that_the_server_died(people, postgres):
    world, store = people[0], postgres_store(postgres, reader=False)
    kill = threading.Thread(target=_terminate, args=(postgres.uri,))
    kill.start()
    said = failure(slow(world), store)
    kill.join()
    assert "terminating connection" in said
    assert "run the command again" in said


def _terminate(uri):
    until(uri, f"SELECT pg_terminate_backend(pid) {SLEEPING}")


def until(uri, query, *, is_there=True):
    """Return the rows of a query as soon as it has some, or none; after 20 seconds it is not to be."""
    deadline = time.monotonic() + 20
    with closing(psycopg.connect(uri, autocommit=True)) as connection:
        while time.monotonic() < deadline:
            rows = connection.execute(query).fetchall()
            if bool(rows) == is_there:
                return rows
    pytest.fail(f"waited in vain: {query}")
    return None


CTRL_C = """
import sys
sys.path[:0] = {path!r}
from dataclasses import replace
from mmp.features.offline import join
from tests.features.histories import postgres_store
from tests.features.test_offline_failures import ROWS, slow
from tests.servers import Postgres

view = ROWS.views[0]
world = slow(replace(ROWS, views=(replace(view, source=replace(view.source, kind="postgres")),)))
try:
    join(world.rows(), world.features, postgres_store(Postgres(**{server!r}), reader=False))
except KeyboardInterrupt:
    sys.exit(130)
"""


def test_cancels_the_query_on_ctrl_c(postgres):
    code = CTRL_C.format(path=[path for path in sys.path if path], server=vars(postgres))
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        try:
            until(postgres.uri, f"SELECT pid {SLEEPING}")
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    until(postgres.uri, f"SELECT pid {SLEEPING}", is_there=False)


def test_gives_up_a_server_that_froze():
    home = new_home()
    frozen = []
    try:
        home.up("postgres")
        world = slow(to_postgres(ROWS, home.postgres, "frozen"))
        store = postgres_store(home.postgres, reader=False)
        freeze = threading.Thread(target=_freeze, args=(home.postgres.uri, frozen))
        freeze.start()
        began = time.monotonic()
        assert "no answer within 2 s" in failure(world, store, query_timeout=2)
        assert time.monotonic() - began < 15
        freeze.join()
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
        home.close()


def _freeze(uri, frozen):
    """Stop the process of the query, and the one that would take a request to cancel it."""
    (query,) = until(uri, f"SELECT pid {SLEEPING}")
    frozen += [query[0], _parent(query[0])]
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)


def _parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_joins_many_rows_in_batches(postgres):
    n_rows = 200_000
    random = np.random.default_rng(5)
    world = replace(
        ROWS,
        histories={
            "people": [{"person": f"p{n}", "score": n % 7, "word": "w", "ts": START} for n in range(50)]
        },
    )
    world = to_postgres(world, postgres, "many")
    people = random.integers(0, 60, n_rows)
    rows = pa.table(
        {"who": [f"p{n}" for n in people], "when": pa.array([START] * n_rows, pa.timestamp("us", "UTC"))}
    )
    joined = join(rows, world.features, postgres_store(postgres))
    expected = np.where(people < 50, people % 7, -1)
    assert np.array_equal(joined.table["score"].fill_null(-1).to_numpy(), expected)
    assert np.array_equal(joined.found["people"], people < 50)
