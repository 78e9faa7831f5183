"""The Protocol, the same for every store, and held against MLflow's own client."""

from __future__ import annotations

import math
import uuid

import pytest

from mmp.errors import ArtifactError, RunNotFoundError, TrackingError
from mmp.tracking.stores.base import Dataset, Metric, Order

# What MLflow and its libraries warn of when they run is theirs.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:mlflow"),
]

NOW = 1_790_000_000_000


def unique(stem):
    return f"{stem}-{uuid.uuid4().hex[:8]}"


def new_run(store, experiment=None, *, name="telco_1", tags=None):
    experiment_id = store.experiment(experiment or unique("exp"))
    return store.create_run(experiment_id, name=name, tags=tags or {}, start_time_ms=NOW)


def mlflow_client(store):
    from mlflow import MlflowClient

    return MlflowClient(store.uri, store.uri)


def test_an_experiment_is_created_once(store):
    name = unique("team/churn é")
    assert store.experiment(name) == store.experiment(name)
    assert mlflow_client(store).get_experiment_by_name(name).experiment_id == store.experiment(name)


def test_a_deleted_experiment_is_named_with_the_way_back(store):
    name = unique("gone")
    experiment_id = store.experiment(name)
    mlflow_client(store).delete_experiment(experiment_id)
    with pytest.raises(TrackingError, match="is deleted") as caught:
        store.experiment(name)
    assert f"--experiment-id {experiment_id}" in caught.value.hint


def test_a_run_reads_back_as_it_was_written(store):
    experiment = unique("exp")
    run = new_run(store, experiment, tags={"mlflow.user": "anna", "team": "growth ✨"})
    store.log_batch(
        run.run_id,
        params={"max_depth": "6", "data.split.strategy": "random"},
        metrics=[Metric("auc", 0.5, NOW, 0), Metric("auc", 0.75, NOW, 1), Metric("loss", 0.25, NOW)],
        tags={"mmp.kind": "train"},
    )
    store.finish(run.run_id, "FINISHED", end_time_ms=NOW + 5)
    found = store.get_run(run.run_id)
    assert (found.name, found.experiment, found.status) == ("telco_1", experiment, "FINISHED")
    assert (found.start_time_ms, found.end_time_ms) == (NOW, NOW + 5)
    assert found.params == {"max_depth": "6", "data.split.strategy": "random"}
    assert found.metrics == {"auc": 0.75, "loss": 0.25}
    assert (
        found.tags.items() >= {"team": "growth ✨", "mmp.kind": "train", "mlflow.runName": "telco_1"}.items()
    )
    assert found.artifact_uri == run.artifact_uri


def test_what_is_written_together_reads_back(store):
    with store.together():
        run = new_run(store)
        store.log_batch(run.run_id, params={"max_depth": "6"}, metrics=[Metric("auc", 0.5, NOW)])
        store.finish(run.run_id, "FINISHED", end_time_ms=NOW + 5)
    record = store.get_run(run.run_id)
    assert (record.status, record.params, record.metrics) == ("FINISHED", {"max_depth": "6"}, {"auc": 0.5})


def test_more_entries_than_mlflow_takes_in_one_call(store):
    run = new_run(store)
    params = {f"p{i}": str(i) for i in range(230)}
    tags = {f"t{i}": "x" * 500 for i in range(130)}
    metrics = [Metric("loss", 1 / (1 + i), NOW + i, i) for i in range(1500)]
    store.log_batch(run.run_id, params=params, metrics=metrics, tags=tags)
    found = store.get_run(run.run_id)
    assert found.params == params
    assert found.tags.items() >= tags.items()
    history = mlflow_client(store).get_metric_history(run.run_id, "loss")
    assert sorted((m.step, m.value) for m in history) == [(m.step, m.value) for m in metrics]
    assert found.metrics == {"loss": metrics[-1].value}


def test_the_latest_metric_is_that_of_the_last_step_in_any_order(store):
    run = new_run(store)
    store.log_batch(run.run_id, metrics=[Metric("a", 3.0, NOW, 7), Metric("a", 1.0, NOW + 9, 2)])
    store.log_batch(run.run_id, metrics=[Metric("a", 2.0, NOW + 20, 6)])
    assert store.get_run(run.run_id).metrics == {"a": 3.0}


def test_writing_twice_changes_nothing_and_another_value_is_refused(store):
    run = new_run(store)
    for _ in range(2):
        store.log_batch(run.run_id, params={"a": "1"}, metrics=[Metric("m", 1.0, NOW)], tags={"t": "1"})
    assert len(mlflow_client(store).get_metric_history(run.run_id, "m")) == 1
    with pytest.raises(TrackingError, match="a"):
        store.log_batch(run.run_id, params={"a": "2"})
    store.log_batch(run.run_id, tags={"t": "2", "mlflow.runName": "renamed"})
    found = store.get_run(run.run_id)
    assert (found.params["a"], found.tags["t"], found.name) == ("1", "2", "renamed")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e-320, -0.0, 1.7976931348623157e308])
def test_extreme_metrics_read_back_as_mlflow_reads_them(store, value):
    run = new_run(store)
    store.log_batch(run.run_id, metrics=[Metric("m", value, NOW)])
    theirs = mlflow_client(store).get_run(run.run_id).data.metrics["m"]
    ours = store.get_run(run.run_id).metrics["m"]
    assert math.isnan(theirs) == math.isnan(ours) == math.isnan(value)
    if not math.isnan(value):
        assert ours == theirs
        assert ours == value or abs(ours) > 1e308


@pytest.mark.parametrize(
    ("entries", "word"),
    [
        ({"params": {"a,b": "1"}}, "a,b"),
        ({"params": {"a": "x" * 6001}}, "6001"),
        ({"tags": {"a": "x" * 8001}}, "8001"),
        ({"metrics": [Metric("../up", 1.0, NOW)]}, "up"),
        ({"tags": {"": "x"}}, "name"),
        ({"metrics": [Metric("m" * 251, 1.0, NOW)]}, "mmm"),
    ],
)
def test_what_mlflow_would_refuse_is_refused_before_anything_is_written(store, entries, word):
    run = new_run(store)
    with pytest.raises(TrackingError, match=word):
        store.log_batch(run.run_id, **({"params": {"fine": "1"}} | entries))
    assert store.get_run(run.run_id).params == {}


def test_a_dataset_is_an_input_of_the_run(store):
    run = new_run(store)
    dataset = Dataset(
        "telco", "d" * 36, "local", '{"uri": "telco.csv"}', '{"mlflow_colspec": []}', '{"num_rows": 3}'
    )
    for _ in range(2):
        store.log_dataset(run.run_id, dataset)
    (found,) = mlflow_client(store).get_run(run.run_id).inputs.dataset_inputs
    assert (found.dataset.name, found.dataset.digest, found.dataset.source_type) == (
        "telco",
        "d" * 36,
        "local",
    )
    assert (found.dataset.source, found.dataset.schema) == (dataset.source, dataset.schema)
    assert found.dataset.profile == dataset.profile
    assert [(tag.key, tag.value) for tag in found.tags] == [("mlflow.data.context", "training")]
    with pytest.raises(TrackingError, match="37"):
        store.log_dataset(run.run_id, Dataset("telco", "d" * 37, "local", "{}"))


def test_search_by_experiment_status_tag_and_prefix(store):
    experiment, other = unique("exp"), unique("exp")
    runs = [new_run(store, experiment, tags={"kind": kind}) for kind in ("train", "batch", "train")]
    elsewhere = new_run(store, other)
    store.finish(runs[0].run_id, "FINISHED", end_time_ms=NOW)
    store.finish(runs[1].run_id, "FINISHED", end_time_ms=NOW)

    def ids(**conditions):
        return {
            run.run_id for run in store.search(**({"experiments": [experiment], "limit": 9999} | conditions))
        }

    assert ids() == {run.run_id for run in runs}
    assert ids(status="FINISHED") == {runs[0].run_id, runs[1].run_id}
    assert ids(status="FINISHED", tags={"kind": "train"}) == {runs[0].run_id}
    assert ids(experiments=["no such experiment"]) == set()
    assert ids(experiments=None) >= {*(run.run_id for run in runs), elsewhere.run_id}
    assert ids(experiments=None, id_prefix=runs[2].run_id[:12]) == {runs[2].run_id}
    assert ids(experiments=None, id_prefix="%") == ids(experiments=None, id_prefix="no*") == set()
    assert len(store.search([experiment], limit=2)) == 2


def test_runs_are_sorted_as_mlflow_sorts_them(store):
    experiment = unique("exp")
    values = {"low": 0.1, "nan": math.nan, "none": None, "high": 0.9, "minus": -3.0}
    for name, value in values.items():
        run = new_run(store, experiment, name=name)
        store.log_batch(run.run_id, metrics=[] if value is None else [Metric("auc", value, NOW)])
    best = [run.name for run in store.search([experiment], order=Order("auc"))]
    worst = [run.name for run in store.search([experiment], order=Order("auc", descending=False))]
    assert best == ["high", "low", "minus", "nan", "none"]
    assert worst == ["minus", "low", "high", "nan", "none"]
    experiment_id = store.experiment(experiment)
    theirs = mlflow_client(store).search_runs(
        [experiment_id], "metrics.auc > 0", order_by=["metrics.auc DESC"]
    )
    assert [run.info.run_name for run in theirs] == ["high", "low"]


def test_a_run_that_is_not_there(store):
    for call in (
        lambda: store.get_run("0" * 32),
        lambda: store.log_batch("0" * 32, params={"a": "1"}),
        lambda: store.finish("0" * 32, "FAILED", end_time_ms=NOW),
        lambda: store.log_dataset("0" * 32, Dataset("a", "b", "local", "{}")),
        lambda: store.artifacts("0" * 32),
    ):
        with pytest.raises(RunNotFoundError, match="0" * 32):
            call()


def test_a_deleted_run_is_not_there(store):
    run = new_run(store)
    mlflow_client(store).delete_run(run.run_id)
    with pytest.raises(RunNotFoundError):
        store.get_run(run.run_id)


def test_files_go_up_and_come_down(store, tmp_path):
    run = new_run(store)
    source = tmp_path / "source"
    (source / "deep" / "er").mkdir(parents=True)
    (source / "a b.txt").write_text("one")
    (source / "deep" / "er" / "ü 1.bin").write_bytes(bytes(range(256)) * 9000)
    (source / "empty").write_bytes(b"")
    store.upload(run.run_id, source, "model")
    store.upload(run.run_id, source / "a b.txt")
    assert store.artifacts(run.run_id) == ["a b.txt", "model/a b.txt", "model/deep/er/ü 1.bin", "model/empty"]
    written = store.download(run.run_id, "model", tmp_path / "back")
    assert sorted(path.relative_to(tmp_path / "back").as_posix() for path in written) == [
        "a b.txt",
        "deep/er/ü 1.bin",
        "empty",
    ]
    for path in written:
        assert path.read_bytes() == (source / path.relative_to(tmp_path / "back")).read_bytes()
    assert not list((tmp_path / "back").rglob("*.partial"))


def test_a_folder_that_is_not_there_and_a_path_that_leads_out(store, tmp_path):
    run = new_run(store)
    with pytest.raises(ArtifactError, match="no files in model"):
        store.download(run.run_id, "model", tmp_path)
    (tmp_path / "a.txt").write_text("a")
    for folder in ("../x", "/etc", "a/../../b"):
        for call in (store.artifacts, lambda run_id, where: store.upload(run_id, tmp_path / "a.txt", where)):
            with pytest.raises(ArtifactError, match="leads out"):
                call(run.run_id, folder)


def test_a_registered_version_is_found_by_its_alias(store):
    name, run = unique("churn"), new_run(store)
    first = store.register(name, run.run_id, description="the first", tags={"by": "mmp"})
    second_run = new_run(store)
    second = store.register(name, second_run.run_id)
    assert (first, second) == ("1", "2")
    assert store.resolve_alias(name, "champion") is None
    assert store.resolve_alias(unique("other"), "champion") is None
    store.set_alias(name, "champion", first)
    store.set_alias(name, "champion", second)
    store.set_alias(name, "previous", first)
    assert store.resolve_alias(name, "champion") == second_run.run_id
    assert store.resolve_alias(name, "previous") == run.run_id
    with pytest.raises(TrackingError, match="9"):
        store.set_alias(name, "champion", "9")

    client = mlflow_client(store)
    version = client.get_model_version_by_alias(name, "previous")
    assert (int(version.version), version.run_id, version.description) == (1, run.run_id, "the first")
    assert (version.tags, version.status, version.source) == (
        {"by": "mmp"},
        "READY",
        f"{run.artifact_uri}/model",
    )
    assert {int(v.version) for v in client.search_model_versions(f"name = '{name}'")} == {1, 2}


def test_mlflow_loads_the_model_by_run_and_by_alias(store, model_folder, monkeypatch):
    import mlflow

    name, run = unique("doubled"), new_run(store)
    store.upload(run.run_id, model_folder, "model")
    store.set_alias(name, "champion", store.register(name, run.run_id))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
    mlflow.set_tracking_uri(store.uri)
    mlflow.set_registry_uri(store.uri)
    for uri in (f"runs:/{run.run_id}/model", f"models:/{name}@champion"):
        assert mlflow.pyfunc.load_model(uri).predict([1.0, 2.0]) == [2.0, 4.0]
