"""From a spec to its outputs: check it, find or make its run, ask for consent, follow it, deliver."""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import msgspec

from runner import sinks
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
from runner.spec import Spec
from runner.store import open_store

SIMULATED = "simulated"
# A result of a few words, with its ids and usage, once as it came and once in an output.
_RESULT_BYTES = 2 * 700
# A simulated batch takes about a second, and its simulator dies with the runner: no create is late.
_SIMULATED_POLL, _SIMULATED_GRACE = 0.2, 2.0


Consent = bool | Callable[[Plan], bool]


def moved(spec: Spec) -> Spec:
    """A spec as it is simulated: it reads what another has written there."""
    output = spec.source.output
    if output is None:
        return spec
    path = Path(output)
    below = Path(SIMULATED) / (path.relative_to(path.anchor))
    return replace(spec, source=replace(spec.source, output=str(below)))


def home(spec: Spec, *, simulate: bool) -> Path:
    """The folder that holds `.runner/` and that output paths are relative to."""
    return spec.root / SIMULATED if simulate else spec.root


def _check_space(job: Job, plan: Plan) -> None:
    """Raise StateError if the disk has no room for what will come back, as far as that can be known."""
    needed, free = plan.new * _RESULT_BYTES, shutil.disk_usage(job.store.path).free
    if free < needed:
        raise StateError(
            f"{job.store.path}: {free:,} bytes are free, and {plural(plan.new, 'result')} need at least "
            f"{needed:,}: make room and run again; nothing was sent"
        )


def _check_tables(job: Job, places: Sequence[sinks.Place]) -> None:
    """Forget a prepared run, and raise InputError, if a table does not take rows of the types that it has."""
    types = recorded(job.store, job.run).types
    tables = [index for index, sink in enumerate(job.spec.sinks) if sink.type == "sql"]
    unfit = [sinks.check_place(job.spec, index, places[index], types) for index in tables]
    if problems := [problem for problem in unfit if problem]:
        job.store.discard(job.run)
        raise InputError(problems)


def _agree(job: Job, plan: Plan, consent: Consent) -> None:
    """Start a prepared run if its sending is agreed to. Raises InputError or UsageError if not."""
    try:
        if errors := [finding.problem for finding in plan.findings if finding.severity == "error"]:
            raise InputError(errors)
        _check_space(job, plan)
        is_agreed = consent(plan) if callable(consent) else consent
        if not (is_agreed or plan.new == 0 or job.spec.limits.max_cost is not None):
            raise UsageError("nothing was sent: it was not agreed to")
    except (InputError, UsageError):
        job.store.discard(job.run)
        raise
    with job.store.transaction():
        # Only now: a new run that is declined, or killed before, leaves the one under way as it is.
        for other in job.store.runs(job.run.spec):
            if other.number != job.run.number and other.state in ("running", "prepared"):
                job.store.update(other, state="abandoned")
        job.run = job.store.update(job.run, state="running", mode=plan.mode, estimated=plan.estimated)


def _ignore(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    (folder / ".gitignore").write_text("*\n")


@contextmanager
def connected(folder: Path, *, simulate: bool, betas: Sequence[str] = ()) -> Iterator[Api]:
    """A client of the API, or of the simulator whose batches live in the state folder `folder`."""
    with ExitStack() as stack:
        if simulate:
            # Imported here: an HTTP server is no part of what `validate` waits for.
            from runner.simulator import serve

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
    """Run a spec to its end, or go on with its unfinished run, and return what became of it.

    `simulate` uses the bundled simulator instead of the API: nothing is paid, and state and outputs go below
    `simulated/`. Otherwise `consent` must be true, or a function that agrees to the Plan, before a run sends
    anything; a spec with `limits.max_cost` needs neither. `limit` takes the first rows only. An unfinished run
    goes on if nothing has changed since; if something has, `resume` finishes it as recorded and `new` starts
    over. A finished run of which nothing has changed sends nothing: its outputs are written again, unless `new`
    is given. Without `wait`, and after `stop` is set, the summary may be of a run that is not finished; call
    again to go on. `accept_loss` ends rows whose results the API does not have any more as missing.

    Raises a RunnerError: see `runner.errors` for the kinds.
    """
    spec = moved(spec) if simulate else spec
    # A run is resumed as recorded: its templates and its input may be broken or gone by now.
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
        job.tell(f"run {job.run.id} is finished, nothing has changed since, and its rows and answers were purged")
        return summarize(job.store, job.run)
    if job.run.state == "finished":
        lacks = job.store.tally(job.run).get("succeeded", 0) < job.run.rows
        hint = "; --new sends what did not succeed" if lacks else ""
        job.tell(
            f"run {job.run.id} is finished and nothing has changed since: its outputs are written again{hint}"
        )
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
