"""Show what became of the rows of a run, without its lock and without sending anything."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from runner.errors import FileChanged, StateError, UsageError
from runner.lifecycle.deliver.failures import UNCONFIRMED_STATES, summarize_with_failures
from runner.lifecycle.deliver.row_results import (
    RequestFinder,
    RowResult,
    build_record,
    read_row_results,
    recorded_output_format,
)
from runner.requests.stored_params import outline_params, restore_params
from runner.results.outcome import Outcome
from runner.runs.find import RunInfo, find_runs, open_run
from runner.runs.project import find_state_root
from runner.store.records import Run
from runner.store.run_folder import FileSlices, open_slices
from runner.store.store import Store

PENDING = "pending"
"""The outcome that is shown for a row without one."""

_NO_OUTCOME = Outcome("", PENDING)


@dataclass(frozen=True, slots=True)
class RowChoice:
    """The rows to show: those that fit everything that is given.

    `failed` leaves out the rows that succeeded. `outcome` can be `pending`; otherwise rows without an outcome are
    shown only if `key` names one. `reason` is the beginning of a reason.
    """

    failed: bool = False
    outcome: str | None = None
    reason: str | None = None
    key: str | None = None

    def fits_state(self, recorded: str | None, key: str | int) -> bool:
        """Return whether the result of a row must be read, by what the state knows."""
        if self.key is not None:
            return self.key == str(key)
        if recorded is None or self.outcome is not None:
            return (recorded or PENDING) == self.outcome
        return recorded != "succeeded" or not (self.failed or self.reason)

    def fits_outcome(self, outcome: Outcome) -> bool:
        """Return whether a row is shown, by its outcome."""
        return (
            not (self.failed and outcome.outcome in ("succeeded", PENDING))
            and self.outcome in (None, outcome.outcome)
            and (self.reason is None or (outcome.reason or "").startswith(self.reason))
        )


Judge = Callable[[RowResult, Outcome], Mapping[str, Any]]
"""Returns the evaluations that the answer to a row misses."""

OpenJudge = Callable[[Store, Run], AbstractContextManager[Judge | None]]
"""Opens the judge of a run's answers; None if nothing is to be judged."""


def judge_nothing(_: Store, __: Run) -> AbstractContextManager[None]:
    """Open no judge."""
    return nullcontext()


def find_shown_run(target: str) -> RunInfo:
    """Return the newest run that `target` names (see `find_runs`) and that has begun, if there is one."""
    runs = find_runs(target)
    # A run that was killed before it was confirmed has no rows to show.
    return next((run for run in runs if run.summary.state not in UNCONFIRMED_STATES), runs[0])


def with_failures(run_info: RunInfo) -> RunInfo:
    """Return a run with its failed rows by reason."""
    with open_run(run_info, lock=False) as (store, run):
        return replace(run_info, summary=summarize_with_failures(store, run))


def show_rows(
    run_info: RunInfo,
    choice: RowChoice,
    *,
    has_request: bool = False,
    open_judge: OpenJudge = judge_nothing,
) -> Iterator[dict[str, Any]]:
    """Yield the chosen rows in input order, under the names of a sink without columns, and `reason`.

    With `has_request` there is also `request`: the latest params of the row, or those of the earlier run whose
    answer it reuses; None if the row was rejected, or that run was purged. If `open_judge` opens a judge,
    only rows whose answers are wrong are shown, and there is also `wrong`.
    Raises UsageError if the run has not begun or was purged, or has no row with the key; and StateError if its
    files are damaged.
    """
    with open_run(run_info, lock=False) as (store, run), open_slices() as files, ExitStack() as stack:
        check_has_rows(run)
        is_found, root = False, find_state_root(store.path)
        judge = stack.enter_context(open_judge(store, run))
        output_format, requests = recorded_output_format(store, run), RequestFinder(store, run, files)
        for found in read_row_results(store, run, output_format, files, is_wanted=choice.fits_state):
            is_found = True
            outcome = found.outcome or _NO_OUTCOME
            wrong = {} if judge is None or found.outcome is None else judge(found, outcome)
            if choice.fits_outcome(outcome) and (judge is None or wrong):
                own = {} if judge is None else {"wrong": wrong}
                request = (
                    {"request": _read_request(store, requests.find(found), files, root)} if has_request else {}
                )
                more: dict[str, Any] = {"reason": None} if found.outcome is None else {}
                if found.batch is not None and found.batch.account is not None:
                    more["account"] = found.batch.account
                yield {**build_record(found, outcome), **more, **own, **request}
            if choice.key is not None:
                return
        if choice.key is not None and not is_found:
            raise UsageError(f"run {run.id} has no row with the key {choice.key!r}")


def check_has_rows(run: Run) -> None:
    """Raise UsageError if a run has no rows that can be shown."""
    if run.purged_at is not None:
        day = datetime.fromtimestamp(run.purged_at, UTC).strftime("%Y-%m-%d")
        raise UsageError(f"the rows and answers of run {run.id} were purged on {day}; its outputs are kept")
    if run.state in UNCONFIRMED_STATES:
        raise UsageError(f"run {run.id} has not begun: its rows can be shown once it was confirmed")


def _read_request(
    store: Store, place: tuple[Run, int, int, int, int] | None, files: FileSlices, root: Path
) -> msgspec.Raw | None:
    """Return the params at a place, in which a text stands for a file that is not as it was sent.

    Raises StateError if they are damaged.
    """
    if place is None:
        return None
    sender, round, batch, offset, length = place
    body = store.folder(sender).body(round, batch)
    stored = files.read(body, offset, length)
    try:
        return msgspec.Raw(restore_params(stored, root).sent)
    except FileChanged:
        return msgspec.Raw(outline_params(stored))
    except ValueError as error:
        raise StateError(f"{body} is damaged: {error}") from error
