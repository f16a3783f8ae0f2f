"""Run or plan a spec from Python, with rows that the program gives if it has them."""

import os
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from threading import Event
from typing import Any

from runner.library.result import Result
from runner.lifecycle.maintain.run_pilot import PilotResult, run_pilot
from runner.lifecycle.plan.consent import Consent
from runner.lifecycle.plan.plan import Plan
from runner.lifecycle.plan.preview import plan as plan_spec
from runner.lifecycle.run import run as run_spec
from runner.lifecycle.run_options import Pending, RunOptions
from runner.runs.events import ProgressCallback, ignore_progress
from runner.runs.project import find_output_root
from runner.runs.select import PendingChoice
from runner.sources.given_rows import GivenRows
from runner.spec.load import load_spec
from runner.spec.spec import Pilot, Spec
from runner.workers.tasks import Jobs

GivenSpec = Spec | str | os.PathLike[str] | Mapping[str, Any]
"""A spec, or what `load_spec` makes one of: a path, YAML text or a mapping."""


def _to_spec(spec: GivenSpec) -> Spec:
    return spec if isinstance(spec, Spec) else load_spec(spec)


@contextmanager
def _with_rows(spec: Spec, rows: Any) -> Iterator[Spec]:
    """Yield a spec whose source has these rows instead of its own, if there are any."""
    if rows is None:
        yield spec
        return
    with closing(GivenRows(rows)) as given:
        yield replace(spec, source=replace(spec.source, type="rows", options={}, output=None, given=given))


def plan(
    spec: GivenSpec,
    *,
    rows: Any = None,
    simulate: bool = False,
    offline: bool = False,
    limit: int | None = None,
    on_event: ProgressCallback = ignore_progress,
    stop: Event | None = None,
) -> Plan:
    """Plan a new run of a spec: everything that `run` computes before it asks for confirmation. Nothing is sent.

    `spec` and `rows` are as for `run`. The API counts the input tokens, for free, if there are credentials and
    `offline` is False. With `simulate`, the simulator counts them. Errors found by the rules are among the
    findings. Raises InputError for all other errors in the input.
    """
    how: dict[str, Any] = {"simulate": simulate, "offline": offline, "limit": limit, "stop": stop}
    with _with_rows(_to_spec(spec), rows) as prepared:
        return plan_spec(prepared, report=on_event, **how)


def run(
    spec: GivenSpec,
    *,
    rows: Any = None,
    simulate: bool = False,
    consent: Consent = False,
    on_event: ProgressCallback = ignore_progress,
    wait: bool = True,
    max_wait: float | None = None,
    limit: int | None = None,
    resume: bool = False,
    new: bool = False,
    pending: Pending | PendingChoice = "ask",
    accept_loss: bool = False,
    overwrite: bool = False,
    poll_seconds: float | None = None,
    jobs: Jobs = 1,
    stop: Event | None = None,
) -> Result:
    """Run a spec to its end, or resume its unfinished run, and return the result.

    `spec` is a Spec, or a path, YAML text or mapping that `load_spec` would accept.
    `rows` replaces the rows of the source: an iterable of mappings, or a table of pandas, polars or Arrow. They
    are written to the state as they are read. If the run is unfinished, give the same rows again, or none.

    Before anything is sent, `consent` must be true, or a function that returns true for the Plan, unless the
    spec has `limits.max_cost`. With `simulate` nothing is paid. `limit` is the most rows to read. If an
    unfinished run differs from the files or rows, `resume` finishes it as it was and `new` starts over. Without
    both, `pending` decides: finish (as it was, and then start on the changes), new, ask (raise UsageError), or a
    function. `on_event` takes every RunEvent, in this thread. `accept_loss` ends rows of lost results as missing.
    `jobs` work on rows and results: so many processes, the cluster `dask://host:port`, or a
    `concurrent.futures.Executor`, in whose own tasks `run` must not be called.
    With `overwrite` a partial run replaces complete outputs. Without `wait`, after `max_wait` seconds of it, or
    after `stop`, call again.

    The call blocks: in a running event loop, use `await asyncio.to_thread(run, spec)`. Raises RunnerError.
    """
    options = RunOptions(
        simulate=simulate, wait=wait, max_wait=max_wait, limit=limit, resume=resume, new=new, pending=pending,
        accept_loss=accept_loss, overwrite=overwrite, poll_seconds=poll_seconds, jobs=jobs,
    )  # fmt: skip
    with _with_rows(_to_spec(spec), rows) as prepared:
        summary = run_spec(prepared, options, consent=consent, report=on_event, stop=stop)
    return Result.of(summary, find_output_root(prepared, simulate=simulate))


def pilot(
    spec: GivenSpec,
    size: int = 50,
    *,
    by: str | None = None,
    seed: int = 0,
    sync: bool = False,
    rows: Any = None,
    simulate: bool = False,
    consent: Consent = False,
    on_event: ProgressCallback = ignore_progress,
    wait: bool = True,
    stop: Event | None = None,
) -> PilotResult[Result]:
    """Send a sample of the rows of a spec, or resume that, and return what it says of the whole job.

    `size` rows are drawn by chance, with another `seed` others; each value of the column `by` gets its share. With
    `sync` they are sent at once, at the full price. The other arguments are those of `run`, which takes over the
    answers. The `summary` is a Result, so that its rows can be read. Raises RunnerError.
    """
    options = RunOptions(simulate=simulate, wait=wait, pending="finish")
    sample = Pilot(size, seed, by)
    with _with_rows(_to_spec(spec), rows) as prepared:
        found = run_pilot(prepared, sample, options, is_sync=sync, consent=consent, report=on_event, stop=stop)
    result = Result.of(found.summary, find_output_root(prepared, simulate=simulate))
    return PilotResult(result, found.selected_rows, found.cost, found.diff, found.values)
