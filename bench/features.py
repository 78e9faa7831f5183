"""Tables to and from PostgreSQL, against pandas and SQLAlchemy; features, at a moment and now, against Feast.

    python bench/features.py [read] [write] [join] [online] [--rows 1000000]

Each side in a process of its own, over one native PostgreSQL that is started for it; CPU seconds and
memory are of the client. What runs in a child is below, used by both as a user would.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).resolve().parent
OUT = HERE / "out"
CODES = ("0742", "4111", "4814", "5311", "5411", "5541", "5732", "5812", "5912", "5944", "5967", "6051")
TABLE = """
CREATE TABLE wide AS SELECT
    i::bigint AS id, (i % 1000)::int AS shop, (i % 7)::smallint AS weekday,
    (i * 0.37)::numeric(14, 2) AS amount, (i / 100.0)::numeric(12, 2) AS fee,
    random() AS f1, random() AS f2, random() AS f3, (random() * 100)::real AS f4,
    i % 2 = 0 AS is_new, i % 3 = 0 AS is_paid,
    'category ' || (i % 50) AS category, 'merchant_' || (i % 5000) AS merchant,
    md5((i % 100000)::text) AS device, (i % 3)::text AS channel,
    timestamptz '2024-01-01' + i * interval '1 second' AS happened_at,
    timestamp '2024-01-01' + i * interval '1 second' AS noted_at,
    date '2024-01-01' + (i % 300)::int AS day,
    CASE WHEN i % 10 <> 0 THEN i % 17 END AS maybe_count,
    CASE WHEN i % 10 <> 0 THEN random() END AS maybe_rate
FROM generate_series(1, {rows}) i
"""


def stream_mmp(uri: str, _rows: int) -> int:
    from mmp.data import sql
    from mmp.data.template import render
    from mmp.settings.adapters import Database

    query = render("SELECT * FROM wide WHERE id > {{ first }}", {"first": 0}, "postgresql")
    with sql.stream(query, Database(connection_uri=uri)) as rows:
        return sum(batch.num_rows for batch in rows)


def read_mmp(uri: str, _rows: int) -> int:
    from mmp.data import sql
    from mmp.data.template import render
    from mmp.settings.adapters import Database

    return sql.read(render("SELECT * FROM wide", {}, "postgresql"), Database(connection_uri=uri)).n_rows


def read_pandas(uri: str, _rows: int) -> int:
    import pandas as pd
    from sqlalchemy import create_engine

    return len(pd.read_sql("SELECT * FROM wide", create_engine(uri.replace("://", "+psycopg://"))))


def scored(rows: int):
    import numpy as np
    import pyarrow as pa

    random = np.random.default_rng(3)
    return pa.table(
        {
            "user_id": np.arange(rows),
            "happened_at": pa.array(np.arange(rows) * 1_000_000, pa.timestamp("us", "UTC")),
            "prediction": pa.array(np.array(["no", "yes"])[random.integers(0, 2, rows)]),
            "probability": random.random(rows),
            "probability_no": random.random(rows),
            "probability_yes": random.random(rows),
            "is_new": random.random(rows) > 0.5,
        }
    )


def write_mmp(uri: str, rows: int) -> int:
    from mmp.data.sinks import TableWriter
    from mmp.settings.adapters import TableOutput

    table = scored(rows)
    began()
    output = TableOutput(connection_uri=uri, table="scored", mode="replace")
    with TableWriter(output, table.schema, key=str(time.time())) as writer:
        writer.write("0", table.to_batches(1 << 16))
        return writer.finish()


def write_pandas(uri: str, rows: int) -> int:
    from sqlalchemy import create_engine

    frame = scored(rows).to_pandas()
    began()
    engine = create_engine(uri.replace("://", "+psycopg://"))
    frame.to_sql("scored_pandas", engine, if_exists="replace", index=False)
    return rows


def store(uri: str):
    """Return the settings of the store that `prepare_join` registered the world in."""
    from urllib.parse import urlsplit

    from mmp.settings.stores import FeatureStore

    parts, folder = urlsplit(uri), os.environ["MMP_BENCH_FOLDER"]
    offline = {
        "type": "postgres",
        "host": parts.hostname,
        "port": parts.port,
        "database": parts.path[1:],
        "user": parts.username,
        "password": parts.password,
        "db_schema": "features",
    }
    feast = {
        "project": "bench",
        "registry": f"{folder}/registry.db",
        "offline_store": offline,
        "online_store": {"type": "sqlite", "path": f"{folder}/online.db"},
    }
    return FeatureStore.model_validate({"provider": "feast", "feast_config": feast})


def payments(uri: str, rows: int):
    """Return the transactions as often as it takes, each time half a minute later."""
    import numpy as np
    import pyarrow as pa
    from adbc_driver_postgresql import dbapi

    columns = "user_id, merchant_id, category_id, event_timestamp"
    with dbapi.connect(uri) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT {columns} FROM public.transactions")
        once = cursor.fetch_arrow_table()
    turn, place = np.divmod(np.arange(rows), once.num_rows)
    table = once.take(pa.array(place))
    later = np.asarray(table["event_timestamp"].cast(pa.int64())) + turn * 30_000_000
    return table.set_column(3, "event_timestamp", pa.array(later).cast(pa.timestamp("us", "UTC")))


def join_mmp(uri: str, rows: int) -> int:
    from mmp.features.offline import join
    from mmp.features.references import FeatureSet

    spine = payments(uri, rows)
    features = FeatureSet.from_json(json.loads(Path(os.environ["MMP_BENCH_FOLDER"], "features").read_text()))
    began()
    joined = join(spine, features, store(uri))
    assert joined.table.num_columns == spine.num_columns + 41
    return joined.table.num_rows


def join_feast(uri: str, rows: int) -> int:
    from mmp.features.registry.opened import opened

    with opened(store(uri)) as feast:
        spine = payments(uri, rows).to_pandas()
        service = feast.get_feature_service("fraud_detection")
        began()
        return len(feast.get_historical_features(entity_df=spine, features=service).to_arrow())


def prepare_join(home, folder: str) -> None:
    """Seed the world, register its views in files, and keep what a recipe takes of them."""
    from mmp.features import registry
    from mmp.settings.data import Fetcher

    sys.path.insert(0, str(HERE.parent / "mmp-local-dev"))
    from localdev.seed import seed

    os.environ["MMP_BENCH_FOLDER"] = folder
    seed(home.values)
    registry.apply(store(home.postgres.uri), HERE.parent / "mmp-local-dev" / "feast")
    fetcher = Fetcher(feature_service="fraud_detection", timestamp_column="event_timestamp")
    taken = registry.resolve(fetcher, store(home.postgres.uri))
    Path(folder, "features").write_text(json.dumps(taken.to_json()))


def compare_join(uri: str) -> dict[str, object]:
    ours, theirs = measure("join_mmp", uri, 50_000), measure("join_feast", uri, 50_000)
    ratio = theirs["wall_s"] / ours["wall_s"]
    print(f"  rows/s                   {ratio:6.2f} (bar 5.0) {'ok' if ratio >= 5 else 'no'}")
    sides = {"join_mmp": ours, "join_feast": theirs}
    for indexed in ("with", "without"):
        if indexed == "without":
            drop_indexes(uri)
        large = sides[f"join_mmp_1m_{indexed}_index"] = measure("join_mmp", uri, 1_000_000)
        holds = "ok" if large["wall_s"] <= 60 and large["peak_mib"] <= 1024 else "no"
        print(f"  a million rows, {indexed} index (bar 60 s, 1024 MiB) {holds}")
    return {"what": "join", "sides": sides, "ratios": {"rows/s": ratio}}


def drop_indexes(uri: str) -> None:
    import psycopg

    views = ("user_transaction_features", "user_demographics", "merchant_features", "category_features")
    with psycopg.connect(uri) as connection:
        for view in views:
            connection.execute(f"DROP INDEX features.{view}_as_of")


def entities(n_rows: int, turn: int) -> dict[str, list[object]]:
    """Return keys of the world, others in every turn."""
    numbers = [(turn * n_rows + place) * 7919 for place in range(n_rows)]
    return {
        "user_id": [1 + number % 1_000 for number in numbers],
        "merchant_id": [1 + number % 500 for number in numbers],
        "category_id": [CODES[number % len(CODES)] for number in numbers],
    }


def online_mmp() -> dict[str, float]:
    """Read as a server does: a reader that is open."""
    from mmp.features import registry
    from mmp.features.online import OnlineReader
    from mmp.settings.data import Fetcher
    from mmp.settings.load import load_config

    store = load_config(HERE.parent / "configs" / "dev.yaml").value.feature_store
    taken = registry.resolve(Fetcher(feature_service="fraud_detection"), store)
    with OnlineReader.open(taken, store.feast_config.online_store, timeout_s=10) as reader:
        assert all(map(any, reader.read(entities(100, 0)).found.values()))
        return timed(lambda n_rows, turn: reader.read(entities(n_rows, turn)))


def online_feast() -> dict[str, float]:
    """Read as Feast's own documentation does."""
    from mmp.features.registry.opened import opened
    from mmp.settings.load import load_config

    with opened(load_config(HERE.parent / "configs" / "dev.yaml").value.feature_store) as feast:
        service = feast.get_feature_service("fraud_detection")

        def read(n_rows: int, turn: int) -> object:
            keys = entities(n_rows, turn)
            rows = [dict(zip(keys, row, strict=True)) for row in zip(*keys.values(), strict=True)]
            return feast.get_online_features(features=service, entity_rows=rows)

        return timed(read)


def timed(read: Callable[[int, int], object]) -> dict[str, float]:
    """Time 5,000 reads of one entity and 300 of a hundred, after some that warm up."""
    found = {}
    for n_rows, n_turns in ((1, 5_000), (100, 300)):
        times = []
        for turn in range(n_turns + 100):
            began_ns = time.perf_counter_ns()
            read(n_rows, turn)
            times.append((time.perf_counter_ns() - began_ns) / 1e3)
        times = sorted(times[100:])
        found |= {f"p50_us_{n_rows}": times[n_turns // 2], f"p99_us_{n_rows}": times[n_turns * 99 // 100]}
    return found


def compare_online(home) -> dict[str, object]:
    home.up("postgres", "redis")
    home.fill()
    sides = {}
    for name in ("online_mmp", "online_feast"):
        command = [sys.executable, __file__, "--child", name]
        here = os.environ | home.values  # noqa: PD011 - no data frame
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=here)
        sides[name] = json.loads(done.stdout.splitlines()[-1])
        print(f"{name:<16} " + ", ".join(f"{what} {us:,.0f}" for what, us in sides[name].items()))
    ratios = {what: sides["online_mmp"][what] / sides["online_feast"][what] for what in ONLINE_BARS}
    for what, bar in ONLINE_BARS.items():
        print(f"  {what:<24} {ratios[what]:6.3f} (bar {bar}) {'ok' if ratios[what] <= bar else 'no'}")
    return {"what": "online", "sides": sides, "ratios": ratios}


ONLINE = {"online_mmp": online_mmp, "online_feast": online_feast}
ONLINE_BARS = {"p50_us_1": 0.35, "p99_us_1": 0.35, "p50_us_100": 0.55}
WORK = {
    "read": (read_mmp, read_pandas, stream_mmp),
    "write": (write_mmp, write_pandas),
    "join": (join_mmp, join_feast),
}
BARS = {"read": {"rows/s": 3.3, "rows per CPU second": 4.0, "peak memory": 0.3}, "write": {"rows/s": 12.0}}
_START: list[tuple[float, float]] = []


def began() -> None:
    """Leave out what was done so far, which both sides do alike."""
    _START[:] = [(time.perf_counter(), time.process_time())]


def child(name: str, uri: str, rows: int) -> None:
    functions = {function.__name__: function for side in WORK.values() for function in side}
    began()
    n_rows = functions[name](uri, rows)
    wall, cpu = time.perf_counter() - _START[0][0], time.process_time() - _START[0][1]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    assert n_rows == rows
    print(json.dumps({"wall_s": wall, "cpu_s": cpu, "peak_mib": peak}))


def measure(name: str, uri: str, rows: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--child", name, "--uri", uri, "--rows", str(rows)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    print(f"{name:<16} {found['wall_s']:8.2f} s {found['cpu_s']:8.2f} CPU s {found['peak_mib']:8.0f} MiB")
    return found


def compare(what: str, uri: str, rows: int) -> dict[str, object]:
    sides = {function.__name__: measure(function.__name__, uri, rows) for function in WORK[what]}
    ours, theirs = sides[f"{what}_mmp"], sides[f"{what}_pandas"]
    ratios = {
        "rows/s": theirs["wall_s"] / ours["wall_s"],
        "rows per CPU second": theirs["cpu_s"] / ours["cpu_s"],
        "peak memory": ours["peak_mib"] / theirs["peak_mib"],
    }
    for name, ratio in ratios.items():
        bar = BARS[what].get(name)
        holds = (
            "" if bar is None else "ok" if (ratio <= bar if name == "peak memory" else ratio >= bar) else "no"
        )
        print(f"  {name:<24} {ratio:6.2f} {'' if bar is None else f'(bar {bar})'} {holds}")
    return {"what": what, "sides": sides, "ratios": ratios}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="*", default=[])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--uri")
    parser.add_argument("--child")
    chosen = parser.parse_args()
    if chosen.child in ONLINE:
        print(json.dumps(ONLINE[chosen.child]()))
        return
    if chosen.child:
        child(chosen.child, chosen.uri, chosen.rows)
        return
    sys.path.insert(0, str(HERE.parent))
    import psycopg
    from tests.servers import new_home

    home = new_home()
    try:
        home.up("postgres")
        uri = home.postgres.uri
        if not chosen.what or set(chosen.what) & set(BARS):
            with psycopg.connect(uri) as connection:
                connection.execute(TABLE.format(rows=chosen.rows))
        wanted = chosen.what or [*WORK, "online"]
        results = [compare(what, uri, chosen.rows) for what in wanted if what in BARS]
        if "join" in wanted:
            with tempfile.TemporaryDirectory() as folder:
                prepare_join(home, folder)
                results.append(compare_join(uri))
        if "online" in wanted:
            results.append(compare_online(home))
    finally:
        home.close()
    machine = {"cores": os.cpu_count(), "platform": platform.platform(), "python": platform.python_version()}
    names = ("mmp", "feast", "adbc-driver-postgresql", "pandas", "sqlalchemy", "psycopg", "pyarrow")
    versions = {name: version(name) for name in names}
    OUT.mkdir(exist_ok=True)
    path = OUT / f"features-{time.strftime('%Y%m%dT%H%M%S')}.json"
    result = {"machine": machine, "versions": versions, "rows": chosen.rows, "results": results}
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"saved {path.relative_to(HERE.parent)}")


if __name__ == "__main__":
    main()
