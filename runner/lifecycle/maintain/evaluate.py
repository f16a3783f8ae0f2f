"""Evaluate a run again with the labels and expressions of today. Nothing is sent."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from runner.errors import InputError, Problem, UsageError
from runner.evaluation.check import check_evaluations
from runner.evaluation.evaluator import Answer, Evaluator, Wrong
from runner.evaluation.score import Score, encode_scores
from runner.lifecycle.deliver.failures import UNCONFIRMED_STATES
from runner.lifecycle.deliver.row_results import RowResult, read_row_results, recorded_output_format
from runner.lifecycle.maintain.labels import ChangedSource, open_changed_source
from runner.lifecycle.maintain.show import check_has_rows, find_shown_run
from runner.lifecycle.validate.checks import load_spec_or_report
from runner.results.outcome import Outcome
from runner.runs.find import RunInfo, find_runs, find_spec_path, open_run
from runner.runs.snapshot import read_snapshot
from runner.sinks.column_schemas import build_record_schemas
from runner.sources.registry import find_source_type
from runner.spec.record import restore_with_edits
from runner.spec.spec import Spec
from runner.spec.spec_files import SPEC_SUFFIXES
from runner.spec.variant_names import split_name
from runner.store.records import Run
from runner.store.run_folder import RunFolder, open_slices
from runner.store.store import Store
from runner.templates.known_fields import make_closed_schema


@dataclass(frozen=True, slots=True)
class EvaluatedRun:
    """A run with its scores.

    `labels_from` is the source whose labels were taken as they are now, and `unlabelled` counts the rows of the
    run that have none there. Both are None if the labels are those that the run read. `unread` says why a source
    that has changed could not be read.
    """

    run: str
    spec: str
    rows: int
    labels_from: str | None
    unlabelled: int | None
    unread: str | None
    evaluation: list[Score]
    is_simulated: bool

    @property
    def exit_code(self) -> int:
        """Exit code: 3 if an evaluation is below its threshold, else 0."""
        return 3 if any(score.is_missed for score in self.evaluation) else 0


@dataclass(slots=True)
class RunJudge:
    """Compares the answers of a run with their labels: those of a `source` that has changed, or of the rows.

    `lost_labels` are those whose columns that source does not have any more. `unlabelled` counts the rows without
    a label in it.
    """

    evaluator: Evaluator
    source: ChangedSource | None = None
    lost_labels: Sequence[Problem] = ()
    unlabelled: int = 0

    def __call__(self, found: RowResult, outcome: Outcome) -> Wrong:
        """Count the answer to a row, and return the evaluations that it misses."""
        row = msgspec.json.decode(found.fields)
        answer = Answer(found.key, row, outcome.output, is_valid=outcome.outcome == "succeeded")
        if self.source is None or self.source.problem is not None:
            return self.evaluator.add_row(answer)
        labels = self.source.find_labels(found.key)
        if labels is None:
            self.unlabelled += 1
            return {}
        return self.evaluator.add(answer, labels)


def find_evaluated_run(target: str) -> tuple[RunInfo, Path]:
    """Return the run that `target` names, and the file of its spec. Raises UsageError."""
    found = find_shown_run(target)
    is_path = target.endswith(SPEC_SUFFIXES) and Path(target).exists()
    return found, Path(target) if is_path else find_spec_path(found)


def find_evaluated_runs(target: str) -> tuple[list[RunInfo], Path]:
    """Return the run that `target` names, or the newest one of each variant, and the file of the spec."""
    chosen, path = find_evaluated_run(target)
    if chosen.summary.run.startswith(target) or split_name(chosen.summary.spec)[1] is None:
        return [chosen], path
    spec, newest = load_spec_or_report(path), dict[str, RunInfo]()
    for one in find_runs(target):
        is_begun = one.summary.state not in UNCONFIRMED_STATES and one.is_simulated == chosen.is_simulated
        if is_begun and split_name(one.summary.spec)[1] in spec.variants and one.is_pilot == chosen.is_pilot:
            newest.setdefault(one.summary.spec, one)
    return list(newest.values()), path


@contextmanager
def open_judge(store: Store, run: Run, *, spec_path: Path) -> Iterator[RunJudge]:
    """Yield the judge of a run's answers, by the evaluations of its spec as they are now.

    Raises UsageError if the spec has none, and InputError for mistakes in it.
    """
    current = load_spec_or_report(spec_path, variant=split_name(run.spec)[1])
    before = read_snapshot(store, run)
    if current.name != run.spec:
        raise UsageError(f"{spec_path} is named {current.name!r}, and run {run.id} is of {run.spec!r}")
    if not current.evaluate:
        raise UsageError(
            f"{spec_path} has no `evaluate`: add it, as `runner reference` shows, and repeat this command"
        )
    spec = restore_with_edits(before.record, current=current)
    # Variables of the run count as they were; labels may use new ones.
    spec = replace(spec, vars={**current.vars, **spec.vars})
    with open_changed_source(current, before) as source:
        rows = _describe_rows(spec, store.folder(run), source)
        if problems := check_evaluations(spec, build_record_schemas(spec, rows)):
            raise InputError(problems)
        evaluator = Evaluator(spec.evaluate, spec.vars)
        if source is not None:
            source.read_labels(evaluator)
        lost = [] if source is None or source.problem is not None else _find_lost_labels(spec, source)
        yield RunJudge(evaluator, source, lost)


def _find_lost_labels(spec: Spec, source: ChangedSource) -> list[Problem]:
    """Return the labels that the source as it is now does not have: without them no answer would count."""
    if find_source_type(spec.source.type).is_schemaless or not source.columns:
        return []
    labels = replace(spec, evaluate=tuple(replace(one, actual="output") for one in spec.evaluate))
    rows = make_closed_schema({name: {} for name in source.columns})
    return check_evaluations(labels, build_record_schemas(labels, rows))


def _describe_rows(spec: Spec, folder: RunFolder, source: ChangedSource | None) -> dict[str, Any]:
    """Return the schema of the rows of a run, and of its source as it is now, as far as it is known."""
    if find_source_type(spec.source.type).is_schemaless:
        return {}
    names = [*_read_stored_columns(folder), *(source.columns if source is not None else ())]
    return make_closed_schema({name: {} for name in names})


def _read_stored_columns(folder: RunFolder) -> Iterator[str]:
    with folder.rows.open("rb") as lines:
        for line in islice(lines, 1):
            yield from msgspec.json.decode(line)["row"]


def evaluate_run(run_info: RunInfo, spec_path: Path) -> EvaluatedRun:
    """Evaluate a run by the evaluations of its spec as they are now, and store the scores with it.

    Raises UsageError if there is nothing to evaluate, InputError for mistakes in the spec, and StateError if the
    files of the run are damaged.
    """
    with open_run(run_info) as (store, run), open_slices() as files:
        check_has_rows(run)
        output_format = recorded_output_format(store, run)
        with open_judge(store, run, spec_path=spec_path) as judge:
            for found in read_row_results(store, run, output_format, files, is_wanted=_has_outcome):
                if found.outcome is not None:
                    judge(found, found.outcome)
        scores, source = judge.evaluator.scores(), judge.source
        if source is not None and source.problem is None and not any(one.labelled for one in scores):
            raise UsageError(
                f"no row of run {run.id} has a label in {source.source.path} as it is now: correct `evaluate` in "
                f"{spec_path}, or the labels; the scores stored with the run are unchanged"
            )
        if judge.lost_labels:
            raise InputError(judge.lost_labels)
        store.update_run(run, evaluation=encode_scores(scores))
    return _describe(run, judge, is_simulated=run_info.is_simulated)


def _has_outcome(recorded: str | None, _: str | int) -> bool:
    return recorded is not None


def _describe(run: Run, judge: RunJudge, *, is_simulated: bool) -> EvaluatedRun:
    source, scores = judge.source, judge.evaluator.scores()
    unread = None if source is None else source.problem
    is_current = source is not None and unread is None
    return EvaluatedRun(
        run=run.id,
        spec=run.spec,
        rows=run.rows,
        labels_from=source.source.path if source is not None and is_current else None,
        unlabelled=judge.unlabelled if is_current else None,
        unread=unread,
        evaluation=scores,
        is_simulated=is_simulated,
    )
