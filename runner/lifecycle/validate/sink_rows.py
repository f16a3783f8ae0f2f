"""Find the first rows of a source that a sink cannot write."""

from collections.abc import Collection
from contextlib import closing
from dataclasses import replace

from runner.errors import InputError
from runner.lifecycle.validate.sample import Sample
from runner.rules.finding import Finding
from runner.sinks.row_checks import SinkRowChecks
from runner.sources.input_files import Inputs
from runner.spec.spec import Spec


def find_unwritable_rows(spec: Spec, sample: Sample, rejected: Collection[int]) -> list[Finding]:
    """Return what a run would find before it sends anything, as far as the first rows show it.

    `rejected` are the numbers of rows that cannot be sent. The columns of the sinks must be free of mistakes.
    """
    if not (spec.is_sound("sinks") and spec.is_sound("evaluate")):
        return []
    inputs, count = Inputs(spec.root), len(sample.rows)
    inputs.types.update(sample.types)
    looked_at = "" if count == sample.count else f"; only the first {count} rows were looked at"
    with closing(SinkRowChecks(spec, inputs)) as checks:
        for row in sample.rows:
            checks.add_row(row, is_rejected=row.number in rejected)
        try:
            problems, severity = checks.finish(f"a run would send nothing{looked_at}"), "warning"
        except InputError as error:
            problems, severity = list(error.problems), "error"
    found = (Finding.from_problem("sink", spec.locate(problem)) for problem in problems)
    return [replace(one, severity=severity) for one in found]
