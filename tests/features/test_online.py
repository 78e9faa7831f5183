"""The online read against Feast's own: the same values from what Feast wrote, in Redis and in SQLite."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import warnings
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.servers import free_ports

from mmp.errors import FeatureStoreError, SettingsError
from mmp.features.online import OnlineReader
from mmp.features.online.wire import EntityKeys, field_name, read_timestamp, read_value
from mmp.features.references import Feature, FeatureSet, JoinKey, Source, View
from mmp.settings.stores import RedisStore, SqliteStore

NOW = datetime.now(UTC).replace(microsecond=0)
SOURCE = Source("file", "history.parquet", "event_timestamp")
TYPES = {
    "whole": "INT64", "small": "INT32", "real": "DOUBLE", "narrow": "FLOAT",
    "text": "STRING", "flag": "BOOL", "moment": "UNIX_TIMESTAMP",
}  # fmt: skip
VALUES = {
    "whole": [2**53 + 1, -5, 7, 0],  # no null: Feast takes such a column through floats
    "small": [7, None, 2**31 - 1, 0],
    "real": [0.1, None, -0.0, 1e-300],
    "narrow": [0.1, 1.5, None, 3e38],
    "text": ["", "Ärger 🙂", None, "x" * 300],
    "flag": [True, False, None, True],
    "moment": [NOW, None, datetime(1969, 1, 1, tzinfo=UTC), NOW],
}
AGES = [timedelta(0), timedelta(hours=1), timedelta(hours=1), timedelta(days=40)]


def _view(name, keys, ttl):
    features = tuple(Feature(column, column, column, kind) for column, kind in TYPES.items())
    return View(name, keys, features, ttl.total_seconds() if ttl else None, SOURCE)


def _renamed(view, prefix):
    features = tuple(
        Feature(f"{prefix}_{one.name}", one.source_name, one.source_column, one.value_type)
        for one in view.features
    )
    return View(view.name, view.keys, features, view.ttl_s, view.source)


BY_USER = _view("by_user", (JoinKey("user_id", "user_id", "INT64"),), timedelta(days=30))
BY_PAIR = _renamed(
    _view("by_pair", (JoinKey("shop", "store", "STRING"), JoinKey("area", "area", "INT32")), None), "pair"
)
FEATURES = FeatureSet("world", 3, (BY_USER, BY_PAIR))
KEYS = {
    "user_id": [12, 1, 999, None, 12, 3, 5],
    "store": ["a", "aa", "a", "a", "a", "nobody", None],
    "area": [1, 1, 11, 1, 1, 1, 2],
}


@pytest.fixture(scope="module")
def feast():
    """Feast, without its warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import feast

        yield feast


@pytest.fixture(scope="module", params=["sqlite", pytest.param("redis", marks=pytest.mark.infra)])
def world(request, feast, tmp_path_factory):
    """Feast's store with two views in it, and the same store as a config says it."""
    import pandas as pd
    from feast.repo_config import RegistryConfig
    from feast.types import from_value_type
    from feast.value_type import ValueType

    folder = tmp_path_factory.mktemp("feast")
    if request.param == "redis":
        server = request.getfixturevalue("redis")
        online = {
            "type": "redis",
            "connection_string": f"{server.host}:{server.port},password={server.password}",
        }
        ours = RedisStore(
            type="redis", connection_string=f"{server.host}:{server.port}", password=server.password
        )
    else:
        online = {"type": "sqlite", "path": str(folder / "online.db")}
        ours = SqliteStore(type="sqlite", path=str(folder / "online.db"))
    store = feast.FeatureStore(
        config=feast.RepoConfig(
            project="world", provider="local", registry=RegistryConfig(path=str(folder / "registry.db")),
            online_store=online, offline_store={"type": "file"}, entity_key_serialization_version=3,
        )
    )  # fmt: skip
    source = feast.FileSource(path=str(folder / "none.parquet"), timestamp_field="event_timestamp")
    schema = [feast.Field(name=name, dtype=from_value_type(ValueType[kind])) for name, kind in TYPES.items()]
    user = feast.Entity(name="user", join_keys=["user_id"], value_type=ValueType.INT64)
    shop = feast.Entity(name="shop", join_keys=["shop"], value_type=ValueType.STRING)
    area = feast.Entity(name="area", join_keys=["area"], value_type=ValueType.INT32)
    frame = pd.DataFrame({name: pd.Series(values, dtype="object") for name, values in VALUES.items()})
    frame["moment"] = pd.to_datetime(frame["moment"], utc=True)
    frame["event_timestamp"] = [NOW - age for age in AGES]
    pd.DataFrame({"event_timestamp": []}).to_parquet(folder / "none.parquet")
    by_user = feast.FeatureView(
        name="by_user", entities=[user], ttl=timedelta(days=30), schema=schema, source=source
    )
    by_pair = feast.FeatureView(name="by_pair", entities=[shop, area], ttl=None, schema=schema, source=source)
    store.apply([user, shop, area, by_user, by_pair])
    store.write_to_online_store("by_user", frame.assign(user_id=[12, 1, 2, 3]))
    store.write_to_online_store(
        "by_pair", frame.assign(shop=["a", "aa", "b", "c"], area=pd.Series([1, 1, 2, 3], dtype="int32"))
    )
    return store, ours


@pytest.fixture
def reader(world):
    with OnlineReader.open(FEATURES, world[1], timeout_s=5) as reader:
        yield reader


def _plain(value, name):
    """Return Feast's answer as ours says it."""
    if value in (None, "") or (isinstance(value, float) and math.isnan(value)):
        return None
    if name.endswith("moment"):
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    return value


def test_every_value_is_feasts(world, reader):
    rows = [row for row in zip(*KEYS.values(), strict=True) if None not in row]
    entities = [{"user_id": user, "shop": store, "area": area} for user, store, area in rows]
    references = [f"by_user:{name}" for name in TYPES] + [f"by_pair:{name}" for name in TYPES]
    theirs = world[0].get_online_features(references, entities, full_feature_names=True).to_dict()
    ours = reader.read(dict(zip(KEYS, zip(*rows, strict=True), strict=True)), now=NOW.timestamp())
    stale = [None if user == 3 else value for (user, _, _), value in zip(rows, [1] * len(rows), strict=True)]
    for name in TYPES:
        # Feast does not look at the time to live: user 3 has outlived it
        expected = [_plain(value, name) for value in theirs[f"by_user__{name}"]]
        expected = [value if there else None for value, there in zip(expected, stale, strict=True)]
        assert ours.values[name] == expected
        assert ours.values[f"pair_{name}"] == [_plain(value, name) for value in theirs[f"by_pair__{name}"]]


def test_a_row_has_what_was_written_for_its_entity(reader):
    found = reader.read(KEYS, now=NOW.timestamp())
    assert found.values["whole"] == [2**53 + 1, -5, None, None, 2**53 + 1, None, None]
    assert found.values["narrow"][0] == struct.unpack("<f", struct.pack("<f", 0.1))[0]
    assert found.values["text"][:2] == [None, "Ärger 🙂"]
    assert found.values["flag"][:2] == [True, False]
    assert found.values["moment"][:2] == [NOW, None]
    assert math.copysign(1, found.values["real"][0]) == 1
    assert found.found["by_user"] == [True, True, False, False, True, False, False]
    assert found.found["by_pair"] == [True, True, False, True, True, False, False]
    assert found.values["pair_whole"] == [2**53 + 1, -5, None, 2**53 + 1, 2**53 + 1, None, None]


def test_an_event_loop_reads_what_a_thread_reads(reader):
    """Down one connection, many at once: everybody gets the answer to the own question."""
    rows = list(zip(*KEYS.values(), strict=True)) * 20
    questions = [{name: [cell] for name, cell in zip(KEYS, row, strict=True)} for row in rows] + [KEYS]
    expected = [reader.read(keys, now=NOW.timestamp()) for keys in questions]

    async def ask():
        found = await asyncio.gather(*(reader.read_soon(keys, now=NOW.timestamp()) for keys in questions))
        reader.close()
        return found

    for _ in range(2):  # an event loop does not take over the connection of another
        assert asyncio.run(ask()) == expected


def test_what_outlived_its_time_is_not_found_but_dated(reader):
    found = reader.read({"user_id": [3], "store": ["a"], "area": [1]}, now=NOW.timestamp())
    assert found.found["by_user"] == [False]
    assert found.event_times["by_user"] == [(NOW - timedelta(days=40)).timestamp()]
    held = reader.read(
        {"user_id": [3], "store": ["a"], "area": [1]}, now=(NOW - timedelta(days=10)).timestamp()
    )
    assert held.found["by_user"] == [True]
    assert held.values["whole"] == [0]


def test_a_key_that_no_entity_can_have_finds_nothing(reader):
    found = reader.read({"user_id": [2**63, 1], "store": ["\ud800", "aa"], "area": [2**40, 1]})
    assert found.found["by_pair"] == [False, True]
    assert found.values["text"] == [None, "Ärger 🙂"]


@given(names=st.lists(st.text(min_size=1, max_size=9), min_size=1, max_size=3, unique=True), data=st.data())
@settings(max_examples=60, deadline=None)
def test_entity_keys_are_feasts(feast, names, data):
    from feast.infra.key_encoding_utils import serialize_entity_key
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value

    cells = {
        "INT64": (st.integers(-(2**63), 2**63 - 1), "int64_val"),
        "INT32": (st.integers(-(2**31), 2**31 - 1), "int32_val"),
        "STRING": (st.text(max_size=20), "string_val"),
        "UNIX_TIMESTAMP": (st.integers(0, 2**40), "unix_timestamp_val"),
    }
    kinds = [data.draw(st.sampled_from(sorted(cells))) for _ in names]
    values = [data.draw(cells[kind][0]) for kind in kinds]
    keys = [JoinKey(name, name, kind) for name, kind in zip(names, kinds, strict=True)]
    message = EntityKey(
        join_keys=names,
        entity_values=[Value(**{cells[kind][1]: value}) for kind, value in zip(kinds, values, strict=True)],
    )
    try:
        expected = serialize_entity_key(message, entity_key_serialization_version=3)
    except TypeError:  # Feast sorts pairs, and compares values where names are equal; ours differ
        return
    assert EntityKeys(keys).of(values) == expected


@given(st.text(max_size=30), st.text(max_size=30))
@settings(max_examples=100, deadline=None)
def test_fields_are_feasts(feast, view, feature):
    from feast.infra.online_stores.helpers import _mmh3

    assert field_name(view, feature) == _mmh3(f"{view}:{feature}")


@given(seconds=st.integers(0, 2**40), nanoseconds=st.integers(0, 999_999_999))
@settings(max_examples=100, deadline=None)
def test_timestamps_are_protobufs(seconds, nanoseconds):
    from google.protobuf.timestamp_pb2 import Timestamp

    written = Timestamp(seconds=seconds, nanos=nanoseconds).SerializeToString()
    assert read_timestamp(written) == seconds + nanoseconds / 1e9


@given(
    st.one_of(
        st.tuples(st.just("int64_val"), st.integers(-(2**63), 2**63 - 1)),
        st.tuples(st.just("int32_val"), st.integers(-(2**31), 2**31 - 1)),
        st.tuples(st.just("double_val"), st.floats(allow_nan=False)),
        st.tuples(st.just("float_val"), st.floats(width=32, allow_nan=False)),
        st.tuples(st.just("string_val"), st.text()),
        st.tuples(st.just("bool_val"), st.booleans()),
    )
)
@settings(max_examples=200, deadline=None)
def test_values_are_protobufs(feast, cell):
    from feast.protos.feast.types.Value_pb2 import Value

    name, value = cell
    read = read_value(Value(**{name: value}).SerializeToString())
    assert (type(read), read) == ((type(None), None) if value == "" else (type(value), value))


def test_nothing_is_no_value(feast):
    from feast.protos.feast.types.Value_pb2 import Null, Value

    assert read_value(None) is None
    assert read_value(Value().SerializeToString()) is None
    assert read_value(Value(null_val=Null.NULL).SerializeToString()) is None
    assert read_value(Value(double_val=math.nan).SerializeToString()) is None


@pytest.mark.parametrize("content", [b"\x0a\x01x", b"\x20", b"\x29\x00", b"\x12\x02\xff\xff", b"\xff\xff"])
def test_what_is_no_value_is_said(content):
    with pytest.raises(FeatureStoreError, match="no value of a feature"):
        read_value(content)


def test_no_store_and_another_store_are_refused():
    with pytest.raises(SettingsError, match="names no online store"):
        OnlineReader.open(FEATURES, None, timeout_s=1)
    cluster = RedisStore(type="redis", redis_type="redis_cluster")
    with pytest.raises(SettingsError, match="cluster"):
        OnlineReader.open(FEATURES, cluster, timeout_s=1)


def test_a_file_that_is_not_there_or_not_filled_is_said(tmp_path):
    keys = {"user_id": [1], "store": ["a"], "area": [1]}
    missing = OnlineReader.open(
        FEATURES, SqliteStore(type="sqlite", path=str(tmp_path / "x.db")), timeout_s=1
    )
    with pytest.raises(FeatureStoreError, match=r"There is no online store .*x\.db"):
        missing.read(keys)
    (tmp_path / "y.db").touch()
    empty = OnlineReader.open(FEATURES, SqliteStore(type="sqlite", path=str(tmp_path / "y.db")), timeout_s=1)
    with pytest.raises(FeatureStoreError, match=r"cannot be read: no such table"):
        empty.read(keys)


def test_reading_imports_neither_feast_nor_pandas():
    code = (
        "import sys\nfrom mmp.features.online import OnlineReader\nimport mmp.features.online.redis\n"
        "assert not {'feast', 'pandas', 'google.protobuf', 'mmh3'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


class Server:
    """A Redis of this test's own, to be stopped, frozen and killed."""

    def __init__(self, folder):
        (self.port,) = free_ports(1)
        self.folder, self.process = folder, None
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder)],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        _until(lambda: socket.create_connection(("127.0.0.1", self.port), 0.2).close() is None)

    def kill(self):
        self.process.kill()
        self.process.wait()


def _until(holds, seconds=10):
    end = time.monotonic() + seconds
    while True:
        try:
            if holds():
                return
        except (OSError, FeatureStoreError):
            if time.monotonic() > end:
                raise
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture
def server(tmp_path):
    server = Server(tmp_path)
    yield server
    server.process.send_signal(signal.SIGCONT)
    server.kill()


def _open(server, **values):
    store = RedisStore(type="redis", connection_string=f"127.0.0.1:{server.port}", **values)
    return OnlineReader.open(FEATURES, store, timeout_s=0.2)


ROW = {"user_id": [1], "store": ["a"], "area": [1]}


@pytest.mark.infra
def test_an_emptied_store_finds_nobody(server):
    with _open(server) as reader:
        assert reader.read(ROW).found == {"by_user": [False], "by_pair": [False]}


@pytest.mark.infra
def test_a_restart_is_no_error(server):
    with _open(server) as reader:
        reader.read(ROW)
        server.kill()
        server.start()
        assert reader.read(ROW).found["by_user"] == [False]


@pytest.mark.infra
def test_an_event_loop_gets_over_what_a_store_goes_through(server):
    """A restart while nobody asks, one in the middle of a question, and a while of silence."""

    async def ask(reader, times=1):
        return await asyncio.gather(*(reader.read_soon(ROW) for _ in range(times)), return_exceptions=True)

    async def go_through(reader):
        assert (await ask(reader))[0].found["by_user"] == [False]
        server.kill()
        server.start()
        assert (await ask(reader))[0].found["by_user"] == [False]
        server.process.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        failed = await ask(reader, 20)
        assert time.monotonic() - began < 2
        assert {type(each) for each in failed} == {FeatureStoreError}
        server.process.send_signal(signal.SIGCONT)
        for _ in range(100):
            answers = await ask(reader)
            if not isinstance(answers[0], FeatureStoreError):
                break
            await asyncio.sleep(0.05)  # the breaker lets nobody through for a moment
        assert answers[0].found["by_user"] == [False]
        reader.close()

    with _open(server) as reader:
        asyncio.run(go_through(reader))


@pytest.mark.infra
def test_a_frozen_store_costs_its_budget_and_then_nothing(server):
    with _open(server) as reader:
        reader.read(ROW)
        server.process.send_signal(signal.SIGSTOP)
        for _ in range(5):
            began = time.monotonic()
            with pytest.raises(FeatureStoreError, match="does not answer"):
                reader.read(ROW)
            assert time.monotonic() - began < 2
        with pytest.raises(FeatureStoreError, match="several times in a row"):
            reader.read(ROW)
        server.process.send_signal(signal.SIGCONT)
        _until(lambda: reader.read(ROW).found["by_user"] == [False])


@pytest.mark.infra
def test_a_dead_store_is_said_at_once_and_healed_by_itself(server):
    with _open(server) as reader:
        server.kill()
        with pytest.raises(FeatureStoreError, match=f"Redis at 127.0.0.1:{server.port} does not answer"):
            reader.read(ROW)
        server.start()
        _until(lambda: reader.read(ROW).found["by_user"] == [False])


@pytest.mark.infra
def test_a_wrong_password_is_said_without_it(redis):
    store = RedisStore(
        type="redis", connection_string=f"{redis.host}:{redis.port}", password="canary-password"
    )
    with (
        OnlineReader.open(FEATURES, store, timeout_s=2) as reader,
        pytest.raises(FeatureStoreError, match="does not take the config's password") as raised,
    ):
        reader.ping()
    assert "canary" not in str(raised.value) + raised.value.hint


@pytest.mark.parametrize("is_loop", [False, True])
def test_a_store_that_trickles_is_cut_off(is_loop):
    """Every reply comes in time, all of them do not."""
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def trickle():
        listener.settimeout(5)
        connection, _ = listener.accept()
        with connection:
            while not stop.wait(0.05):
                try:
                    connection.sendall(b"+")
                except OSError:
                    return

    thread = threading.Thread(target=trickle)
    thread.start()
    store = RedisStore(type="redis", connection_string=f"127.0.0.1:{listener.getsockname()[1]}")
    began = time.monotonic()
    try:
        with pytest.raises(FeatureStoreError), OnlineReader.open(FEATURES, store, timeout_s=0.2) as reader:
            asyncio.run(reader.read_soon(ROW)) if is_loop else reader.read(ROW)
    finally:
        stop.set()
        thread.join()
        listener.close()
    assert time.monotonic() - began < 5


@pytest.mark.infra
def test_a_fork_takes_connections_of_its_own(server):
    with _open(server) as reader:
        reader.read(ROW)
        child = os.fork()
        if not child:
            code = 1
            try:
                code = 0 if reader.read(ROW).found["by_user"] == [False] else 1
            finally:
                os._exit(code)
        assert reader.read(ROW).found["by_user"] == [False]
        assert os.waitpid(child, 0)[1] == 0
