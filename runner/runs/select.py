"""Select the run to work on: resume the unfinished run, reuse a finished one, or start a new one."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal, NamedTuple

import msgspec

from runner.errors import UsageError
from runner.runs.project import is_simulated_state
from runner.runs.snapshot import SpecSnapshot, describe_changes, read_snapshot
from runner.sources.changed_files import find_changed_files, is_read_once, is_unchanged
from runner.sources.input_files import InputFile
from runner.spec.pilot import with_pilot_sinks
from runner.spec.record import make_record, restore_with_edits
from runner.spec.spec import Spec
from runner.spec.variant_names import join_name, split_name
from runner.store.records import Run
from runner.store.run_folder import RunFolder
from runner.store.store import Store
from runner.templates.templates import Templates

_MAX_SHOWN = 10


def _find_changed_attachments(spec: Spec, folder: RunFolder) -> Iterator[str]:
    """Yield the attached files that have changed since the run was prepared."""
    if folder.attachments.exists():
        with folder.attachments.open("rb") as lines:
            for line in lines:
                file = msgspec.json.decode(line, type=InputFile)
                if not is_unchanged(spec.root, file, follow_redirects=False):
                    yield file.path


def _describe_differences(spec: Spec, before: SpecSnapshot, now: SpecSnapshot, folder: RunFolder) -> list[str]:
    """Describe the differences between the snapshot of a run and the current settings and files."""
    found = describe_changes(before, now)
    edited = dict.fromkeys(islice(_find_changed_attachments(spec, folder), _MAX_SHOWN))
    if spec.source.is_query:
        # The rows of a query are those it returned when the run was prepared.
        return [*found, *(f"{path}: edited or missing" for path in edited)]
    is_limited = before.limit is not None or spec.source.limit is not None
    if spec.source.is_given:
        return [*found, *_compare_given_rows(spec, before, is_limited=is_limited)]
    files = find_changed_files(spec.root, spec.source.path, before.inputs, is_limited=is_limited)
    return [
        *found,
        *(f"{path}: edited" for path in files),
        *(f"{path}: edited or missing" for path in edited if path not in files),
    ]


def _compare_given_rows(spec: Spec, before: SpecSnapshot, *, is_limited: bool) -> Iterator[str]:
    """Yield that the given rows differ from those of a run; if none are given, those of the run are meant."""
    if spec.source.given is None or is_limited:
        return
    if [spec.source.given.digest()] != [file.sha256 for file in before.inputs]:
        yield "the rows that were given: others"


def has_unfinished_run(store: Store, spec_name: str) -> bool:
    """Return whether a run of a spec was started and is not finished."""
    return any(run.state == "running" for run in store.runs(spec_name))


def find_left_runs(store: Store, spec: Spec) -> list[Run]:
    """Return the unfinished runs of variants that a spec no longer has, or of the spec before it had variants.

    What they have sent would be sent again: nothing collects their answers.
    """
    own = {join_name(spec.job, variant) for variant in spec.variants} or {spec.name}
    runs = (run for run in store.runs() if run.state == "running" and split_name(run.spec)[0] == spec.job)
    return [run for run in runs if run.spec not in own]


class PendingRun(NamedTuple):
    """An unfinished run of a spec, and the changes to its spec and files since it began."""

    run: str
    spec: str
    changes: list[str]

    def __str__(self) -> str:
        shown = [f"  {line}" for line in self.changes[:_MAX_SHOWN]]
        left = len(self.changes) - len(shown)
        head = f"run {self.run} of {self.spec} is unfinished, and there are changes since it began:"
        return "\n".join([head, *shown, *([f"  and {left:,} more"] if left else [])])


PendingChoice = Callable[[PendingRun], Literal["finish", "new"]]
"""Decides about a pending run: finish it as it began and then start on the changes, or start anew at once."""


def refuse_choice(pending: PendingRun) -> Literal["finish", "new"]:
    """Raise UsageError: the user must decide about a pending run."""
    raise UsageError(
        f"{pending}\nUse `--pending finish` to finish it with its original spec and then start on the changes, "
        "--resume to only finish it, or --new to start over. Requests already sent are billed either way; "
        f"`runner cancel {pending.run}` cancels those that have not ended"
    )


class SelectedRun(NamedTuple):
    """The run to continue, with its spec. `is_outdated` means that the spec or its files have changed since."""

    run: Run
    spec: Spec
    is_outdated: bool = False


@dataclass(frozen=True, slots=True)
class RunSelector:
    """Selection of the run to work on, by the user's options and the current files.

    `choose` decides if an unfinished run does not match the current files.
    """

    spec: Spec
    templates: Templates | None
    limit: int | None
    resume: bool
    new: bool
    choose: PendingChoice = refuse_choice

    def select_run(self, store: Store) -> SelectedRun | None:
        """Return the run to continue, or None if a new run is needed.

        A run whose preparation was cut off is discarded. Raises UsageError if the options or the current files do
        not allow a choice, and StateError if the snapshot of a run is damaged.
        """
        for incomplete in [left for left in store.runs(self.spec.name) if left.state in ("preparing", "prepared")]:
            if incomplete.recovered_at is not None:
                raise UsageError(f"the recovery of run {incomplete.id} did not finish: run `runner recover` again")
            store.delete_run(incomplete)
        # Also runs of other names: a run that is no longer recognized would be sent, and paid for, again.
        for known in store.runs():
            is_unsent = known.state in ("preparing", "prepared")
            if known.purged_at is None and not is_unsent:
                read_snapshot(store, known)
        self._check_left_runs(store)
        runs = [run for run in store.runs(self.spec.name) if run.state in ("running", "finished")]
        unfinished = next((run for run in runs if run.state == "running"), None)
        is_pilot = self.spec.source.pilot is not None
        if unfinished is not None and is_pilot and not unfinished.is_pilot:
            simulate = " --simulate" if is_simulated_state(store.path) else ""
            raise UsageError(
                f"run {unfinished.id} of {self.spec.name} is unfinished, and a pilot comes before the whole job: "
                f"finish only it with `runner run {self.spec.path} --resume{simulate}`"
            )
        run = unfinished or next((run for run in runs if run.is_pilot == is_pilot), None)
        if run is None or self.new or (self.resume and unfinished is None):
            if self.resume:
                raise UsageError(f"there is no unfinished run of {self.spec.name} to resume: run without --resume")
            return None
        return self._match_run(store, run)

    def find_finished(self, store: Store) -> SelectedRun | None:
        """Return the newest finished run (of pilots, for the spec of one), if it matches the current files."""
        is_pilot = self.spec.source.pilot is not None
        runs = (run for run in store.runs(self.spec.name) if run.state == "finished" and run.is_pilot == is_pilot)
        newest = next(runs, None)
        return None if newest is None else self._match_run(store, newest)

    def _check_left_runs(self, store: Store) -> None:
        """Raise UsageError for an unfinished run that the spec has no longer, unless a new one is asked for."""
        for left in [] if self.new else find_left_runs(store, self.spec):
            raise UsageError(
                f"run {left.id} of {left.spec} is unfinished, and {self.spec.path} does not have {left.spec} any "
                "more: put it back and run it to the end, or use --new, which abandons that run. Requests already "
                f"sent are billed either way; `runner cancel {left.id}` cancels those that have not ended"
            )

    def _match_run(self, store: Store, run: Run) -> SelectedRun | None:
        """Return the run if it matches the current files or is to be finished anyway, else None.

        Raises UsageError if an unfinished run does not match, and nothing can be decided.
        """
        if run.purged_at is not None and run.state != "finished":
            return None
        before = read_snapshot(store, run)
        if run.state == "finished" and (self.spec.source.path == "-" or self.spec.source.is_query):
            return None
        if (
            run.state == "finished"
            and self.spec.source.given is not None
            and not all(file.sha256 for file in before.inputs)
        ):
            # A limit ended the reading, so that the rows cannot be compared.
            return None
        # Not computed for --resume, because the input may no longer exist.
        differences = [] if self.resume else self._find_differences(before, store.folder(run))
        spec = restore_with_edits(before.record, current=self.spec)
        if run.is_pilot and self.spec.source.pilot is None:
            spec = with_pilot_sinks(spec)
        if not differences:
            return SelectedRun(run, spec)
        if run.state != "running" or self._choose(PendingRun(run.id, self.spec.name, differences)) == "new":
            return None
        return SelectedRun(run, spec, is_outdated=True)

    def _choose(self, pending: PendingRun) -> Literal["finish", "new"]:
        # What can be read only once was read for the comparison: no new run could start on it afterwards.
        if not self.spec.source.is_given and is_read_once(self.spec.root, self.spec.source.path):
            return refuse_choice(pending)
        return self.choose(pending)

    def _find_differences(self, before: SpecSnapshot, folder: RunFolder) -> list[str]:
        files = self.templates.file_texts() if self.templates else {}
        now = SpecSnapshot(make_record(self.spec), files, self.limit, [])
        return _describe_differences(self.spec, before, now, folder)
