"""The command that sends a sample of a job before the whole: pilot."""

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from runner.cli.commands.send import ask_consent, end_several, exit_code, send_several
from runner.cli.common import JSON_OPTION, SPEC_PATH, VAR_OPTION, VERBOSE_OPTION, echo_json, warn_of_debug_log
from runner.cli.echo import echo_text
from runner.cli.log import log_options
from runner.cli.signals import StopEvent, handle_stop_signals
from runner.cli.state_options import opens_state
from runner.cli.summaries import print_comparisons, print_summary, print_summary_if_stopped
from runner.cli.wait_lock import WAIT_LOCK_OPTION, wait_for_lock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runner.lifecycle.run_options import RunOptions
    from runner.spec.spec import Pilot, Spec


@click.command()
@click.argument("spec", type=SPEC_PATH)
@click.argument("rows", metavar="[ROWS]", type=click.IntRange(min=1), default=50)
@click.option("--by", metavar="COLUMN", help="Give each value of this column its share of the sample.")
@click.option("--seed", type=int, default=0, show_default=True, help="Draw another sample.")
@click.option("--sync", is_flag=True, help="Send the sample at once, at the full price, instead of as a batch.")
@click.option("--simulate", is_flag=True, help="Use the local simulator: no key, no cost. Writes to simulated/.")
@click.option("--yes", is_flag=True, help="Send without asking for confirmation.")
@click.option("--no-wait", is_flag=True, help="Exit (code 4) instead of waiting for batches; run again to resume.")
@WAIT_LOCK_OPTION
@VAR_OPTION
@JSON_OPTION
@VERBOSE_OPTION
@opens_state
@log_options
def pilot(
    spec: Path, *, rows: int, by: str | None, seed: int, sync: bool, simulate: bool, yes: bool, no_wait: bool,
    variables: dict[str, str], as_json: bool, verbose: bool, wait_lock: float | None,
) -> None:  # fmt: skip
    """Send a sample of the rows first.

    Draws ROWS rows (default: 50) by chance, sends them as the job stands, and shows their outcomes and scores, the
    cost of all rows, and what differs from the last run. Files are written beside those of the job; tables are
    not written. `runner run` then takes over the answers: nothing is paid twice.
    """
    from runner.lifecycle.run_options import RunOptions
    from runner.lifecycle.validate.checks import load_spec_or_report
    from runner.runs.choose_specs import load_specs
    from runner.spec.spec import Pilot

    warn_of_debug_log()
    variants = load_specs([spec], vars=variables, load=load_spec_or_report)
    options = RunOptions(simulate=simulate, wait=not no_wait, pending="finish")
    sample = _Sample(Pilot(rows, seed, by), sync, yes or simulate, as_json, verbose, wait_lock)
    with handle_stop_signals() as stop:
        pilot_chosen = _pilot_one if len(variants) == 1 else _pilot_variants
        pilot_chosen(variants, sample, options, stop)


class _Sample(NamedTuple):
    """The sample of a pilot, and how it is sent and shown."""

    pilot: "Pilot"
    is_sync: bool
    is_agreed: bool
    as_json: bool
    is_verbose: bool
    wait_lock: float | None


def _pilot_one(specs: "Sequence[Spec]", sample: _Sample, options: "RunOptions", stop: StopEvent) -> None:
    from runner.cli.progress import show_progress
    from runner.cli.texts.pilot import format_pilot
    from runner.lifecycle.maintain.run_pilot import run_pilot

    [spec] = specs
    with print_summary_if_stopped(as_json=sample.as_json), show_progress() as progress:
        agree = partial(ask_consent, progress, stop, is_agreed=sample.is_agreed, verbose=sample.is_verbose)
        send = partial(
            run_pilot, spec, sample.pilot, options,
            is_sync=sample.is_sync, consent=agree, report=progress.report, stop=stop,
        )  # fmt: skip
        found = wait_for_lock(send, sample.wait_lock, stop)
    if sample.as_json and found.summary.state == "finished":
        echo_json(found)
    else:
        print_summary(found.summary, [spec.path], simulate=options.simulate, as_json=sample.as_json)
    if not sample.as_json and found.summary.state == "finished":
        echo_text(format_pilot(found, str(spec.path)))
    sys.exit(exit_code(found.summary, stop))


def _pilot_variants(specs: "Sequence[Spec]", sample: _Sample, options: "RunOptions", stop: StopEvent) -> None:
    """Send the same sample for each variant, and compare them."""
    from runner.cli.texts.pilot import format_next, format_whole
    from runner.lifecycle.maintain.run_pilot import describe_pilot
    from runner.lifecycle.validate.checked_spec import check_spec
    from runner.spec.pilot import make_pilot_spec

    for spec in specs:
        check_spec(spec, simulate=options.simulate, resume=False)
    made = [make_pilot_spec(spec, sample.pilot, is_sync=sample.is_sync) for spec in specs]
    runs = send_several(
        made, stop, options, is_agreed=sample.is_agreed, as_json=sample.as_json, wait_lock=sample.wait_lock
    )
    finished = [one for one in runs.summaries.values() if one.state == "finished"]
    for spec in specs if len(finished) == len(specs) else ():
        found = describe_pilot(spec, sample.pilot, runs.summaries[spec.place])
        if sample.as_json:
            echo_json(found)
        else:
            echo_text(format_whole(found))
    print_comparisons(specs, is_simulated=options.simulate, is_pilot=True, as_json=sample.as_json)
    if len(finished) == len(specs) and not sample.as_json:
        echo_text(format_next(str(specs[0].path), is_simulated=options.simulate))
    end_several(runs, stop, specs)
