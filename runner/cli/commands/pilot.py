"""The command that sends a sample of a job before the whole: pilot."""

import sys
from functools import partial
from pathlib import Path

import click

from runner.cli.commands.send import ask_consent, exit_code
from runner.cli.common import JSON_OPTION, SPEC_PATH, VAR_OPTION, VERBOSE_OPTION, echo_json, warn_of_debug_log
from runner.cli.echo import echo_text
from runner.cli.env_files import reads_env_files
from runner.cli.log import log_options
from runner.cli.signals import handle_stop_signals
from runner.cli.summaries import print_summary, print_summary_if_stopped


@click.command()
@click.argument("spec", type=SPEC_PATH)
@click.argument("rows", metavar="[ROWS]", type=click.IntRange(min=1), default=50)
@click.option("--by", metavar="COLUMN", help="Give each value of this column its share of the sample.")
@click.option("--seed", type=int, default=0, show_default=True, help="Draw another sample.")
@click.option("--sync", is_flag=True, help="Send the sample at once, at the full price, instead of as a batch.")
@click.option("--simulate", is_flag=True, help="Use the local simulator: no key, no cost. Writes to simulated/.")
@click.option("--yes", is_flag=True, help="Send without asking for confirmation.")
@click.option("--no-wait", is_flag=True, help="Exit (code 4) instead of waiting for batches; run again to resume.")
@VAR_OPTION
@JSON_OPTION
@VERBOSE_OPTION
@reads_env_files
@log_options
def pilot(
    spec: Path, *, rows: int, by: str | None, seed: int, sync: bool, simulate: bool, yes: bool, no_wait: bool,
    variables: dict[str, str], as_json: bool, verbose: bool,
) -> None:  # fmt: skip
    """Send a sample of the rows first.

    Draws ROWS rows (default: 50) by chance, sends them as the job stands, and shows their outcomes and scores, the
    cost of all rows, and what differs from the last run. Files are written beside those of the job; tables are
    not written. `runner run` then takes over the answers: nothing is paid twice.
    """
    from runner.cli.progress import show_progress
    from runner.cli.texts.pilot import format_pilot
    from runner.lifecycle.maintain.run_pilot import run_pilot
    from runner.lifecycle.run import RunOptions
    from runner.lifecycle.validate.checks import load_spec_or_report
    from runner.spec.spec import Pilot

    warn_of_debug_log()
    loaded = load_spec_or_report(spec, vars=variables)
    options = RunOptions(simulate=simulate, wait=not no_wait, pending="finish")
    with handle_stop_signals() as stop, print_summary_if_stopped(as_json=as_json), show_progress() as progress:
        agree = partial(ask_consent, progress, stop, is_agreed=yes or simulate, verbose=verbose)
        found = run_pilot(
            loaded, Pilot(rows, seed, by), options, is_sync=sync, consent=agree, report=progress.report, stop=stop
        )
    if as_json and found.summary.state == "finished":
        echo_json(found)
    else:
        print_summary(found.summary, [spec], simulate=simulate, as_json=as_json)
    if not as_json and found.summary.state == "finished":
        echo_text(format_pilot(found, str(spec)))
    sys.exit(exit_code(found.summary, stop))
