"""Commands about the rows of a run: show."""

import sys
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import click

from runner.cli.common import JSON_OPTION
from runner.cli.complete import TARGET, offer_outcomes
from runner.cli.echo import echo, echo_text
from runner.cli.env_files import reads_env_files

_DEFAULT_LIMIT, _TABLE_ROWS = 20, 100


@click.command()
@click.argument("target", metavar="RUN|SPEC", type=TARGET)
@click.option("--failed", is_flag=True, help="Only rows that did not succeed.")
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
@reads_env_files
def show(
    target: str, *, failed: bool, outcome: str | None, reason: str | None, key: str | None, limit: int | None,
    has_request: bool, as_json: bool,
) -> None:  # fmt: skip
    """Show rows: what was sent and came back.

    A table on a terminal, and one JSON object per line in a pipe. Sends nothing, and works during a run.
    RUN is a run id or its beginning; SPEC is the path or name of a spec, and means its newest run.
    """
    from runner.lifecycle.deliver.failures import UNCONFIRMED_STATES
    from runner.lifecycle.maintain.show import PENDING, RowChoice, show_rows
    from runner.results.outcome_names import check_outcome
    from runner.runs.find import find_runs

    check_outcome(outcome, PENDING)
    runs = find_runs(target)
    # A run that was killed before it was confirmed has no rows to show.
    found = next((run for run in runs if run.summary.state not in UNCONFIRMED_STATES), runs[0])
    rows = show_rows(found, RowChoice(failed, outcome, reason, key), has_request=has_request)
    if as_json or not sys.stdout.isatty():
        _echo_lines(islice(rows, limit))
        return
    shown = _echo_table(rows, limit or _DEFAULT_LIMIT, is_whole=has_request or key is not None)
    if not shown:
        echo_text(f"no such rows in run {found.summary.run}", err=True)
    elif next(rows, None) is not None:
        echo_text(f"the first {shown} rows of run {found.summary.run}; --limit shows more", err=True)


def _echo_lines(rows: Iterator[Mapping[str, Any]]) -> None:
    """Print rows as JSON, one per line."""
    import msgspec

    encode = msgspec.json.Encoder().encode
    for row in rows:
        echo(encode(row))


def _echo_table(rows: Iterator[Mapping[str, Any]], limit: int, *, is_whole: bool) -> int:
    """Print at most `limit` rows, as tables or each as a whole; return their number."""
    from rich.console import Console

    from runner.cli.texts.rows import build_rows_table, format_row

    console, shown = Console(), 0
    # Long tables are printed in parts, so that memory stays flat.
    while part := list(islice(rows, min(_TABLE_ROWS, limit - shown))):
        shown += len(part)
        if is_whole:
            echo("\n".join(map(format_row, part)))
        else:
            console.print(build_rows_table(part))
    return shown
