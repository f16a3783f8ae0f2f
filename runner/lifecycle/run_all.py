"""Run several specs: plan all of them, ask once, send all, then wait for all.

A spec is planned later if it needs another one to be finished first: it reads its outputs, or has requests in
common with it, whose answers are then reused instead of paid twice.
"""

import math
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from threading import Event
from typing import Any, Literal, Protocol

from runner.errors import CostCapReached, InputError, Interrupted, Problem, RunnerError, Unavailable, UsageError
from runner.lifecycle.plan.consent import check_plan
from runner.lifecycle.run import ReadyRun, follow_or_go_on, prepare_run
from runner.lifecycle.run_options import RunOptions
from runner.lifecycle.send.cost_cap import has_other_in_flight
from runner.lifecycle.validate.checked_spec import check_spec
from runner.notify.outbox import Outbox, open_outbox
from runner.report.write import write_spec_report
from runner.runs.choose_specs import find_upstream
from runner.runs.events import ProgressCallback, RunEvent
from runner.runs.project import OpenProjects, open_projects
from runner.runs.shared_cap import find_other_runs_under_cap
from runner.runs.summary import Summary, summarize_run
from runner.spec.spec import Spec
from runner.store.lock import read_clock
from runner.store.run_batches import IN_FLIGHT


@dataclass(frozen=True, slots=True)
class WaitingSpec:
    """A spec that is planned once the run of another one, its own pilot or its unfinished run is finished."""

    spec: Spec
    after: Spec
    reason: Literal["reads", "shares", "pilot", "pending"]


@dataclass(frozen=True, slots=True)
class Wave:
    """Runs that are planned together, and the specs that wait for them."""

    ready: list[tuple[Spec, ReadyRun]] = field(default_factory=list)
    waiting: list[WaitingSpec] = field(default_factory=list)

    def discard(self) -> None:
        """Delete the new runs."""
        for _, ready in self.ready:
            ready.discard()


class Observer(Protocol):
    """Functions that show plans and summaries to the user, and return the decisions."""

    def show(self) -> AbstractContextManager[ProgressCallback]:
        """Show the progress of one step."""

    def confirm(self, wave: Wave) -> bool:
        """Show the plans of a wave, and return whether it may be sent."""

    def ended(self, spec: Spec, summary: Summary) -> None:
        """Show the summary of a finished run."""

    def failed(self, spec: Spec, error: RunnerError) -> None:
        """Show the error that stopped a run."""


@dataclass(slots=True)
class AllRuns:
    """The state of all specs: summaries by the places of specs, errors, and the specs that were not begun."""

    summaries: dict[str, Summary] = field(default_factory=dict)
    errors: list[RunnerError] = field(default_factory=list)
    unfinished: list[Spec] = field(default_factory=list)
    not_begun: list[WaitingSpec] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """The highest exit code of all; 4 if a spec was not begun."""
        codes = [summary.exit_code for summary in self.summaries.values()]
        return max([0, *codes, *(error.exit_code for error in self.errors), *(4 for _ in self.not_begun)])


@dataclass(slots=True)
class _Runs:
    options: RunOptions
    projects: OpenProjects
    outbox: Outbox
    observer: Observer
    stop: Event
    planned: frozenset[str]
    found: AllRuns = field(default_factory=AllRuns)
    wait_until: float | None = None
    piloted: set[str] = field(default_factory=set)
    finished: dict[str, ReadyRun] = field(default_factory=dict)

    def plan_wave(self, specs: Sequence[Spec]) -> Wave:
        """Prepare and plan the specs that need not wait. Raises InputError with the mistakes of all of them."""
        wave = Wave()
        problems: list[Problem] = []
        try:
            for spec in specs:
                try:
                    self._plan_or_tell(spec, wave)
                except InputError as error:
                    problems += error.problems
                except UsageError as error:
                    problems.append(Problem(str(spec.path), str(error)))
            if problems:
                raise InputError(problems)
        except BaseException:
            wave.discard()
            raise
        return wave

    def _plan_or_tell(self, spec: Spec, wave: Wave) -> None:
        """Plan a spec as `_plan_spec` does; its receivers are told of an error."""
        try:
            self._plan_spec(spec, wave)
        except RunnerError as error:
            self.outbox.end(spec, error)
            raise

    def _plan_spec(self, spec: Spec, wave: Wave) -> None:
        self.found.summaries.pop(spec.place, None)
        open_specs = [*(one for one, _ in wave.ready), *(one.spec for one in wave.waiting)]
        if (upstream := find_upstream(spec, open_specs)) is not None:
            wave.waiting.append(WaitingSpec(spec, upstream, "reads"))
            return
        with self.observer.show() as report:
            ready = self._prepare(spec, report)
        if ready.is_over:
            self._follow_shown(spec, ready, wait=True)
            return
        earlier = [(one, other) for one, other in wave.ready if other.context.store is ready.context.store]
        shared = _find_shared(ready, earlier) if spec.reuse and ready.is_new else None
        if shared is not None:
            ready.discard()
            wave.waiting.append(WaitingSpec(spec, shared, "shares"))
            return
        wave.ready.append((spec, ready))
        if ready.plan is not None:
            check_plan(ready.context, ready.plan)
        if ready.is_followed:
            wave.waiting.append(WaitingSpec(spec, spec, "pilot" if ready.is_pilot else "pending"))
        if ready.is_pilot:
            self.piloted.add(spec.place)

    def _prepare(self, spec: Spec, report: ProgressCallback) -> ReadyRun:
        options = self.options
        is_patient = options.pending == "finish" and not options.new
        if spec.place in self.piloted:
            options = replace(options, skip_pilot=True)
        checked = check_spec(spec, simulate=options.simulate, resume=options.resume, finish_pending=is_patient)
        store, open_accounts = self.projects.open(checked.output_root)
        how: dict[str, Any] = {"report": report, "stop": self.stop, "planned": self.planned}
        return prepare_run(checked, store, open_accounts, options, **how)

    def send_wave(self, wave: Wave) -> None:
        """Start the runs of a wave and follow them to their ends: all are sent before any is waited for."""
        try:
            is_agreed = not wave.ready or self.observer.confirm(wave)
        except Interrupted:
            wave.discard()
            raise
        if not is_agreed:
            wave.discard()
            names = ", ".join(spec.name for spec, ready in wave.ready if ready.plan is not None)
            raise UsageError(f"nothing was sent of {names}: not confirmed")
        for _, ready in wave.ready:
            ready.start(True, self.stop)  # noqa: FBT003 - the consent
        left, is_again = wave.ready, False
        if self.options.wait and len(left) > 1:
            left = [(spec, ready) for spec, ready in left if not self._follow_shown(spec, ready, wait=False)]
            is_again = True
            # Who has sent nothing may wait for room that only the others make, when they are followed.
            left.sort(key=lambda one: not one[1].has_in_flight)
        queue = deque(left)
        while queue:
            spec, ready = queue.popleft()
            if not self.stop.is_set() and self._follow_shown(
                spec, ready, wait=self.options.wait, is_again=is_again
            ):
                continue
            if self.options.wait and not self.stop.is_set() and _waits_for_cap(ready, queue):
                queue.append((spec, ready))
                continue
            self.found.summaries[spec.place] = summarize_run(ready.context.store, ready.context.run)
            self.found.unfinished.append(spec)
            self.outbox.end(spec, None)

    def _follow_shown(self, spec: Spec, ready: ReadyRun, *, wait: bool, is_again: bool = False) -> bool:
        with self.observer.show() as report:
            ready.context.on_progress = report
            ready.context.on_alarm = partial(self.outbox.send, spec)
            return self._follow(spec, ready, wait=wait, is_again=is_again)

    def _follow(self, spec: Spec, ready: ReadyRun, *, wait: bool, is_again: bool) -> bool:
        """Follow a run; return whether it has ended, by an error or with its outputs."""
        options = replace(self.options, wait=wait)
        if self.wait_until is None:
            self.wait_until = math.inf if options.max_wait is None else read_clock() + options.max_wait
        try:
            summary = follow_or_go_on(ready, options, self.stop, wait_until=self.wait_until, is_again=is_again)
        except RunnerError as error:
            if isinstance(error, Unavailable) and self.options.wait and not wait:
                return False  # it is tried again when it is waited for
            if isinstance(error, CostCapReached) and has_other_in_flight(ready.context):
                return False  # what is in flight may cost less than it can
            self.found.errors.append(error)
            self.observer.failed(spec, error)
            self.outbox.end(spec, error)
            return True
        if summary.state != "finished":
            return False
        self.found.summaries[spec.place] = summary
        self.finished[spec.place] = ready
        self.observer.ended(spec, summary)
        self.outbox.send(spec)
        return True

    def complete_reports(self) -> None:
        """Write the reports of variants again, which compare them, now that the others are finished."""
        variants = [one.context for one in self.finished.values() if one.context.spec.variants]
        for context in variants if len(variants) > 1 and not self.stop.is_set() else ():
            try:
                with self.observer.show() as report:
                    context.on_progress = report
                    write_spec_report(context)
            except RunnerError as error:
                self.found.errors.append(error)
                self.observer.failed(context.spec, error)

    def next_specs(self, wave: Wave) -> list[Spec]:
        """Return the specs whose turn it is after a wave, and note those that cannot begin."""
        finished = {place for place, one in self.found.summaries.items() if one.state == "finished"}
        is_over = self.stop.is_set() or read_clock() >= (self.wait_until or math.inf)
        following: list[Spec] = []
        for one in wave.waiting:
            is_waiting = any(one.after.place == other.place for other in following)
            if not is_over and (is_waiting or one.after.place in finished):
                following.append(one.spec)
            elif one.spec is not one.after or one.after.place in finished:
                self.found.not_begun.append(one)
        return following


def _waits_for_cap(ready: ReadyRun, others: Iterable[tuple[Spec, ReadyRun]]) -> bool:
    """Return whether a run can go on after other variants that are followed after it."""
    runs = {other.context.run.number for _, other in others}
    context = ready.context
    others_under_cap = find_other_runs_under_cap(context.store, context.spec, context.run)
    waited = [run for run in others_under_cap if run.number in runs]
    has_unsent = context.store.run_batches(context.run).count("prepared") > 0
    return has_unsent and any(context.store.run_batches(run).count(*IN_FLIGHT) for run in waited)


def _find_shared(ready: ReadyRun, earlier: Sequence[tuple[Spec, ReadyRun]]) -> Spec | None:
    """Return the first spec whose unfinished run has requests that a new run has too, or None."""
    store, run = ready.context.store, ready.context.run
    by_age = sorted(earlier, key=lambda one: one[1].context.run.number)
    has_common = store.row_index.has_common_requests
    return next((spec for spec, other in by_age if has_common(run, other.context.run)), None)


def _report_alone(observer: Observer, event: RunEvent) -> None:
    """Report an event between the steps of the runs."""
    with observer.show() as report:
        report(event)


def run_all(specs: Sequence[Spec], options: RunOptions, observer: Observer, stop: Event) -> AllRuns:
    """Run specs, which are in the order of `sort_by_dependency`, as far as that is possible now.

    Nothing is sent if one of them has a mistake. Raises InputError, UsageError without consent, Interrupted, and
    StateLocked if another runner uses one of the projects.
    """
    simulate, report = options.simulate, partial(_report_alone, observer)
    with (
        open_outbox(specs, simulate=simulate, stop=stop, report=report) as outbox,
        open_projects(stop, simulate=simulate) as projects,
    ):
        runs = _Runs(options, projects, outbox, observer, stop, frozenset(spec.name for spec in specs))
        left, is_first = list(specs), True
        while left:
            try:
                wave = runs.plan_wave(left)
                runs.send_wave(wave)
            except (InputError, UsageError) as error:
                if is_first:
                    raise
                runs.found.errors.append(error)
                observer.failed(left[0], error)
                break
            left, is_first = runs.next_specs(wave), False
        runs.complete_reports()
        return runs.found
