"""Everything that can be found out about a run without fitting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mmp.errors import SettingsError
from mmp.settings import checks

if TYPE_CHECKING:
    from mmp.errors import Finding
    from mmp.settings.config import Config
    from mmp.settings.load import Loaded
    from mmp.settings.recipe import Recipe


@dataclass(frozen=True)
class Checked:
    """What was checked and what was found.

    Parameters
    ----------
    what : tuple of str
        ``settings``, and ``data`` where the table was read.
    summary : str
        The same in a few words.
    findings : tuple of Finding
        None of them an error.
    """

    what: tuple[str, ...]
    summary: str
    findings: tuple[Finding, ...]


def check(
    recipe: Loaded[Recipe], config: Loaded[Config], *, data: str | None = None, read_data: bool = True
) -> Checked:
    """Check a recipe against its config and its table, as `train` would, up to the split.

    Parameters
    ----------
    recipe, config : Loaded
        The files.
    data : str, optional
        A table instead of the recipe's own.
    read_data : bool
        Whether to look at the table at all.

    Raises
    ------
    SettingsError, DataError
        What `train` would refuse.
    """
    findings = refuse_settings(recipe.value, config.value)
    if not read_data or (data is None and recipe.value.data.loader.source_uri is None):
        return Checked(
            ("settings",), f"{recipe.path} holds together with {config.path}; no table was read", findings
        )
    return _check_data(recipe, config, data, findings)


def refuse_settings(recipe: Recipe, config: Config) -> tuple[Finding, ...]:
    """Return what is worth telling about the settings, or refuse them with all that is wrong.

    Raises
    ------
    SettingsError
        Naming every reason.
    """
    findings = checks.check(recipe, config)
    errors = [finding for finding in findings if finding.level == "error"]
    if errors:
        lines = [
            f"{finding.where}: {finding.message}" if finding.where else finding.message for finding in errors
        ]
        raise SettingsError("\n".join(lines), hint="Mend the recipe, and look again with `mmp validate`.")
    return tuple(findings)


def _check_data(
    recipe: Loaded[Recipe], config: Loaded[Config], data: str | None, findings: tuple[Finding, ...]
) -> Checked:
    # in here, because settings alone are checked without loading Arrow and NumPy
    from mmp.catalog.models import row_for
    from mmp.data.split import split
    from mmp.evaluation.evaluate import requests
    from mmp.pipelines.rows import labelled_rows, read_table

    what = recipe.value
    table = read_table(what, config.value, data)
    rows = labelled_rows(table, what)
    requests(what.evaluation.metrics or (), task=what.task_choice, classes=rows.target.classes)
    splits = split(
        rows.table,
        what.data.split,
        task=what.task_choice,
        target=rows.target_spec.name,
        seed=what.evaluation.random_state,
    )
    parts = ", ".join(f"{name} {len(part):,}" for name, part in vars(splits).items() if len(part))
    model = row_for(str(what.model.class_path), what.task_choice)
    summary = (
        f"{recipe.path} holds together with {config.path} and {table.source}: {table.n_rows:,} rows, "
        f"{len(rows.features)} features, target {rows.describe_target()}; {parts}; {model.class_path}"
    )
    return Checked(("settings", "data"), summary, (*findings, *rows.findings))
