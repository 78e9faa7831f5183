"""What MLflow wants to find in a model folder, written without importing it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import yaml

import mmp
from mmp.modeling import conformal
from mmp.modeling.state import to_json
from mmp.tracking import environment

if TYPE_CHECKING:
    from pathlib import Path

    from mmp.data.table import ColumnSpec
    from mmp.modeling.bundle import Bundle

LOADER: Final = "mmp.tracking.flavor"
_N_EXAMPLES: Final = 5
# MLflow's check would refuse what `columns.coerce` reads for every kind of column: integers with
# missing values and 0/1 for booleans, timestamps as text or with a zone, text that a reader made numbers
# of, integers for floats. `any` passes them all on. (Measured on 3.17; a test measures it again.)
_INPUT_TYPE: Final = "any"
_LABEL_TYPES: Final = {bool: "boolean", int: "long", float: "double", str: "string"}
# Needed to serve any model; those that are installed are pinned.
_SERVING: Final = ("mlflow", "numpy", "pandas", "pyarrow")


def write(bundle: Bundle, folder: Path, *, run_id: str, libraries: tuple[str, ...]) -> None:
    """Write ``MLmodel`` and the files it names, and the environment lock.

    Parameters
    ----------
    bundle : Bundle
        The model, with its examples.
    folder : Path
        The model folder.
    run_id : str
        The run that it is logged to.
    libraries : tuple of str
        What the model's engine needs, by the names of `environment.KNOWN`.
    """
    pins = requirements(libraries)
    stored = {spec.name for spec in bundle.stored}
    columns = [name for name in _columns(bundle) if name not in stored]
    rows = [[row[name] for name in columns] for row in bundle.examples[:_N_EXAMPLES]]
    example = {"columns": columns, "data": rows}
    texts = {
        "MLmodel": _yaml(_model(bundle, run_id)),
        "conda.yaml": _yaml(_conda(pins)),
        "environment.lock": environment.lock(),
        "python_env.yaml": _yaml(_python_env()),
        "requirements.txt": _requirements_text(pins),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
    (folder / "input_example.json").write_bytes(to_json(example))
    (folder / "serving_input_example.json").write_bytes(to_json({"dataframe_split": example}))


def signature(bundle: Bundle) -> dict[str, str | None]:
    """Return a model's MLflow signature: request inputs, and the one table of predictions.

    An entity key is required where the pipeline reads it or finds features by it; else the model only
    echoes it. A feature of the store is optional: MLflow drops what the signature does not have, and a
    table may be joined already.
    """
    required = {spec.name for spec in bundle.request}
    inputs = [_column(spec, required=name in required) for name, spec in _columns(bundle).items()]
    outputs = [_column(spec, required=False) for spec in bundle.entities]
    types: dict[str, dict[str, Any]] = {name: {"type": "double"} for name in bundle.output_names}
    if bundle.classes:
        types["prediction"] = {"type": _LABEL_TYPES[type(bundle.classes[0])]}
    if bundle.sets:
        types[conformal.COLUMN] = {"type": "array", "items": types["prediction"]}
    outputs += [{**kind, "name": name, "required": True} for name, kind in types.items()]
    return {"inputs": to_json(inputs).decode(), "outputs": to_json(outputs).decode(), "params": None}


def requirements(libraries: tuple[str, ...]) -> list[str]:
    """Return ``name==version`` of what serving needs, as far as it is installed here."""
    found = [environment.installed(library) for library in dict.fromkeys((*_SERVING, *libraries))]
    return sorted(f"{name}=={version}" for name, version in filter(None, found))


def _columns(bundle: Bundle) -> dict[str, ColumnSpec]:
    """Return every column that a row may have; a key may be listed as a feature and be of no use as one."""
    specs = (*bundle.entities, *bundle.feature_keys, *bundle.pipeline.inputs)
    return {spec.name: spec for spec in specs}


def _column(spec: ColumnSpec, *, required: bool) -> dict[str, Any]:
    return {"type": _INPUT_TYPE, "name": spec.name, "required": required}


def _model(bundle: Bundle, run_id: str) -> dict[str, Any]:
    flavor = {
        "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
        "loader_module": LOADER,
        "python_version": environment.python_version(),
    }
    example = {
        "artifact_path": "input_example.json",
        "pandas_orient": "split",
        "serving_input_path": "serving_input_example.json",
        "type": "dataframe",
    }
    return {
        "artifact_path": "model",
        "flavors": {"python_function": flavor},
        "mlflow_version": environment.versions(("mlflow",)).get("mlflow"),
        "run_id": run_id,
        "saved_input_example_info": example,
        "signature": signature(bundle),
    }


def _conda(pins: list[str]) -> dict[str, Any]:
    python = f"python={environment.python_version()}"
    return {"channels": ["conda-forge"], "dependencies": [python, "pip", {"pip": pins}], "name": "mlflow-env"}


def _python_env() -> dict[str, Any]:
    return {
        "python": environment.python_version(),
        "build_dependencies": ["pip"],
        "dependencies": ["-r requirements.txt"],
    }


def _requirements_text(pins: list[str]) -> str:
    # No requirement: on a package registry the name belongs to another project.
    own = f"# mmp {mmp.__version__} loads this model; install it from where you have it.\n"
    return own + "".join(f"{pin}\n" for pin in pins)


def _yaml(content: dict[str, Any]) -> str:
    return yaml.safe_dump(content, allow_unicode=True, sort_keys=False, width=10_000)
