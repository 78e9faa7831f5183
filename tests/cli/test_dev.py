"""`mmp dev`: which folder, and that what its program says and how it ends is passed on."""

from __future__ import annotations

import json
import signal

import pytest
from tests.commands import call, finish, start

PROGRAM = """
import json, os, signal, sys
verb, *words = sys.argv[1:]
if words[:1] == ["--json"]:
    print(json.dumps({"services": [{"name": "redis", "status": "down"}]}))
    sys.exit(1)
elif verb == "logs" and "--follow" in words:
    def stop(*_):
        print("put away", flush=True)
        sys.exit(130)
    signal.signal(signal.SIGINT, stop)
    print("following", flush=True)
    signal.pause()
elif verb == "down":
    print("Port 5432 is taken by postgres (pid 7).", file=sys.stderr)
    sys.exit(3)
elif verb == "reset":
    os.kill(os.getpid(), signal.SIGKILL)
else:
    print(verb, *words, sys.executable, os.environ.get("MMP_LEAN_IMPORTS"))
"""


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A project with an infrastructure in it and one beside it."""
    monkeypatch.delenv("MMP_LOCAL_DEV", raising=False)
    project = tmp_path / "project"
    for folder in (project / "mmp-local-dev", tmp_path / "mmp-local-dev", tmp_path / "named"):
        folder.mkdir(parents=True)
        (folder / "bootstrap.py").write_text(PROGRAM)
    return project


def test_the_program_is_called_with_the_words_in_this_interpreter(places):
    import sys

    done = call("dev", "up", "--native", "--port-offset", "100", cwd=places)
    assert (done.code, done.out) == (0, f"up --native --port-offset 100 {sys.executable} None\n")
    assert call("dev", "logs", "redis", cwd=places).out.startswith("logs redis ")


def test_which_folder(places, monkeypatch):
    def folder():
        return call("dev", "status", "--json", cwd=places).json["folder"]

    assert folder() == str(places.parent / "mmp-local-dev")
    monkeypatch.setenv("MMP_LOCAL_DEV", str(places.parent / "named"))
    assert folder() == str(places.parent / "named")
    monkeypatch.setenv("MMP_LOCAL_DEV", str(places.parent / "nowhere"))
    done = call("dev", "status", "--json", cwd=places)
    assert (done.code, "nowhere" in done.error["message"]) == (2, True)
    monkeypatch.delenv("MMP_LOCAL_DEV")
    (places.parent / "mmp-local-dev/bootstrap.py").unlink()
    assert folder() == str(places / "mmp-local-dev")


def test_how_it_ends_is_passed_on(places):
    done = call("dev", "down", cwd=places)
    assert (done.code, done.out, done.err) == (3, "", "Port 5432 is taken by postgres (pid 7).\n")
    done = call("dev", "down", "--json", cwd=places)
    assert (done.code, done.error["message"]) == (3, "Port 5432 is taken by postgres (pid 7).")
    assert call("dev", "reset", "--yes", cwd=places).code == 128 + signal.SIGKILL


def test_json_is_one_object_and_the_rest_goes_to_stderr(places):
    done = call("dev", "up", "--json", cwd=places)
    assert done.json["services"] == [{"name": "redis", "status": "down"}]
    assert (done.json["verb"], done.code) == ("up", 0)
    assert call("dev", "status", "--json", cwd=places).code == 1
    assert done.err.startswith("up ")
    lines = call("dev", "logs", "--json", cwd=places).json["lines"]
    assert len(lines) == 1


def test_ctrl_c_waits_for_the_program_to_put_away_what_it_holds(places):
    process = start("dev", "logs", "--follow", cwd=places)
    assert process.stdout.readline() == "following\n"
    process.send_signal(signal.SIGINT)
    done = finish(process, timeout=20)
    assert done.code == 130
    assert "put away" in done.out


def test_an_unknown_verb_is_a_usage_error():
    done = call("dev", "start", "--json")
    assert (done.code, json.loads(done.out)["error"]["code"]) == (2, "settings")
