"""One served row, and a hundred, against a bare FastAPI echo and `mlflow models serve`; features from Redis.

    python bench/serving.py [--seconds 5] [--repeats 3] [--only single,batch,features,start]

One worker each, one model: 18 columns of churn, XGBoost of 200 trees behind imputing and encoding; MLflow
serves the handwritten pipeline of bench/reference. With features, sixteen of the columns come from four
views in a Redis that is started for it. The load is `wrk` in a process of its own (`apt-get install wrk`).
CPU is of the server's whole process tree; per request it is the steady figure where the machine is shared.
Prints ratios of medians; saves them under bench/out.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path[:0] = [str(Path(__file__).resolve().parent)]
import churn_store  # noqa: E402 - beside this file

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parent
OUT = HERE / "out"
TICKS = os.sysconf("SC_CLK_TCK")
ENVIRONMENT = {
    **os.environ,
    "OMP_NUM_THREADS": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # MLflow calls uvicorn by its name
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
}
SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
local file = io.open("{body}"); wrk.body = file:read("*a"); file:close()
"""
BARS = {
    "single row, CPU us/request": ("echo", 1.0),
    "single row, CPU us/request (mlflow)": ("mlflow", 0.01),
    "64 connections, requests/s": ("echo", 1.0),
    "batch of 100, rows/CPU s": ("mlflow", 20.0),
    "features from Redis, p50 ms": ("without", 2.0),
    "256 connections, p99 ms against p50": ("itself", 5.0),
}
HIGHER = {"64 connections, requests/s", "batch of 100, rows/CPU s"}


@dataclass(frozen=True)
class Server:
    name: str
    pid: int
    port: int
    path: str
    bodies: dict[int, Path]
    start_cpu_s: float
    start_mib: float


@dataclass(frozen=True)
class Burst:
    """What one run of wrk came to."""

    requests: int
    per_second: float
    cpu_us: float
    p50_ms: float
    p99_ms: float
    failures: int


def tree(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in tree(int(child)))]


def cpu_s(pid: int) -> float:
    fields = [Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split() for each in tree(pid)]
    return sum(int(each[11]) + int(each[12]) for each in fields) / TICKS


def resident_mib(pid: int) -> float:
    pages = sum(int(Path(f"/proc/{each}/statm").read_text().split()[1]) for each in tree(pid))
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def serving(
    name: str, words: list[str], folder: Path, path: str, ready: str, bodies: dict[int, Path]
) -> Iterator[Server]:
    port = free_port()
    # whoever ends this process, and however, its servers end too
    command = ["setpriv", "--pdeathsig", "TERM", *(word.replace("{port}", str(port)) for word in words)]
    log = (folder / f"{name}.log").open("wb")
    process = subprocess.Popen(
        command, cwd=folder, env=ENVIRONMENT, stdout=log, stderr=log, start_new_session=True
    )
    try:
        wait_ready(process, f"http://127.0.0.1:{port}{ready}", folder / f"{name}.log")
        yield Server(name, process.pid, port, path, bodies, cpu_s(process.pid), resident_mib(process.pid))
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)
        log.close()


def wait_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if process.poll() is not None:
            raise SystemExit(f"{log.name} ended:\n{log.read_text()[-3000:]}")
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"{log.name} is not ready:\n{log.read_text()[-3000:]}")


def burst(server: Server, n_rows: int, connections: int, seconds: float) -> Burst:
    script = server.bodies[n_rows].with_suffix(".lua")
    script.write_text(SCRIPT.format(body=server.bodies[n_rows]))
    path = server.path if n_rows == 1 or server.name != "mmp" else "/predict/batch"
    url = f"http://127.0.0.1:{server.port}{path}"
    before = cpu_s(server.pid)
    done = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout", "30s", "--latency", "-s", script,
         url],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    spent, said = cpu_s(server.pid) - before, done.stdout
    found = re.search(r"(\d+) requests in", said)
    requests = int(found[1]) if found else 0
    counts = r"(?:Non-2xx or 3xx responses: |connect |read |write |timeout )([0-9]+)"
    failures = sum(map(int, re.findall(counts, said)))
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    return Burst(
        requests,
        float(rate[1]) if rate else 0.0,
        spent / max(requests, 1) * 1e6,
        latency(said, "50"),
        latency(said, "99"),
        failures,
    )


def latency(said: str, percentile: str) -> float:
    found = re.search(rf"^\s+{percentile}%\s+([\d.]+)(us|ms|s)\s*$", said, re.MULTILINE)
    return float(found[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[found[2]] if found else float("nan")


def trained(folder: Path) -> str:
    table = HERE / "data" / "churn_10k.parquet"
    if not table.exists():
        generate = [sys.executable, str(HERE / "reference" / "gen_data.py"), "--rows", "10000"]
        out = ["--out", str(table.parent), "--name", table.stem, "--formats", "parquet"]
        subprocess.run([*generate, *out], check=True)
    recipe = (HERE / "recipes" / "churn_xgboost.yaml").read_text().replace("bench/data", str(table.parent))
    (folder / "churn.yaml").write_text(recipe)
    command = [sys.executable, "-m", "mmp", "train", "-r", "churn.yaml", "--json", "-q"]
    done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    return str(json.loads(done.stdout)["run_id"])


def handwritten(folder: Path) -> str:
    """Train what `mlflow models serve` serves: the same columns and trees behind a ColumnTransformer."""
    script, table = HERE / "reference" / "train_handwritten.py", HERE / "data" / "churn_10k.parquet"
    words = ["--impl", "sklearn", "--data", str(table), "--mlflow", f"sqlite:///{folder}/theirs.db"]
    command = [sys.executable, str(script), *words]
    done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    return str(json.loads(done.stdout.splitlines()[-1])["run_id"])


def write_bodies(folder: Path, example: dict[str, Any]) -> dict[str, dict[int, Path]]:
    contents = {
        "ours-1": example,
        "ours-100": {"samples": [example] * 100},
        "mlflow-1": {"dataframe_records": [example]},
        "mlflow-100": {"dataframe_records": [example] * 100},
    }
    for name, content in contents.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return {side: {n: folder / f"{side}-{n}.json" for n in (1, 100)} for side in ("ours", "mlflow")}


@contextmanager
def with_features(folder: Path) -> Iterator[Server]:
    """Serve the model that asks a Redis of its own for sixteen of its columns."""
    port, folder = free_port(), folder / "features"
    folder.mkdir()
    with churn_store.redis(port):
        churn_store.write(folder, HERE / "data" / "churn_10k.parquet", port)
        run_id = churn_store.trained(folder, ENVIRONMENT)
        body = folder / "features-1.json"
        body.write_text(json.dumps({"customer_id": 77, "n_tickets": 3, "device_model": "device_061"}))
        words = [sys.executable, "-m", "mmp", "serve-api", "--run-id", run_id, "--port", "{port}"]
        with serving("features", words, folder, "/predict", "/ready", {1: body}) as store:
            yield store


def example_of(port: int) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/model/schema") as answer:
        example: dict[str, Any] = json.load(answer)["example"]
    # what the reference's signature takes: no missing values, floats for floats, and no key
    known = {"tenure_months": 12, "n_tickets": 1, "plan": "basic"}
    example = {name: known.get(name, 1.0) if value is None else value for name, value in example.items()}
    return {name: value for name, value in example.items() if name != "customer_id"}


def row(name: str, ours: float, theirs: float, against: str) -> dict[str, Any]:
    ratio = ours / theirs
    bar = BARS.get(name)
    met = bar is None or (ratio >= bar[1] if name in HIGHER else ratio <= bar[1])
    limit = "" if bar is None else f"{'>=' if name in HIGHER else '<='} {bar[1]}x"
    verdict = "" if bar is None else "ok" if met else "MISSED"
    print(
        f"{name:<40} {ours:>10.1f} {theirs:>10.1f} {against:<7} {ratio:>8.3f}x {limit:>9} {verdict}",
        flush=True,
    )
    return {"name": name, "ours": ours, "reference": theirs, "against": against, "ratio": ratio, "met": met}


def medians(
    servers: list[Server], n_rows: int, connections: int, seconds: float, repeats: int
) -> dict[str, Burst]:
    """Run all in turn, so that a busy moment of the machine meets all."""
    for server in servers:
        burst(server, n_rows, connections, 1)
    bursts: dict[str, list[Burst]] = {server.name: [] for server in servers}
    for _ in range(repeats):
        for server in servers:
            bursts[server.name].append(burst(server, n_rows, connections, seconds))
    return {
        name: Burst(
            *(statistics.median(getattr(each, field) for each in found) for field in Burst.__annotations__)
        )
        for name, found in bursts.items()
    }


def compare_features(ours: Server, store: Server, seconds: float, repeats: int) -> list[dict[str, Any]]:
    rows = []
    for connections, name in ((8, "features from Redis, p50 ms"), (1, "the same, one connection")):
        found = medians([ours, store], 1, connections, seconds, repeats)
        rows.append(row(name, found["features"].p50_ms, found["mmp"].p50_ms, "without"))
        cpu = f"{name.partition(',')[0]}, CPU us" if connections == 8 else "the same, CPU us"
        rows.append(row(cpu, found["features"].cpu_us, found["mmp"].cpu_us, "without"))
        print(f"{found['features'].failures:.0f} failures", flush=True)
    return rows


def compare(
    ours: Server,
    echo: Server,
    mlflow: Server,
    store: Server | None,
    only: set[str],
    seconds: float,
    repeats: int,
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    if "single" in only:
        few = medians([ours, echo, mlflow], 1, 8, seconds, repeats)
        rows.append(row("single row, CPU us/request", few["mmp"].cpu_us, few["echo"].cpu_us, "echo"))
        rows.append(
            row("single row, CPU us/request (mlflow)", few["mmp"].cpu_us, few["mlflow"].cpu_us, "mlflow")
        )
        rows.append(row("single row, p50 ms", few["mmp"].p50_ms, few["echo"].p50_ms, "echo"))
        many = medians([ours, echo], 1, 64, seconds, repeats)
        rows.append(
            row("64 connections, requests/s", many["mmp"].per_second, many["echo"].per_second, "echo")
        )
        most = medians([ours], 1, 256, seconds, repeats)["mmp"]
        rows.append(row("256 connections, p99 ms against p50", most.p99_ms, most.p50_ms, "itself"))
        print(f"256 connections: {most.per_second:.0f} requests/s, {most.failures:.0f} failures")
    if "batch" in only:
        batch = medians([ours, mlflow], 100, 4, seconds, repeats)
        rates = {name: 100e6 / found.cpu_us for name, found in batch.items()}
        rows.append(row("batch of 100, rows/CPU s", rates["mmp"], rates["mlflow"], "mlflow"))
    if store is not None:
        rows += compare_features(ours, store, seconds, repeats)
    if "start" in only:
        rows.append(row("start to ready, CPU s", ours.start_cpu_s, mlflow.start_cpu_s, "mlflow"))
        rows.append(row("start to ready, resident MiB", ours.start_mib, mlflow.start_mib, "mlflow"))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default="single,batch,features,start")
    chosen = parser.parse_args()
    only = set(chosen.only.split(","))
    for tool, package in (("wrk", "wrk"), ("redis-server", "redis-server"), ("setpriv", "util-linux")):
        if shutil.which(tool) is None:
            raise SystemExit(f"{tool} is needed: apt-get install {package}")
    with tempfile.TemporaryDirectory(prefix="mmp-bench-") as name:
        folder = Path(name)
        run_id = trained(folder)
        shutil.copy(HERE / "reference" / "echo.py", folder)
        python = [sys.executable, "-m"]
        mmp = [*python, "mmp", "serve-api", "--run-id", run_id, "--port", "{port}"]
        uvicorn = [
            *python,
            "uvicorn",
            "echo:app",
            "--port",
            "{port}",
            "--log-level",
            "warning",
            "--no-access-log",
        ]
        model = f"runs:/{handwritten(folder)}/model"
        where = f"MLFLOW_TRACKING_URI=sqlite:///{folder}/theirs.db"
        words = ["mlflow", "models", "serve", "-m", model, "--env-manager", "local", "--workers", "1"]
        theirs = ["env", where, *python, *words, "--port", "{port}"]
        with serving("probe", mmp, folder, "/predict", "/ready", {}) as probe:
            bodies = write_bodies(folder, example_of(probe.port))
        with (
            serving("mmp", mmp, folder, "/predict", "/ready", bodies["ours"]) as ours,
            serving("echo", uvicorn, folder, "/predict", "/ready", bodies["ours"]) as echo,
            serving("mlflow", theirs, folder, "/invocations", "/health", bodies["mlflow"]) as mlflow,
            with_features(folder) if "features" in only else nullcontext() as store,
        ):
            print(f"{'':<40} {'mmp':>10} {'reference':>10}")
            rows = compare(ours, echo, mlflow, store, only, chosen.seconds, chosen.repeats)
    OUT.mkdir(exist_ok=True)
    path = OUT / f"serving-{time.strftime('%Y%m%dT%H%M%S')}.json"
    names = ("fastapi", "uvicorn", "mlflow", "xgboost-cpu", "numpy")
    facts = {
        "machine": platform.platform(),
        "cores": os.cpu_count(),
        "versions": {n: version(n) for n in names},
    }
    path.write_text(json.dumps({**facts, "rows": rows}, indent=1))
    print(f"saved {path}")


if __name__ == "__main__":
    main()
