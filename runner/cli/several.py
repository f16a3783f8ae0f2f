"""Show the plan of several specs, ask once for all, and print the summary of each."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from runner.cli.common import say_error, show_finding
from runner.cli.log import LOG
from runner.cli.wait_lock import wait_for_lock
from runner.errors import RunnerError
from runner.lifecycle.run_all import AllRuns, WaitingSpec, Wave, run_all
from runner.lifecycle.run_options import RunOptions
from runner.runs.events import ProgressCallback
from runner.runs.summary import Summary
from runner.spec.spec import Spec

if TYPE_CHECKING:
    from threading import Event

    from runner.cli.progress import ProgressDisplay

_REASONS = {
    "reads": "planned after {}, whose outputs it reads",
    "shares": "planned after {}, whose answers it can reuse",
    "pilot": "all rows are planned after that, if its pilot is good enough",
    "pending": "its changes are planned after that",
}


@dataclass(slots=True)
class SeveralConsole:
    """The console while several specs run: progress, one table of plans, one question, and the summaries.

    `ask` asks for consent on a terminal, `print_summary` prints the summary of a finished run, and `print_stopped`
    that of a run that an error stopped.
    """

    is_agreed: bool
    ask: Callable[[], bool]
    print_summary: Callable[[Summary], None]
    print_stopped: Callable[[Summary], None]
    progress: "ProgressDisplay | None" = None

    @contextmanager
    def show(self) -> Iterator[ProgressCallback]:
        """Show the progress of one step."""
        from runner.cli.progress import show_progress

        with show_progress() as self.progress:
            yield self.progress.report

    def pause(self) -> AbstractContextManager[None]:
        """Stop the display of progress while a question is asked."""
        return nullcontext() if self.progress is None else self.progress.pause()

    def confirm(self, wave: Wave) -> bool:
        """Show the plans of a wave, and return whether it may be sent."""
        plans = [ready.plan for _, ready in wave.ready if ready.plan is not None]
        uncapped = [plan.spec for plan in plans if plan.new and plan.max_cost is None]
        if (plans or wave.waiting) and not (LOG.is_quiet and (self.is_agreed or not uncapped)):
            LOG.say(self._format(wave), event="planned", plans=plans)
        if self.is_agreed or not uncapped:
            return True
        if LOG.is_json or not (sys.stdin.isatty() and sys.stderr.isatty()):
            remedy = f"add `--yes`, or set `limits.max_cost` in {', '.join(uncapped)}"
            LOG.say(f"cannot ask for confirmation without a terminal: {remedy}", event="declined")
            return False
        return self.ask()

    def ended(self, spec: Spec, summary: Summary) -> None:  # noqa: ARG002 - the summary names its spec
        """Print the summary of a finished run."""
        self.print_summary(summary)

    def failed(self, spec: Spec, error: RunnerError) -> None:
        """Print the error that stopped a run."""
        say_error(error, spec=spec.name)
        if LOG.last is not None and LOG.last.name == "stopped":
            self.print_stopped(LOG.last.summary)

    def _format(self, wave: Wave) -> str:
        from runner.cli.texts.plan import format_plan
        from runner.cli.texts.plan_table import PlanRow, format_plans

        show = partial(show_finding, err=True)
        if len(wave.ready) == 1 and not wave.waiting and wave.ready[0][1].plan is not None:
            return format_plan(wave.ready[0][1].plan, show=show)
        rows = [
            PlanRow(spec.name, ready.plan, "" if ready.plan else f"resumes run {ready.context.run.id}")
            for spec, ready in wave.ready
        ]
        return format_plans([*rows, *(self._waiting_row(one) for one in wave.waiting)], show=show)

    def _waiting_row(self, one: WaitingSpec) -> Any:
        from runner.cli.texts.plan_table import PlanRow
        from runner.pricing.rates import format_cap

        note, cap = _REASONS[one.reason].format(one.after.name), one.spec.limits.max_cost
        if cap is not None:
            note += f"; capped at {format_cap(cap)}"
        elif not self.is_agreed:
            note += "; you are asked again then"
        return PlanRow(one.spec.name, None, note)


def run_several(
    specs: Sequence[Spec], options: RunOptions, console: SeveralConsole, stop: "Event", *, wait_lock: float | None
) -> AllRuns:
    """Run several specs, and print those that were not begun."""
    runs = wait_for_lock(partial(run_all, specs, options, console, stop), wait_lock, stop)
    for one in runs.not_begun:
        LOG.say(f"{one.spec.name}: not begun, because it waits for {one.after.name}", event="unfinished")
    return runs
