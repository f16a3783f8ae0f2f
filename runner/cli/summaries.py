"""Print the summary of a run, however the run ended."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from runner.cli.common import echo_json
from runner.cli.echo import echo_text
from runner.cli.log import LOG
from runner.cli.resume_command import resume_command
from runner.cli.signals import say_next_command
from runner.errors import RunnerError

if TYPE_CHECKING:
    from runner.runs.summary import Summary
    from runner.spec.spec import Spec


def is_elsewhere(root: Path) -> bool:
    """Return whether a project is not that of the working folder, whose runs are found by their ids."""
    from runner.spec.spec_files import find_project_root

    return root.resolve() != find_project_root(Path("spec")).resolve()


def print_summary(summary: "Summary", specs: Sequence[Path], *, simulate: bool, as_json: bool) -> None:
    """Print how a run stands: its conclusion, or how to go on with it; with JSON always the summary."""
    from runner.cli.texts.summary import format_conclusion, format_unfinished
    from runner.spec.spec_files import find_project_root

    if summary.state != "finished":
        text, code = format_unfinished(summary), summary.exit_code
        if specs:
            command = resume_command([str(spec) for spec in specs])
            say_next_command(text, "resume with", command, event="unfinished", exit_code=code)
        else:
            LOG.say(text, event="unfinished", exit_code=code)
    elif not as_json:
        elsewhere = next((str(spec) for spec in specs if is_elsewhere(find_project_root(spec))), None)
        echo_text(format_conclusion(summary, is_simulated=simulate, spec=elsewhere))
    if as_json:
        echo_json(summary)


def print_comparisons(
    specs: "Sequence[Spec]", *, is_simulated: bool | None = None, is_pilot: bool = False, as_json: bool
) -> None:
    """Print how the variants of each file compare, if more than one is among the specs, and two have finished."""
    from runner.cli.texts.variants import format_variants
    from runner.lifecycle.judge.compare_variants import compare_variants

    by_path: dict[Path, list[Spec]] = {}
    for spec in specs:
        by_path.setdefault(spec.path, []).append(spec)
    for own in by_path.values():
        try:
            found = compare_variants(own, is_pilot=is_pilot, is_simulated=is_simulated) if len(own) > 1 else None
        except RunnerError as error:
            # How the runs ended is still to be said.
            LOG.say(f"warning: the variants of {own[0].job} are not compared: {error}", event="warning")
            continue
        if found is not None and as_json:
            echo_json(found)
        elif found is not None:
            echo_text(format_variants(found))


def print_stopped(summary: "Summary", *, as_json: bool) -> None:
    """Print the summary of a run that an error stopped: with JSON, or if the run is over."""
    if as_json:
        echo_json(summary)
    elif summary.state == "finished":
        print_summary(summary, [], simulate=summary.is_simulated, as_json=False)


@contextmanager
def print_summary_if_stopped(*, as_json: bool) -> Iterator[None]:
    """Print what was paid and written if an error stops the run that is followed here."""
    try:
        yield
    except RunnerError:
        if LOG.last is not None and LOG.last.name == "stopped":
            print_stopped(LOG.last.summary, as_json=as_json)
        raise
