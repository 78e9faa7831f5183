"""Compose files as an engine would see them: variables filled in, merges done, and nothing that no engine knows."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
_VARIABLE = re.compile(r"\$\$|\$\{(\w+)(?:(:?[-?])([^}]*))?\}|\$(\w+)")

# What the compose specification allows of what we use; a word outside is a slip of the pen.
TOP = {"name", "services", "volumes", "networks"}
SERVICE = {
    "image", "build", "command", "entrypoint", "environment", "volumes", "ports", "healthcheck", "depends_on", "restart",
    "read_only", "tmpfs",
    "profiles", "user", "init", "security_opt", "shm_size", "working_dir",
}  # fmt: skip
HEALTH = {"test", "interval", "timeout", "retries", "start_period"}
BUILD = {"context", "dockerfile", "args", "target"}
CONDITIONS = {"service_started", "service_healthy", "service_completed_successfully"}
RESTARTS = {"no", "always", "on-failure", "unless-stopped"}


class UnsetError(Exception):
    """A variable that the file says is needed."""


def fill(text, values):
    """Fill in variables as Compose does."""

    def value(found):
        if found[0] == "$$":
            return "$"
        name, how, word = found[1] or found[4], found[2] or "", found[3] or ""
        known = values.get(name)
        if known is not None and (known or not how.startswith(":")):
            return known
        if how.endswith("?"):
            raise UnsetError(f"{name}: {word}")
        return word

    return _VARIABLE.sub(value, text)


def filled(node, values):
    """Fill in every text of a tree."""
    if isinstance(node, str):
        return fill(node, values)
    if isinstance(node, dict):
        return {key: filled(value, values) for key, value in node.items()}
    if isinstance(node, list):
        return [filled(value, values) for value in node]
    return node


def load(path, **values):
    """Return a compose file, filled in."""
    tree = yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))
    return filled({key: value for key, value in tree.items() if not key.startswith("x-")}, values)


def problems(tree):
    """Return what an engine would refuse, in sentences."""
    found = [f"{key} is no key of a compose file" for key in tree.keys() - TOP]
    for name, service in tree["services"].items():
        found += [f"{name}: {text}" for text in _of_service(service, tree)]
    return found


def _of_service(service, tree):
    yield from (f"{key} is no key of a service" for key in service.keys() - SERVICE)
    if not service.keys() & {"image", "build"}:
        yield "neither image nor build"
    build = service.get("build", {})
    if isinstance(build, dict):
        yield from (f"build.{key} is no key" for key in build.keys() - BUILD)
    yield from (f"healthcheck.{key} is no key" for key in service.get("healthcheck", {}).keys() - HEALTH)
    if service.get("restart", "no") not in RESTARTS:
        yield f"restart {service['restart']}"
    for other, how in service.get("depends_on", {}).items():
        if other not in tree["services"] or how.get("condition") not in CONDITIONS:
            yield f"depends_on {other}: {how}"
        if how.get("condition") == "service_healthy" and "healthcheck" not in tree["services"].get(other, {}):
            yield f"waits for the health of {other}, which has no check"
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        if not source.startswith((".", "/")) and source not in tree.get("volumes", {}):
            yield f"volume {source} is not declared"
    yield from (
        f"environment {key} is no text"
        for key, value in service.get("environment", {}).items()
        if not isinstance(value, str)
    )
