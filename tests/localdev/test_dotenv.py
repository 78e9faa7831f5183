"""`.env` is made once, for its owner, with passwords of its own; ports move when they are told to."""

from __future__ import annotations

import re
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "mmp-local-dev"


@pytest.fixture
def dotenv(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    from localdev import dotenv

    return dotenv


@pytest.fixture
def failure(dotenv):
    from localdev.failure import Failure

    return Failure


def test_a_new_file_is_the_example_with_passwords(dotenv, tmp_path):
    path = tmp_path / ".env"
    assert dotenv.make(path, None)
    values, example = dotenv.read(path), dotenv.read(dotenv.EXAMPLE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]
    assert {name for name in values if values[name] != example[name]} == set(dotenv.GENERATED)
    assert all(re.fullmatch(r"[\w-]{32}", values[name]) for name in dotenv.GENERATED)
    assert len({values[name] for name in dotenv.GENERATED}) == 2


def test_the_example_has_no_password_and_the_ports_of_the_contract(dotenv):
    values = dotenv.read(dotenv.EXAMPLE)
    assert [name for name, value in values.items() if not value] == [*dotenv.GENERATED, "REDIS_PASSWORD"]
    assert (values["POSTGRES_PORT"], values["REDIS_PORT"]) == ("5432", "6379")
    assert values["MLFLOW_TRACKING_URI"] == "http://localhost:5002"


def test_a_file_that_is_there_stays(dotenv, tmp_path):
    path = tmp_path / ".env"
    path.write_text("POSTGRES_PASSWORD=mine # of old\nexport OTHER='a # b'\n")
    assert not dotenv.make(path, None)
    assert dotenv.read(path) == {"POSTGRES_PASSWORD": "mine", "OTHER": "a # b"}


def test_ports_move_from_where_the_example_has_them(dotenv, tmp_path):
    path = tmp_path / ".env"
    dotenv.make(path, None)
    before = dotenv.read(path)
    assert dotenv.make(path, 1000)
    assert not dotenv.make(path, 1000)
    moved = {"POSTGRES_PORT": "6432", "REDIS_PORT": "7379", "MLFLOW_TRACKING_URI": "http://localhost:6002"}
    assert dotenv.read(path) == before | moved
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert dotenv.make(path, 0)
    assert dotenv.read(path) == before


@pytest.mark.parametrize("offset", [60_000, -6000])
def test_a_port_that_there_is_not_changes_nothing(dotenv, failure, tmp_path, offset):
    with pytest.raises(failure, match="which there is not") as raised:
        dotenv.make(tmp_path / ".env", offset)
    assert raised.value.code == 2
    assert list(tmp_path.iterdir()) == []


def test_two_at_once_leave_one_whole_file(dotenv, tmp_path):
    path = tmp_path / ".env"

    def made(_):
        dotenv.make(path, None)
        return path.read_bytes()

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(made, range(16)))) == 1
    assert list(tmp_path.iterdir()) == [path]


def test_without_a_file_the_command_is_named(dotenv, failure, tmp_path):
    with pytest.raises(failure, match=r"bootstrap\.py up"):
        dotenv.read(tmp_path / ".env")
