"""How many requests a second a served model answers in time."""

from __future__ import annotations

import http.client
import json
import math
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from mmp.data.durable import replacing
from mmp.errors import (
    DataError,
    FeatureStoreError,
    Finding,
    SettingsError,
    TrackingError,
    TrainingError,
)
from mmp.lookup import install_line, is_installed
from mmp.pipelines.steps import Steps
from mmp.serving.load import Level, Target, highest, measure, search
from mmp.settings import json_text
from mmp.tracking.scratch import scratch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from mmp.pipelines.steps import Watcher
    from mmp.settings.config import Config
    from mmp.settings.serving import Auth

# PR_SET_PDEATHSIG, SIGTERM: nobody else would end the server if we are killed
_MMP_WHILE_WE_LIVE: Final = """
import ctypes, runpy
ctypes.CDLL(None).prctl(1, 15)
runpy.run_module("mmp", run_name="__main__", alter_sys=True)
"""
_START_S: Final = 120.0
_END_S: Final = 20.0
_ANSWER_S: Final = 10.0
_LOOK_S: Final = 0.05
_FIRST_RATE: Final = 50.0
_WARM_S: Final = 0.5
_TOKEN_S: Final = 24 * 3600
_ERRORS: Final = {
    error.exit_code: error
    for error in (SettingsError, DataError, TrainingError, FeatureStoreError, TrackingError)
}


@dataclass(frozen=True)
class Ask:
    """What is measured.

    Parameters
    ----------
    p99_ms : float
        The promise: 99 of 100 requests are answered within.
    seconds : float
        How long each rate is kept.
    most_rate : float
        Where it ends, whatever the server could do.
    rows : str, optional
        A JSON object or a list of objects to send in turn; the model's example where left out.
    """

    p99_ms: float = 20.0
    seconds: float = 2.0
    most_rate: float = 20_000.0
    rows: str | None = None


@dataclass(frozen=True)
class Comparison:
    """A measurement beside an earlier one.

    Parameters
    ----------
    before : float
        The highest rate then.
    ratio : float
        The highest rate now, as a share of it.
    tolerance : float
        How much may be lost.
    """

    before: float
    ratio: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether no more is lost than is tolerated."""
        return self.ratio >= 1 - self.tolerance


@dataclass(frozen=True)
class Bench:
    """What a server can do.

    Parameters
    ----------
    run_id, model_uri : str
        What it serves.
    p99_ms : float
        The promise.
    highest_rate : float
        Requests a second up to which it is kept; 0 where it never is.
    levels : tuple of Level
        Every rate that was tried, in order.
    n_cpus : int
        Of the machine, which server and client share.
    comparison : Comparison, optional
        With an earlier one.
    findings : tuple of Finding
        What to know before believing it.
    """

    run_id: str
    model_uri: str
    p99_ms: float
    highest_rate: float
    levels: tuple[Level, ...]
    n_cpus: int
    comparison: Comparison | None
    findings: tuple[Finding, ...]

    @property
    def curve(self) -> list[Level]:
        """The best level of each rate, rising."""
        best: dict[float, Level] = {}
        for level in self.levels:
            if level.rate not in best or level.p99_ms < best[level.rate].p99_ms:
                best[level.rate] = level
        return [best[rate] for rate in sorted(best)]

    def as_dict(self) -> dict[str, Any]:
        """Return what is saved and printed; what was never answered is null."""
        made = {name: value for name, value in asdict(self).items() if name != "findings"}
        made["levels"] = [_finite(asdict(level)) for level in self.curve]
        if self.comparison is not None:
            made["comparison"]["holds"] = self.comparison.holds
        return made


def bench_serve(
    ref: str | None,
    config: Config,
    ask: Ask,
    *,
    server_words: Sequence[str] = (),
    url: str | None = None,
    output: Path | None = None,
    compare: tuple[Path, float] | None = None,
    watcher: Watcher | None = None,
) -> Bench:
    """Load a served model at rising rates, and find the highest that keeps the promise.

    Parameters
    ----------
    ref : str, optional
        The run to serve: an id, ``latest``, ``best`` or an alias; else the config's ``serving.model_alias``.
    config : Config
        As the server has it: says how to get in.
    ask : Ask
        What is measured.
    server_words : sequence of str
        More words for the server that is started.
    url : str, optional
        A server on this machine that runs already; none is started.
    output : Path, optional
        A ``.json`` file for the measurement; the curve goes beside it as ``.png``.
    compare : (Path, float), optional
        A file of an earlier measurement, and the share of its rate that may be lost.
    watcher : Watcher, optional
        Who is told.

    Returns
    -------
    Bench
        The curve.

    Raises
    ------
    MmpError
        The server does not start, or does not answer the rows.
    """
    before = None if compare is None else _saved(compare[0], ask)
    if output is not None and output.suffix != ".json":
        raise SettingsError(f"-o {output} is no .json file.", hint="The curve goes beside it as .png.")
    steps, headers = Steps(watcher), _credentials(config.serving.auth)
    with _server(ref, config, url, server_words, steps) as (host, port):
        ready = _ready(host, port, ref if url else None)
        bodies = _bodies(ask, partial(_fetch, host, port, headers))
        target = Target.of(host, port, "/predict", bodies, headers)
        levels = _levels(target, ask, steps)
    rate = highest(levels, ask.p99_ms)
    made = Bench(
        run_id=ready["run_id"],
        model_uri=ready["model_uri"],
        p99_ms=ask.p99_ms,
        highest_rate=rate,
        levels=tuple(levels),
        n_cpus=os.cpu_count() or 1,
        comparison=None
        if compare is None or before is None
        else Comparison(before, rate / before, compare[1]),
        findings=tuple(_findings(levels, ask, rate)),
    )
    return made if output is None else _save(made, output)


def _levels(target: Target, ask: Ask, steps: Steps) -> list[Level]:
    patience_s = max(1.0, 4 * ask.p99_ms / 1000)

    def level_at(rate: float) -> Level:
        steps.progress(f"{rate:,.0f} requests/s")
        return measure(target, rate, seconds=ask.seconds, patience_s=patience_s)

    with steps("load") as note:
        measure(target, _FIRST_RATE, seconds=_WARM_S, patience_s=patience_s)
        levels = search(level_at, ask.p99_ms, first=min(_FIRST_RATE, ask.most_rate), most=ask.most_rate)
        note(f"{sum(level.scheduled for level in levels):,} requests at {len(levels)} rates")
    return levels


def _findings(levels: Sequence[Level], ask: Ask, rate: float) -> Iterator[Finding]:
    best = [level for level in levels if level.rate == rate]
    if not rate:
        slowest = f"Not even {levels[0].rate:g} requests a second are answered within {ask.p99_ms:g} ms."
        yield Finding("load", "warn", f"{slowest} Raise --p99-ms, or see what the server waits for.")
    if rate >= ask.most_rate:
        yield Finding("load", "info", "The server can do more; --max-rate ended the search.")
    if best and min(level.late_ms for level in best) > ask.p99_ms / 2:
        message = "The client itself was late, so the server may do better: the machine is busy."
        yield Finding("load", "warn", message)


# ------------------------------------------------------------------------------------------------ the server


@contextmanager
def _server(
    ref: str | None, config: Config, url: str | None, words: Sequence[str], steps: Steps
) -> Iterator[tuple[str, int]]:
    """Give the address of a server: one that runs, or one of our own that ends with the block."""
    if url is not None:
        yield _local(url)
        return
    if ref is None:
        raise SettingsError(
            "There is nothing to load.", hint="Name a run with --run-id, or a server with --url."
        )
    if config.serving.tls is not None:
        raise SettingsError(
            "serving.tls is set, and the load goes over plain HTTP.", hint="Take a config without it."
        )
    with scratch("bench") as folder, _process(ref, words, folder, steps) as port:
        yield "127.0.0.1", port


@contextmanager
def _process(ref: str | None, words: Sequence[str], folder: Path, steps: Steps) -> Iterator[int]:
    mmp = ["-c", _MMP_WHILE_WE_LIVE] if sys.platform == "linux" else ["-m", "mmp"]
    command = [sys.executable, *mmp, "serve-api", *words, *([] if ref is None else ["--run-id", ref])]
    command += ["--host", "127.0.0.1", "--port", "0", "--json"]
    log, result = folder / "log", folder / "result"
    with log.open("wb") as stderr, result.open("wb") as stdout:
        # a group of its own: Ctrl-C is for us, and we end the server
        process = subprocess.Popen(command, stdout=stdout, stderr=stderr, start_new_session=True)  # noqa: S603
    try:
        with steps("start") as note:
            port = _port(process, log, result)
            note(f"{ref or 'the alias'} on port {port}")
        yield port
    finally:
        process.terminate()
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _port(process: subprocess.Popen[bytes], log: Path, result: Path) -> int:
    """Wait until the server is ready, and return its port."""
    end = time.monotonic() + _START_S
    port = 0
    while time.monotonic() < end:
        if (code := process.poll()) is not None:
            raise _did_not_start(code, result)
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        found = [line for line in lines if line.startswith("serving on http://")]
        if found:
            port = int(found[0].rpartition(":")[2])
        if port and _is_ready(port):
            return port
        time.sleep(_LOOK_S)
    raise SettingsError(
        f"The server was not ready within {_START_S:g} s.", hint="Start it by itself with `mmp serve-api`."
    )


def _is_ready(port: int) -> bool:
    try:
        return _get("127.0.0.1", port, "/ready", {})[0] == 200
    except OSError:
        return False


def _did_not_start(code: int, result: Path) -> Exception:
    try:
        error = json.loads(result.read_text(encoding="utf-8"))["error"]
    except (json.JSONDecodeError, KeyError, TypeError):
        return SettingsError(
            f"The server ended with {code} before it was ready.",
            hint="Start it by itself with `mmp serve-api`.",
        )
    return _ERRORS.get(code, SettingsError)(error["message"], hint=error["hint"], where=error["where"])


def _local(url: str) -> tuple[str, int]:
    """Return host and port of a server on this machine; load is for no other."""
    parts = urlsplit(url if "//" in url else f"//{url}")
    try:
        host, port = parts.hostname or "", parts.port or 80
        is_local = host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        is_local = False
    if not is_local or parts.scheme not in {"", "http"}:
        raise SettingsError(
            f"--url {url} is no server on this machine over plain HTTP.",
            hint="Load is for loopback only: http://127.0.0.1:8000.",
        )
    return host, port


def _ready(host: str, port: int, run_id: str | None) -> dict[str, Any]:
    answer = _fetch(host, port, {}, "/ready")
    if run_id is not None and not answer["run_id"].startswith(run_id):
        raise SettingsError(
            f"The server has run {answer['run_id']}, not {run_id}.",
            hint="Leave --run-id out, or name that run.",
        )
    return answer


def _fetch(
    host: str, port: int, headers: Mapping[str, str], path: str, body: bytes | None = None
) -> dict[str, Any]:
    """Return what a route answers."""
    try:
        status, content = _get(host, port, path, headers, body)
        answer = json.loads(content)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise SettingsError(
            f"http://{host}:{port}{path} does not answer as a server of mmp: {error}.",
            hint="Is it running? `mmp serve-api` prints its address.",
        ) from error
    if status == 200 and isinstance(answer, dict):
        return answer
    said = answer.get("error", {}) if isinstance(answer, dict) else {}
    message = said.get("message", f"http://{host}:{port}{path} answered {status}.")
    raise DataError(f"The server refuses what would be measured: {message}", hint=said.get("hint", ""))


def _get(
    host: str, port: int, path: str, headers: Mapping[str, str], body: bytes | None = None
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(host, port, timeout=_ANSWER_S)
    try:
        kind = {} if body is None else {"content-type": "application/json"}
        connection.request("GET" if body is None else "POST", path, body, {**headers, **kind})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def _credentials(auth: Auth) -> dict[str, str]:
    """Return the header that lets us in, as the config has its secret."""
    if not auth.enabled:
        return {}
    if auth.secret_key is None:
        raise SettingsError(
            "serving.auth is on, and its secret is not in the config.",
            hint="Take a config with serving.auth.secret_key, or one without serving.auth.",
        )
    secret = auth.secret_key.get_secret_value()
    if auth.type == "jwt":
        import jwt

        claims = {"exp": int(time.time()) + _TOKEN_S, "aud": auth.audience, "iss": auth.issuer}
        secret = jwt.encode({name: value for name, value in claims.items() if value is not None}, secret)
    return {"authorization": f"Bearer {secret}"}


def _bodies(ask: Ask, fetch: partial[dict[str, Any]]) -> list[bytes]:
    """Return the rows to send, each of which the server has answered once."""
    rows = [fetch("/model/schema")["example"]] if ask.rows is None else _rows(ask.rows)
    bodies = [json.dumps(row, ensure_ascii=False).encode() for row in rows]
    for body in bodies[:100]:
        fetch("/predict", body)
    return bodies


def _rows(text: str) -> list[Any]:
    try:
        value = json_text.parse(text)
    except (json.JSONDecodeError, json_text.RepeatedKeyError) as error:
        raise DataError(
            f"--input is no JSON: {error}.", hint="Write an object or a list of objects."
        ) from error
    rows = value if isinstance(value, list) else [value]
    if not rows:
        raise DataError("--input holds no rows.", hint="Write an object or a list of objects.")
    return rows


# ---------------------------------------------------------------------------------------------- what is kept


def _save(made: Bench, output: Path) -> Bench:
    """Write the measurement, and its picture where matplotlib is there."""
    with replacing(output) as partial_path:
        partial_path.write_text(json.dumps(made.as_dict(), indent=1) + "\n", encoding="utf-8")
    if not is_installed("matplotlib"):
        message = f"No picture was drawn: 'matplotlib' is not installed. {install_line('matplotlib')}"
        return Bench(**{**vars(made), "findings": (*made.findings, Finding("plots", "warn", message))})
    from mmp.evaluation.plots import canvas, load

    curve = made.curve
    took = {"median": [level.p50_ms for level in curve], "99th percentile": [level.p99_ms for level in curve]}
    drawn = load.latencies([level.rate for level in curve], took, promise_ms=made.p99_ms)
    with replacing(output.with_suffix(".png")) as partial_path:
        canvas.save(drawn, partial_path)
    return made


def _saved(path: Path, ask: Ask) -> float:
    """Return the highest rate of an earlier measurement of the same promise."""
    hint = "Make one with `mmp bench-serve -o FILE`."
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        promise, rate = float(saved["p99_ms"]), float(saved["highest_rate"])
    except OSError as error:
        raise SettingsError(f"--compare {path} cannot be read: {error.strerror}.", hint=hint) from error
    except (ValueError, KeyError, TypeError) as error:
        raise SettingsError(f"--compare {path} is no measurement of bench-serve.", hint=hint) from error
    if promise != ask.p99_ms:
        raise SettingsError(
            f"{path} was measured with --p99-ms {promise:g}, and this is {ask.p99_ms:g}.",
            hint=f"Compare like with like: --p99-ms {promise:g}.",
        )
    if rate <= 0:
        raise SettingsError(f"In {path} no rate kept the promise: nothing can be worse.", hint=hint)
    return rate


def _finite(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in values.items()
    }
