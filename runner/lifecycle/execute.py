"""Run a spec: check, plan, ask for consent, follow its batches, write its outputs."""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import msgspec

from runner.api import Api, connect
from runner.errors import CapReached, InputError, StateError, UsageError
from runner.form import Form, form_of
from runner.lifecycle.check import check, check_places
from runner.lifecycle.choice import Choice
from runner.lifecycle.deliver import deliver
from runner.lifecycle.follow import follow
from runner.lifecycle.job import Job, Report, Summary, plural, silent, summarize
from runner.lifecycle.planning import Plan, make_plan
from runner.lifecycle.prepare import prepare
from runner.lifecycle.record import recorded
from runner.sinks import check_place
from runner.sinks.place import Place
from runner.spec.spec import Spec
from runner.store.state import open_store

SIMULATED = "simulated"
# Size of a short result with its ids and usage: once as received, and once in an output.
_RESULT_BYTES = 2 * 700
# A simulated batch takes about a second, and the simulator ends with the runner: no create can be late.
_SIMULATED_POLL, _SIMULATED_GRACE = 0.2, 2.0


Consent = bool | Callable[[Plan], bool]


def moved(spec: Spec) -> Spec:
    """Return the spec to simulate, which reads the simulated output of the spec before it, if any."""
    output = spec.source.output
    if output is None:
        return spec
    path = Path(output)
    below = Path(SIMULATED) / (path.relative_to(path.anchor))
    return replace(spec, source=replace(spec.source, output=str(below)))


def home(spec: Spec, *, simulate: bool) -> Path:
    """Return the folder that contains `.runner/` and that output paths are relative to."""
    return spec.root / SIMULATED if simulate else spec.root


def _check_space(job: Job, plan: Plan) -> None:
    """Raise StateError if the disk certainly has no room for the results."""
    needed, free = plan.new * _RESULT_BYTES, shutil.disk_usage(job.store.path).free
    if free < needed:
        raise StateError(
            f"{job.store.path}: only {free:,} bytes are free, but {plural(plan.new, 'result')} need at "
            f"least {needed:,}; nothing was sent: free up space and run again"
        )


def _check_tables(job: Job, places: Sequence[Place]) -> None:
    """Discard a prepared run and raise InputError if a table does not accept its column types."""
    types = recorded(job.store, job.run).types
    tables = [index for index, sink in enumerate(job.spec.sinks) if sink.type == "sql"]
    unfit = [check_place(job.spec, index, places[index], types) for index in tables]
    if problems := [problem for problem in unfit if problem]:
        job.store.discard(job.run)
        raise InputError(problems)


def _agree(job: Job, plan: Plan, consent: Consent) -> None:
    """Start a prepared run if sending it is agreed to.

    Otherwise discard it, and raise InputError for errors found by the rules, or UsageError without consent. Raises
    StateError if the disk is too full.
    """
    try:
        if errors := [finding.problem for finding in plan.findings if finding.severity == "error"]:
            raise InputError(errors)
        _check_space(job, plan)
        is_agreed = consent(plan) if callable(consent) else consent
        if not (is_agreed or plan.new == 0 or job.spec.limits.max_cost is not None):
            raise UsageError("nothing was sent: the run was not confirmed")
    except (InputError, UsageError):
        job.store.discard(job.run)
        raise
    with job.store.transaction():
        # Only now, so that a new run that is declined, or killed before, leaves the unfinished run unchanged.
        for other in job.store.runs(job.run.spec):
            if other.number != job.run.number and other.state in ("running", "prepared"):
                job.store.update(other, state="abandoned")
        job.run = job.store.update(job.run, state="running", mode=plan.mode, estimated=plan.estimated)


def _ignore(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    (folder / ".gitignore").write_text("*\n")


@contextmanager
def connected(folder: Path, *, simulate: bool, betas: Sequence[str] = ()) -> Iterator[Api]:
    """Open a client of the API, or of a simulator that keeps its batches in the state folder `folder`."""
    with ExitStack() as stack:
        if simulate:
            # Imported here, so that `validate` does not wait for the import of an HTTP server.
            from runner.simulator.server import serve

            url = stack.enter_context(serve(folder / "simulator"))
            own = {"base_url": url, "api_key": "simulated", "name": "simulator"}
            yield stack.enter_context(connect(**own, betas=betas))
        else:
            yield stack.enter_context(connect(betas=betas))


def run(
    spec: Spec,
    *,
    simulate: bool = False,
    consent: Consent = False,
    wait: bool = True,
    limit: int | None = None,
    resume: bool = False,
    new: bool = False,
    accept_loss: bool = False,
    poll_seconds: float | None = None,
    report: Report = silent,
    stop: Event | None = None,
) -> Summary:
    """Run a spec to its end, or resume its unfinished run, and return the summary.

    `simulate` uses the bundled simulator instead of the API: nothing is paid, and state and outputs go below
    `simulated/`. Otherwise `consent` must be true, or a function that returns true for the Plan, before a run
    sends anything. A spec with `limits.max_cost` needs neither. `limit` is the maximum number of rows to read.

    An unfinished run continues if nothing has changed since it began. Otherwise `resume` finishes it with its
    original spec, and `new` starts over. A finished run sends nothing if nothing has changed: its outputs are
    written again, unless `new` is set. `accept_loss` ends rows whose results the API no longer has as missing.

    Without `wait`, or after `stop` is set, the summary may be that of an unfinished run: call again to continue.
    Raises a RunnerError (see `runner.errors` for its kinds).
    """
    spec = moved(spec) if simulate else spec
    # A run is resumed from its snapshot: its templates and input may be broken or missing by now.
    templates = None if resume else check(spec).templates
    stop = stop or Event()
    base = home(spec, simulate=simulate)
    if simulate:
        poll_seconds = poll_seconds or _SIMULATED_POLL
        spec = replace(
            spec,
            batch=replace(
                spec.batch,
                grace_seconds=min(spec.batch.grace_seconds, _SIMULATED_GRACE),
                on_unknown="resubmit",
            ),
        )
        _ignore(base)
    places = check_places(spec, base)
    try:
        with (
            open_store(base / ".runner") as store,
            connected(store.path, simulate=simulate, betas=spec.betas) as api,
        ):
            found = Choice(spec, templates, limit, resume, new).find(store)
            if found is None:
                templates = templates or check(spec).templates
                prepared = prepare(spec, templates, store, limit=limit, stop=stop, report=report)
                job = Job(spec, store, prepared.run, base, report)
                is_agreed = consent if callable(consent) else simulate or consent
                _check_tables(job, places)
                _agree(job, make_plan(job, templates, prepared, api, store), is_agreed)
            else:
                job = Job(found[1], store, found[0], base, report)
            seconds = poll_seconds or spec.batch.poll_seconds
            return _finish(job, api, poll_seconds=seconds, wait=wait, accept_loss=accept_loss, stop=stop)
    except OSError as error:
        raise StateError(f"{error.filename or base}: {error.strerror or error}") from error


def _finish(job: Job, api: Api, *, stop: Event, **how: Any) -> Summary:
    form = form_of(job.spec.output)
    if job.run.purged_at is not None:
        job.tell(f"run {job.run.id} is finished and nothing has changed; its rows and answers were purged")
        return summarize(job.store, job.run)
    if job.run.state == "finished":
        lacks = job.store.tally(job.run).get("succeeded", 0) < job.run.rows
        hint = "; use --new to send the rows that did not succeed" if lacks else ""
        job.tell(f"run {job.run.id} is finished and nothing has changed: writing its outputs again{hint}")
        _deliver(job, form)
        return summarize(job.store, job.run)
    count = len(job.store.batches(job.run))
    job.tell(f"run {job.run.id}: {plural(job.run.rows, 'row')} in {plural(count, 'batch')}")
    try:
        is_done = follow(job, api, form, stop=stop, **how)
    except CapReached:
        written = deliver(job, form, is_partial=True)
        job.store.update(job.run, sinks=msgspec.json.encode(written).decode())
        raise
    if is_done:
        _deliver(job, form)
        job.tell(f"run {job.run.id}: finished")
    return summarize(job.store, job.run)


def _deliver(job: Job, form: Form) -> None:
    written = msgspec.json.encode(deliver(job, form)).decode()
    finished_at = job.run.finished_at or time.time()
    job.run = job.store.update(job.run, state="finished", finished_at=finished_at, sinks=written)
