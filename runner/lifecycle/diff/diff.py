"""Compare two runs by key: what differs, how often, and because of what."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime

from runner.errors import UsageError
from runner.evaluation.score import Score
from runner.lifecycle.deliver.failures import UNCONFIRMED_STATES
from runner.lifecycle.deliver.row_results import RowResult, read_row_results, recorded_output_format
from runner.lifecycle.diff.causes import find_changed_parts
from runner.lifecycle.diff.compare import SUCCEEDED, RowDifference, RowState, compare_rows
from runner.lifecycle.diff.pairs import RowPair, pair_rows
from runner.lifecycle.diff.totals import Example, FieldTotals, Totals
from runner.lifecycle.prepare.reuse import digest_row
from runner.runs.find import RunInfo, open_run
from runner.runs.snapshot import SpecSnapshot, describe_changes, read_snapshot
from runner.runs.summary import Summary
from runner.store.records import Run
from runner.store.run_folder import FileSlices, open_slices
from runner.store.store import Store

DEFAULT_EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class ComparedRun:
    """One of two runs that are compared. `created_at` is in Unix seconds."""

    run: str
    spec: str
    state: str
    rows: int
    created_at: float
    is_simulated: bool


@dataclass(frozen=True, slots=True)
class Accuracy:
    """The number and share of the labelled rows of a run that are right; the share is None without labels."""

    share: float | None
    right: int
    labelled: int


@dataclass(frozen=True, slots=True)
class ScoreChange:
    """An evaluation that both runs have, by its name, as their scores were stored.

    If `has_other_rule`, its expressions or its match differ, so that the scores cannot be compared.
    """

    name: str
    old: Accuracy
    new: Accuracy
    has_other_rule: bool = False


@dataclass(frozen=True, slots=True)
class Diff:
    """The differences of two runs.

    `edited` describes what was edited in the spec and its prompts. `rows` counts the rows of each kind: same,
    changed, regressed, fixed, added, removed and pending. `because` counts the rows with other results by causes,
    which `+` joins. `fields` are the parts of results that differ, the most frequent first, and `compared` is the
    number of rows that have outputs in both runs. `examples` has rows of each kind but the changed ones, which are
    the examples of fields. `scores` are those of the evaluations that both runs have.
    """

    old: ComparedRun
    new: ComparedRun
    edited: list[str]
    rows: dict[str, int]
    because: dict[str, int]
    compared: int
    fields: list[FieldTotals]
    examples: dict[str, list[Example]]
    scores: list[ScoreChange]
    warnings: list[str]


@dataclass(frozen=True, slots=True)
class _Side:
    """A run that is open to be read."""

    info: RunInfo
    store: Store
    run: Run
    snapshot: SpecSnapshot
    files: FileSlices

    @property
    def key_column(self) -> str | None:
        column = self.snapshot.record["source"]["key"]
        return None if column is None else str(column)

    def describe(self) -> ComparedRun:
        run = self.run
        summary = self.info.summary
        return ComparedRun(run.id, run.spec, summary.state, run.rows, run.created_at, self.info.is_simulated)

    def read(self) -> Iterator[RowState]:
        output_format = recorded_output_format(self.store, self.run)
        rows = read_row_results(self.store, self.run, output_format, self.files)
        return map(_to_state, rows)


def _to_state(found: RowResult) -> RowState:
    outcome, fields = found.outcome, digest_row(bytes(found.fields))
    if outcome is None:
        return RowState(found.key, fields, found.digest, None, None, None)
    output = outcome.output if outcome.outcome == SUCCEEDED else None
    return RowState(found.key, fields, found.digest, outcome.outcome, outcome.reason, output)


def _open_side(stack: ExitStack, info: RunInfo) -> _Side:
    """Open a run. Raises UsageError if it has no rows to compare."""
    store, run = stack.enter_context(open_run(info, lock=False))
    if run.purged_at is not None:
        day = datetime.fromtimestamp(run.purged_at, UTC).strftime("%Y-%m-%d")
        raise UsageError(
            f"the rows and answers of run {run.id} were purged on {day}, so it cannot be compared: name two runs "
            "that were not purged, as in `runner diff OLD NEW`"
        )
    if run.state in UNCONFIRMED_STATES:
        raise UsageError(f"run {run.id} has not begun: it can be compared once it was confirmed")
    return _Side(info, store, run, read_snapshot(store, run), stack.enter_context(open_slices()))


def _find_warnings(old: _Side, new: _Side) -> Iterator[str]:
    """Yield what makes it doubtful that rows are paired rightly. Raises UsageError if they cannot be."""
    before, after = old.key_column, new.key_column
    if (before is None) != (after is None):
        with_key, without = (old, new) if after is None else (new, old)
        raise UsageError(
            f"run {with_key.run.id} names its rows by {with_key.key_column}, and run {without.run.id} numbers "
            "them: only runs with the same `source.key` can be compared"
        )
    if before is None:
        yield (
            "the source has no key, so rows are paired by number: if it does not keep its order, other rows "
            "are compared; set `source.key`"
        )
    elif before != after:
        yield f"rows are paired by {before} of the old run and {after} of the new one"


def _compare(pairs: Iterator[RowPair], old: _Side, new: _Side) -> Iterator[tuple[RowDifference, bool]]:
    """Yield how the rows differ, each with whether it has an output in both runs."""
    parts = find_changed_parts(old.snapshot, new.snapshot)
    for before, after in pairs:
        if before is not None and after is not None:
            yield compare_rows(before, after, parts), before.outcome == after.outcome == SUCCEEDED
        elif after is not None:
            yield RowDifference(after.key, "added"), False
        elif before is not None:
            yield RowDifference(before.key, "removed"), False


def _compare_scores(old: Summary, new: Summary) -> list[ScoreChange]:
    before, after = ({one.name: one for one in summary.evaluation or ()} for summary in (old, new))
    return [
        ScoreChange(
            name, _read_accuracy(before[name]), _read_accuracy(score), before[name].rule not in ("", score.rule)
        )
        for name, score in after.items()
        if name in before
    ]


def _read_accuracy(score: Score) -> Accuracy:
    return Accuracy(score.accuracy, score.right, score.labelled)


def diff_runs(
    old_info: RunInfo,
    new_info: RunInfo,
    *,
    examples: int = DEFAULT_EXAMPLES,
    on_difference: Callable[[RowDifference], None] = lambda _: None,
) -> Diff:
    """Compare two runs, in one pass over each; `on_difference` takes each row that differs.

    Raises UsageError if a run was purged or has not begun, or if rows have keys in one run only; and StateError if
    files of a run are damaged.
    """
    with ExitStack() as stack:
        old, new = _open_side(stack, old_info), _open_side(stack, new_info)
        warnings = list(_find_warnings(old, new))
        totals, compared = Totals(examples), 0
        for one, has_outputs in _compare(pair_rows(old.read(), new.read()), old, new):
            totals.add(one)
            compared += has_outputs
            if one.kind not in ("same", "pending"):
                on_difference(one)
        return Diff(
            old=old.describe(),
            new=new.describe(),
            edited=describe_changes(old.snapshot, new.snapshot),
            rows=totals.count_kinds(),
            because=totals.count_causes(),
            compared=compared,
            fields=totals.list_fields(),
            examples=totals.examples,
            scores=_compare_scores(old_info.summary, new_info.summary),
            warnings=warnings,
        )
