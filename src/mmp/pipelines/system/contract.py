"""Whether the local infrastructure provides what mmp requires of it, clause by clause."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from mmp.errors import GateError
from mmp.pipelines.infra import CHECKOUT
from mmp.pipelines.system.base import Found, System

REQUIRED = "dev-contract.yml"
_MOST_GAPS = 3
# the infrastructure stands alone, and so does its comparison: versions as versions, minima as minima
_COMPARE = """
import json, sys
from pathlib import Path
from localdev.contract import PROVIDED, gaps, read
provided = read(PROVIDED)
print(json.dumps({"version": provided["version"], "gaps": gaps(read(Path(sys.argv[1])), provided)}))
"""


def contract(system: System) -> Found:
    """Compare the contract beside the project, or mmp's own, with that of the infrastructure in use."""
    if system.infra is None:
        return Found("the config is not for the local infrastructure, or its folder is nowhere", "skipped")
    required = next((path for path in (Path(REQUIRED), CHECKOUT / REQUIRED) if path.is_file()), None)
    if required is None:
        return Found(f"no {REQUIRED} says what is required", "skipped")
    done = subprocess.run(  # noqa: S603 - our own interpreter, and a module of the infrastructure
        [sys.executable, "-c", _COMPARE, str(required.resolve())],
        cwd=system.infra,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise GateError(f"The contract of {system.infra} cannot be compared with {required}: {last}.")
    return _told(json.loads(done.stdout), str(system.infra / REQUIRED), required)


def _told(compared: dict[str, list[list[str]]], provided: str, required: Path) -> Found:
    gaps = [f"{clause} {wrong}" for clause, wrong in compared["gaps"]]
    if not gaps:
        return Found(f"{provided} {compared['version']} provides what {required} requires")
    more = f" and {len(gaps) - _MOST_GAPS} more" if len(gaps) > _MOST_GAPS else ""
    return Found(
        f"{provided} breaks {required}: {'; '.join(gaps[:_MOST_GAPS])}{more}",
        "fail",
        "Use the mmp-local-dev of this version of mmp.",
        GateError.exit_code,
    )
