"""Select the run to work on: resume the unfinished run, reuse a finished one, or start a new one."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import msgspec

from runner.errors import UsageError
from runner.runs.snapshot import SpecSnapshot, read_snapshot
from runner.sources.changed_files import find_changed_files, is_unchanged
from runner.sources.input_files import InputFile
from runner.spec.load import restore_with_edits
from runner.spec.spec import Spec
from runner.store.records import Run
from runner.store.run_folder import RunFolder
from runner.store.store import Store
from runner.templates.templates import Templates

_MAX_SHOWN = 10


def _describe_changes(old: Any, new: Any, at: str = "") -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in dict.fromkeys((*old, *new)):
            yield from _describe_changes(old.get(name), new.get(name), f"{at}.{name}" if at else name)
    elif old != new:
        short = [text if len(text) <= 40 else f"{text[:37]}..." for text in map(repr, (old, new))]
        yield f"{at}: {short[0]} → {short[1]}"


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
    found = list(_describe_changes(before.record, now.record))
    names = dict.fromkeys((*before.templates, *now.templates))
    found += [f"prompts/{n}: edited" for n in names if before.templates.get(n) != now.templates.get(n)]
    if before.limit != now.limit:
        found.append(f"--limit: {before.limit} → {now.limit}")
    edited = dict.fromkeys(islice(_find_changed_attachments(spec, folder), _MAX_SHOWN))
    if spec.source.is_query:
        # The rows of a query are those it returned when the run was prepared.
        return [*found, *(f"{path}: edited or missing" for path in edited)]
    is_limited = before.limit is not None or spec.source.limit is not None
    files = find_changed_files(spec.root, spec.source.path, before.inputs, is_limited=is_limited)
    return [
        *found,
        *(f"{path}: edited" for path in files),
        *(f"{path}: edited or missing" for path in edited if path not in files),
    ]


@dataclass(frozen=True, slots=True)
class RunSelector:
    """Selection of the run to work on, by the user's options and the current files."""

    spec: Spec
    templates: Templates | None
    limit: int | None
    resume: bool
    new: bool

    def select_run(self, store: Store) -> tuple[Run, Spec] | None:
        """Return the run to continue and its spec, or None if a new run is needed.

        A run whose preparation was cut off is discarded. Raises UsageError if the options or the current files do
        not allow a choice, and StateError if the snapshot of a run is damaged.
        """
        for incomplete in [left for left in store.runs(self.spec.name) if left.state in ("preparing", "prepared")]:
            if incomplete.recovered_at is not None:
                raise UsageError(f"the recovery of run {incomplete.id} did not finish: run `runner recover` again")
            store.delete_run(incomplete)
        # Also runs of other names: a run that is no longer recognized would be sent, and paid for, again.
        for known in store.runs():
            if known.purged_at is None and known.state != "preparing":
                read_snapshot(store, known)
        runs = [run for run in store.runs(self.spec.name) if run.state != "abandoned"]
        unfinished = next((run for run in runs if run.state == "running"), None)
        run = unfinished or next(iter(runs), None)
        if run is None or self.new or (self.resume and unfinished is None):
            if self.resume:
                raise UsageError(f"there is no unfinished run of {self.spec.name} to resume: run without --resume")
            return None
        return self._match_run(store, run)

    def _match_run(self, store: Store, run: Run) -> tuple[Run, Spec] | None:
        """Return the run and its spec if it matches the current files or is to be resumed anyway, else None.

        Raises UsageError if an unfinished run does not match.
        """
        if run.purged_at is not None and run.state != "finished":
            return None
        before = read_snapshot(store, run)
        if run.state == "finished" and (self.spec.source.path == "-" or self.spec.source.is_query):
            return None
        # Not computed for --resume, because the input may no longer exist.
        differences = [] if self.resume else self._find_differences(before, store.folder(run))
        if not differences:
            return run, restore_with_edits(before.record, current=self.spec)
        if run.state == "running":
            raise UsageError(self._changed_run_message(run, differences))
        return None

    def _find_differences(self, before: SpecSnapshot, folder: RunFolder) -> list[str]:
        files = self.templates.file_texts() if self.templates else {}
        now = SpecSnapshot(self.spec.to_record(), files, self.limit, [])
        return _describe_differences(self.spec, before, now, folder)

    def _changed_run_message(self, run: Run, differences: list[str]) -> str:
        shown = "\n".join(f"  {line}" for line in differences[:_MAX_SHOWN])
        return (
            f"run {run.id} of {self.spec.name} is unfinished, and there are changes since it began:\n{shown}\n"
            "Use --resume to finish it with its original spec, or --new to start over. Requests already sent are "
            f"billed either way; `runner cancel {run.id}` cancels those that have not ended"
        )
