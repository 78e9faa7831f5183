#!/usr/bin/env python3
"""PostgreSQL, Redis and MLflow for development, filled and checked by one command: python3 bootstrap.py up.

Writes .env where there is none, starts the services in Docker where an engine answers and as ordinary
processes elsewhere, loads the seed data, registers and materializes Feast's views, and checks the contract.
A second run changes nothing. Only `reset` and `up --reset` remove data.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
INTERRUPTED = 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bootstrap.py", description=(__doc__ or "").partition("\n\n")[0])
    engine = argparse.ArgumentParser(add_help=False)
    which = engine.add_mutually_exclusive_group()
    which.add_argument(
        "--native", action="store_const", dest="engine", const="native", help="ordinary processes"
    )
    which.add_argument(
        "--docker", action="store_const", dest="engine", const="docker", help="Docker, or fail"
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="up|down|status|logs|reset|check")

    up = verbs.add_parser("up", parents=[engine], help="start, fill and check; again: changes nothing")
    up.add_argument(
        "--port-offset",
        type=int,
        metavar="N",
        help="add N to each port of .env.example, and write so to .env",
    )
    up.add_argument("--install", action="store_true", help="install what is missing by the package manager")
    up.add_argument("--reset", action="store_true", help="remove all data first")
    up.add_argument("--json", action="store_true", help="say on stdout as JSON what runs")

    verbs.add_parser("down", parents=[engine], help="stop; the data stay")
    verbs.add_parser("check", parents=[engine], help="does what runs keep the contract?")
    status = verbs.add_parser("status", parents=[engine], help="what runs where")
    status.add_argument("--json", action="store_true")
    logs = verbs.add_parser("logs", parents=[engine], help="what the services wrote")
    logs.add_argument("service", nargs="?", choices=["postgresql", "redis", "mlflow"])
    logs.add_argument("--follow", action="store_true", help="go on until Ctrl-C")
    reset = verbs.add_parser("reset", parents=[engine], help="stop, and remove all data; .env stays")
    reset.add_argument("--yes", action="store_true", help="do not ask")
    return parser


def main() -> int:
    """Run the command; every failure is one sentence."""
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        sys.exit(
            f"bootstrap.py needs Python 3.11 to 3.13, and this is {sys.version.split()[0]}: {sys.executable}"
        )
    sys.path.insert(0, str(FOLDER))
    from localdev.failure import Failure

    from localdev import verbs

    given = _parser().parse_args()
    try:
        code = verbs.run(FOLDER, given)
        sys.stdout.flush()
    except BrokenPipeError:  # who reads has read enough; the end of Python must not complain of that
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Failure as failure:
        print(f"bootstrap.py: {failure}", file=sys.stderr)
        return failure.code
    except KeyboardInterrupt:
        print("bootstrap.py: interrupted; the same command goes on from here", file=sys.stderr)
        return INTERRUPTED
    return code


if __name__ == "__main__":
    sys.exit(main())
