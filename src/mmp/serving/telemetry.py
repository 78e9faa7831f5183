"""Counters that all workers share, as Prometheus reads them.

Every series is known when the server starts: labels are routes, statuses and model versions of ours, nothing
that a client sends. So the counters are one array in memory that the workers inherit, a row for each worker,
and whoever is asked for `/metrics` sums the rows.
"""

from __future__ import annotations

import mmap
from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
ROWS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096)
STATUSES: Final = (
    200, 400, 401, 403, 404, 405, 408, 413, 415, 422, 429, 431, 499, 500, 503, 504,
)  # fmt: skip
OTHER: Final = "other"
_FLOAT: Final = 8


class Histogram:
    """Where the buckets of one histogram stand in the row of a worker, its sum behind them."""

    def __init__(self, start: int, bounds: Sequence[float]) -> None:
        self.start, self.bounds = start, bounds
        self.size = len(bounds) + 2  # the buckets, one for all beyond, and the sum
        self._sum = start + self.size - 1

    def observe(self, cells: memoryview[float], value: float) -> None:
        """Count one value."""
        cells[self.start + bisect_left(self.bounds, value)] += 1
        cells[self._sum] += value

    def lines(self, name: str, labels: str, cells: Sequence[float]) -> Iterator[str]:
        """Yield it in Prometheus' text format."""
        end = self.start + self.size - 1
        counts = [int(count) for count in accumulate(cells[self.start : end])]
        separator = "," if labels else ""
        for bound, count in zip((*map(_number, self.bounds), "+Inf"), counts, strict=True):
            yield f'{name}_bucket{{{labels}{separator}le="{bound}"}} {count}'
        suffix = f"{{{labels}}}" if labels else ""
        yield f"{name}_sum{suffix} {cells[end]!r}"
        yield f"{name}_count{suffix} {counts[-1]}"


class Telemetry:
    """The counters of a server, of which one worker writes one row.

    Parameters
    ----------
    routes : sequence of str
        The paths to tell apart.
    n_workers : int
        Rows.

    Examples
    --------
    >>> telemetry = Telemetry(["/predict"], n_workers=2)
    >>> telemetry.answered("/predict", 200, 0.001)
    >>> telemetry.worker(1).answered("/predict", 200, 0.002)
    >>> [line for line in telemetry.text().splitlines() if line.startswith("mmp_requests_total")]
    ['mmp_requests_total{route="/predict",status="200"} 2']
    """

    def __init__(self, routes: Sequence[str], *, n_workers: int = 1) -> None:
        self._routes = (*routes, OTHER)
        self._statuses = {status: place for place, status in enumerate(STATUSES)}
        self._requests = {route: n * len(STATUSES) for n, route in enumerate(self._routes)}
        end = len(self._routes) * len(STATUSES)
        self._latency: dict[str, Histogram] = {}
        for route in self._routes:
            self._latency[route] = Histogram(end, SECONDS)
            end += self._latency[route].size
        self._batches = Histogram(end, ROWS)
        self._features = Histogram(end + self._batches.size, SECONDS)
        end = self._features.start + self._features.size
        self._inflight, self._feature_errors, self._degraded = range(end, end + 3)
        self._shadow, self._differing = end + 3, end + 4
        self._width, self._n_workers = end + 5, n_workers
        self._memory = mmap.mmap(-1, self._width * n_workers * _FLOAT)
        self._all = memoryview(self._memory).cast("d")
        self._cells = self._row(0)

    def worker(self, number: int) -> Telemetry:
        """Return the same counters, to be written in the row of another worker."""
        other = object.__new__(Telemetry)
        other.__dict__.update(self.__dict__)
        other._cells = self._row(number)
        other._cells[self._inflight] = 0.0  # what a dead worker had in hand
        return other

    def _row(self, number: int) -> memoryview[float]:
        return self._all[number * self._width : (number + 1) * self._width]

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count a request; a path or a status that is none of ours counts as another."""
        if route not in self._requests:
            route = OTHER
        place = self._statuses.get(status, self._statuses[500])
        self._cells[self._requests[route] + place] += 1
        self._latency[route].observe(self._cells, seconds)

    def inflight(self, number: int) -> None:
        """Say how many requests this worker has in hand."""
        self._cells[self._inflight] = number

    def predicted(self, n_rows: int) -> None:
        """Count a batch."""
        self._batches.observe(self._cells, n_rows)

    def looked_up(self, seconds: float, *, failed: bool) -> None:
        """Count a read of the feature store."""
        self._features.observe(self._cells, seconds)
        self._cells[self._feature_errors] += failed

    def degraded(self, n_rows: int) -> None:
        """Count rows that were answered without their features."""
        self._cells[self._degraded] += n_rows

    def shadowed(self, *, differs: bool) -> None:
        """Count an answer of the shadow model."""
        self._cells[self._shadow] += 1
        self._cells[self._differing] += differs

    def text(self) -> str:
        """Return everything, summed over the workers, in Prometheus' text format."""
        cells = [sum(self._all[place :: self._width]) for place in range(self._width)]
        return "\n".join([*self._lines(cells), ""])

    def _lines(self, cells: Sequence[float]) -> Iterator[str]:
        yield from _head("mmp_requests_total", "counter", "Requests answered.")
        for route, start in self._requests.items():
            for status, place in self._statuses.items():
                if count := int(cells[start + place]):
                    yield f'mmp_requests_total{{route="{route}",status="{status}"}} {count}'
        yield from _head("mmp_request_seconds", "histogram", "From the request's head to its answer.")
        for route, histogram in self._latency.items():
            yield from histogram.lines("mmp_request_seconds", f'route="{route}"', cells)
        yield from _head("mmp_batch_rows", "histogram", "Rows that were predicted together.")
        yield from self._batches.lines("mmp_batch_rows", "", cells)
        yield from _head("mmp_feature_store_seconds", "histogram", "Reads of the feature store.")
        yield from self._features.lines("mmp_feature_store_seconds", "", cells)
        singles = (
            ("mmp_requests_in_flight", "gauge", "Requests in hand.", self._inflight),
            ("mmp_feature_store_errors_total", "counter", "Reads that failed.", self._feature_errors),
            ("mmp_degraded_rows_total", "counter", "Rows answered without features.", self._degraded),
            ("mmp_shadow_rows_total", "counter", "Rows that the shadow answered too.", self._shadow),
            ("mmp_shadow_differing_total", "counter", "Rows that it answered otherwise.", self._differing),
        )
        for name, kind, text, place in singles:
            yield from _head(name, kind, text)
            yield f"{name} {int(cells[place])}"
        yield from _head("mmp_workers", "gauge", "Processes that serve.")
        yield f"mmp_workers {self._n_workers}"


def _head(name: str, kind: str, text: str) -> tuple[str, str]:
    return f"# HELP {name} {text}", f"# TYPE {name} {kind}"


def _number(bound: float) -> str:
    return f"{bound:g}"
