#!/usr/bin/env python3
"""PostgreSQL, Redis and MLflow as ordinary processes of this machine, for where no Docker engine is.

A home is a folder with .env (ports, names, passwords; written at the first `up`), data/ (databases, logs)
and mlflow-artifacts/. Servers listen on 127.0.0.1 only. Whatever was not started here is never stopped; a
server that has the port already and meets the contract is used. PostgreSQL refuses root: for root it runs as
the user postgres, or nobody; where that user may not enter the home, the data are in /var/lib/mmp-local-dev.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER))

from localdev.failure import Failure  # noqa: E402

from localdev import archive, prune, runner, services, settings, watch  # noqa: E402

INTERRUPTED = 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="native.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    place = argparse.ArgumentParser(add_help=False)
    place.add_argument(
        "--home", type=Path, default=FOLDER, metavar="DIR", help="default: the folder of this file"
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    up = verbs.add_parser("up", parents=[place], help="start what does not run, and wait until it answers")
    up.add_argument("--only", metavar="NAMES", help="postgresql, redis, mlflow: some of them, with commas")
    up.add_argument(
        "--port-offset",
        type=int,
        metavar="N",
        help="add N to each port of .env.example, and write so to .env",
    )
    up.add_argument(
        "--install", action="store_true", help="install what is missing: apt-get, brew, or a wheel"
    )
    up.add_argument(
        "--set-passwords", action="store_true", help="give PostgreSQL's roles the passwords of .env"
    )

    verbs.add_parser("down", parents=[place], help="stop what was started here; the data stay")
    status = verbs.add_parser("status", parents=[place], help="what runs where")
    status.add_argument("--json", action="store_true", help="as JSON")
    logs = verbs.add_parser("logs", parents=[place], help="what the servers wrote")
    logs.add_argument("service", nargs="?", help="postgresql, redis or mlflow; all where left out")
    logs.add_argument("--follow", action="store_true", help="go on until Ctrl-C")
    reset = verbs.add_parser("reset", parents=[place], help="stop, and delete data and artifacts; .env stays")
    reset.add_argument("--yes", action="store_true", help="needed, for nothing comes back")
    backup = verbs.add_parser(
        "backup", parents=[place], help="databases, keys and artifacts into one archive"
    )
    backup.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="default: backups/ of the home, dated"
    )
    restore = verbs.add_parser("restore", parents=[place], help="replace everything by what an archive holds")
    restore.add_argument("file", type=Path, metavar="FILE")
    old = verbs.add_parser(
        "prune", parents=[place], help="delete old runs and their artifacts, by MLflow itself"
    )
    ended = "30d, 12h: runs that ended before; a run with a registered model stays"
    old.add_argument("--older-than", required=True, metavar="AGE", help=ended)
    verbs.add_parser("env", parents=[place], help="the variables as KEY=VALUE lines, passwords included")
    return parser


def _up(given: argparse.Namespace) -> None:
    found = runner.up(
        given.home, services.chosen(given.only), offset=given.port_offset, install=given.install,
        new_passwords=given.set_passwords,
    )  # fmt: skip
    _show(found)


def _show(found: list[runner.Status]) -> None:
    for one in found:
        more = f"{one.version or ''} {f'process {one.pid}' if one.pid else ''} {one.note or ''}"
        print(" ".join(f"{one.name:<11} {one.state:<10} {one.host}:{one.port}  {more}".split(" ")).rstrip())


def _down(given: argparse.Namespace) -> None:
    names = runner.down(given.home)
    print(f"stopped: {', '.join(names)}" if names else "nothing was running")


def _status(given: argparse.Namespace) -> None:
    found = runner.statuses(given.home)
    if given.json:
        print(
            json.dumps(
                {"home": str(given.home.resolve()), "services": [asdict(one) for one in found]}, indent=1
            )
        )
    else:
        _show(found)


def _logs(given: argparse.Namespace) -> None:
    watch.logs(settings.open_home(given.home), services.chosen(given.service), follow=given.follow)


def _reset(given: argparse.Namespace) -> None:
    if not given.yes:
        raise Failure("reset deletes all data and artifacts", "Say so: reset --yes.", code=2)
    runner.reset(given.home)
    print("deleted: data and artifacts; .env stays")


def _backup(given: argparse.Namespace) -> None:
    print(archive.backup(given.home, given.output))


def _restore(given: argparse.Namespace) -> None:
    _show(archive.restore(given.home, given.file))


def _prune(given: argparse.Namespace) -> None:
    print(prune.prune(given.home, given.older_than))


def _env(given: argparse.Namespace) -> None:
    for name, value in settings.open_home(given.home).values.items():
        print(f"{name}={value}")


_VERBS = {
    "up": _up, "down": _down, "status": _status, "logs": _logs, "reset": _reset, "backup": _backup,
    "restore": _restore, "prune": _prune, "env": _env,
}  # fmt: skip


def main() -> int:
    """Run a command; every failure is one sentence."""
    given = _parser().parse_args()
    try:
        _VERBS[given.verb](given)
        sys.stdout.flush()
    except BrokenPipeError:  # who reads has read enough; the end of Python must not complain of that
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Failure as failure:
        print(f"native.py: {failure}", file=sys.stderr)
        return failure.code
    except OSError as error:
        print(f"native.py: {error.filename or 'the system'}: {error.strerror or error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
