"""Write the small shop's Parquet files: orders, and what was known of customers and products and since when.

    python recipes/features/make.py [FOLDER] [--until 2026-01-31]

The same day gives the same bytes. The last day is today unless `--until` says another one, so that the online
store is fresh. Every tenth row of features is known half a day late, and one in fifty is corrected later.
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

DAYS, N_CUSTOMERS, N_PRODUCTS, N_ORDERS = 180, 300, 60, 6_000
DAY = 86_400
CITIES = np.array(["Busan", "Daegu", "Incheon", "Seoul", "세종"])
KINDS = np.array(["books", "clothes", "shoes", "tools"])
INSTANT = pa.timestamp("us", "UTC")


def make(folder: Path, until: datetime) -> None:
    """Write `customers`, `products` and `orders` as Parquet files."""
    rng = np.random.default_rng(7)
    end = int(until.timestamp())
    start = end - DAYS * DAY
    fickle = rng.normal(0, 1, N_CUSTOMERS)
    flawed = rng.normal(0, 1, N_PRODUCTS)
    codes = np.array([f"{code:04d}" for code in rng.permutation(2_000)[:N_PRODUCTS]])
    folder.mkdir(parents=True, exist_ok=True)

    weeks, who = (grid.ravel() for grid in np.meshgrid(np.arange(0, DAYS, 7), np.arange(N_CUSTOMERS)))
    # who joined late has no history before, and one in twenty stopped coming: their features grow stale
    joined = rng.integers(0, 60, N_CUSTOMERS)
    left = np.where(rng.random(N_CUSTOMERS) < 0.05, 100, DAYS)
    there = (weeks >= joined[who]) & (weeks <= left[who])
    weeks, who = weeks[there], who[there]
    at = start + weeks * DAY + who * 60
    wobble = fickle[who] + 0.5 * np.sin(weeks / 20 + who)
    _write(
        folder / "customers.parquet",
        rng,
        at,
        customer_id=pa.array(who + 1),
        orders_90d=pa.array(rng.poisson(np.exp(1 + 0.3 * wobble))),
        return_rate_90d=pa.array((1 / (1 + np.exp(1.5 - wobble))).astype(np.float32), mask=who % 17 == 0),
        is_member=pa.array(who % 3 == 0),
        city=pa.array(CITIES[who % len(CITIES)], mask=who % 23 == 0),
        last_order_at=pa.array((at - rng.integers(0, 40 * DAY, len(at))) * 1_000_000).cast(INSTANT),
    )

    times, what = (grid.ravel() for grid in np.meshgrid(np.arange(0, DAYS, 14), np.arange(N_PRODUCTS)))
    _write(
        folder / "products.parquet",
        rng,
        start + times * DAY + what,
        product_code=pa.array(codes[what]),
        return_rate=pa.array(1 / (1 + np.exp(2 - flawed[what] - 0.1 * rng.normal(size=len(what))))),
        rating=pa.array((4 - 0.5 * flawed[what]).astype(np.float32)),
        kind=pa.array(KINDS[what % len(KINDS)]),
    )

    who, what = rng.integers(0, N_CUSTOMERS, N_ORDERS), rng.integers(0, N_PRODUCTS, N_ORDERS)
    at = np.sort(rng.integers(start + 20 * DAY, end, N_ORDERS))
    day = (at - start) / DAY
    risk = -1.2 + 1.5 * (fickle[who] + 0.5 * np.sin(day / 20 + who)) + 1.5 * flawed[what]
    orders = {
        "order_id": pa.array(np.arange(1, N_ORDERS + 1)),
        "customer_id": pa.array(who + 1),
        "product_code": pa.array(codes[what]),
        "amount": pa.array(np.round(np.exp(rng.normal(3.5, 0.8, N_ORDERS)), 2)),
        "ordered_at": pa.array(at * 1_000_000).cast(INSTANT),
        "is_returned": pa.array(rng.random(N_ORDERS) < 1 / (1 + np.exp(-risk))),
    }
    pq.write_table(pa.table(orders), folder / "orders.parquet")


def _write(path: Path, rng: np.random.Generator, at: np.ndarray, **columns: pa.Array) -> None:
    created = at + np.where(rng.random(len(at)) < 0.1, DAY // 2, 60)
    table = pa.table(
        {
            **columns,
            "event_timestamp": pa.array(at * 1_000_000).cast(INSTANT),
            "created_timestamp": pa.array(created * 1_000_000).cast(INSTANT),
        }
    )
    again = np.flatnonzero(rng.random(len(at)) < 0.02)
    corrected = table.take(pa.array(again)).set_column(
        table.num_columns - 1, "created_timestamp", pa.array((created[again] + DAY) * 1_000_000).cast(INSTANT)
    )
    pq.write_table(pa.concat_tables([table, corrected]), path)


def main() -> None:
    """Read the command line and write."""
    parser = argparse.ArgumentParser(description="Write the small shop's Parquet files.")
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parent / "store" / "data")
    parser.add_argument("--until", type=datetime.fromisoformat)
    given = parser.parse_args()
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    until = given.until.replace(tzinfo=UTC) if given.until else today
    make(given.folder, until)
    print(f"{given.folder}: orders of {DAYS} days, until {until - timedelta(days=1):%Y-%m-%d}")
    if (given.folder / "online.db").exists():
        print("The online store is of another history now: mmp features materialize --full")


if __name__ == "__main__":
    main()
