"""Tables to and from PostgreSQL, against pandas and SQLAlchemy.

    python bench/features.py [read] [write] [--rows 1000000]

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
import time
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent
OUT = HERE / "out"
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


WORK = {
    "read": (read_mmp, read_pandas, stream_mmp),
    "write": (write_mmp, write_pandas),
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
        with psycopg.connect(uri) as connection:
            connection.execute(TABLE.format(rows=chosen.rows))
        results = [compare(what, uri, chosen.rows) for what in chosen.what or WORK]
    finally:
        home.close()
    machine = {"cores": os.cpu_count(), "platform": platform.platform(), "python": platform.python_version()}
    names = ("mmp", "adbc-driver-postgresql", "pandas", "sqlalchemy", "psycopg", "pyarrow")
    versions = {name: version(name) for name in names}
    OUT.mkdir(exist_ok=True)
    path = OUT / f"features-{time.strftime('%Y%m%dT%H%M%S')}.json"
    result = {"machine": machine, "versions": versions, "rows": chosen.rows, "results": results}
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"saved {path.relative_to(HERE.parent)}")


if __name__ == "__main__":
    main()
