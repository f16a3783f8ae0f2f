"""Commands about the rows of a run: show."""

import sys
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from runner.cli.common import JSON_OPTION
from runner.cli.complete import TARGET, offer_outcomes
from runner.cli.echo import echo, echo_text
from runner.cli.state_options import opens_state

if TYPE_CHECKING:
    from runner.lifecycle.maintain.show import OpenJudge

_DEFAULT_LIMIT, _TABLE_ROWS = 20, 100


@click.command()
@click.argument("target", metavar="RUN|SPEC", type=TARGET)
@click.option("--failed", is_flag=True, help="Only rows that did not succeed.")
@click.option("--wrong", is_flag=True, help="Only rows whose answers miss a label of `evaluate`.")
@click.option(
    "--outcome",
    metavar="NAME",
    shell_complete=offer_outcomes,
    help="Only rows with this outcome, such as refused or pending.",
)
@click.option("--reason", metavar="TEXT", help="Only rows whose reason begins like this.")
@click.option("--key", metavar="KEY", help="Only the row with this key, in full.")
@click.option("--limit", type=click.IntRange(min=1), help="At most N rows (default: 20 on a terminal, else all).")
@click.option("--request", "has_request", is_flag=True, help="Also show what was sent: the params of the request.")
@JSON_OPTION
@opens_state
def show(
    target: str, *, failed: bool, wrong: bool, outcome: str | None, reason: str | None, key: str | None,
    limit: int | None, has_request: bool, as_json: bool,
) -> None:  # fmt: skip
    """Show rows: what was sent and came back.

    A table on a terminal, and one JSON object per line in a pipe. Sends nothing, and works during a run.
    RUN is a run id or its beginning; SPEC is the path or name of a spec, and means its newest run.
    """
    from runner.cli.finish_command import say_if_simulated, say_if_unfinished
    from runner.lifecycle.maintain.show import PENDING, RowChoice, find_shown_run, judge_nothing, show_rows
    from runner.results.outcome_names import check_outcome

    check_outcome(outcome, PENDING)
    found, choice = find_shown_run(target), RowChoice(failed, outcome, reason, key)
    open_judge = _find_judge(target) if wrong else judge_nothing
    say_if_simulated(found, target)
    if key is None and outcome is None:
        say_if_unfinished(found, f", and are shown with --outcome {PENDING}")
    rows = show_rows(found, choice, has_request=has_request, open_judge=open_judge)
    if as_json or not sys.stdout.isatty():
        _echo_lines(islice(rows, limit))
        return
    shown = _echo_table(rows, limit or _DEFAULT_LIMIT, is_whole=has_request or key is not None)
    if not shown:
        echo_text(f"no such rows in run {found.summary.run}", err=True)
    elif next(rows, None) is not None:
        echo_text(f"the first {shown} rows of run {found.summary.run}; --limit shows more", err=True)


def _find_judge(target: str) -> "OpenJudge":
    """Return the function that opens the judge of a run's answers, by the spec as it is now."""
    # Only evaluations need the spec.
    from runner.lifecycle.judge.run_judge import open_judge
    from runner.lifecycle.maintain.evaluate import find_evaluated_run

    _, spec_path = find_evaluated_run(target)
    return partial(open_judge, spec_path=spec_path)


def _echo_lines(rows: Iterator[Mapping[str, Any]]) -> None:
    """Print rows as JSON, one per line."""
    import msgspec

    encode = msgspec.json.Encoder().encode
    for row in rows:
        echo(encode(row))


def _echo_table(rows: Iterator[Mapping[str, Any]], limit: int, *, is_whole: bool) -> int:
    """Print at most `limit` rows, as tables or each as a whole; return their number."""
    from rich.console import Console

    from runner.cli.texts.rows import build_rows_table, build_wrong_table, format_row

    console, shown = Console(), 0
    # Long tables are printed in parts, so that memory stays flat.
    while part := list(islice(rows, min(_TABLE_ROWS, limit - shown))):
        shown += len(part)
        if is_whole:
            echo("\n".join(map(format_row, part)))
        else:
            console.print(build_wrong_table(part) if "wrong" in part[0] else build_rows_table(part))
    return shown
