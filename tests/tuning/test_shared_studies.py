"""A study in a database outlives its process, and several processes have it together."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

# one trial takes as long as the file that it waits for; the numbers go to a file of each process
PROCESS = """
import json, pathlib, sys, time
from mmp.catalog.row import Space
from mmp.modeling import tuning

storage, n_trials, gate, told = sys.argv[1], int(sys.argv[2]), pathlib.Path(sys.argv[3]), sys.argv[4]

def loss(values, report):
    if values.get("x", 1.0) != 1.0 and gate.name == "closed":
        gate.touch()
        time.sleep(600)
    return values.get("x", 1.0) ** 2

search = tuning.Search(
    {"x": Space("float", (-1.0, 1.0))}, "loss", greater_is_better=False, n_trials=n_trials, storage=storage
)
numbers = []
study = tuning.tune(loss, search, lambda trial: numbers.append(trial.number))
pathlib.Path(told).write_text(json.dumps({
    "numbers": numbers, "states": [t.state for t in study.trials], "best": study.best.number,
    "errors": sorted({t.error for t in study.trials}), "drawn": [t.params.get("x") for t in study.trials],
}))
"""


def begin(storage, n_trials, gate, told):
    return subprocess.Popen(
        [sys.executable, "-c", PROCESS, storage, str(n_trials), str(gate), str(told)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def ended(process, told):
    assert process.wait(120) == 0
    return json.loads(told.read_text())


def killed_in_a_trial(storage, tmp_path):
    gate = tmp_path / "closed"
    process = begin(storage, 10, gate, tmp_path / "never")
    while not gate.exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait(30)


def resumed_and_shared(storage, tmp_path):
    killed_in_a_trial(storage, tmp_path)
    paths = [tmp_path / f"told{number}" for number in range(2)]
    processes = [begin(storage, 30, tmp_path / "open", path) for path in paths]
    first, second = (ended(*pair) for pair in zip(processes, paths, strict=True))
    last = begin(storage, 30, tmp_path / "open", tmp_path / "last")
    study = ended(last, tmp_path / "last")
    assert study["numbers"] == []
    # trial 0 was finished and trial 1 killed, which is no trial of those asked for; of two processes that
    # begin their last ones in the same moment, one is too many
    complete = study["states"].count("complete")
    assert complete in {30, 31}
    assert study["states"] == ["complete", "failed", *["complete"] * (complete - 1)]
    assert study["errors"] == ["", "its process ended"]
    assert sorted(first["numbers"] + second["numbers"]) == list(range(2, complete + 1))
    drawn = [x for x in study["drawn"] if x is not None]
    assert len(set(drawn)) == len(drawn) == complete


def test_sqlite(tmp_path):
    resumed_and_shared(f"sqlite:///{tmp_path}/study.db", tmp_path)


@pytest.mark.infra
def test_postgresql(tmp_path, postgres):
    resumed_and_shared(postgres.uri, tmp_path)
