"""The tables that quality is measured on: scikit-learn's own, ../shared/data, and made ones beside them.

None is downloaded. The made ones come from a seed, and hold what real tables are hard for: hundreds to
thousands of categories, holes that mean something, few positives, dates.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from sklearn import datasets
from sklearn.model_selection import ShuffleSplit, StratifiedShuffleSplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
TEST_SHARE = 0.25
_MOST_ROWS = 20_000


@dataclass(frozen=True)
class Table:
    """One table, and how often it is split: the smaller it is, the more a single split is chance."""

    name: str
    target: str
    task: str
    splits: int
    make: Callable[[], pd.DataFrame]

    @property
    def metric(self) -> str:
        return "log_loss" if self.task == "classification" else "rmse"

    def divided(self, splits: int | None = None) -> Iterator[pd.DataFrame]:
        """Return the rows with a column `part`, once for each split; the seeds are 0, 1, …"""
        frame = self.make()
        way = StratifiedShuffleSplit if self.task == "classification" else ShuffleSplit
        for seed in range(splits or self.splits):
            _, test = next(way(1, test_size=TEST_SHARE, random_state=seed).split(frame, frame[self.target]))
            part = np.full(len(frame), "train", dtype=object)
            part[test] = "test"
            yield frame.assign(part=part)


def _bundled(name: str) -> pd.DataFrame:
    frame = getattr(datasets, f"load_{name}")(as_frame=True).frame
    return frame.rename(columns=lambda column: str(column).replace(" ", "_").replace("(cm)", "cm"))


def _diamonds() -> pd.DataFrame:
    """Return a sample of the diamonds; their holes are zeros."""
    return pd.read_csv(SHARED / "diamonds.csv").sample(_MOST_ROWS, random_state=0).reset_index(drop=True)


def _telco() -> pd.DataFrame:
    frame = pd.read_csv(SHARED / "telco_churn.csv").drop(columns="customerID")
    return frame.assign(TotalCharges=pd.to_numeric(frame["TotalCharges"], errors="coerce"))


def _labels(prefix: str, codes: np.ndarray) -> np.ndarray:
    return np.array([f"{prefix}{code}" for code in codes], dtype=object)


def _holes(rng: np.random.Generator, values: np.ndarray, share: float) -> np.ndarray:
    cells = values.astype(object)
    cells[rng.random(len(values)) < share] = None
    return cells


def clicks(n_rows: int = 12_000) -> pd.DataFrame:
    """Return advertisements, one in twenty clicked: 2,000 sites and 300 cities, most of them rare."""
    rng = np.random.default_rng(1)
    site, city = rng.zipf(1.3, n_rows) % 2_000, rng.zipf(1.5, n_rows) % 300
    device, hour, age = rng.integers(0, 6, n_rows), rng.integers(0, 24, n_rows), rng.gamma(6, 6, n_rows)
    of_site, of_city = rng.normal(0, 0.9, 2_000), rng.normal(0, 0.5, 300)
    bid = rng.lognormal(0, 0.6, n_rows)
    score = of_site[site] + of_city[city] + 0.4 * (device == 2) - 0.02 * age + 0.5 * np.sin(hour / 4)
    score += 0.4 * np.log(bid) * (device < 3) - 3.0
    hidden = rng.random(n_rows) < 1 / (1 + np.exp(score + 2))  # what is not known is itself a sign
    return pd.DataFrame({
        "site": _labels("s", site), "city": _holes(rng, _labels("c", city), 0.05),
        "device": _labels("d", device), "hour": hour, "bid": bid, "age": np.where(hidden, np.nan, age),
        "clicked": np.where(rng.random(n_rows) < 1 / (1 + np.exp(-score)), "yes", "no"),
    })  # fmt: skip


def rents(n_rows: int = 8_000) -> pd.DataFrame:
    """Return flats with their rents: 1,500 streets in 40 districts, a date, and three columns with holes."""
    rng = np.random.default_rng(2)
    street = rng.integers(0, 1_500, n_rows)
    district = rng.integers(0, 40, 1_500)[street]
    of_street, of_district = rng.normal(0, 0.15, 1_500), rng.normal(0, 0.3, 40)
    area, rooms, floor = rng.gamma(9, 8, n_rows), rng.integers(1, 6, n_rows), rng.integers(0, 12, n_rows)
    year = rng.integers(1900, 2024, n_rows).astype(float)
    day = rng.integers(0, 1_200, n_rows)
    level = 5.2 + 0.8 * np.log(area / 50) + of_street[street] + of_district[district] + 0.02 * floor
    level += 0.0003 * day + 0.1 * (year > 2000) - 0.03 * rooms
    return pd.DataFrame({
        "street": _labels("street ", street), "district": _labels("district ", district), "area": area,
        "rooms": rooms, "floor": np.where(rng.random(n_rows) < 0.1, np.nan, floor),
        "built": np.where(rng.random(n_rows) < 0.2, np.nan, year),
        "heating": _holes(rng, rng.choice(["gas", "district", "pump"], n_rows), 0.15),
        "offered": pd.Timestamp("2021-01-01") + pd.to_timedelta(day, unit="D"),
        "rent": np.exp(level + rng.normal(0, 0.15, n_rows)),
    })  # fmt: skip


def faults(n_rows: int = 6_000) -> pd.DataFrame:
    """Return machines with one of three states, the third at one row in forty: 150 parts, many holes."""
    rng = np.random.default_rng(3)
    part, plant, load = rng.integers(0, 150, n_rows), rng.integers(0, 12, n_rows), rng.beta(2, 3, n_rows)
    heat, vibration = rng.normal(60, 12, n_rows), rng.lognormal(0, 0.5, n_rows)
    of_part, of_plant = rng.normal(0, 0.8, (150, 3)), rng.normal(0, 0.4, (12, 3))
    score = of_part[part] + of_plant[plant]
    score[:, 0] += 2.5
    score[:, 1] += 1.5 * load + 0.05 * (heat - 60)
    score[:, 2] += 1.2 * vibration * (heat > 70) - 1.5
    drawn = (score + rng.gumbel(size=score.shape)).argmax(axis=1)
    return pd.DataFrame({
        "part_number": _labels("p", part), "plant": _labels("plant-", plant), "load": load,
        "heat": np.where(rng.random(n_rows) < 0.25, np.nan, heat),
        "vibration": np.where(rng.random(n_rows) < 0.25, np.nan, vibration),
        "is_old": rng.random(n_rows) < 0.3, "state": np.array(["ok", "worn", "<=broken"])[drawn],
    })  # fmt: skip


TABLES = {
    table.name: table
    for table in (
        Table("breast_cancer", "target", "classification", 20, lambda: _bundled("breast_cancer")),
        Table("wine", "target", "classification", 20, lambda: _bundled("wine")),
        Table("iris", "target", "classification", 20, lambda: _bundled("iris")),
        Table("digits", "target", "classification", 5, lambda: _bundled("digits")),
        Table("telco_churn", "Churn", "classification", 10, _telco),
        Table("diamonds_cut", "cut", "classification", 5, _diamonds),
        Table("clicks", "clicked", "classification", 10, clicks),
        Table("faults", "state", "classification", 10, faults),
        Table("diabetes", "target", "regression", 20, lambda: _bundled("diabetes")),
        Table("diamonds_price", "price", "regression", 5, _diamonds),
        Table("rents", "rent", "regression", 10, rents),
    )
}
"""By name, in the order of the report."""
