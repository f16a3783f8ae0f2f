"""Evaluate a run again with the labels and expressions of today. Nothing is sent."""

from dataclasses import dataclass
from pathlib import Path

from runner.errors import InputError, UsageError
from runner.evaluation.score import Score, encode_scores
from runner.lifecycle.deliver.failures import UNCONFIRMED_STATES
from runner.lifecycle.deliver.row_results import read_row_results, recorded_output_format
from runner.lifecycle.judge.run_judge import RunJudge, open_judge
from runner.lifecycle.maintain.show import check_has_rows, find_shown_run
from runner.lifecycle.validate.checks import load_spec_or_report
from runner.runs.find import RunInfo, find_runs, find_spec_path, open_run
from runner.spec.spec_files import SPEC_SUFFIXES
from runner.spec.variant_names import split_name
from runner.store.records import Run
from runner.store.run_folder import open_slices


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
