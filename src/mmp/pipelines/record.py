"""What a run writes down about itself, and how it says it to a human."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from mmp.catalog.tasks import TASKS
from mmp.data.fingerprint import fingerprint
from mmp.features import registry
from mmp.settings.base import Section
from mmp.tracking import environment
from mmp.tracking.run import KIND, TASK
from mmp.tracking.stores.base import Dataset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from mmp.data.table import Table
    from mmp.data.template import Query
    from mmp.errors import Finding
    from mmp.features.references import FeatureSet
    from mmp.modeling.fit import Fitted
    from mmp.settings.config import Config
    from mmp.settings.load import Loaded
    from mmp.settings.recipe import Recipe
    from mmp.tracking.run import ActiveRun

QUERY_FILE = "query.json"
"""The artifact that says what was asked of a database."""

FEATURES_FILE = "features.json"
"""The artifact that says what was taken from the feature store."""

_MLFLOW_TYPES = {
    "integer": "long",
    "float": "double",
    "boolean": "boolean",
    "text": "string",
    "timestamp": "datetime",
}
_LIBRARIES = ("numpy", "pyarrow", "scikit-learn", "xgboost", "lightgbm", "catboost", "mlflow")


class Findings:
    """Findings as they come: kept, and told at once to whoever listens.

    Parameters
    ----------
    tell : callable or None
        The listener.
    """

    def __init__(self, tell: Callable[[Iterable[Finding]], None] | None) -> None:
        self.all: tuple[Finding, ...] = ()
        self._tell = tell

    def add(self, findings: Iterable[Finding]) -> None:
        """Keep findings and tell them."""
        new = tuple(findings)
        self.all += new
        if self._tell and new:
            self._tell(new)


def names(recipe: Recipe, config: Config) -> tuple[str, str]:
    """Return what the experiment and the run are called."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    return config.mlflow.experiment(recipe.tracking.experiment), f"{recipe.name}_{stamp}"


def secrets(config: Config) -> tuple[str, ...]:
    """Return the secret values of a config, so that no message carries one."""
    return tuple(_secrets(config.model_dump()))


def _secrets(value: Any) -> Iterator[str]:
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _secrets(inner)


def tags(recipe: Loaded[Recipe]) -> dict[str, str]:
    """Return the tags that say what a training run is about; the recipe's own come last."""
    what = recipe.value
    found = {
        KIND: "train",
        TASK: what.task_choice,
        "mmp.model": what.model.named,
        "mmp.recipe": what.name,
        "mmp.recipe.path": recipe.path,
        "mmp.recipe.digest": digest(recipe),
        "mmp.overrides": " ".join(recipe.overrides),
        "mmp.author": what.metadata.author or "",
        "mlflow.note.content": what.metadata.description or "",
        **{f"mmp.version.{name}": version for name, version in environment.versions(_LIBRARIES).items()},
    }
    return {name: value for name, value in found.items() if value} | dict(what.metadata.tags)


def digest(recipe: Loaded[Recipe]) -> str:
    """Return the SHA-256 of a recipe as it was used: its text and what was changed on the command line."""
    return hashlib.sha256("\n".join((recipe.text, *recipe.overrides)).encode()).hexdigest()


def parameters(recipe: Recipe) -> dict[str, Any]:
    """Return the keys that a recipe sets, by dotted path; hyperparameters go by their own names.

    A mapping by names of the user's, such as labels, is one value: MLflow does not take every name.
    """
    written = recipe.model_dump(mode="json", exclude_unset=True)
    written.get("model", {}).get("hyperparameters", {}).pop("values", None)
    written.pop("metadata", None)
    return dict(_flat(recipe, written, ""))


def chosen_steps(recipe: Recipe, steps: Sequence[Any]) -> dict[str, Any]:
    """Return the steps that were chosen where a recipe writes none, under the key that would write them."""
    if recipe.preprocessor is not None and recipe.preprocessor.steps is not None:
        return {}
    return {"preprocessor.steps": [step.model_dump(mode="json", exclude_defaults=True) for step in steps]}


def _flat(section: Section, written: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in written.items():
        inner = getattr(section, name)
        if isinstance(inner, Section):
            yield from _flat(inner, value, f"{prefix}{name}.")
        elif value is not None:
            yield prefix + name, value


def log_inputs(
    active: ActiveRun,
    recipe: Loaded[Recipe],
    config: Loaded[Config],
    table: Table,
    source: str | Query,
) -> None:
    """Log what went in: the recipe, the redacted config, and the table by its fingerprint.

    Parameters
    ----------
    active : ActiveRun
        Where to.
    recipe, config : Loaded
        The files, references to the environment unresolved.
    table : Table
        The table as it was read.
    source : str or Query
        What it was read from; of a query the template, its parameters and what was sent are kept, so
        that it can be asked again without its file.
    """
    active.log_text(recipe.text, "recipe.yaml")
    active.log_text(config.text, "config.yaml")
    if not isinstance(source, str):
        active.log_text(json.dumps(source.as_dict(), indent=1, ensure_ascii=False) + "\n", QUERY_FILE)
        active.log_params({f"data.parameters.{name}": value for name, value in source.parameters.items()})
    found = fingerprint(table)
    active.log_params(
        {
            "dataset.source": table.source,
            "dataset.rows": found.n_rows,
            "dataset.columns": found.n_columns,
            "dataset.digest": found.digest,
        }
    )
    columns = [{"name": name, "type": _MLFLOW_TYPES[kind], "required": True} for name, kind in found.schema]
    active.log_dataset(
        Dataset(
            name=Path(table.source).name,
            digest=found.digest[:36],
            source_type="local" if isinstance(source, str) else "sql",
            source=json.dumps({"uri": table.source}, ensure_ascii=False),
            schema=json.dumps({"mlflow_colspec": columns}, ensure_ascii=False),
            profile=json.dumps({"num_rows": found.n_rows, "num_columns": found.n_columns}),
        )
    )


def log_features(active: ActiveRun, features: FeatureSet | None) -> None:
    """Log what was taken from the feature store: references, definitions, and the digest of these."""
    if features is None:
        return
    content = {"digest": registry.digest(features), **features.to_json()}
    active.log_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", FEATURES_FILE)
    active.log_params(
        {
            "features.project": features.project,
            "features.views": ", ".join(view.name for view in features.views),
            "features.references": json.dumps(
                [f"{view.name}:{feature.source_name}" for view in features.views for feature in view.features]
            ),
        }
    )
    active.set_tags({"mmp.features.digest": content["digest"]})


def features_in_words(features: FeatureSet) -> str:
    """Return how many features there are, and of how many views."""
    n_views, n_features = len(features.views), len(features.names)
    return f"{n_features} features of {n_views} view{'' if n_views == 1 else 's'} as of each row"


def steps_in_words(steps: Sequence[Any]) -> str:
    """Return the types of steps in order, repetitions counted."""
    runs = [(kind, len(list(same))) for kind, same in groupby(step.type for step in steps)]
    return ", ".join(kind if count == 1 else f"{count} {kind}" for kind, count in runs) or "no steps"


def prepared_in_words(steps: Sequence[Any], names: Sequence[str]) -> str:
    """Return the steps, and how many features they leave."""
    return f"{steps_in_words(steps)}, {len(names)} features for the model"


def model_in_words(recipe: Recipe, fitted: Fitted) -> str:
    """Return the model's name, and where it stopped if it did so early."""
    name, best = recipe.model.named, fitted.model.best_iteration
    return name if best is None else f"{name}, best of its rounds {best + 1}"


def score_in_words(task: str, metrics: Mapping[str, Mapping[str, float]]) -> str:
    """Return the primary metric of each split."""
    primary = TASKS[task].primary_metric
    known = {
        split: values[primary]
        for split, values in metrics.items()
        if primary in values and split != "uncalibrated"
    }
    return (
        f"{primary} " + ", ".join(f"{split} {value:.4f}" for split, value in known.items()) if known else ""
    )


def size_in_words(folder: Path) -> str:
    """Return how many files a folder holds, and how large they are together."""
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return f"{len(sizes)} files, {sum(sizes) / 1e6:.1f} MB"
