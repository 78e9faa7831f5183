"""A project with trained models, and real servers of them."""

from __future__ import annotations

import pytest
from tests.http_server import CONFIG, MODELS, serving, train_in
from tests.tables import write_mixed


@pytest.fixture(scope="session")
def project(tmp_path_factory):
    """A folder with a config and a run of each model."""
    folder = tmp_path_factory.mktemp("served")
    write_mixed(folder / "table.csv")
    (folder / "configs").mkdir()
    (folder / "configs" / "local.yaml").write_text(CONFIG)
    return folder


@pytest.fixture(scope="session")
def run_ids(project):
    """The runs by the model's name."""
    return {name: train_in(project, name, name) for name in MODELS}


@pytest.fixture(scope="module")
def server(project, run_ids):
    """A server of the model that is predicted on the event loop."""
    with serving(project, "--run-id", run_ids["walked"]) as running:
        yield running


@pytest.fixture(scope="module")
def threaded(project, run_ids):
    """A server of a model that is predicted on threads."""
    with serving(project, "--run-id", run_ids["threaded"]) as running:
        yield running
