"""The command diff."""

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner.cli.common import JSON_OPTION, echo_json
from runner.cli.complete import TARGET
from runner.cli.echo import echo_text
from runner.cli.state_options import opens_state
from runner.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from runner.lifecycle.diff.compare import RowDifference
    from runner.lifecycle.diff.diff import Diff

_COLUMNS = ("key", "kind", "because", "field", "old", "new")


@click.command()
@click.argument("targets", nargs=-1, required=True, metavar="[RUN|SPEC] RUN|SPEC", type=TARGET)
@click.option(
    "--limit", type=click.IntRange(min=0), default=3, help="At most N examples of each kind (default: 3)."
)
@click.option(
    "--csv", "csv_path", type=click.Path(dir_okay=False, path_type=Path), help="Write all differing rows."
)
@click.option(
    "--fail-on",
    type=click.Choice(["regressed", "changed"]),
    help="Exit with 3 if rows have regressed, or if any result differs.",
)
@JSON_OPTION
@opens_state
def diff(
    targets: tuple[str, ...], *, limit: int, csv_path: Path | None, fail_on: str | None, as_json: bool
) -> None:
    """Compare the results of two runs, by key.

    Shows which rows differ, in which fields, and because of what. Sends nothing.
    RUN is a run id or its beginning, the older one first. Alone, it is compared with the last finished run before
    it. SPEC is the path or name of a spec: its newest finished run, or alone its last two.
    """
    from runner.lifecycle.diff.choose import choose_runs
    from runner.lifecycle.diff.diff import diff_runs
    from runner.runs.find import check_no_input

    if len(targets) > 2:
        raise click.UsageError("at most two runs can be compared")
    old, new = choose_runs(targets)
    if csv_path is not None:
        check_no_input(csv_path, [old, new])
    with _open_csv(csv_path) as write:
        found = diff_runs(old, new, examples=limit, on_difference=write)
    if as_json:
        echo_json(found)
    else:
        from runner.cli.texts.diff import format_diff

        echo_text(format_diff(found))
    sys.exit(_find_exit_code(found, fail_on))


@contextmanager
def _open_csv(path: Path | None) -> "Iterator[Callable[[RowDifference], None]]":
    """Yield what writes a differing row, a line for each of its fields; the file appears once all are written."""
    if path is None:
        yield lambda _: None
        return
    from runner.lifecycle.diff.totals import split_changes
    from runner.sinks.destination import Destination, why_not_writable
    from runner.sinks.formats.csv import write_csv

    if why := why_not_writable(Destination(path)):
        raise UsageError(f"--csv: {why}")
    with write_csv(Destination(path), _COLUMNS) as write:

        def write_row(one: "RowDifference") -> None:
            for line in split_changes(one):
                write(line)

        yield write_row


def _find_exit_code(found: "Diff", fail_on: str | None) -> int:
    """Return 3 if there are rows to fail on, or 4 if rows without a result could still become such."""
    if fail_on is None:
        return 0
    kinds = ("regressed",) if fail_on == "regressed" else ("changed", "regressed", "fixed")
    if any(found.rows[kind] for kind in kinds):
        return 3
    return 4 if found.rows["pending"] else 0
