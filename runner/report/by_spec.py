"""Read from the spec of a run, as it is now, which answers are wrong and how its variants compare.

The report is about the run: it must not fail because its spec was edited, or is gone.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from runner.errors import InputError, StateError, UsageError
from runner.lifecycle.judge.compare_variants import VariantComparison, compare_with_variants
from runner.lifecycle.judge.run_judge import RunJudge, open_judge
from runner.report.earlier import describe_run
from runner.runs.find import find_spec_path
from runner.spec.variant_names import split_name
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


def read_variants(store: Store, run: Run) -> VariantComparison | None:
    """Compare the newest runs of all variants of a spec; None if the run is not one of them."""
    if split_name(run.spec)[1] is None:
        return None
    # Files of the other runs may be damaged.
    with suppress(UsageError, InputError, StateError, OSError):
        info = describe_run(store, run)
        return compare_with_variants(run, find_spec_path(info), is_simulated=info.is_simulated)
    return None
