"""Compare the answers of a run with their labels, by the evaluations of its spec as they are now."""

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
from runner.lifecycle.deliver.row_results import RowResult
from runner.lifecycle.judge.labels import ChangedSource, open_changed_source
from runner.lifecycle.validate.checks import load_spec_or_report
from runner.results.outcome import Outcome
from runner.runs.snapshot import read_snapshot
from runner.sinks.column_schemas import build_record_schemas
from runner.sources.registry import find_source_type
from runner.spec.record import restore_with_edits
from runner.spec.spec import Spec
from runner.spec.variant_names import split_name
from runner.store.records import Run
from runner.store.run_folder import RunFolder
from runner.store.store import Store
from runner.templates.known_fields import make_closed_schema


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
