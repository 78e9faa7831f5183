from __future__ import annotations

import re
import sys
from importlib import metadata

import numpy as np
import pytest

from mmp.tracking import environment


def test_the_lock_is_what_pip_would_list():
    expected = {}
    for found in metadata.distributions():
        if str(found._path).endswith(".dist-info"):
            expected.setdefault(re.sub(r"[-_.]+", "-", found.name).lower(), found.version)
    lines = environment.lock().splitlines()
    assert lines == [f"{name}=={version}" for name, version in sorted(expected.items())]


def test_versions_are_of_what_is_installed(monkeypatch):
    assert environment.versions(("numpy",)) == {"numpy": np.__version__}
    monkeypatch.setitem(environment.KNOWN, "skops", ("a-library-that-is-nowhere",))
    assert environment.versions(("numpy", "skops")) == {"numpy": np.__version__}


@pytest.mark.parametrize(
    ("wanted", "taken"), [(("no-such-thing", "numpy"), "numpy"), (("numpy", "pyarrow"), "numpy")]
)
def test_the_first_distribution_that_is_installed_is_it(monkeypatch, wanted, taken):
    monkeypatch.setitem(environment.KNOWN, "xgboost", wanted)
    assert environment.installed("xgboost") == (taken, metadata.version(taken))


def test_the_machine_is_plain_and_stays_the_same():
    machine = environment.machine()
    assert machine == environment.machine()
    assert machine["byteorder"] == sys.byteorder
    assert all(isinstance(value, (str, list)) for value in machine.values())
