"""Commands that take runs: status, cancel, reconcile, doctor and purge."""

import os
import sys
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from runner.cli.ask import confirm
from runner.cli.common import JSON_OPTION, echo_json, warn_of_debug_log
from runner.cli.complete import TARGET
from runner.cli.echo import echo, echo_text
from runner.cli.env_files import describe_key
from runner.cli.finish_command import finish_command, is_idle
from runner.cli.signals import handle_stop_signals
from runner.cli.state_options import opens_state
from runner.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runner.runs.find import NewestRuns, RunInfo


@click.command()
@click.argument("targets", nargs=-1, metavar="[SPEC|RUN]...", type=TARGET)
@JSON_OPTION
@opens_state
def status(targets: tuple[str, ...], *, as_json: bool) -> None:
    """Show the runs of this project.

    With SPEC, the path or name of a spec, shows its newest run. A folder means the specs in it.
    RUN is a run id or its beginning. Of runs that are named so, failed rows are shown by reason, and scores.
    """
    found, without = _find_shown(targets)
    if as_json:
        for run in found:
            echo_json(run.summary)
        return
    if without:
        echo_text(f"no run yet: {', '.join(map(str, without))}", err=True)
    if not found:
        if not without:
            _say_no_runs()
        return
    idle = [run for run in found if is_idle(run)]
    found = [
        replace(run, summary=replace(run.summary, state="unfinished")) if run in idle else run for run in found
    ]
    _print_runs(found, is_whole=bool(targets))
    _print_holders(found)
    _print_queues(found)
    for run in idle:
        echo_text(f"{run.summary.run}: no runner works on it")
        echo(f"  resume with: {finish_command(run)}")


def _print_holders(found: "Sequence[RunInfo]") -> None:
    """Print where shared states of these runs are, and who works on which unfinished run."""
    from runner.runs.find import find_runner
    from runner.runs.project import find_state

    for run in found:
        is_shared = find_state(run.output_root).is_shared
        if is_shared and run.summary.state in ("running", "canceling") and (holder := find_runner(run)):
            echo_text(f"{run.summary.run}: {holder}")
    places = {place for run in found if (place := find_state(run.output_root)).is_shared}
    for shown in sorted(map(str, places)):
        echo_text(f"state: {shown}")


def _print_queues(found: "Sequence[RunInfo]") -> None:
    """Print the queues of the API that are known to be full, once for all runs."""
    from runner.cli.texts.summary import format_queue

    queues = {queue.name: queue for run in found for queue in run.summary.queues}
    for queue in queues.values():
        echo_text(format_queue(queue, time.time(), is_only=len(queues) == 1))


def _say_no_runs() -> None:
    from runner.runs.find import find_current_state

    echo("no runs yet", err=True)
    if (place := find_current_state()).is_shared:
        echo_text(f"state: {place}", err=True)


def _find_shown(targets: "Sequence[str]") -> "NewestRuns":
    """Return all runs, or the newest of each target, with its failed rows."""
    from runner.runs.find import NewestRuns, find_newest_runs, find_runs

    if not targets:
        return NewestRuns(find_runs(), [])
    from runner.lifecycle.maintain.show import with_failures

    found, without = find_newest_runs(targets)
    return NewestRuns([with_failures(run) for run in found], without)


def _print_runs(found: "Sequence[RunInfo]", *, is_whole: bool) -> None:
    """Print a table of runs, then what is doubtful and what has failed, and with `is_whole` the scores."""
    from rich.console import Console

    from runner.cli.texts.scores import format_scores
    from runner.cli.texts.summary import (
        build_runs_table,
        format_accounts,
        format_cache,
        format_doubts,
        format_failures,
        format_run_blocks,
        format_wrong,
        measure_runs_table,
    )

    # A pipe has no width.
    console, table = Console(width=None if sys.stdout.isatty() else 200), build_runs_table(found)
    if measure_runs_table(table, found, console) > console.width:
        echo_text(format_run_blocks(found))
    else:
        console.print(table)
    for run in found:
        for formatted in (format_accounts, format_cache, format_doubts):
            for line in formatted(run.summary):
                echo_text(f"{run.summary.run}: {line}")
        scores = run.summary.evaluation if is_whole else None
        if len(found) > 1 and (run.summary.failures or scores):
            echo_text(f"{run.summary.spec}: run {run.summary.run}")
        for line in format_scores(scores, is_simulated=run.is_simulated):
            echo_text(line)
        named = _path_elsewhere(run)
        for line in format_wrong(run.summary, named) if is_whole else ():
            echo_text(line)
        for line in format_failures(run.summary, named):
            echo_text(line)


def _path_elsewhere(run: "RunInfo") -> str | None:
    """Return the spec of a run of another project than that of the working folder, or None."""
    from runner.cli.summaries import is_elsewhere
    from runner.runs.find import find_spec_path

    root = run.output_root.parent if run.is_simulated else run.output_root
    if not is_elsewhere(root):
        return None
    with suppress(UsageError):  # it was moved
        return os.path.relpath(find_spec_path(run))
    return None


@click.command()
@click.argument("target", metavar="SPEC|RUN", type=TARGET)
@opens_state
def cancel(target: str) -> None:
    """Cancel an unfinished run.

    Cancels the batches in progress. Unsent batches are never sent.
    SPEC is the path or name of a spec, and RUN a run id or its beginning.
    """
    from runner.lifecycle.maintain.cancel import cancel_run

    canceled, left = cancel_run(target)
    for line in left:
        echo_text(line, err=True)
    kind = "simulated run" if canceled.is_simulated else "run"
    echo_text(f"{kind} {canceled.summary.run} was canceled")
    if canceled.summary.state != "abandoned":
        echo(f"  collect its finished results with: {finish_command(canceled, target)}")
    sys.exit(4 if left else 0)


@click.command()
@click.argument("target", metavar="SPEC|RUN", type=TARGET)
@click.option(
    "--adopt", metavar="BATCH_ID", help="Use this remote batch as the one whose creation got no response."
)
@click.option(
    "--assume-not-sent",
    is_flag=True,
    help="Treat batches that are not found as never sent; the next run sends them.",
)
@opens_state
def reconcile(target: str, *, adopt: str | None, assume_not_sent: bool) -> None:
    """Find batches whose creation got no response.

    If they cannot be found, --adopt or --assume-not-sent resolves them manually.
    SPEC is the path or name of a spec, and RUN a run id or its beginning.
    """
    from runner.cli.progress import show_progress
    from runner.cli.texts.summary import format_unknown_batch
    from runner.lifecycle.maintain.unknown_batches import reconcile_run

    if adopt and assume_not_sent:
        raise click.UsageError("--adopt and --assume-not-sent cannot be combined: use one, then the other")
    warn_of_debug_log()
    with show_progress() as progress:
        found, unknown = reconcile_run(
            target, adopt=adopt, assume_not_sent=assume_not_sent, report=progress.report
        )
    for batch in unknown:
        echo_text(format_unknown_batch(batch), err=True)
    if not unknown:
        echo_text(f"run {found.summary.run}: all batches are accounted for; run the spec again to continue")
    sys.exit(5 if unknown else 0)


@click.command()
@click.option("--remote", is_flag=True, help="Also check the batches of the workspace; needs a key.")
@click.option("--download", is_flag=True, help="Also download and check all files of a shared state.")
@JSON_OPTION
@opens_state
def doctor(*, remote: bool, download: bool, as_json: bool) -> None:
    """Check the state on disk, changing nothing.

    Also reports what the next runs would do. The files of a shared state are compared with its database by their
    names and sizes.
    """
    from runner.lifecycle.maintain.doctor import diagnose_state
    from runner.rules.finding import Finding
    from runner.text import pluralize

    diagnosis = diagnose_state(remote=remote, download=download)
    if as_json:
        from runner.cli.texts.findings import finding_to_json

        found = [("state", "error", line) for line in diagnosis.findings]
        found += [("next-run", "info", line) for line in diagnosis.next_steps]
        for rule, severity, line in found:
            echo_json(finding_to_json(Finding(rule, severity, "", 0, 0, line)))
        sys.exit(8 if diagnosis.findings else 0)
    for line in (*diagnosis.findings, *diagnosis.next_steps, describe_key()):
        echo_text(line)
    wrong = len(diagnosis.findings)
    echo_text(f"{pluralize(diagnosis.runs, 'run')}, {pluralize(wrong, 'finding')}")
    sys.exit(8 if wrong else 0)


class _AgeType(click.ParamType[float]):
    """Option type: a time span in days or hours, converted to seconds."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number, unit = str(value)[:-1], str(value)[-1:]
        if unit not in ("d", "h") or not number.isdecimal():
            self.fail(f"{value!r} is not a number of days or hours, such as 30d or 12h", param, ctx)
        return int(number) * (86_400.0 if unit == "d" else 3_600.0)


@click.command()
@click.argument("target", required=False, metavar="[SPEC|RUN]", type=TARGET)
@click.option(
    "--older-than", type=_AgeType(), metavar="30d", help="Purge all runs that ended at least this long ago."
)
@click.option("--remote", is_flag=True, help="Also delete the copies at the API; needs a key.")
@click.option("--yes", is_flag=True, help="Delete without asking for confirmation.")
@opens_state
def purge(target: str | None, *, older_than: float | None, remote: bool, yes: bool) -> None:
    """Delete stored rows and results of ended runs.

    Outputs are kept, and so are the history and the cost of the runs. Their answers cannot be reused any more:
    after an edit of the spec or of its rows, all rows are sent again.
    SPEC is the path or name of a spec, and RUN a run id or its beginning.
    """
    from runner.lifecycle.maintain.purge import find_purgeable, purge_run
    from runner.text import pluralize

    if target is None and older_than is None:
        raise click.UsageError("specify a run, a spec or --older-than")
    found = find_purgeable(target, older_than=older_than or 0)
    names = ", ".join(run.summary.run for run in found)
    if found and not yes:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise click.UsageError(f"cannot ask before purging {names} without a terminal: add `--yes`")
        with handle_stop_signals() as stop:
            question = f"purge {names}? Outputs cannot be written again afterwards, and no answer can be reused"
            confirm(question, stop, effect="nothing was purged")
    for run in found:
        purged = purge_run(run, remote=remote)
        also = f", with {pluralize(purged.deleted, 'batch')} at the API" if remote else ""
        echo_text(f"run {purged.run.summary.run} was purged{also}")
    if not found:
        echo_text("no runs to purge", err=True)
