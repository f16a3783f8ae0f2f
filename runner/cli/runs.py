"""Commands that take runs: show, cancel, reconcile, examine and purge them."""

import sys
from typing import Any

import click

from runner.cli.common import JSON, echo_json, warn


@click.command()
@click.argument("target", required=False, metavar="[SPEC|RUN]")
@JSON
def status(target: str | None, as_json: bool) -> None:
    """Show the runs of this project, or the newest run of a spec, or one run."""
    from runner import lifecycle
    from runner.cli import display

    found = lifecycle.runs(target)
    if target is not None:
        found = found[:1]
    if as_json:
        for run in found:
            echo_json(run.summary)
        return
    if not found:
        click.echo("no runs yet", err=True)
        return
    from rich.console import Console

    # In a pipe there is no width to keep to.
    Console(width=None if sys.stdout.isatty() else 200).print(display.runs(found))


@click.command()
@click.argument("target", metavar="SPEC|RUN")
def cancel(target: str) -> None:
    """Cancel an unfinished run: batches under way are asked to end, the others are never sent."""
    from runner import lifecycle

    canceled, left = lifecycle.cancel(target)
    for line in left:
        click.echo(line, err=True)
    kind = "simulated run" if canceled.is_simulated else "run"
    collect = "" if canceled.summary.state == "abandoned" else "; run the spec again to collect what has finished"
    click.echo(f"{kind} {canceled.summary.run} is canceled{collect}")
    sys.exit(4 if left else 0)


@click.command()
@click.argument("target", metavar="RUN|SPEC")
@click.option("--adopt", metavar="BATCH_ID", help="This remote batch is the one that got no answer.")
@click.option(
    "--assume-not-sent", is_flag=True, help="What is not found was never accepted: the next run sends it."
)
def reconcile(target: str, *, adopt: str | None, assume_not_sent: bool) -> None:
    """Look for batches whose creation got no answer, or say what became of them."""
    from runner import lifecycle
    from runner.cli import display

    if adopt and assume_not_sent:
        raise click.UsageError("--adopt and --assume-not-sent exclude each other: give one after the other")
    warn()
    with display.progress() as progress:
        found, unknown = lifecycle.reconcile_run(
            target, adopt=adopt, assume_not_sent=assume_not_sent, report=progress.report
        )
    for batch in unknown:
        click.echo(display.unknown(batch), err=True)
    if not unknown:
        click.echo(
            f"run {found.summary.run}: it is known of every batch whether it was accepted; run the spec again"
        )
    sys.exit(5 if unknown else 0)


@click.command()
@click.option("--remote", is_flag=True, help="Compare the batches of the workspace too; this needs a key.")
def doctor(*, remote: bool) -> None:
    """Check the state on disk, and say what the next runs would do. Nothing is changed."""
    from runner import lifecycle

    diagnosis = lifecycle.doctor(remote=remote)
    for line in (*diagnosis.findings, *diagnosis.plans):
        click.echo(line)
    wrong = len(diagnosis.findings)
    click.echo(f"{lifecycle.plural(diagnosis.runs, 'run')}, {lifecycle.plural(wrong, 'finding')}")
    sys.exit(8 if wrong else 0)


class _Age(click.ParamType[float]):
    """A time span in days or hours, in seconds."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number, unit = str(value)[:-1], str(value)[-1:]
        if unit not in ("d", "h") or not number.isdecimal():
            self.fail(f"{value!r} is not a number of days or hours, as 30d or 12h", param, ctx)
        return int(number) * (86_400.0 if unit == "d" else 3_600.0)


@click.command()
@click.argument("target", required=False, metavar="[RUN|SPEC]")
@click.option("--older-than", type=_Age(), metavar="30d", help="Every run that ended so long ago.")
@click.option("--remote", is_flag=True, help="Delete the API's copies too; this needs the key.")
@click.option("--yes", is_flag=True, help="Remove without asking.")
def purge(target: str | None, *, older_than: float | None, remote: bool, yes: bool) -> None:
    """Remove the rows, requests and answers that ended runs keep. Outputs stay, and what was spent stays known."""
    from runner import lifecycle

    if target is None and older_than is None:
        raise click.UsageError("name a run or a spec, or give --older-than")
    found = lifecycle.purgeable(target, older_than=older_than or 0)
    names = ", ".join(run.summary.run for run in found)
    if found and not yes:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise click.UsageError(f"this would purge {names}: without a terminal to ask on, `--yes` is needed")
        click.confirm(f"purge {names}? Their outputs cannot be written again", err=True, abort=True)
    for run in found:
        purged = lifecycle.purge(run, remote=remote)
        also = f", and {lifecycle.plural(purged.deleted, 'batch')} at the API" if remote else ""
        click.echo(f"run {purged.run.summary.run} is purged{also}")
    if not found:
        click.echo("no run to purge", err=True)
