"""`mmp get-config`: a commented config."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mmp.errors import SettingsError
from mmp.settings.adapters import Files, FilesOutput
from mmp.settings.config import Config, Environment, Logging, Mlflow, Output
from mmp.settings.emit import Off, Reference, without_comments
from mmp.settings.schema import describe

if TYPE_CHECKING:
    from mmp.settings.base import Section

HERE = "./mlruns"
"""Tracking without a server: SQLite and files in that folder."""


@dataclass(frozen=True)
class Place:
    """What a config is to say.

    Parameters
    ----------
    env : str
        Name of the environment.
    tracking : str
        A folder, ``sqlite:///…``, or a server.
    experiment : str
        Where runs go unless a recipe says otherwise.
    registered_model : str or None
        Register each model under this name.
    """

    env: str = "local"
    tracking: str = HERE
    experiment: str = "mmp"
    registered_model: str | None = None

    def settled(self, key: str, answer: str | None) -> Place:
        """Return the place with one more thing said; None leaves it as it is."""
        return self if answer is None else replace(self, **{key: answer})


def draft(place: Place) -> tuple[dict[str, Any], dict[tuple[Any, ...], str]]:
    """Return the keys of a config, and what is said of them.

    No secret is written: a server's user and password come from the environment.

    Raises
    ------
    SettingsError
        The address holds a password, or is none.

    Examples
    --------
    >>> settings, _ = draft(Place(tracking="https://runs.example.org"))
    >>> settings["mlflow"]["tracking_password"].text
    '${MLFLOW_TRACKING_PASSWORD:}'
    """
    is_server = place.tracking.startswith(("http://", "https://"))
    if is_server and urlsplit(place.tracking).username is not None:
        raise SettingsError(
            "--tracking: the address holds a user or a password, which a config should not.",
            hint="Leave them out, and set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD.",
        )
    _refuse_unwritable(place.tracking)
    user = Reference("${MLFLOW_TRACKING_USERNAME:}")
    password = Reference("${MLFLOW_TRACKING_PASSWORD:}")
    name = place.registered_model
    settings = {
        "environment": {"name": place.env, "description": Off("what it is for")},
        "mlflow": {
            "tracking_uri": Reference(f"${{MLFLOW_TRACKING_URI:{place.tracking}}}"),
            "tracking_username": user if is_server else Off(user),
            "tracking_password": password if is_server else Off(password),
            "experiment_name": place.experiment,
            "experiment_prefix": Off("team"),
            "registered_model_name": Off("churn") if name is None else name,
            "timeout_s": 10 if is_server else Off(10),
        },
        "data_source": {"adapter_type": "storage", "config": {"base_path": "."}},
        "output": {"inference": {"adapter_type": "storage", "config": {"base_path": "./predictions"}}},
        "logging": {
            "base_path": "./logs",
            "level": "INFO",
            "retention_days": Off(30),
            "upload_to_mlflow": Off(True),  # noqa: FBT003 - a value, not a flag
        },
    }
    Config.model_validate(without_comments(settings))
    return settings, _notes()


def _refuse_unwritable(tracking: str) -> None:
    if not tracking or set(tracking) & set("{}$\"'\\# \n\t"):
        raise SettingsError(
            f"--tracking: {tracking!r} is no address that a config can default to.",
            hint=f"Write a folder such as {HERE}, sqlite:///…, or a server such as http://localhost:5000.",
        )


def _notes() -> dict[tuple[Any, ...], str]:
    sections: dict[str, type[Section]] = {"environment": Environment, "mlflow": Mlflow, "logging": Logging}
    notes: dict[tuple[Any, ...], str] = {
        (name, key): text for name, section in sections.items() for key, text in describe(section).items()
    }
    notes |= {(name,): text for name, text in describe(Config).items()}
    notes["output", "inference"] = describe(Output)["inference"]
    notes["data_source", "config", "base_path"] = describe(Files)["base_path"]
    notes["output", "inference", "config", "base_path"] = describe(FilesOutput)["base_path"]
    return notes
