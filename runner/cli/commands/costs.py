"""The command costs."""

import re
import time
from datetime import UTC, datetime
from typing import Any

import click

from runner.cli.common import JSON_OPTION, echo_json
from runner.cli.echo import echo, echo_text
from runner.cli.state_options import opens_state

_UNITS = {"d": 86_400, "h": 3_600}


class _SinceType(click.ParamType[float]):
    """Option type: a number of days or hours ago, or a date in UTC, converted to Unix seconds."""

    name = "since"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if (ago := re.fullmatch(r"([0-9]{1,5})([dh])", str(value))) is not None:
            return time.time() - int(ago[1]) * _UNITS[ago[2]]
        try:
            return datetime.strptime(str(value), "%Y-%m-%d").replace(tzinfo=UTC).timestamp()
        except ValueError:
            self.fail(f"{value!r} is no time, such as 30d, 12h or 2026-11-01", param, ctx)


class _GroupingType(click.ParamType[str]):
    """Option type: what groups runs."""

    name = "grouping"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if re.fullmatch(r"spec|model|day|label:[a-z][a-z0-9_-]*", str(value)) is None:
            self.fail(f"{value!r} is not one of spec, model, day and label:NAME", param, ctx)
        return str(value)


@click.command()
@click.option(
    "--by",
    type=_GroupingType(),
    metavar="spec|model|day|label:NAME",
    default="spec",
    help="Group by (default: spec).",
)
@click.option(
    "--since", type=_SinceType(), metavar="30d", help="Only runs started since then: 30d, 12h or a date."
)
@click.option("--simulate", is_flag=True, help="Sum up simulated runs, for which nothing was paid.")
@JSON_OPTION
@opens_state
def costs(*, by: str, since: float | None, simulate: bool, as_json: bool) -> None:
    """Sum up what all runs of this project cost.

    Shows what was paid, what was estimated, and what was saved compared to synchronous requests. Purged runs count
    too.
    """
    from runner.lifecycle.maintain.costs import sum_costs
    from runner.text import pluralize

    found = sum_costs(by=by, since=since, simulate=simulate)
    if as_json:
        echo_json(found)
    elif not found.groups:
        simulated = 0 if simulate else sum_costs(by=by, since=since, simulate=True).total.runs
        runs = pluralize(simulated, "simulated run")
        echo(f"no real runs; --simulate sums up {runs}" if simulated else "no runs", err=True)
    else:
        from runner.cli.texts.costs import format_costs

        echo_text(format_costs(found))
