"""The same rows as a batch, on the command line, through MLflow and over HTTP: the same to the last bit."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from textwrap import dedent

import pytest
from tests.commands import call, finish, start
from tests.http_server import CONFIG, QUIET, serving
from tests.tables import KEY, recipe, write_mixed

from mmp.data.files import read

CODE = "code"
MODELS = {
    "xgboost.XGBClassifier": ("awkward", {"n_estimators": 10, "max_depth": 3}),
    "lightgbm.LGBMRegressor": ("value", {"n_estimators": 10, "num_leaves": 5}),
    "sklearn.linear_model.LogisticRegression": ("text", {}),
}
PYFUNC = dedent("""
    import json, sys, warnings
    warnings.simplefilter("ignore")
    import mlflow, pandas
    mlflow.set_tracking_uri("sqlite:///mlruns/mlflow.db")
    rows = pandas.DataFrame(json.load(open(sys.argv[2])))
    answer = mlflow.pyfunc.load_model(f"runs:/{sys.argv[1]}/model").predict(rows)
    print(json.dumps(answer.to_dict("records")))
""")


def with_codes(path):
    """Add a second key, whose values begin with zeros."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows):
        row[CODE] = f"{number * 7919 % 100_000:08d}"
    write(path, rows)


def write(path, rows):
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="module", params=sorted(MODELS))
def asked(request, tmp_path_factory):
    """A project with a trained model, its run, and rows that are unlike those of the training."""
    folder = tmp_path_factory.mktemp("surfaces")
    (folder / "configs").mkdir()
    (folder / "configs/local.yaml").write_text(CONFIG)
    labels, values = MODELS[request.param]
    for name, n_rows, seed in (("train.csv", 240, 5), ("rows.csv", 120, 23)):
        with_codes(write_mixed(folder / name, labels, n_rows=n_rows, seed=seed))
    task = "regression" if labels == "value" else "classification"
    text = recipe(
        "one", task, request.param, "train.csv", "label", entities=[f"'{KEY}'", CODE], values=values
    )
    (folder / "r.yaml").write_text(text, encoding="utf-8")
    done = call("train", "-r", "r.yaml", "--json", "-q", cwd=folder, env=QUIET)
    assert done.code == 0, done.err
    rows = read(str(folder / "rows.csv"), texts=[CODE]).arrow.drop_columns(["label"]).to_pylist()
    rows[3]["city"], rows[4]["등급"], rows[5]["product code"] = "Busan", "z", "P-new"  # never seen
    rows[6] |= {name: None for name in rows[6] if name not in {KEY, CODE}}
    rows[7][CODE] = "00000000"
    rows[8][KEY] = 2**63 - 1
    objects = json.loads(json.dumps(rows, default=lambda moment: moment.isoformat()))
    (folder / "rows.json").write_text(json.dumps(objects), encoding="utf-8")
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in objects), encoding="utf-8")
    write(folder / "rows.csv", objects)
    return folder, done.json["run_id"], objects


def batch(folder, source):
    output = folder / f"of_{source}.jsonl"
    words = ("batch-inference", "--run-id", "latest", "-d", source, "-o", output, "--part-rows", "37", "-q")
    done = call(*words, cwd=folder, env=QUIET)
    assert done.code == 0, done.err
    return [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]


def command(folder, *words, given=None):
    process = start(
        "predict", "--run-id", "latest", *words, "--json", "-q", cwd=folder, env=QUIET, stdin=subprocess.PIPE
    )
    if given is not None:
        process.stdin.write(given)
    process.stdin.close()
    process.stdin = None
    done = finish(process)
    assert done.code == 0, done.err
    return done.json["predictions"]


def as_columns(answer, columns):
    """An answer over HTTP, which has the classes by their labels, as a row of a table."""
    of_classes = [name for name in columns if name.startswith("probability_")]
    by_name = dict(zip(of_classes, answer.get("probabilities", {}).values(), strict=True))
    return {name: (answer | by_name)[name] for name in columns}


def test_every_surface_says_the_same(asked):
    folder, run_id, rows = asked
    expected = batch(folder, "rows.csv")
    assert [row[KEY] for row in expected] == [row[KEY] for row in rows]
    assert [row[CODE] for row in expected] == [row[CODE] for row in rows]
    assert expected[8][KEY] == 2**63 - 1
    assert len({json.dumps(row) for row in expected}) == len(rows)
    assert batch(folder, "rows.jsonl") == expected
    for source in ("rows.csv", "rows.json", "rows.jsonl"):
        assert command(folder, "-i", source) == expected
    assert command(folder, "-i", "-", given=json.dumps(rows)) == expected
    pyfunc = [sys.executable, "-c", PYFUNC, run_id, "rows.json"]
    done = subprocess.run(pyfunc, cwd=folder, capture_output=True, check=True, text=True)
    assert json.loads(done.stdout) == expected
    with serving(folder, "--run-id", run_id) as server:
        reply = server.post("/predict/batch", {"samples": rows})
        assert reply.status == 200, reply.body
        together = reply.json["predictions"]
        alone = [server.post("/predict", row).json for row in rows]
    assert [as_columns(answer, expected[0]) for answer in together] == expected
    assert [as_columns(answer, expected[0]) for answer in alone] == expected
