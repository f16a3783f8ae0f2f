"""The command that finishes a run, for commands that only look at it."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from runner.cli.echo import echo, echo_text
from runner.cli.signals import program_words
from runner.cli.state_options import state_words
from runner.errors import UsageError
from runner.spec.variant_names import split_name
from runner.text import pluralize

if TYPE_CHECKING:
    from runner.runs.find import RunInfo


def is_idle(run: "RunInfo") -> bool:
    """Return whether a run is to go on, and no process works on it."""
    from runner.runs.find import find_runner

    return run.summary.state in ("running", "canceling") and find_runner(run) is None


def finish_command(run: "RunInfo", target: str | None = None) -> str:
    """Return the command that only finishes a run, as it began; `target` is its spec if that is a file."""
    from runner.runs.find import find_spec_path

    try:
        spec = target if target is not None and Path(target).is_file() else str(find_spec_path(run))
    except UsageError:
        spec = "SPEC"  # it was moved
    variant = split_name(run.summary.spec)[1]
    select = [] if variant is None else ["--select", f"variant:{variant}"]
    words = _pilot_words(run, spec) if run.is_pilot else ["run", spec, "--resume", *select]
    where = ["--simulate"] if run.is_simulated else state_words()
    return shlex.join([*program_words(), *words, *where])


def _pilot_words(run: "RunInfo", spec: str) -> list[str]:
    """Return the words that call a pilot again: with another sample it would be another pilot."""
    from runner.runs.find import open_run
    from runner.runs.snapshot import read_snapshot

    with open_run(run, lock=False) as (store, stored):
        pilot = read_snapshot(store, stored).record["source"]["pilot"]
    is_sync = any(batch.get("mode") == "sync" for batch in run.summary.batches)
    by = ["--by", pilot["by"]] if pilot["by"] is not None else []
    seed = ["--seed", str(pilot["seed"])] if pilot["seed"] else []
    return ["pilot", spec, str(pilot["rows"]), *by, *seed, *(["--sync"] if is_sync else [])]


def say_if_simulated(run: "RunInfo", target: str) -> None:
    """Say that the newest run of a spec is simulated, if it has real ones too."""
    from runner.runs.find import find_runs

    if not run.is_simulated or run.summary.run.startswith(target):
        return
    real = next((one for one in find_runs(target) if not one.is_simulated), None)
    if real is not None:
        line = (
            f"run {run.summary.run} is simulated; the newest real run of {real.summary.spec} is {real.summary.run}"
        )
        echo_text(line, err=True)


def say_if_unfinished(run: "RunInfo", effect: str) -> None:
    """Say of a run that is not finished how many rows have no result, the `effect` of that, and how to go on."""
    summary = run.summary
    pending = summary.rows - sum(summary.outcomes.values())
    if summary.state not in ("running", "canceling"):
        return
    have = "has" if pending == 1 else "have"
    line = f"run {summary.run} is not finished: {pluralize(pending, 'row')} {have} no result yet{effect}"
    echo_text(line, err=True)
    if is_idle(run):
        echo(f"  resume with: {finish_command(run)}", err=True)
