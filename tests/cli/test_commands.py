"""The command line as a tool: what it writes where, and what it ends with."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import pytest
from jsonschema import Draft202012Validator
from tests.commands import call, finish, start
from tests.tables import KEY, recipe, write_mixed

from mmp import __version__
from mmp.catalog import quantiles
from mmp.catalog.models import MODELS
from mmp.cli.main import VERBS

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_mixed(tmp_path / "table.csv")
    text = recipe(
        "small",
        "classification",
        "xgboost.XGBClassifier",
        "table.csv",
        "label",
        entities=[KEY],
        values={"n_estimators": 5},
    )
    (tmp_path / "small.yaml").write_text(text)
    return tmp_path


@pytest.mark.parametrize("verb", VERBS)
def test_every_command_says_how_it_is_called(verb, mmp):
    for flag in ("-h", "--help"):
        outcome = mmp(verb, flag)
        assert outcome.code == 0
        assert outcome.out.startswith(f"Usage: mmp {verb}")
        assert "--json" in outcome.out
        assert not outcome.err


def test_the_commands_are_listed(mmp):
    for words in ([], ["--help"], ["-h"]):
        outcome = mmp(*words)
        assert outcome.code == 0
        assert [verb for verb in VERBS if f"\n  {verb} " not in outcome.out] == []
    assert mmp("--version").out == f"mmp {__version__}\n"


USAGE = {
    "no such command": (["trian"], ["'trian'", "'train'"]),
    "no such option": (["train", "--recip", "x"], ["--recip"]),
    "an option without its value": (["train", "-r"], ["-r"]),
    "no recipe": (["train"], ["--recipe"]),
    "no such table": (["list", "model"], ["'model'", "'models'"]),
    "no such schema": (["schema", "x"], ["'recipe'"]),
    "a limit of none": (["runs", "--limit", "0"], ["--limit", "1"]),
    "a word too many": (["runs", "more"], ["more"]),
    "a recipe without -r": (["train", "small.yaml"], ["by itself", "Did you mean -r small.yaml?"]),
    "a config without -c": (["train", "-r", "small.yaml", "c d.yml"], ["Did you mean -c 'c d.yml'?"]),
    "a table without -d": (["plan", "-r", "small.yaml", "t.parquet"], ["Did you mean -d t.parquet?"]),
    "rows without -i": (["predict", "--run-id", "best", '{"a": 1}'], ["Did you mean -i '{\"a\": 1}'?"]),
    "a run without --run-id": (["evaluate", "latest", "-d", "t.csv"], ["Did you mean --run-id latest?"]),
    "two recipes": (["train", "-r", "small.yaml", "--recipe-file", "x.yaml"], ["-r", "given 2 times"]),
    "two configs": (["runs", "-c", "a.yaml", "-c", "b.yaml"], ["-c", "given 2 times"]),
    "no number": (["ui", "--port", "abc"], ["--port"]),
    "parameters without SQL": (["train", "-r", "small.yaml", "-p", "{}"], ["-p", "SQL"]),
    "no key and value": (["train", "-r", "small.yaml", "--set", "seed"], ["--set", "key=value"]),
    "no such key": (["train", "-r", "small.yaml", "--set", "evaluation.random_stat=1"], ["random_state"]),
    "a recipe that is not there": (["train", "-r", "smal.yaml"], ["smal.yaml", "small.yaml"]),
    "a config that is not there": (["train", "-r", "small.yaml", "-c", "x.yaml"], ["x.yaml"]),
    "a metric that is not there": (["runs", "--sort", "acuracy"], ["acuracy", "accuracy"]),
}


@pytest.mark.parametrize("case", USAGE)
def test_a_wrong_call_is_met_with_a_sentence(case, project, mmp):
    words, said = USAGE[case]
    outcome = mmp(*words)
    assert (outcome.code, outcome.out) == (2, "")
    assert "error: " in outcome.err
    assert [word for word in said if word not in outcome.err] == []
    assert "Traceback" not in outcome.err
    answer = mmp(*words, "--json")
    assert answer.code == 2
    assert answer.out.count("\n") == 1
    assert set(answer.error) == {"code", "message", "hint", "where"}
    assert not [line for line in answer.err.splitlines() if line.startswith(("error", "hint"))]


def test_a_wrong_call_writes_nothing(project, mmp):
    before = sorted(project.rglob("*"))
    for words, _ in USAGE.values():
        mmp(*words)
    assert sorted(project.rglob("*")) == before


def test_a_result_goes_to_stdout_and_the_rest_to_stderr(project, mmp):
    outcome = mmp("train", "-r", "small.yaml")
    assert outcome.out.startswith("metric ")
    assert "runs:/" in outcome.out
    assert "fit " not in outcome.out
    steps = ["read", "check", "split", "prepare", "fit", "evaluate", "explain", "package", "log"]
    lines = outcome.err.splitlines()
    assert [line.split()[0] for line in lines if line.partition(" ")[0] in steps] == steps
    assert "mmp predict" in outcome.err
    assert "\x1b" not in outcome.out + outcome.err


def test_quiet_says_warnings_only(project, mmp):
    outcome = mmp("train", "-r", "small.yaml", "-q")
    assert outcome.out.startswith("metric ")
    assert [line.partition(" ")[0] for line in outcome.err.splitlines()] == ["warning:"]
    named = mmp("train", "-r", "small.yaml", "-q", "--set", "data.data_interface.positive_class=no")
    assert (named.code, named.err) == (0, "")


def test_what_it_says_next_works(project, mmp):
    import shlex

    said = mmp("train", "-r", "small.yaml").err
    commands = [line.strip() for line in said.partition("next\n")[2].splitlines()]
    assert [command.split()[1] for command in commands] == ["predict", "evaluate", "runs", "ui"]
    for command in commands[:-1]:
        assert mmp(*shlex.split(command)[1:]).code == 0, command


JSON = {
    "validate": ["validate", "-r", "small.yaml"],
    "train": ["train", "-r", "small.yaml"],
    "evaluate": ["evaluate", "--run-id", "latest", "-d", "table.csv"],
    "predict": ["predict", "--run-id", "latest", "-i", "table.csv"],
    "explain": ["explain", "--run-id", "latest", "-d", "table.csv"],
    "runs": ["runs"],
    "init": ["init", "new"],
    "list": ["list", "models"],
    "schema": ["schema", "recipe"],
}


def test_json_is_one_object_on_stdout_whatever_the_command(project, mmp):
    for verb, words in JSON.items():
        for placed in ([*words, "--json"], ["--json", *words]):
            outcome = mmp(*placed)
            if verb == "init":
                (project / "new").rename(project / f"new {placed[0]}")
            assert outcome.code == 0, (verb, outcome.out)
            assert outcome.out.count("\n") == 1
            assert isinstance(outcome.json, dict)
    assert set(mmp("validate", "-r", "small.yaml", "--json").json) == {"ok", "checked", "findings"}


def test_an_answer_to_nothing_is_still_an_object(project, mmp):
    assert mmp("runs", "--json").json == {"runs": []}
    assert (mmp("runs").out, "no runs yet" in mmp("runs").err) == ("", True)
    assert mmp("--json").error["code"] == "settings"


FAILURES = {
    2: (["train", "-r", "nowhere.yaml"], "settings"),
    3: (["train", "-r", "small.yaml", "-d", "nowhere.csv"], "source"),
    4: (["train", "-r", "small.yaml", "--set", "model.hyperparameters.values.booster=no"], "training"),
    6: (["predict", "--run-id", "nobody", "-i", "table.csv"], "run_not_found"),
}


@pytest.mark.parametrize("code", FAILURES)
def test_a_failure_is_an_exit_code_and_an_object(code, project, mmp):
    words, name = FAILURES[code]
    outcome = mmp(*words, "--json")
    assert (outcome.code, outcome.error["code"]) == (code, name)
    assert outcome.error["message"]
    assert "Traceback" not in mmp(*words).err
    assert "Traceback (most recent call last)" in mmp(*words, "-v").err


def test_a_bug_is_70_with_what_to_report(project):
    """One that we made: the tables are taken away."""
    code = (
        "import sys\n"
        "import mmp.pipelines.tables as tables; tables.TABLES = {}\n"
        "from mmp.cli.main import main; main(sys.argv[1:])"
    )
    outcome = call("list", "models", program=("-c", code))
    assert outcome.code == 70
    assert "bug in mmp" in outcome.err
    assert f"mmp {__version__}, Python" in outcome.err
    assert "Traceback" in outcome.err
    assert call("list", "models", "--json", program=("-c", code)).error["code"] == "bug"


def test_a_reader_that_takes_one_line(project, mmp):
    assert mmp("train", "-r", "small.yaml", "-q").code == 0
    command = f"{sys.executable} -m mmp runs | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("run ")


def test_colours_are_for_terminals_that_want_them(project):
    import pty

    def on_a_terminal(*words, **env):
        leader, follower = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "mmp", *words],
            stderr=follower,
            stdout=subprocess.PIPE,
            env={**os.environ, "TERM": "xterm", **env},
        )
        os.close(follower)
        said = b""
        while True:
            try:
                piece = os.read(leader, 4096)
            except OSError:
                break
            if not piece:
                break
            said += piece
        process.communicate()
        os.close(leader)
        return said

    wrong = ("train", "-r", "nowhere.yaml")
    assert b"\x1b[31merror:" in on_a_terminal(*wrong)
    assert b"\x1b[" not in on_a_terminal(*wrong, NO_COLOR="1")
    assert b"\x1b[" not in on_a_terminal(*wrong, "--no-color")
    live = on_a_terminal("train", "-r", "small.yaml")
    assert b"fit" in live
    assert b"Traceback" not in live


@pytest.mark.parametrize("what", ["models", "metrics", "preprocessors", "adapters", "evaluators", "tasks"])
def test_the_tables(what, mmp):
    rows = mmp("list", what, "--json").json[what]
    assert rows
    assert len({tuple(row) for row in rows}) == 1
    lines = mmp("list", what).out.splitlines()
    assert len(lines) == len(rows) + 1
    if what == "models":
        known = {row.class_path for row in MODELS.values()} | {quantiles.CLASS_PATH}
        assert {row["class_path"] for row in rows} == known


def test_the_schemas_accept_the_files_of_a_project(tmp_path, mmp):
    import yaml

    mmp("init", tmp_path / "p", "-q")
    for kind, pattern in (("recipe", "recipes/*.yaml"), ("config", "configs/*.yaml")):
        schema = mmp("schema", kind, "--json").json
        assert schema == json.loads(mmp("schema", kind).out)
        Draft202012Validator.check_schema(schema)
        files = list((tmp_path / "p").glob(pattern))
        assert files
        for path in files:
            assert path.read_text().partition("$schema=")[2].startswith("../.mmp/schema/")
            Draft202012Validator(schema).validate(yaml.safe_load(path.read_text()))
    assert list(Draft202012Validator(mmp("schema", "recipe", "--json").json).iter_errors({"nam": 1}))


def write_config(folder, name, experiment):
    (folder / "configs").mkdir(exist_ok=True)
    path = folder / "configs" / f"{name}.yaml"
    path.write_text(f"mlflow: {{tracking_uri: ./mlruns, experiment_name: {experiment}}}\n")
    return path


def test_which_config_is_taken(project, mmp, monkeypatch):
    def experiment(*words):
        return mmp("train", "-r", "small.yaml", "--json", *words).json["experiment"]

    assert experiment() == "mmp"
    write_config(project, "local", "local")
    assert experiment() == "local"
    write_config(project, "dev", "dev")
    monkeypatch.setenv("APP_ENV", "dev")
    assert experiment() == "dev"
    write_config(project, "named", "named")
    monkeypatch.setenv("MMP_CONFIG", "configs/named.yaml")
    assert experiment() == "named"
    assert experiment("-c", "configs/local.yaml") == "local"

    (project / "configs" / "base.yaml").write_text("mlflow: {experiment_name: base}\n")
    for way in ({"MMP_CONFIG": "configs/naemd.yaml"}, {"APP_ENV": "dve"}):
        monkeypatch.delenv("MMP_CONFIG", raising=False)
        for name, value in way.items():
            monkeypatch.setenv(name, value)
        outcome = mmp("train", "-r", "small.yaml", "--json")
        assert outcome.code == 2, "a mistyped path is never something else"
        assert next(iter(way.values())) in outcome.error["message"]


def test_the_older_spelling(tmp_path):
    """The recipes of the repository, where they are, with tracking elsewhere."""
    env = {"APP_ENV": "local", "MLFLOW_TRACKING_URI": str(tmp_path / "mlruns")}
    path = "recipes/models/classification/xgboost_classifier.yaml"
    for words in (["train", "--recipe-file", path], ["train", "--recipe-path", path]):
        outcome = call(*words, "--json", program=("main.py",), cwd=ROOT, env=env)
        assert outcome.code == 0, outcome.err
        assert outcome.json["metrics"]["test"]["roc_auc"] > 0.98
        assert "the command is `mmp`" in outcome.err


HEAVY = ("pandas", "sklearn", "mlflow", "pydantic", "scipy", "xgboost", "pyarrow", "numpy", "rich")
WATCHED = """
import sys
from mmp.cli.main import main
try:
    main(sys.argv[1:])
finally:
    print(*sorted(set(name.partition('.')[0] for name in sys.modules)), file=sys.stderr)
"""


def imported(*words, cwd=None):
    outcome = call(*words, program=("-c", WATCHED), cwd=cwd)
    assert outcome.code == 0, outcome.err
    return set(outcome.err.splitlines()[-1].split())


@pytest.mark.parametrize("words", [["--help"], ["--version"], []])
def test_help_imports_nothing_heavy(words):
    assert not imported(*words) & set(HEAVY)


def test_a_training_of_xgboost_imports_what_it_needs(project):
    bare = ("--set", "evaluation.plots=false", "--set", "evaluation.explain.enabled=false")
    seen = imported("train", "-r", "small.yaml", *bare)
    assert {"xgboost", "numpy", "pyarrow"} <= seen
    assert not seen & {"pandas", "sklearn", "mlflow", "lightgbm", "catboost", "matplotlib", "rich"}
    seen = imported("predict", "--run-id", "latest", "-i", "table.csv")
    assert not seen & {"pandas", "sklearn", "mlflow", "matplotlib", "rich"}
    seen = imported("validate", "-r", "small.yaml", "--no-data")
    assert not seen & {"pandas", "sklearn", "mlflow", "xgboost", "pyarrow", "numpy", "rich"}


@pytest.mark.infra
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_pages_answer_until_they_are_stopped(project, number):
    assert call("train", "-r", "small.yaml", "-q").code == 0
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = start("ui", "--no-browser", "--port", port, "--json", start_new_session=True)
    try:
        assert json.loads(process.stdout.readline()) == {"url": f"http://127.0.0.1:{port}"}
        with urlopen(f"http://127.0.0.1:{port}/health") as answer:
            assert answer.status == 200
        taken = call("ui", "--no-browser", "--port", port, "--json")
        assert (taken.code, str(port) in taken.error["message"]) == (2, True)
        process.send_signal(number)
        outcome = finish(process, timeout=30)
        assert outcome.code == 130
        until = time.monotonic() + 10
        while time.monotonic() < until:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)):
                    break
            time.sleep(0.1)
        else:
            pytest.fail("the pages outlive the command")
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
