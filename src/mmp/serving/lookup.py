"""Features as of now for the rows of requests, counted, and with a way on where the store does not answer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mmp.errors import FeatureStoreError, UnknownEntityError
from mmp.modeling.complete import complete_cells, complete_cells_soon
from mmp.serving.answers import Refusal
from mmp.serving.predict import Completed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mmp.features.online import OnlineReader
    from mmp.serving.predict import Cells
    from mmp.serving.telemetry import Telemetry


class OnlineLookup:
    """Reads the features of a model from the online store.

    Parameters
    ----------
    reader : OnlineReader
        Open, with the model's features.
    telemetry : Telemetry
        Counts reads and what went without.
    """

    def __init__(self, reader: OnlineReader, telemetry: Telemetry) -> None:
        self._reader, self._telemetry = reader, telemetry

    def __call__(self, rows: Sequence[Cells]) -> Completed:
        """Complete rows, in one round trip.

        Raises
        ------
        FeatureStoreError
            The store does not answer, and the recipe names no default.
        """
        started = time.perf_counter()
        try:
            completed = complete_cells(self._reader, rows)
        except FeatureStoreError as error:
            return self._failed(error, rows, started)
        return self._read(completed, started)

    async def soon(self, rows: Sequence[Cells]) -> Completed:
        """Do the same, and let the event loop go on meanwhile."""
        started = time.perf_counter()
        try:
            completed = await complete_cells_soon(self._reader, rows)
        except FeatureStoreError as error:
            return self._failed(error, rows, started)
        return self._read(completed, started)

    def _read(self, completed: Sequence[Cells | UnknownEntityError], started: float) -> Completed:
        self._telemetry.looked_up(time.perf_counter() - started, failed=False)
        return Completed(
            [Refusal.of(row) if isinstance(row, UnknownEntityError) else row for row in completed]
        )

    def _failed(self, error: FeatureStoreError, rows: Sequence[Cells], started: float) -> Completed:
        self._telemetry.looked_up(time.perf_counter() - started, failed=True)
        if self._reader.features.on_missing != "default":
            raise error
        self._telemetry.degraded(len(rows))
        return Completed([self._without(row) for row in rows], degraded=True)

    def missing(self) -> tuple[str, ...]:
        """Ask the store whether it answers; return what to say where it does not."""
        try:
            self._reader.ping()
        except FeatureStoreError as error:
            return (error.message,)
        return ()

    def close(self) -> None:
        """Let go of connections."""
        self._reader.close()

    def _without(self, row: Cells) -> Cells:
        features = self._reader.features
        return {**row, **{name: features.defaults.get(name) for name in features.names}}
