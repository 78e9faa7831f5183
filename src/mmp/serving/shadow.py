"""A second model that answers along, unseen: what it would have said otherwise is counted and logged."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

from mmp.errors import MmpError
from mmp.serving.answers import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mmp.serving.log import Log
    from mmp.serving.served import Served
    from mmp.serving.telemetry import Telemetry

_MOST_WAITING: Final = 64


class Shadow:
    """Answers what the served model answered, later and on a thread of its own.

    Under load it skips requests, so that it never holds up the model that is served.

    Parameters
    ----------
    served : Served
        The second model.
    telemetry : Telemetry
        Counts rows and differences.
    log : Log
        Gets a line for each difference, without the payload.
    """

    def __init__(self, served: Served, telemetry: Telemetry, log: Log) -> None:
        self._served, self._telemetry, self._log = served, telemetry, log
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="shadow")
        self._waiting = 0

    def offer(self, rows: Sequence[Any], answers: Sequence[Mapping[str, Any]], request_id: str) -> None:
        """Take a copy of a request and its answers, if there is room."""
        if self._waiting < _MOST_WAITING:
            self._waiting += 1
            self._executor.submit(self._compare, rows, answers, request_id)

    def close(self) -> None:
        """Let the thread end with what it has in hand."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _compare(self, rows: Sequence[Any], answers: Sequence[Mapping[str, Any]], request_id: str) -> None:
        try:
            for row, answer in zip(rows, answers, strict=True):
                said = self._answer(row)
                differs = said.get("prediction") != answer["prediction"]
                self._telemetry.shadowed(differs=differs)
                if differs:
                    self._log.write(level="info", shadow=self._served.run_id, request_id=request_id, **said)
        finally:
            self._waiting -= 1

    def _answer(self, row: Any) -> dict[str, Any]:
        served = self._served
        try:
            cells = served.form.cells(row)
            complete = cells if served.lookup is None else served.lookup([cells]).rows[0]
            if isinstance(complete, Refusal):
                raise complete
            (output,) = served.single.outputs([served.single.features(complete)])
        except (Refusal, MmpError) as error:
            return {"refused": error.message}
        answer = served.answer(output, {})
        return {name: answer[name] for name in ("prediction", "probability") if name in answer}
