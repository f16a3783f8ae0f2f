"""The command that rebuilds lost runs: recover."""

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner.cli.commands.send import ask_consent, end_several, exit_code, send_several
from runner.cli.common import SPEC_PATH, VAR_OPTION, warn_of_debug_log
from runner.cli.log import LOG, log_options
from runner.cli.signals import handle_stop_signals
from runner.cli.state_options import opens_state
from runner.cli.summaries import print_comparisons, print_summary, print_summary_if_stopped
from runner.errors import RunnerError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runner.cli.progress import ProgressDisplay
    from runner.cli.signals import StopEvent
    from runner.spec.spec import Spec


@click.command()
@click.argument("spec", type=SPEC_PATH)
@click.option(
    "--run", "run_id", metavar="RUN", help="The run to recover, or the beginning of its id (default: the newest)."
)
@click.option("--limit", type=click.IntRange(min=1), help="The --limit the run was started with.")
@click.option("--yes", is_flag=True, help="Send what was not found without asking for confirmation.")
@VAR_OPTION
@opens_state
@log_options
def recover(spec: Path, *, run_id: str | None, limit: int | None, yes: bool, variables: dict[str, str]) -> None:
    """Rebuild a lost run from the API, and resume it.

    Finds its batches of the last 29 days by the ids in their results. Rows that are in none of them are sent
    only after a question. Of a spec with variants, the newest run of each is rebuilt. Pilots are not found.
    """
    from runner.cli.progress import show_progress
    from runner.lifecycle.run import run as run_spec
    from runner.lifecycle.run_options import RunOptions
    from runner.lifecycle.validate.checks import load_spec_or_report
    from runner.runs.choose_specs import load_specs

    warn_of_debug_log()
    specs, options = load_specs([spec], vars=variables, load=load_spec_or_report), RunOptions(limit=limit)
    with handle_stop_signals() as stop:
        with print_summary_if_stopped(as_json=False), show_progress() as progress:
            found, summary = _recover_runs(specs, limit, run_id, stop, progress), None
            if len(found) == 1:
                agree = partial(ask_consent, progress, stop, is_agreed=yes, verbose=False)
                summary = run_spec(found[0], options, consent=agree, report=progress.report, stop=stop)
        if summary is not None:
            print_summary(summary, [spec], simulate=False, as_json=False)
            sys.exit(exit_code(summary, stop))
        runs = send_several(found, stop, options, is_agreed=yes, as_json=False)
        print_comparisons(found, is_simulated=False, as_json=False)
        end_several(runs, stop, found)


def _recover_runs(
    specs: "Sequence[Spec]", limit: int | None, run_id: str | None, stop: "StopEvent", progress: "ProgressDisplay"
) -> "list[Spec]":
    """Rebuild a run of each spec, by default the newest, and return those that had one.

    Raises UsageError if none had. If an error stops it, it says which variants are still lost.
    """
    from runner.lifecycle.maintain.recover import recover_run

    found, missed = list["Spec"](), list[UsageError]()
    say = partial(LOG.say, event="warning")
    for place, spec in enumerate(specs):
        try:
            run = recover_run(spec, limit=limit, run_id=run_id, stop=stop, warn=say, report=progress.report)
        except UsageError as error:
            missed.append(error)
            continue
        except RunnerError:
            if len(specs) > 1:
                left = ", ".join(one.name for one in specs[place:])
                say(f"not recovered yet: {left}. Recover again, and then `runner run {spec.path}` finishes all")
            raise
        LOG.say(f"run {run.id} was recovered", event="found")
        found.append(spec)
    if not found:
        raise missed[0]
    for one in missed if run_id is None else ():
        say(str(one))
    return found
