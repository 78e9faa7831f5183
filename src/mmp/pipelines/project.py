"""`mmp init`: a project that trains at once."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from mmp.errors import SettingsError
from mmp.pipelines.authoring.files import schema_texts

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

_EXAMPLES = {
    "cancer": {
        "task": "classification",
        "target": "diagnosis",
        "positive": "    positive_class: malignant\n",
    },
    "diabetes": {"task": "regression", "target": "progression", "positive": ""},
}
_KIND = {"classification": "Classifier", "regression": "Regressor"}
_LIBRARIES = {"xgboost": "xgboost.XGB", "lightgbm": "lightgbm.LGBM", "catboost": "catboost.CatBoost"}
_FOREST = {"random_forest": "sklearn.ensemble.RandomForest"}
_STOPPING = "  early_stopping: {rounds: 50}                  # on the validation split\n"


@dataclass(frozen=True)
class Project:
    """What was made.

    Parameters
    ----------
    path : Path
        The folder.
    files : tuple of str
        What is in it, relative to it.
    recipe : str
        The recipe to start with.
    """

    path: Path
    files: tuple[str, ...]
    recipe: str


def start_project(path: Path, example: str) -> Project:
    """Make a folder with configs, recipes, real data and container files.

    The folder appears whole or not at all.

    Parameters
    ----------
    path : Path
        The folder to make; it may exist if it is empty.
    example : {"cancer", "diabetes"}
        Which of scikit-learn's bundled tables to start with.

    Returns
    -------
    Project
        What was made.

    Raises
    ------
    SettingsError
        The folder holds something already, or cannot be written.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise SettingsError(
            f"{path} is there already and not empty.", hint="Name a new folder, or empty this one."
        )
    contents = _contents(path.resolve().name, example)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as beside:
            made = Path(beside) / "project"
            for name, content in contents.items():
                file = made / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
            if path.exists():
                path.rmdir()
            made.rename(path)
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be written: {error.strerror}.", hint="Name a folder that you may write."
        ) from error
    return Project(path, tuple(sorted(contents)), f"recipes/{example}_xgboost.yaml")


def _contents(name: str, example: str) -> dict[str, bytes]:
    templates = files("mmp") / "templates"
    # JSON's text is YAML's, whatever stands in it
    quoted = json.dumps(name, ensure_ascii=False)
    words = {"name": name, "quoted_name": quoted, "example": example, **_EXAMPLES[example]}
    texts = {
        "README.md": "README.md",
        ".gitignore": "gitignore",
        "Dockerfile": "Dockerfile",
        "docker-compose.yml": "docker-compose.yml",
        "configs/local.yaml": "config.yaml",
    }
    contents = {path: _fill(templates / "project" / source, words) for path, source in texts.items()}
    for library, prefix in {**_LIBRARIES, **_FOREST}.items():
        stopping = _STOPPING if library in _LIBRARIES else ""
        model = {"library": library, "class_path": prefix + _KIND[words["task"]], "early_stopping": stopping}
        contents[f"recipes/{example}_{library}.yaml"] = _fill(
            templates / "project" / "recipe.yaml", words | model
        )
    contents |= {path: text.encode() for path, text in schema_texts().items()}
    contents[f"data/{example}.csv"] = (templates / "data" / f"{example}.csv").read_bytes()
    return contents


def _fill(template: Traversable, words: dict[str, str]) -> bytes:
    text = template.read_text(encoding="utf-8")
    for word, value in words.items():
        text = text.replace(f"{{{word}}}", value)
    return text.encode()
