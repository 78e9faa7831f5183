from __future__ import annotations

import os

import pytest

from mmp.modeling import threads


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    monkeypatch.delenv("OPENBLAS_THREAD_TIMEOUT", raising=False)


def test_small_tables_get_one_thread():
    assert threads.choose(5_000, 18) == 1
    assert threads.choose(1_000_000, 18) == threads.cores()


def test_a_number_is_taken_as_it_is():
    assert threads.choose(10, 2, 3) == 3
    assert threads.choose(10, 2, -1) == threads.cores()
    assert threads.choose(10, 2, -1000) == 1


def test_cores_go_by_affinity(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 3, 5}, raising=False)
    assert threads.cores() <= 3


@pytest.mark.parametrize(("asked", "limit"), [("1", 1), ("1,2", 1), ("64", 64), ("0", 64), ("many", 64)])
def test_omp_num_threads_is_a_limit(monkeypatch, asked, limit):
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert threads.cores() <= limit


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({}, None),
    ],
)
def test_a_containers_quota_is_read(tmp_path, files, cores):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert threads._cgroup_cores(tmp_path) == cores


def test_spinning_is_shortened_once_and_what_the_user_set_stays(monkeypatch):
    threads.shorten_spinning()
    assert 1000 <= int(os.environ["GOMP_SPINCOUNT"]) <= 5000
    assert 4 <= int(os.environ["OPENBLAS_THREAD_TIMEOUT"]) < 26  # OpenBLAS's least and its own default
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    threads.shorten_spinning()
    assert os.environ["GOMP_SPINCOUNT"] == "7"
