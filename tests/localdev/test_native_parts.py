from __future__ import annotations

import importlib
import os
import socket
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

LOCAL_DEV = Path(__file__).parents[2] / "mmp-local-dev"


def part(name):
    """Return a module of mmp-local-dev, which stands alone and is not installed."""
    sys.path.insert(0, str(LOCAL_DEV))
    try:
        return importlib.import_module(f"localdev.{name}")
    finally:
        sys.path.remove(str(LOCAL_DEV))


def test_the_owner_of_a_port_is_found():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert part("ports").owner(port).pid == os.getpid()
    assert part("ports").owner(port) is None


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("X=a b", "a b"),
        ("X='a # b'", "a # b"),
        ("X=a # why", "a"),
        ('export X="q"', "q"),
        ("X=a=b#c", "a=b#c"),
    ],
)
def test_a_line_of_env(tmp_path, line, value):
    (tmp_path / ".env").write_text(f"# nothing\n\n{line}\n")
    assert part("dotenv").read(tmp_path / ".env") == {"X": value}


@given(st.integers(0, 400), st.integers(0, 23))
def test_ages_add_up(days, hours):
    assert part("prune").seconds(f"{days}d{hours}h") == days * 86_400 + hours * 3_600


@pytest.mark.parametrize("age", ["", "d", "30", "30 d", "-1d", "1w"])
def test_what_is_no_age_is_refused(age):
    with pytest.raises(part("failure").Failure, match="is no age"):
        part("prune").seconds(age)


def test_versions_compare_as_numbers():
    version_of = part("services").version_of
    assert version_of("15.18 (Debian 15.18-0)") == (15, 18)
    assert version_of("18beta1") == (18,)
    assert version_of("<html>") == version_of("") == ()
    assert version_of("1.10") > version_of("1.9")


def test_a_process_is_known_until_it_ends():
    identity = part("processes").identity
    assert identity(2**22 + 1) is None
    child = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    known = identity(child.pid)
    assert known
    assert identity(child.pid) == known
    child.stdin.close()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert identity(child.pid) is None, "it waits to be noted, and runs no more"
    assert child.wait() == 0


def test_an_archive_writes_nowhere_else(tmp_path):
    (tmp_path / "evil").write_text("")
    source = tmp_path / "archive.tar"
    with tarfile.open(source, "w") as archive:
        archive.add(tmp_path / "evil", "../written")
    (tmp_path / "target").mkdir()
    with pytest.raises(part("failure").Failure, match=r"\.\./written leads out of it"):
        part("archive")._extract(source, tmp_path / "target")
    assert not (tmp_path / "written").exists()
