from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmp.cli import options
from mmp.cli.screen import Screen, columns, number
from mmp.cli.watch import watcher
from mmp.errors import GateError, SettingsError

if TYPE_CHECKING:
    from mmp.features.registry import Materialized, ViewListing
    from mmp.pipelines.parity import Difference, Parity
    from mmp.settings.config import Config


class Verb(StrEnum):
    """What to do with them."""

    LIST = "list"
    APPLY = "apply"
    MATERIALIZE = "materialize"
    PARITY = "parity"


def main(  # noqa: PLR0913, PLR0917 - options
    ctx: typer.Context,
    verb: Annotated[Verb, typer.Argument(help="What to do.")],
    config: options.Config = None,
    view: Annotated[
        list[str] | None,
        typer.Option(
            "--view", help="materialize, parity: this feature view; else all that are online. Repeatable."
        ),
    ] = None,
    repo: Annotated[
        str | None,
        typer.Option("--repo", help="apply: the folder of the definitions, else the config's repo_path."),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", help="materialize: as of when, in ISO 8601; else now.")
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="materialize: every entity, whatever was written before.")
    ] = False,
    run_id: Annotated[
        str | None,
        typer.Option("--run-id", help="parity: the features of this run's model, and its predictions."),
    ] = None,
    rows: Annotated[int, typer.Option("--rows", min=1, help="parity: how many entities to draw.")] = 1000,
    seed: Annotated[int, typer.Option("--seed", help="parity: another number draws others.")] = 0,
    tolerance: Annotated[
        float,
        typer.Option(
            "--tolerance", min=0.0, help="parity: how far numbers may be apart, relative where above 1."
        ),
    ] = 0.0,
) -> None:
    """List features, register them, fill the online store, and compare it with the offline store."""
    from mmp.settings.load import load_config

    screen: Screen = ctx.obj
    where = load_config(config)
    screen.findings(where.findings)
    match verb:
        case Verb.LIST:
            _list(screen, where.value)
        case Verb.APPLY:
            _apply(screen, where.value, repo)
        case Verb.MATERIALIZE:
            _materialize(screen, where.value, view, until, is_full=full)
        case Verb.PARITY:
            from mmp.pipelines.parity import parity

            found = parity(
                where.value,
                ref=run_id,
                views=view,
                n_rows=rows,
                seed=seed,
                tolerance=tolerance,
                watcher=watcher(screen),
            )
            screen.findings(found.findings)
            screen.result(found.as_dict(), _parity(found))
            if not found.is_equal:
                screen.say("\nThe stores differ: `mmp features materialize` writes what became known since.")
                raise typer.Exit(GateError.exit_code)


def _list(screen: Screen, config: Config) -> None:
    from mmp.pipelines.features import listing

    found = listing(config)
    table = columns(
        [
            [
                each.view.name,
                ", ".join(key.name for key in each.view.keys),
                str(len(each.view.features)),
                _span(each.view.ttl_s),
                _moment(each.materialized_until) if each.is_online else "not online",
                ", ".join(each.services),
            ]
            for each in found
        ],
        ["view", "keys", "features", "ttl", "online until", "services"],
    )
    features = columns(
        [[each.view.name, one.name, one.value_type] for each in found for one in each.view.features],
        ["view", "feature", "type"],
    )
    screen.result({"views": [_as_dict(each) for each in found]}, f"{table}\n\n{features}")


def _as_dict(each: ViewListing) -> dict[str, Any]:
    until = each.materialized_until
    return {**asdict(each), "materialized_until": until.isoformat() if until else None}


def _apply(screen: Screen, config: Config, repo: str | None) -> None:
    from mmp.pipelines.features import apply

    names = apply(config, repo)
    screen.result({"views": list(names)}, f"registered: {', '.join(names)}")


def _materialize(
    screen: Screen, config: Config, views: list[str] | None, until: str | None, *, is_full: bool
) -> None:
    from mmp.pipelines.features import materialize

    done = materialize(config, views, until=_read(until), is_full=is_full, watcher=watcher(screen))
    rows = [
        [
            each.view,
            f"{each.n_rows:,}",
            _moment(each.since),
            _moment(each.until),
            f"{each.n_rows / each.seconds:,.0f}",
        ]
        for each in done
    ]
    screen.result(
        {"views": [_written(each) for each in done]},
        columns(rows, ["view", "entities", "known since", "until", "rows/s"]),
    )


def _written(each: Materialized) -> dict[str, Any]:
    since = each.since.isoformat() if each.since else None
    return {**asdict(each), "since": since, "until": each.until.isoformat()}


def _read(until: str | None) -> datetime | None:
    if until is None:
        return None
    try:
        moment = datetime.fromisoformat(until)
    except ValueError as error:
        raise SettingsError(
            f"--until {until!r} is no time.", hint="Write ISO 8601, such as 2026-01-31T12:00:00Z."
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _parity(found: Parity) -> str:
    fresh = columns(
        [
            [
                each.view,
                f"{each.n_offline:,}",
                f"{each.n_online:,}",
                f"{each.n_stale:,}",
                _span(each.oldest_s),
                _span(each.ttl_s),
            ]
            for each in found.views
        ],
        ["view", "offline", "online", "stale online", "oldest", "ttl"],
    )
    features = columns(
        [
            [each.view, each.feature, f"{each.n_different:,}" if each.n_different else "equal"]
            for each in found.features
        ],
        ["view", "feature", f"differs in, of {found.n_rows:,}"],
    )
    worst = [
        f"  {each.feature}: {_difference(difference)}" for each in found.features for difference in each.worst
    ]
    blocks = [fresh, features, *(["\n".join(["worst", *worst])] if worst else [])]
    if (predictions := found.predictions) is not None:
        differs = f"differ in {predictions.n_different:,}" if predictions.n_different else "are equal"
        blocks.append(
            f"predictions of {predictions.n_rows:,} rows {differs}"
            + (f", by up to {number(predictions.largest)}" if predictions.n_different else "")
        )
    return "\n\n".join(blocks)


def _difference(difference: Difference) -> str:
    who = ", ".join(f"{name}={value!r}" for name, value in difference.keys.items())
    return f"{who}: {difference.offline!r} offline, {difference.online!r} online ({difference.reason})"


def _moment(moment: datetime | None) -> str:
    return "-" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}Z"


def _span(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    days, rest = divmod(int(seconds), 86_400)
    return f"{days} d {rest // 3600} h" if days else f"{rest // 3600} h {rest % 3600 // 60} min"
