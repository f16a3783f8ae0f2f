"""Commands that can spend money: run and retry."""

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import click

from runner.cli.ask import choose, confirm
from runner.cli.common import (
    JSON_OPTION,
    SELECT_OPTION,
    SPEC_PATHS,
    VAR_OPTION,
    VERBOSE_OPTION,
    TimeSpan,
    show_finding,
    warn_of_debug_log,
)
from runner.cli.complete import TARGET, offer_outcomes
from runner.cli.jobs_option import JOBS_OPTION, choose_jobs
from runner.cli.log import LOG, log_options
from runner.cli.resume_command import resume_command
from runner.cli.signals import StopEvent, handle_stop_signals, say_next_command
from runner.cli.state_options import opens_state
from runner.cli.summaries import print_comparisons, print_stopped, print_summary, print_summary_if_stopped
from runner.cli.wait_lock import WAIT_LOCK_OPTION, wait_for_lock
from runner.text import pluralize

if TYPE_CHECKING:
    from runner.cli.progress import ProgressDisplay
    from runner.lifecycle.plan.plan import Plan
    from runner.lifecycle.run_all import AllRuns
    from runner.lifecycle.run_options import RunOptions
    from runner.runs.select import PendingRun
    from runner.runs.summary import Summary
    from runner.spec.spec import Spec


def ask_consent(
    progress: "ProgressDisplay", stop: StopEvent, made: "Plan", *, is_agreed: bool, verbose: bool,
    notes: Sequence[str] = (),
) -> bool:  # fmt: skip
    """Show a plan below its notes, and ask for consent unless it is given."""
    from runner.cli.texts.plan import format_plan

    is_needless = is_agreed or made.max_cost is not None or made.new == 0
    with progress.pause():
        if not (LOG.is_quiet and is_needless):
            for line in notes:
                LOG.say(f"{made.spec}: {line}", event="found")
            text = format_plan(made, verbose=verbose, show=partial(show_finding, err=True))
            LOG.say(text, event="planned", plan=made)
        if is_needless:
            return True
        if LOG.is_json or not (sys.stdin.isatty() and sys.stderr.isatty()):
            line = "cannot ask for confirmation without a terminal: add `--yes`, or set `limits.max_cost`"
            LOG.say(line, event="declined")
            return False
        return _confirm(stop)


def _confirm(stop: StopEvent) -> bool:
    confirm("send these requests?", stop, effect="none of these requests were sent")
    return True


def _choose_pending(
    pause: Callable[[], AbstractContextManager[None]], stop: StopEvent, pending: "PendingRun"
) -> str:
    """Ask what to do about an unfinished run that differs from the files."""
    with pause():
        LOG.say(str(pending), event="warning")
        question = "finish it as it began and then start on the changes, start a new run, or stop?"
        effect = f"nothing more was sent, and nothing was canceled: run {pending.run} stays unfinished"
        return choose(question, ["finish", "new", "stop"], stop, effect=effect)


class _ConsoleOptions(NamedTuple):
    """The options that decide what a command asks and prints."""

    pending: str | None
    is_agreed: bool
    as_json: bool
    is_verbose: bool
    wait_lock: float | None

    def policy(self, pause: Callable[[], AbstractContextManager[None]], stop: StopEvent) -> Any:
        """Return how to decide about a run that differs from the files; a person is asked on a terminal."""
        can_ask = sys.stdin.isatty() and sys.stderr.isatty() and not LOG.is_json
        policy = self.pending or ("ask" if can_ask and not self.is_agreed else "finish")
        return partial(_choose_pending, pause, stop) if policy == "ask" and can_ask else policy


@click.command()
@click.argument("specs", nargs=-1, required=True, type=SPEC_PATHS)
@click.option("--simulate", is_flag=True, help="Use the local simulator: no key, no cost. Writes to simulated/.")
@click.option("--yes", is_flag=True, help="Send without asking for confirmation.")
@click.option("--no-wait", is_flag=True, help="Exit (code 4) instead of waiting for batches; run again to resume.")
@click.option("--max-wait", type=TimeSpan(), metavar="8h", help="Wait at most this long, then exit (code 4).")
@WAIT_LOCK_OPTION
@JOBS_OPTION
@click.option("--limit", type=click.IntRange(min=1), help="Only the first N rows.")
@click.option(
    "--pending",
    type=click.Choice(["finish", "new", "ask"]),
    help="If an unfinished run differs from the files (default: ask on a terminal without --yes, else finish).",
)
@click.option(
    "--resume", is_flag=True, help="Only finish the unfinished run with its original spec, ignoring later edits."
)
@click.option("--new", is_flag=True, help="Start a new run; an unfinished run is abandoned, not canceled.")
@click.option("--accept-loss", is_flag=True, help="Record rows as missing if the API no longer has their results.")
@click.option("--overwrite", is_flag=True, help="Let a partial run (--limit, canceled) replace complete outputs.")
@click.option("--skip-pilot", is_flag=True, help="Send the whole job without the pilot of its spec.")
@click.option(
    "--poll-seconds", type=click.FloatRange(min=0, min_open=True), help="Seconds between two checks of a batch."
)
@SELECT_OPTION
@VAR_OPTION
@JSON_OPTION
@VERBOSE_OPTION
@opens_state
@log_options
def run(
    specs: tuple[str, ...], *, simulate: bool, yes: bool, resume: bool, new: bool, as_json: bool,
    no_wait: bool, accept_loss: bool, overwrite: bool, limit: int | None, poll_seconds: float | None,
    pending: str | None, max_wait: float | None, select: tuple[str, ...], variables: dict[str, str],
    verbose: bool, skip_pilot: bool, wait_lock: float | None, jobs: int | str | None,
) -> None:  # fmt: skip
    """Run or resume specs.

    A folder means the specs in it. A spec that reads the outputs of another spec runs after it.
    """
    from runner.lifecycle.validate.checks import load_spec_or_report
    from runner.runs.choose_specs import choose_specs

    if sum((resume, new, pending is not None)) > 1:
        raise click.UsageError("--resume, --new and --pending cannot be combined")
    warn_of_debug_log()
    chain = choose_specs(specs, vars=variables, select=select, simulate=simulate, load=load_spec_or_report)
    if not chain:
        LOG.say("no spec is selected: nothing to do", event="unchanged")
        return
    how: dict[str, Any] = {
        "simulate": simulate, "wait": not no_wait, "max_wait": max_wait, "limit": limit, "resume": resume,
        "new": new, "accept_loss": accept_loss, "overwrite": overwrite, "poll_seconds": poll_seconds,
        "skip_pilot": skip_pilot, "jobs": choose_jobs(jobs, chain[0].root),
    }  # fmt: skip
    run_chosen = _run_one if len(chain) == 1 else _run_several
    with handle_stop_signals() as stop:
        run_chosen(chain, stop, how, _ConsoleOptions(pending, yes or simulate, as_json, verbose, wait_lock))


def _run_one(chain: Sequence["Spec"], stop: StopEvent, how: dict[str, Any], manner: _ConsoleOptions) -> None:
    from runner.cli.progress import show_progress
    from runner.lifecycle.run import run as run_spec
    from runner.lifecycle.run_options import RunOptions

    [spec] = chain
    with print_summary_if_stopped(as_json=manner.as_json), show_progress() as progress:
        agree = partial(ask_consent, progress, stop, is_agreed=manner.is_agreed, verbose=manner.is_verbose)
        how["pending"] = manner.policy(progress.pause, stop)
        send = partial(run_spec, spec, RunOptions(**how), consent=agree, report=progress.report, stop=stop)
        summary = wait_for_lock(send, manner.wait_lock, stop)
    print_summary(summary, [spec.path], simulate=how["simulate"], as_json=manner.as_json)
    sys.exit(exit_code(summary, stop))


def _run_several(chain: Sequence["Spec"], stop: StopEvent, how: dict[str, Any], manner: _ConsoleOptions) -> None:
    from runner.lifecycle.run_options import RunOptions

    options, policy = RunOptions(**how), manner.policy
    runs = send_several(
        chain, stop, options,
        is_agreed=manner.is_agreed, as_json=manner.as_json, policy=policy, wait_lock=manner.wait_lock,
    )  # fmt: skip
    print_comparisons(chain, is_simulated=options.simulate, as_json=manner.as_json)
    end_several(runs, stop, chain)


def send_several(
    chain: Sequence["Spec"], stop: StopEvent, options: "RunOptions", *, is_agreed: bool, as_json: bool,
    policy: Callable[..., Any] | None = None, wait_lock: float | None = None,
) -> "AllRuns":  # fmt: skip
    """Run several specs, and print the summary of each; `policy` decides about runs that differ from the files."""
    from runner.cli.several import SeveralConsole, run_several

    show = partial(print_summary, specs=[], simulate=options.simulate, as_json=as_json)
    show_stopped = partial(print_stopped, as_json=as_json)
    console = SeveralConsole(is_agreed, partial(_confirm, stop), show, show_stopped)
    pending = options.pending if policy is None else policy(console.pause, stop)
    runs = run_several(chain, replace(options, pending=pending), console, stop, wait_lock=wait_lock)
    for spec in runs.unfinished:
        show(runs.summaries[spec.place])
    return runs


def end_several(runs: "AllRuns", stop: StopEvent, chain: Sequence["Spec"]) -> NoReturn:
    """Say how to go on with the specs that are not finished, and exit."""
    left = [*(spec.path for spec in runs.unfinished), *(one.spec.path for one in runs.not_begun)]
    code = 128 + stop.signal if stop.signal is not None and left else runs.exit_code
    if left:
        command = resume_command(list(dict.fromkeys(map(str, left))))
        message = f"{pluralize(len(left), 'spec')} of {len(chain):,} not finished"
        say_next_command(message, "resume with", command, event="unfinished", exit_code=code)
    sys.exit(code)


def exit_code(summary: "Summary", stop: StopEvent, *, is_last: bool = True) -> int:
    """Return the exit code of a command that followed a run: that of the signal that stopped it, or of the run."""
    is_cut_off = summary.state != "finished" or not is_last
    return 128 + stop.signal if stop.signal is not None and is_cut_off else summary.exit_code


@click.command()
@click.argument("target", metavar="RUN|SPEC", type=TARGET)
@click.option(
    "--outcome",
    metavar="NAME",
    shell_complete=offer_outcomes,
    help="Only rows with this outcome, such as truncated.",
)
@click.option("--key", metavar="KEY", help="Only the row with this key.")
@click.option("--simulate", is_flag=True, help="Retry a simulated run: no key, no cost. Writes to simulated/.")
@click.option("--yes", is_flag=True, help="Send without asking for confirmation.")
@click.option(
    "--no-wait", is_flag=True, help="Exit (code 4) instead of waiting for batches; retry again to resume."
)
@WAIT_LOCK_OPTION
@click.option("--accept-loss", is_flag=True, help="Record rows as missing if the API no longer has their results.")
@click.option(
    "--poll-seconds", type=click.FloatRange(min=0, min_open=True), help="Seconds between two checks of a batch."
)
@VAR_OPTION
@JSON_OPTION
@VERBOSE_OPTION
@opens_state
@log_options
def retry(
    target: str, *, outcome: str | None, key: str | None, simulate: bool, yes: bool, no_wait: bool,
    accept_loss: bool, poll_seconds: float | None, variables: dict[str, str], as_json: bool, verbose: bool,
    wait_lock: float | None,
) -> None:  # fmt: skip
    """Send the failed rows of a run again.

    Makes a new run that sends them with the current spec, keeps all good answers, and asks before it sends.
    After an edit of the prompt, only the rows that are sent again get the new one. Repeat the command to resume.
    RUN is a run id or its beginning; SPEC is the path or name of a spec, and means its newest run.
    """
    from runner.cli.progress import show_progress
    from runner.lifecycle.maintain.kept_rows import RetryChoice
    from runner.lifecycle.maintain.retry import find_retry_target
    from runner.lifecycle.maintain.retry import retry as retry_run
    from runner.lifecycle.run_options import RunOptions
    from runner.lifecycle.validate.checks import load_spec_or_report
    from runner.results.outcome_names import check_outcome

    choice = RetryChoice(check_outcome(outcome), key)
    warn_of_debug_log()
    found = find_retry_target(target, simulate=simulate)
    spec = load_spec_or_report(found.spec_path, vars=variables, variant=found.variant)
    notes = list[str]()
    with handle_stop_signals() as stop, print_summary_if_stopped(as_json=as_json), show_progress() as progress:
        is_agreed = yes or found.is_simulated
        options = RunOptions(found.is_simulated, not no_wait, accept_loss=accept_loss, poll_seconds=poll_seconds)
        agree = partial(ask_consent, progress, stop, is_agreed=is_agreed, verbose=verbose, notes=notes)
        send = partial(
            retry_run, spec, found.run_id, choice, options=options, consent=agree, note=notes.append,
            report=progress.report, stop=stop,
        )  # fmt: skip
        summary = wait_for_lock(send, wait_lock, stop)
    print_summary(summary, [found.spec_path], simulate=found.is_simulated, as_json=as_json)
    sys.exit(exit_code(summary, stop))
