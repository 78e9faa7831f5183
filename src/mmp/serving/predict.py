"""The hot path: from the bytes of a request to the bytes of its answer, without a data frame."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import msgspec

from mmp.errors import MmpError
from mmp.serving.answers import Answer, Refusal, encode
from mmp.serving.batching import Batcher
from mmp.serving.parse import read_json
from mmp.serving.rows import refusal
from mmp.serving.tables import MANY, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from mmp.modeling.engines.base import Output
    from mmp.modeling.values import Value
    from mmp.serving.gate import Reply
    from mmp.serving.served import Served
    from mmp.serving.shadow import Shadow
    from mmp.serving.telemetry import Telemetry

    Cells = Mapping[str, Value]
    _Answers = list[Any]  # as JSON has them

_QUICK_TABLE_S: Final = 0.001  # of the event loop, whose other requests wait
_A_TURN: Final = 32  # rows that the event loop predicts before it looks up


class Lookup(Protocol):
    """What adds the features of the store to rows."""

    def __call__(self, rows: Sequence[Cells]) -> Completed:
        """Return complete rows; blocks for a round trip."""
        ...

    async def soon(self, rows: Sequence[Cells]) -> Completed:
        """Return complete rows, and let the event loop go on meanwhile."""
        ...

    def missing(self) -> tuple[str, ...]:
        """Say what does not answer, if something does not."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


@dataclass(frozen=True, slots=True)
class Completed:
    """Rows with their features.

    Parameters
    ----------
    rows : sequence
        Complete cells, or the refusal of a row.
    degraded : bool
        Whether the store did not answer and the recipe's default stands in.
    """

    rows: Sequence[Cells | Refusal]
    degraded: bool = False


class _Asked(NamedTuple):
    """One row that somebody asks for."""

    served: Served
    body: bytes
    request_id: str
    reply: Reply


class _Read(NamedTuple):
    """The same, as it was read: what came, and its cells."""

    asked: _Asked
    row: Mapping[str, Any]
    cells: Cells


@dataclass(frozen=True, slots=True)
class _Job:
    """Rows of one request, checked, for one version of the model."""

    served: Served
    rows: Sequence[Cells]
    is_complete: bool


@dataclass(frozen=True, slots=True)
class _Table:
    """Rows of one request, as columns or as they came: so many that they are predicted column by column."""

    served: Served
    rows: Table | Sequence[Any]
    body: bytes


@dataclass(frozen=True, slots=True)
class _Done:
    outputs: Sequence[Output | Refusal]
    degraded: bool = False


class Predictor:
    """Predicts requests.

    Parameters
    ----------
    telemetry : Telemetry
        Counts batches.
    n_threads : int
        Predictions at a time that are not quick.
    max_rows : int
        Rows that are predicted together.
    max_wait_s : float
        How long a request waits for company.
    budget_s : float
        How long it waits for a thread and for what the thread does.
    """

    def __init__(
        self,
        telemetry: Telemetry,
        *,
        n_threads: int,
        max_rows: int,
        max_wait_s: float = 0.0,
        budget_s: float = 30.0,
    ) -> None:
        self.telemetry, self._budget_s = telemetry, budget_s
        self.shadow: Shadow | None = None
        self._alone, self._most = not max_wait_s, min(max_rows, _A_TURN)
        self._asked: list[_Asked] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._batcher: Batcher[_Job | _Table, _Done | _Answers] = Batcher(
            self._work, n_threads=n_threads, max_size=max_rows, max_wait_s=max_wait_s
        )

    def one(self, served: Served, body: bytes, request_id: str, reply: Reply) -> None:
        """Answer `POST /predict`, together with what else comes in this turn of the event loop."""
        if not self._asked:
            asyncio.get_running_loop().call_soon(self._turn)
        self._asked.append(_Asked(served, body, request_id, reply))

    def many(self, served: Served, body: bytes, request_id: str, reply: Reply) -> None:
        """Answer `POST /predict/batch`."""
        self._start(self._many(_Asked(served, body, request_id, reply)))

    def _turn(self) -> None:
        asked, self._asked = self._asked[: self._most], self._asked[self._most :]
        if self._asked:  # connections are served before it goes on
            asyncio.get_running_loop().call_soon(self._turn)
        for _, alike in groupby(asked, lambda each: id(each.served)):
            read = [each for each in map(_read, alike) if each is not None]
            if read:
                self._answer(read[0].asked.served, read)

    def _answer(self, served: Served, read: list[_Read]) -> None:
        if served.lookup is not None or not self._is_instant(served):
            self._start(self._later(served, read))
            return
        try:
            self._tell(served, read, self._now(served, [each.cells for each in read]))
        except Exception as error:  # noqa: BLE001 - a bug, which the gate tells
            for each in read:
                each.asked.reply(error)

    def _is_instant(self, served: Served) -> bool:
        """Tell whether rows are predicted on the event loop."""
        return self._alone and served.is_quick

    def _now(self, served: Served, rows: Sequence[Cells | Refusal], *, degraded: bool = False) -> _Done:
        self.telemetry.predicted(len(rows))
        return _Done(_outputs(served, rows), degraded)

    async def _later(self, served: Served, read: list[_Read]) -> None:
        rows = [each.cells for each in read]
        try:
            if served.lookup is not None and self._is_instant(served):
                completed = await served.lookup.soon(rows)
                done = self._now(served, completed.rows, degraded=completed.degraded)
            else:
                done = await self._done(_Job(served, rows, served.lookup is None))
            self._tell(served, read, done)
        except Exception as error:  # noqa: BLE001 - the gate knows what to make of it
            for each in read:
                each.asked.reply(error)

    def _tell(self, served: Served, read: list[_Read], done: _Done) -> None:
        for each, output in zip(read, done.outputs, strict=True):
            if isinstance(output, Refusal):
                each.asked.reply(output)
                continue
            answer = served.answer(output, each.row)
            if self.shadow is not None:
                self.shadow.offer([each.row], [answer], each.asked.request_id)
            if done.degraded:
                answer["degraded"] = True
            answer["model_uri"] = served.uri
            answer["request_id"] = each.asked.request_id
            each.asked.reply(Answer(200, encode(answer)))

    async def _many(self, asked: _Asked) -> None:
        try:
            asked.reply(await self._batch(asked.served, asked.body, asked.request_id))
        except Exception as error:  # noqa: BLE001 - the gate knows what to make of it
            asked.reply(error)

    async def _batch(self, served: Served, body: bytes, request_id: str) -> Answer:
        rows = None if served.lookup or self.shadow else served.tables.read(body)
        samples = _samples(read_json(body)) if rows is None else ()
        if rows is not None or (served.lookup is None and len(samples) >= MANY):
            predictions, degraded = await self._answers(_Table(served, rows or samples, body)), False
        else:
            outputs, degraded = await self.outputs(served, checked(served, samples))
            predictions = [served.answer(output, row) for output, row in zip(outputs, samples, strict=True)]
        if self.shadow is not None:
            self.shadow.offer(samples, msgspec.to_builtins(predictions), request_id)
        answer: dict[str, Any] = {
            "predictions": predictions,
            "model_uri": served.uri,
            "sample_count": len(predictions),
            "request_id": request_id,
        }
        if degraded:
            answer["degraded"] = True
        return Answer(200, encode(answer))

    async def _answers(self, table: _Table) -> _Answers:
        if self._alone and table.served.pace.of(len(table.rows)) < _QUICK_TABLE_S:
            return self._tabled(table)
        answers = await self._worked(table)
        assert isinstance(answers, list)
        return answers

    async def completed(self, served: Served, rows: Sequence[Cells]) -> tuple[list[Cells], bool]:
        """Add the features of the store to checked rows; tells whether they are missing in them."""
        if served.bundle.features is None:
            return list(rows), False
        completed = await asyncio.to_thread(_completed, served, rows)
        if refused := [row for row in completed.rows if isinstance(row, Refusal)]:
            raise refused[0]
        return [row for row in completed.rows if not isinstance(row, Refusal)], completed.degraded

    async def outputs(
        self, served: Served, rows: Sequence[Cells], *, is_complete: bool = False
    ) -> tuple[list[Output], bool]:
        """Predict checked rows on a thread; tells whether features are missing in them."""
        if not rows:
            return [], False
        is_complete = is_complete or served.bundle.features is None
        return _or_refuse(await self._done(_Job(served, rows, is_complete)))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _done(self, job: _Job) -> _Done:
        done = await self._worked(job)
        assert isinstance(done, _Done)
        return done

    async def _worked(self, job: _Job | _Table) -> _Done | _Answers:
        async with asyncio.timeout(self._budget_s):
            return await self._batcher.submit(job, len(job.rows))

    def close(self) -> None:
        """Let the threads end."""
        self._batcher.close()

    def _work(self, jobs: Sequence[_Job | _Table]) -> list[_Done | _Answers | Exception]:
        """Predict tables one by one, and jobs together that are of one version of the model."""
        done: dict[int, _Done | _Answers | Exception] = {}
        kinds: dict[tuple[int, bool], dict[int, _Job]] = {}
        for place, job in enumerate(jobs):
            if isinstance(job, _Table):
                done[place] = _caught(self._tabled, job)
            else:
                kinds.setdefault((id(job.served), job.is_complete), {})[place] = job
        for alike in kinds.values():
            done.update(zip(alike, self._together(list(alike.values())), strict=True))
        return [done[place] for place in range(len(jobs))]

    def _tabled(self, table: _Table) -> _Answers:
        """Answer the rows of a table; raises `Refusal` where one is none."""
        served, rows = table.served, table.rows
        self.telemetry.predicted(len(rows))
        read = rows if isinstance(rows, Table) else served.tables.of(rows)
        if read is not None:
            with suppress(MmpError), served.pace.measured(len(read)):
                return served.answers(served.single.table(read.columns), read)
        rows = _samples(read_json(table.body)) if isinstance(rows, Table) else rows
        # something is wrong in one of the rows: by themselves they say in which
        outputs, _ = _or_refuse(_Done(_outputs(served, checked(served, rows))))
        return [served.answer(output, row) for output, row in zip(outputs, rows, strict=True)]

    def _together(self, jobs: Sequence[_Job]) -> Sequence[_Done | Exception]:
        first = jobs[0]
        try:
            return self._predicted(first.served, [job.rows for job in jobs], is_complete=first.is_complete)
        except MmpError as error:
            return [error for _ in jobs]

    def _predicted(
        self, served: Served, parts: Sequence[Sequence[Cells]], *, is_complete: bool
    ) -> list[_Done]:
        rows = [row for part in parts for row in part]
        completed = Completed(rows) if is_complete else _completed(served, rows)
        self.telemetry.predicted(len(rows))
        outputs = _outputs(served, completed.rows)
        done, start = [], 0
        for part in parts:
            done.append(_Done(outputs[start : start + len(part)], completed.degraded))
            start += len(part)
        return done


def _read(asked: _Asked) -> _Read | None:
    """Read a row; one that is refused is answered, and that is all of it."""
    try:
        row = read_json(asked.body)
        return _Read(asked, row, asked.served.form.cells(row))
    except Exception as error:  # noqa: BLE001 - the gate knows what to make of it
        asked.reply(error)
        return None


def checked(served: Served, samples: Sequence[Any]) -> list[Cells]:
    """Read the rows of a batch.

    Raises
    ------
    Refusal
        422, one for all that is wrong in any of them.
    """
    rows, problems = [], []  # type: list[Cells], list[Mapping[str, str]]
    for position, sample in enumerate(samples):
        try:
            rows.append(served.form.cells(sample, f"samples[{position}]."))
        except Refusal as refused:
            problems += refused.details
    if problems:
        raise refusal(problems)
    return rows


def _completed(served: Served, rows: Sequence[Cells]) -> Completed:
    return Completed(rows) if served.lookup is None else served.lookup(rows)


def _samples(value: Any) -> list[Any]:
    """Return the rows of a batch."""
    hint = 'Send {"samples": [{…}, {…}]}.'
    if not isinstance(value, dict):
        raise Refusal(422, "data", "The body is no JSON object.", hint=hint)
    samples = value.get("samples")
    if not isinstance(samples, list):
        raise Refusal(422, "data", "The body has no list 'samples'.", hint=hint)
    if extra := value.keys() - {"samples"}:
        raise Refusal(422, "data", f"The body has a key {min(extra)[:40]!r} beside 'samples'.", hint=hint)
    return samples


def _outputs(served: Served, rows: Sequence[Cells | Refusal]) -> list[Output | Refusal]:
    """Predict rows together; a row that cannot be answered is refused by itself."""
    features = [row if isinstance(row, Refusal) else _features(served, row) for row in rows]
    predicted = iter(_stacked(served, [each for each in features if not isinstance(each, Refusal)]))
    return [each if isinstance(each, Refusal) else next(predicted) for each in features]


def _features(served: Served, row: Cells) -> tuple[Any, ...] | Refusal:
    try:
        return served.single.features(row)
    except MmpError as error:
        return Refusal.of(error)


def _stacked(served: Served, features: list[Any]) -> list[Output | Refusal]:
    if not features:
        return []
    try:
        return list(served.single.outputs(features))
    except MmpError as error:
        if len(features) == 1:
            return [Refusal.of(error)]
        return [output for row in features for output in _stacked(served, [row])]


def _caught(work: Callable[[_Table], _Answers], table: _Table) -> _Answers | Exception:
    try:
        return work(table)
    except (Refusal, MmpError) as error:
        return error


def _or_refuse(done: _Done) -> tuple[list[Output], bool]:
    return [_or_raise(output) for output in done.outputs], done.degraded


def _or_raise(output: Output | Refusal) -> Output:
    if isinstance(output, Refusal):
        raise output
    return output
