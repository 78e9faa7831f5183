from __future__ import annotations

from textwrap import indent
from typing import TYPE_CHECKING, Any

import typer

from mmp.cli import options
from mmp.cli.screen import Screen, columns, to_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mmp.pipelines.plan import Parameter, Plan, PlannedMember, PlannedStep

_MOST_FEATURES = 4


def main(
    ctx: typer.Context,
    recipe: options.Recipe,
    config: options.Config = None,
    data: options.Data = None,
    params: options.Params = None,
    changes: options.Set = None,
) -> None:
    """Show what a training would do: rows, columns, parts, steps, every parameter, what is written where."""
    from mmp.pipelines.plan import plan
    from mmp.settings.load import load_config, load_recipe

    screen: Screen = ctx.obj
    parameters = options.parameters(params)
    where = load_config(config)
    what = load_recipe(recipe, overrides=changes or (), environment=where.surroundings)
    planned = plan(what, where, data=data, parameters=parameters)
    screen.findings([*where.findings, *what.findings, *planned.findings])
    screen.result(planned.as_dict(), _text(planned))


def _text(plan: Plan) -> str:
    without = f", {plan.n_left_out:,} of them without a target" if plan.n_left_out else ""
    parts = ", ".join(f"{name} {size:,}" for name, size in plan.splits.items())
    if plan.folds:
        parts += f"; train in {len(plan.folds)} folds of {min(plan.folds):,} rows or more"
    blocks = [
        columns(
            [
                ["rows", f"{plan.n_rows:,} from {plan.source}{without}"],
                ["parts", parts],
                ["model", f"{plan.model} on {plan.n_features} features, fitted {_fits(plan)}"],
                *([["calibrated", plan.calibration]] if plan.calibration else []),
                *([["threshold", plan.threshold]] if plan.threshold else []),
            ]
        ),
        *([_query(plan.query)] if plan.query else []),
        columns(
            [[c.name, c.kind, c.role, _shortened(c.becomes)] for c in plan.columns],
            ["column", "kind", "role", "becomes"],
        ),
        *([] if plan.members else _model(plan)),
        *(_member(member) for member in plan.members),
        columns(
            [[what.replace("_", " "), where or "-"] for what, where in plan.writes.items()], ["writes", ""]
        ),
    ]
    return "\n\n".join(blocks)


def _model(model: Plan | PlannedMember) -> list[str]:
    steps = "\n".join(f"  {line}" for line in map(_step, model.steps)) or "  none"
    space = [_space(model.search.space)] if model.search else []
    return [f"steps\n{steps}", _parameters(model.parameters), *space]


def _member(member: PlannedMember) -> str:
    trials = f", in {member.search.trials} trials compared by {member.search.metric}" if member.search else ""
    return "\n\n".join([f"member {member.name}: {member.model}{trials}", *_model(member)])


def _fits(plan: Plan) -> str:
    if plan.members:
        return "once after each member was on folds"
    times = [f"in {plan.search.trials} trials compared by {plan.search.metric}"] if plan.search else []
    times += ["on each fold"] if plan.folds else []
    times += [f"in as many trials on {plan.inner_folds} folds of each fold"] if plan.inner_folds else []
    best = "once with the best values" if plan.search else "once"
    return " and ".join([", ".join(times), best] if times else [best])


def _space(space: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        [name, one["type"], ", ".join(_value(end) for end in one["range"]), "log" if one["log"] else ""]
        for name, one in space.items()
    ]
    return columns(rows, ["searched", "type", "range", "scale"])


def _query(query: Mapping[str, Any]) -> str:
    return f"query\n{indent(query['statement'].strip(), '  ')}\n  values {to_json(query['values'])}"


def _shortened(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _MOST_FEATURES} more" if len(names) > _MOST_FEATURES else ""
    return ", ".join(names[:_MOST_FEATURES]) + more


def _step(step: PlannedStep) -> str:
    settings = ", ".join(f"{name}={_value(value)}" for name, value in step.settings.items())
    chosen = "" if step.origin == "recipe" else "  (chosen)"
    return f"{step.type} {settings}{chosen}"


def _parameters(parameters: tuple[Parameter, ...]) -> str:
    known = [p for p in parameters if p.origin != "library" or p.value is not None]
    others = [p.name for p in parameters if p.origin == "library" and p.value is None]
    table = columns([[p.name, _value(p.value), p.origin] for p in known], ["parameter", "value", "from"])
    return f"{table}\n(as the library has them: {', '.join(others)})" if others else table


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else to_json(value)
