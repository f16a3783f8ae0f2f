"""What the spec of a run, as it is now, adds to its report: which answers are wrong.

The report is about the run: it must not fail because its spec was edited, or is gone.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from runner.errors import InputError, StateError, UsageError
from runner.lifecycle.judge.run_judge import RunJudge, open_judge
from runner.report.earlier import describe_run
from runner.runs.find import find_spec_path
from runner.store.records import Run
from runner.store.store import Store


@contextmanager
def open_labels(store: Store, run: Run) -> Iterator[RunJudge | None]:
    """Yield the judge of a run's answers; None if its spec has no evaluations, or cannot be used any more."""
    with ExitStack() as stack:
        judge = None
        with suppress(UsageError, InputError, StateError):
            path = find_spec_path(describe_run(store, run))
            judge = stack.enter_context(open_judge(store, run, spec_path=path))
        yield judge
