from __future__ import annotations

import dataclasses
import json
import os
import random
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from tests import bundles

from mmp.data import files
from mmp.errors import ArtifactError, MissingExtraError
from mmp.modeling import golden
from mmp.modeling.state import from_json, to_json
from mmp.tracking import artifacts, environment, manifest

ENGINES = ["xgboost", "lightgbm", "catboost", "linear", "sklearn"]
OWN_FILES = {
    "MLmodel", "baseline.json", "bundle.json", "conda.yaml", "environment.lock", "golden/inputs.json",
    "golden/outputs.json", "input_example.json", "mmp_manifest.json", "python_env.yaml", "requirements.txt",
    "serving_input_example.json", "state.npz",
}  # fmt: skip
ESTIMATOR_FILES = {
    "xgboost": "estimator/model.ubj",
    "lightgbm": "estimator/model.txt",
    "catboost": "estimator/model.cbm",
    "linear": "estimator/model.npz",
    "sklearn": "estimator/model.skops",
}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return bundles.write_csv(tmp_path_factory.mktemp("table") / "table.csv", labels="three")


@pytest.fixture(scope="module", params=ENGINES)
def written(request, table, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / request.param
    bundle = bundles.train(table, engine=request.param)
    return bundle, folder, artifacts.write(bundle, folder, run_id="run", recipe_digest="recipe")


@pytest.fixture
def folder(written, tmp_path):
    """Return a copy to damage."""
    return shutil.copytree(written[1], tmp_path / "model")


def _reseal(folder, **facts):
    old = manifest.Manifest.from_bytes((folder / manifest.NAME).read_bytes()).facts
    (folder / manifest.NAME).unlink()
    return manifest.seal(folder, {**old, **facts}, artifacts._FORMATS)


def test_a_loaded_model_answers_as_the_trained_one_to_the_bit(written, table):
    bundle, folder, digest = written
    loaded = artifacts.load(folder, expected_digest=digest)
    rows = files.read(str(table)).arrow
    before, after = bundle.predict(rows), loaded.predict(rows)
    assert before.names == after.names
    assert before.records() == after.records()
    for field in dataclasses.fields(bundle):
        if field.name not in {"pipeline", "model"}:
            assert getattr(loaded, field.name) == getattr(bundle, field.name), field.name


def test_equal_bundles_are_equal_bytes(written, tmp_path):
    bundle, folder, digest = written
    assert artifacts.write(bundle, tmp_path / "again", run_id="run", recipe_digest="recipe") == digest
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    trees = {"estimator/trees.npz"} if bundle.model.engine == "xgboost" else set()
    assert names == OWN_FILES | {ESTIMATOR_FILES[bundle.model.engine]} | trees
    for name in names:
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_the_manifest_says_what_wrote_the_model(written):
    bundle, folder, _ = written
    facts = manifest.Manifest.from_bytes((folder / manifest.NAME).read_bytes()).facts
    assert facts["run_id"] == "run"
    assert facts["recipe_digest"] == "recipe"
    assert facts["engine"] == bundle.model.engine
    assert facts["libraries"]["numpy"] == np.__version__


def test_no_file_is_a_pickle_or_code(written):
    _, folder, _ = written
    for path in folder.rglob("*"):
        assert path.suffix not in {".pkl", ".pickle", ".py", ".pyc"}


def _damaged(content, trial, rng):
    bad = bytearray(content)
    if trial % 3:
        bad[rng.randrange(len(bad))] ^= 1 << rng.randrange(8)
    else:
        del bad[rng.randrange(len(bad)) :]
    return bytes(bad)


def test_thousands_of_damaged_bytes_are_refused_in_a_sentence(written, folder, tmp_path):
    """Whatever the format and the bit: no parser ever sees it."""
    bundle, good, _ = written
    rng = random.Random(5)
    files = manifest.Manifest.from_bytes((good / manifest.NAME).read_bytes()).files
    for name in [ESTIMATOR_FILES[bundle.model.engine], "bundle.json", "state.npz", "golden/outputs.json"]:
        content = (good / name).read_bytes()
        copy = tmp_path / "copy"
        for trial in range(2000 if name.startswith("estimator") else 400):
            (folder / name).write_bytes(_damaged(content, trial, rng))
            with pytest.raises(ArtifactError, match=f"The model is damaged: the file '{name}'"):
                manifest._copy(folder, name, copy, files[name])
            copy.unlink(missing_ok=True)
        (folder / name).write_bytes(content)


def test_damage_to_any_file_at_all_is_refused_by_loading(written, folder):
    _, good, _ = written
    rng = random.Random(4)
    for path in sorted(item for item in good.rglob("*") if item.is_file()):
        target = folder / path.relative_to(good)
        for trial in range(15):
            target.write_bytes(_damaged(path.read_bytes(), trial, rng))
            with pytest.raises(ArtifactError) as caught:
                artifacts.load(folder)
            assert path.name in str(caught.value) or "manifest" in str(caught.value)
        target.write_bytes(path.read_bytes())
    artifacts.load(folder)


def test_what_python_parses_stands_up_to_a_stranger_who_reseals(written, folder):
    """Without the run's tag a resealed folder passes the digests: the parsers of mmp's own must hold."""
    _, good, digest = written
    rng = random.Random(6)
    names = ["bundle.json", "baseline.json", "state.npz", "golden/inputs.json", "golden/outputs.json"]
    for name in names:
        content = (good / name).read_bytes()
        for trial in range(25):
            (folder / name).write_bytes(_damaged(content, trial, rng))
            _reseal(folder)
            with pytest.raises(ArtifactError, match="not the one that the run recorded"):
                artifacts.load(folder, expected_digest=digest)
            try:
                artifacts.load(folder)
            except ArtifactError:
                continue
        (folder / name).write_bytes(content)


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"engine": "os"},
        {"engine": "../evil"},
        {"pipeline": {}},
        {"pipeline": None},
        {"classes": None},
        {"target": {"name": "x"}},
        {"target": {"name": "x", "kind": "text", "more": 1}},
        {"model": {}},
        {"entities": [1]},
    ],
)
def test_a_resealed_bundle_of_another_shape_is_refused(folder, change):
    content = from_json((folder / "bundle.json").read_bytes(), "bundle.json")
    (folder / "bundle.json").write_bytes(to_json(content | change))
    _reseal(folder)
    with pytest.raises(ArtifactError):
        artifacts.load(folder)


def test_another_answer_to_a_golden_row_is_refused(folder):
    path = folder / "golden" / "outputs.json"
    answers = from_json(path.read_bytes(), path.name)
    name = next(name for name in answers if name.startswith("probability_"))
    answers[name][3] = np.nextafter(answers[name][3], 2.0)
    path.write_bytes(to_json(answers))
    _reseal(folder)
    with pytest.raises(ArtifactError, match="does not answer its golden rows"):
        artifacts.load(folder)
    # On another machine a last bit may differ …
    _reseal(folder, machine={"system": "Elsewhere"})
    artifacts.load(folder)
    # … and no more than that.
    answers[name][3] += 1e-4
    path.write_bytes(to_json(answers))
    _reseal(folder, machine={"system": "Elsewhere"})
    with pytest.raises(ArtifactError, match="does not answer its golden rows"):
        artifacts.load(folder)


@pytest.mark.parametrize("rows", [b"[]", b"[{}]", b"{}", b"[1]", b"null"])
def test_golden_rows_are_never_compared_in_vain(folder, rows):
    (folder / "golden" / "inputs.json").write_bytes(rows)
    _reseal(folder)
    with pytest.raises(ArtifactError):
        artifacts.load(folder)


def test_version_policy(written, folder):
    bundle, _, _ = written
    facts = manifest.Manifest.from_bytes((folder / manifest.NAME).read_bytes()).facts
    library = {"linear": "numpy", "sklearn": "scikit-learn"}.get(bundle.model.engine, bundle.model.engine)
    _reseal(folder, libraries=facts["libraries"] | {library: "0.1.2"})
    if library == "scikit-learn":
        with pytest.raises(
            ArtifactError, match=r"scikit-learn 0\.1\.2 wrote the model, .* not made for that"
        ):
            artifacts.load(folder)
    with pytest.warns(UserWarning, match=rf"{library} 0\.1\.2 wrote the model, .* is installed"):
        artifacts.load(folder, trust=[artifacts.VERSION_DRIFT])
    patched = ".".join(facts["libraries"][library].split(".")[:2]) + ".99"
    _reseal(folder, libraries=facts["libraries"] | {library: patched})
    with pytest.warns(UserWarning, match="Its golden rows decide"):
        artifacts.load(folder)


@pytest.mark.parametrize("libraries", [None, [], {"os": "1"}])
def test_libraries_that_a_stranger_names_are_refused(folder, libraries):
    _reseal(folder, libraries=libraries)
    with pytest.raises(ArtifactError, match="names no libraries"):
        artifacts.load(folder)


def test_a_library_that_is_not_installed_is_named(folder, monkeypatch):
    monkeypatch.setitem(environment.KNOWN, "numpy", ("a-library-that-is-nowhere",))
    with pytest.raises(MissingExtraError, match="The model needs numpy, not installed here") as caught:
        artifacts.load(folder)
    assert caught.value.hint == f"pip install numpy=={np.__version__}"


def test_a_pickle_needs_the_word_in_the_config(written, tmp_path):
    bundle, _, _ = written
    if bundle.model.engine != "sklearn":
        assert not hasattr(bundle.model, "format")
        return
    pickled = dataclasses.replace(bundle, model=dataclasses.replace(bundle.model, format="pickle"))
    artifacts.write(pickled, tmp_path / "model", run_id="run", recipe_digest="recipe")
    with pytest.raises(ArtifactError, match="The model is a pickle"):
        artifacts.load(tmp_path / "model")
    loaded = artifacts.load(tmp_path / "model", trust=["pickle"])
    assert loaded.predict(bundle.examples).records() == bundle.predict(bundle.examples).records()


def test_nothing_is_left_in_the_temporary_directory(written, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    artifacts.load(written[1])
    assert list(tmp_path.iterdir()) == []


def test_golden_rows_show_no_training_row(written, table):
    bundle, _, _ = written
    assert len(bundle.examples) == golden.N_ROWS
    names = [spec.name for spec in bundle.inputs]
    source = files.read(str(table)).arrow.select(names).to_pylist()
    trained = {tuple(str(row[name]) for name in names) for row in source}
    drawn = {tuple(str(row[name]) for name in names) for row in bundle.examples}
    assert not drawn & trained
    assert len(drawn) == golden.N_ROWS
    assert any(value is None for row in bundle.examples for value in row.values())
    assert any(row["city"] == golden.UNSEEN for row in bundle.examples)
    assert {row["user id"] for row in bundle.examples} == set(range(golden.N_ROWS))


def test_training_rows_are_nowhere_in_the_folder(written, table):
    """Keys stand for what is personal: none of them may leave with the model."""
    _, folder, _ = written
    keys = [str(key).encode() for key in files.read(str(table)).arrow.column("user id").to_pylist()]
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not any(key in content for key in keys)


def _in_a_process(code, *args):
    environ = {**os.environ, "MMP_LEAN_IMPORTS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, args)],
        capture_output=True, text=True, check=True, env=environ,
    )  # fmt: skip
    return json.loads(done.stdout)


def test_a_fresh_process_loads_predicts_and_writes_the_same_without_heavy_imports(written, table, tmp_path):
    bundle, folder, _ = written
    code = """
        import json, sys
        from pathlib import Path
        from mmp.data import files
        from mmp.tracking import artifacts
        folder, table, again = sys.argv[1:]
        bundle = artifacts.load(folder)
        rows = bundle.predict(files.read(table).arrow)
        artifacts.write(bundle, Path(again), run_id="run", recipe_digest="recipe")
        rows.to_arrow()
        print(json.dumps([rows.records()[:20], sorted({name.partition(".")[0] for name in sys.modules})]))
    """
    records, modules = _in_a_process(code, folder, table, tmp_path / "again")
    assert records == bundle.predict(files.read(str(table)).arrow).records()[:20]
    heavy = {"mlflow", "pandas", "sklearn", "skops", "matplotlib"}
    if bundle.model.engine == "sklearn":
        heavy = {"mlflow"}
    if bundle.model.engine == "catboost":  # imports them itself, whatever one wants of it
        heavy = {"mlflow", "sklearn"}
    assert not heavy & set(modules)


def test_training_again_in_another_process_gives_the_same_bytes(written, table, tmp_path):
    bundle, _, digest = written
    if bundle.model.engine == "catboost":
        pytest.skip("CatBoost writes the time and a random id into its file")
    code = """
        import json, sys
        from pathlib import Path
        from mmp.tracking import artifacts
        from tests import bundles
        bundle = bundles.train(Path(sys.argv[1]), engine=sys.argv[2])
        print(json.dumps(artifacts.write(bundle, Path(sys.argv[3]), run_id="run", recipe_digest="recipe")))
    """
    assert _in_a_process(code, table, bundle.model.engine, tmp_path / "again") == digest
