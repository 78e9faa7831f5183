"""Batch scoring, top to bottom: from a model and a table of any size to its predictions, each row once."""

from __future__ import annotations

import json
import resource
import sys
import time
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mmp.data.batches import BEGINNING, blocks
from mmp.data.buffers import no_rows
from mmp.data.durable import replacing
from mmp.data.sinks.work import Work
from mmp.data.table import ColumnSpec
from mmp.errors import DataError, Finding, SettingsError
from mmp.evaluation.strongest import Strongest
from mmp.modeling import complete, threads
from mmp.pipelines import record
from mmp.pipelines.differences import require_columns, unread
from mmp.pipelines.inputs import find_rows, open_rows
from mmp.pipelines.model import load_model
from mmp.pipelines.output import find_output, refuse_own_rows
from mmp.pipelines.overlap import in_order
from mmp.pipelines.score import Scorer
from mmp.pipelines.steps import Steps
from mmp.tracking import manifest
from mmp.tracking.run import BATCH, KIND, PARENT, TASK, run
from mmp.tracking.stores import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence

    from mmp.data.batches import Batches
    from mmp.data.sinks.work import Part
    from mmp.modeling.bundle import Bundle
    from mmp.pipelines.model import LoggedModel
    from mmp.pipelines.output import Output, Sink
    from mmp.pipelines.score import Bad, Scored
    from mmp.pipelines.steps import Watcher
    from mmp.settings.adapters import Target
    from mmp.settings.config import Config
    from mmp.tracking.stores.base import Store

PART_ROWS = 1 << 18
"""Rows of a part: some seconds of work, and some megabytes of output."""

EXPLAINED_PART_ROWS = 1 << 14
"""Rows of a part where each is explained, which takes a hundred times as long."""

_RUN = "run"
_MOST_BLOCK_ROWS = 1 << 16
_MOST_EXPLAINED_ROWS = 1 << 11
_LEAST_BLOCK_ROWS = 1 << 10
_BLOCK_CELLS = 1 << 22
_LINEAGE = (pa.field("run_id", pa.string()), pa.field("predicted_at", pa.timestamp("us", "UTC")))
_WHAT_CHANGED = {
    "model": "the model",
    "input": "the input",
    "output": "what is written",
    "part_rows": "the size of the parts",
}


@dataclass(frozen=True)
class BatchResult:
    """What a batch gave.

    Parameters
    ----------
    run_id : str
        The scoring's own run; empty where the output was there already.
    model_run_id : str
        The model's.
    rows, rejected : int
        Rows with a prediction, and rows that were left out.
    output, rejected_output : str
        Where they are; the second is empty where no row was left out.
    seconds, rows_per_s : float
        Of this process: where it goes on with what another did, the rate counts its own rows.
    peak_rss_mb : float
        The most memory that the process had.
    resumed_parts : int
        Parts that were there already.
    predictor : str
        What predicted; empty where nothing was left to predict.
    is_new : bool
        Whether anything was written.
    """

    run_id: str
    model_run_id: str
    rows: int
    rejected: int
    output: str
    rejected_output: str
    seconds: float
    rows_per_s: float
    peak_rss_mb: float
    resumed_parts: int
    predictor: str = ""
    is_new: bool = True

    def as_dict(self) -> dict[str, Any]:
        """Return the object that ``--json`` prints."""
        return asdict(self)


@dataclass(frozen=True)
class _Job:
    """What is scored by what, and where to."""

    logged: LoggedModel
    rows: Batches
    output: Output
    policy: Target
    part_rows: int

    @property
    def bundle(self) -> Bundle:
        return self.logged.bundle

    @property
    def reads(self) -> tuple[ColumnSpec, ...]:
        """What a row must have: all that the model reads, or what the feature store finds the rest by."""
        bundle, names = self.bundle, self.rows.schema.names
        if bundle.features is None or {spec.name for spec in bundle.stored} <= set(names):
            return bundle.inputs
        moment, asked = bundle.features.timestamp_column, [spec.name for spec in bundle.request]
        if moment is None or moment in asked or moment not in names:
            return bundle.request
        return (*bundle.request, ColumnSpec(moment, "timestamp"))

    @property
    def columns(self) -> list[str]:
        """The columns to read: what the model needs, and those of its keys that are there."""
        keys = [spec.name for spec in self.bundle.entities if spec.name in self.rows.schema.names]
        return list(dict.fromkeys([*keys, *(spec.name for spec in self.reads)]))

    @property
    def rejects(self) -> bool:
        """Whether bad rows are left out."""
        return self.policy.on_bad_row == "reject"

    @property
    def key(self) -> dict[str, Any]:
        """What makes this the same batch when it is tried again."""
        of_rows: dict[str, Any] = {"lineage": self.policy.lineage_columns}
        if self.policy.explain_top_k is not None:
            of_rows["explain_top_k"] = self.policy.explain_top_k
        return {
            "model": self.logged.run.tags.get(manifest.TAG, self.logged.run.run_id),
            "input": self.rows.identity,
            "output": self.output.identity | of_rows,
            "part_rows": self.part_rows,
        }


def batch_inference(  # noqa: PLR0913 - what a command line can say
    ref: str,
    config: Config,
    *,
    data: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    output: str | None = None,
    restart: bool = False,
    part_rows: int | None = None,
    explain_top_k: int | None = None,
    watcher: Watcher | None = None,
    tell: Callable[[Iterable[Finding]], None] | None = None,
) -> BatchResult:
    """Score a table of any size, in memory that does not grow with it.

    What is done is kept beside the output, part by part. A batch that dies at any moment is gone on
    with by the same call; the output appears when it is complete, and is the same to the byte.

    Parameters
    ----------
    ref : str
        The model's run: an id, ``latest``, ``best`` or an alias.
    config : Config
        Where runs are, how tables are reached, and where predictions go.
    data : str, optional
        The table: a file, a directory, a glob or a query; what the model was trained on by default.
    parameters : Mapping, optional
        Values for the variables of a query.
    output : str, optional
        A file, or a directory for a file each part, instead of the config's output.
    restart : bool
        Whether to begin anew, and to replace an output of something else.
    part_rows : int, optional
        Rows of a part; `PART_ROWS`, or `EXPLAINED_PART_ROWS`, by default.
    explain_top_k : int, optional
        How many columns to name for each row, instead of the config's ``output.inference.explain_top_k``.
    watcher : Watcher, optional
        Is told about the steps as they happen.
    tell : callable, optional
        Is given findings as they are made.

    Raises
    ------
    MmpError
        What the user can mend; what is done stays done.
    """
    clock, steps, findings = _Clock(), Steps(watcher), record.Findings(tell)
    with steps("load") as note:
        logged = load_model(ref, config)
        findings.add((*logged.findings, *logged.feature_changes()))
        note(f"{logged.run.name}, {logged.bundle.class_path}")
    target = find_output(config, output, logged.run.run_id)
    source = find_rows(logged, config, data, parameters)
    refuse_own_rows(target, source)
    policy = config.output.inference
    if explain_top_k is not None:
        policy = policy.model_copy(update={"explain_top_k": explain_top_k})
    with Work(target.work, str(target)) as work:
        with steps("open") as note:
            rows = open_rows(logged, config, source, work.folder, fresh=restart)
            job = _Job(logged, rows, target, policy, part_rows or _part_rows(policy))
            scorer = _scorer(job, findings)
            note(rows.source + ("" if rows.n_rows is None else f", {rows.n_rows:,} rows"))
        entities = [spec.name for spec in logged.bundle.entities]
        with target.open(work, scorer.schema, job.key, entities) as sink:
            if not restart and sink.known.get("key") == job.key:
                result = _known(job, sink, clock)
                work.remove()
                return result
            findings.add(_begin(job, work, sink, restart=restart))
            scorer = _begun(scorer, job, datetime.fromisoformat(work.job["begun_at"]))
            with (
                connect(config.mlflow) as store,
                run(store, *_names(job), _tags(job), secrets=record.secrets(config)) as active,
            ):
                active.log_params(_facts(job, scorer))
                active.flush()
                _end_before(store, work, active.run_id)
                resumed = tuple(work.done)
                with steps("score") as note, closing(_score(job, scorer, work, sink)) as scored:
                    clock.begin(n_before=sum(part.rows + part.rejected for part in resumed))
                    for piece in scored:
                        clock.n_rows += piece.n_rows
                        about = rows.about(piece.mark)
                        steps.progress(clock.progress(len(work.done) + 1, rows.n_rows, about))
                    note(clock.progress(len(work.done), rows.n_rows))
                with steps("write") as note:
                    result = _finish(job, work, sink, scorer, active.run_id, resumed, clock)
                    note(result.output)
                active.log_metrics({name: getattr(result, name) for name in ("rows", "rejected", "seconds")})
        work.remove()
    return result


def _scorer(job: _Job, findings: record.Findings) -> Scorer:
    """Return what predicts a block, or refuse a table that the model cannot be given."""
    bundle, declared = job.bundle, job.rows.schema
    there = [name for name in job.columns if name in declared.names]
    _, first = next(job.rows.tables(there, 0, BEGINNING), (BEGINNING, no_rows(declared).select(there)))
    require_columns(job.reads, first, declared.names, where=job.rows.source)
    findings.add(unread(declared.names, {bundle.target.name, *job.columns}))
    keys = [spec.name for spec in bundle.entities if spec.name in declared.names]
    types = {spec.name: pa.string() for spec in bundle.inputs}
    types |= {name: _plain(declared.field(name).type) for name in keys}
    # a thread of ours for each core, and none of the library's own beside it: see docs/adr
    one = replace(bundle, model=bundle.model.with_threads(1).ready_for(job.rows.n_rows))
    schema = one.predict(no_rows(pa.schema(list(types.items())))).to_arrow().schema
    top_k = job.policy.explain_top_k
    strongest = None if top_k is None else Strongest(one, top_k)
    if strongest is not None:
        schema = _extended(schema, strongest.fields, "Leave explain_top_k out")
    if job.policy.lineage_columns:
        schema = _extended(schema, _LINEAGE, "Set lineage_columns to false")
    return Scorer(one, job.reads, schema, job.rows.source, rejects=job.rejects, strongest=strongest)


def _extended(schema: pa.Schema, fields: Sequence[pa.Field], instead: str) -> pa.Schema:
    if taken := {each.name for each in fields} & set(schema.names):
        raise SettingsError(
            f"The output has a column '{min(taken)}' already.", hint=f"{instead}, or rename the column."
        )
    return pa.schema([*schema, *fields])


def _plain(type_: pa.DataType) -> pa.DataType:
    return type_.value_type if pa.types.is_dictionary(type_) else type_


def _begin(job: _Job, work: Work, sink: Sink, *, restart: bool) -> list[Finding]:
    """Go on with the parts that are done, or begin anew, and say why."""
    begun = work.job.get("key", {})
    if begun == job.key and not restart:
        # a part without bad rows is the same whatever becomes of them
        work.resume(lambda number, part: (job.rejects or not part.rejected) and sink.has(number, part))
        return _resumed(job, work)
    if sink.is_occupied and not restart:
        raise SettingsError(
            f"{job.output} is there already, and of {_changed(sink.known.get('key', {}), job.key)}.",
            hint="Name another output by -o, or replace it with --restart.",
        )
    if sink.is_foreign and not begun:
        raise SettingsError(
            f"{job.output} is a directory of other things, which --restart does not remove.",
            hint="Name another output by -o, or remove it yourself.",
        )
    work.begin({"key": job.key, "begun_at": datetime.now(UTC).isoformat(timespec="seconds")})
    sink.discard()
    if not begun or restart:
        return []
    message = f"A batch to {job.output} was begun with {_changed(begun, job.key)}; it starts over."
    return [Finding("batch", "warn", message)]


def _resumed(job: _Job, work: Work) -> list[Finding]:
    if not work.done:
        return []
    again = job.rows.resumed(work.done[-1].mark)
    message = f"It goes on with part {len(work.done) + 1:,}{again and f'; {again}'}."
    return [Finding("batch", "info", message)]


def _changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    changed = [words for name, words in _WHAT_CHANGED.items() if before.get(name) != now[name]]
    return "something else" if not before else f"other things: {', '.join(changed)} changed"


def _begun(scorer: Scorer, job: _Job, begun_at: datetime) -> Scorer:
    """Return the scorer of a batch that was begun at some moment, which holds until it ends."""
    if job.reads != job.bundle.inputs:
        scorer = replace(scorer, complete=_lookup(job, begun_at))
    if not job.policy.lineage_columns:
        return scorer
    values = (job.logged.run.run_id, begun_at)
    return replace(
        scorer,
        constants={
            each.name: pa.scalar(value, each.type) for each, value in zip(_LINEAGE, values, strict=True)
        },
    )


def _lookup(job: _Job, begun_at: datetime) -> Callable[[pa.Table], pa.Table]:
    features, logged = job.bundle.features, job.logged
    assert features is not None
    lookup = complete.historical(features, logged.config, application=logged.application, as_of=begun_at)

    def completed(rows: pa.Table) -> pa.Table:
        return complete.complete(job.bundle, rows, lookup, where=job.rows.source)

    return completed


def _score(job: _Job, scorer: Scorer, work: Work, sink: Sink) -> Generator[Scored]:
    """Score what is left, and yield each block; a part is safe before the next block is."""
    rows = blocks(
        job.rows,
        job.columns,
        first=sum(part.rows + part.rejected for part in work.done),
        mark=work.done[-1].mark if work.done else BEGINNING,
        most_rows=_block_rows(scorer),
        part_rows=job.part_rows,
    )
    n_threads = threads.cores()
    with closing(in_order(scorer, rows, n_threads=n_threads, ahead=n_threads + 1)) as scored:
        of_part: list[Scored] = []
        for piece in scored:
            yield piece
            of_part.append(piece)
            if (piece.first + piece.n_rows) % job.part_rows == 0:  # before the next block can fail
                _write(of_part, job, work, sink)
                of_part = []
        if of_part:
            _write(of_part, job, work, sink)


def _part_rows(policy: Target) -> int:
    return PART_ROWS if policy.explain_top_k is None else EXPLAINED_PART_ROWS


def _block_rows(scorer: Scorer) -> int:
    """Return how many rows go through the model at once: many, but not of a wide table."""
    bundle, strongest = scorer.bundle, scorer.strongest
    n_cells, most = len(bundle.inputs) + len(bundle.pipeline.names), _MOST_BLOCK_ROWS
    if strongest is not None:
        n_cells, most = n_cells + strongest.n_cells, _MOST_EXPLAINED_ROWS
    return max(_LEAST_BLOCK_ROWS, min(most, _BLOCK_CELLS // n_cells))


def _write(pieces: list[Scored], job: _Job, work: Work, sink: Sink) -> None:
    number = len(work.done)
    bad = [each for piece in pieces for each in piece.bad]
    if bad:
        with replacing(work.rejected(number)) as beside:
            beside.write_text("".join(map(_line, bad)), encoding="utf-8")
        _refuse_many(sum(part.rejected for part in work.done) + len(bad), bad, job)
    part = sink.write(number, [piece.table for piece in pieces])
    work.record(replace(part, rejected=len(bad), mark=pieces[-1].mark))


def _line(bad: Bad) -> str:
    return json.dumps(asdict(bad), ensure_ascii=False, default=str) + "\n"


def _refuse_many(n_bad: int, bad: list[Bad], job: _Job) -> None:
    most = job.policy.max_bad_rows
    if most is not None and n_bad > most:
        last = bad[-1]
        raise DataError(
            f"{n_bad:,} rows cannot be predicted, and output.inference.max_bad_rows is {most:,}; the last is "
            f"row {last.row:,}: {f'{last.column!r} ' if last.column else ''}{last.reason}.",
            hint="Mend the rows, or raise the limit.",
            where=job.rows.source,
        )


def _finish(
    job: _Job,
    work: Work,
    sink: Sink,
    scorer: Scorer,
    run_id: str,
    resumed: tuple[Part, ...],
    clock: _Clock,
) -> BatchResult:
    """Put the output in place, the rejected rows first, so that it is never there without them."""
    rejected = sum(part.rejected for part in work.done)
    rejected_output = job.output.put_rejected(work.gather_rejected()) if rejected else ""
    rows = sum(part.rows for part in work.done)
    sink.finish(
        {
            "key": job.key,
            "model_run_id": job.logged.run.run_id,
            "run_id": run_id,
            "source": job.rows.source,
            "begun_at": work.job["begun_at"],
            "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "rows": rows,
            "rejected": rejected,
            "rejected_output": rejected_output,
            "columns": [{"name": each.name, "type": str(each.type)} for each in scorer.schema],
            **({} if scorer.strongest is None else {"shap_unit": scorer.strongest.unit}),
        }
    )
    return BatchResult(
        run_id=run_id,
        model_run_id=job.logged.run.run_id,
        rows=rows,
        rejected=rejected,
        output=str(job.output),
        rejected_output=rejected_output,
        resumed_parts=len(resumed),
        predictor=_predictor(job, scorer),
        **clock.figures(),
    )


def _known(job: _Job, sink: Sink, clock: _Clock) -> BatchResult:
    """Return what an output that is complete says of itself."""
    rejected = int(sink.known.get("rejected", 0))
    if rejected and not job.rejects:
        raise SettingsError(
            f"{job.output} is complete but for {rejected:,} bad rows that were left out, and "
            "output.inference.on_bad_row is error.",
            hint="Mend the rows, or set it to reject; --restart replaces what is there.",
        )
    most = job.policy.max_bad_rows
    if most is not None and rejected > most:
        raise SettingsError(
            f"{job.output} is complete but for {rejected:,} bad rows that were left out, and "
            f"output.inference.max_bad_rows is {most:,}.",
            hint="Mend the rows, or raise the limit; --restart replaces what is there.",
        )
    return BatchResult(
        run_id="",
        model_run_id=job.logged.run.run_id,
        rows=int(sink.known["rows"]),
        rejected=rejected,
        output=str(job.output),
        rejected_output=str(sink.known.get("rejected_output", "")),
        resumed_parts=0,
        is_new=False,
        **clock.figures(),
    )


def _names(job: _Job) -> tuple[str, str]:
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    return job.logged.run.experiment, f"{job.bundle.recipe_name}_batch_{stamp}"


def _facts(job: _Job, scorer: Scorer) -> dict[str, Any]:
    """Return what the run says of itself."""
    return {
        "source": job.rows.source,
        "output": str(job.output),
        "predictor": f"{_predictor(job, scorer)}, one thread in each of {threads.cores()}",
    }


def _predictor(job: _Job, scorer: Scorer) -> str:
    """Return what predicts; asked for before threads need it, it is chosen once."""
    return scorer.bundle.model.predictor(job.rows.n_rows)


def _end_before(store: Store, work: Work, run_id: str) -> None:
    """Give the run that was killed here before, and could not say so, its true status."""
    before = work.read(_RUN)
    work.write(_RUN, run_id)
    if before and store.search(id_prefix=before, limit=1):
        run = store.get_run(before)
        if run.status == "RUNNING":
            store.finish(before, "KILLED", end_time_ms=time.time_ns() // 1_000_000)


def _tags(job: _Job) -> dict[str, str]:
    return {KIND: BATCH, PARENT: job.logged.run.run_id, TASK: job.bundle.task}


@dataclass
class _Clock:
    """How long it takes, and how many rows this process scored and others did before."""

    started: float = field(default_factory=time.perf_counter)
    scoring: float = 0.0
    n_rows: int = 0
    n_before: int = 0

    def begin(self, *, n_before: int) -> None:
        """Begin to score."""
        self.scoring, self.n_before = time.perf_counter(), n_before

    def figures(self) -> dict[str, Any]:
        """Return seconds, rate and memory."""
        seconds = time.perf_counter() - self.started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return {
            "seconds": round(seconds, 3),
            "rows_per_s": round(self.n_rows / seconds, 1),
            "peak_rss_mb": round(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10), 1),
        }

    def progress(self, part: int, n_rows: int | None, about: int | None = None) -> str:
        """Return how far it is: rows, rate, time left; of so many rows, or of about so many."""
        n_done = self.n_before + self.n_rows
        rate = self.n_rows / (time.perf_counter() - self.scoring)
        whole = about if n_rows is None else n_rows
        of = "" if whole is None else f" of {'about ' if n_rows is None else ''}{whole:,}"
        left = "" if whole is None or not rate else f", {max(0, whole - n_done) / rate:,.0f} s left"
        return f"{n_done:,}{of} rows, part {part:,}, {rate:,.0f} rows/s{left if n_done != n_rows else ''}"
