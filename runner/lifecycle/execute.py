"""From a spec to its outputs: check it, find or make its run, ask for consent, follow it, deliver."""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import Any, TypeVar

import msgspec

from runner import outcome, sinks
from runner.api import Api, connect
from runner.errors import InputError, Problem, StateError, UsageError
from runner.lifecycle.choice import Choice
from runner.lifecycle.deliver import deliver
from runner.lifecycle.follow import follow
from runner.lifecycle.job import Job, Report, Summary, plural, silent, summarize
from runner.lifecycle.prepare import prepare, requests
from runner.prompt import Templates, load_templates
from runner.sources import Inputs, Row, read
from runner.spec import Spec
from runner.store import open_store

SIMULATED = "simulated"
T = TypeVar("T")
_SAMPLE_ROWS = 100
# A result of a few words, with its ids and usage, once as it came and once in an output.
_RESULT_BYTES = 2 * 700
# A simulated batch takes about a second, and its simulator dies with the runner: no create is late.
_SIMULATED_POLL, _SIMULATED_GRACE = 0.2, 2.0


@dataclass(frozen=True, slots=True)
class Offer:
    """What a run is about to send; `bytes` is the size of all bodies."""

    run: str
    model: str
    rows: int
    rejected: int
    requests: int
    batches: int
    bytes: int


Consent = bool | Callable[[Offer], bool]


def check(spec: Spec) -> Templates:
    """Check what can be known before the whole source is read: templates, names, columns, the first rows.

    Raises InputError with every mistake.
    """
    problems = sinks.check(spec)
    if spec.output_schema is not None:
        _note(problems, lambda: outcome.validator(spec.output_schema or {}))
    templates = _note(problems, lambda: load_templates(spec))
    sample = _note(problems, lambda: _sample(spec))
    if templates is not None and sample:
        problems += templates.check(list(dict.fromkeys(name for row in sample for name in row.fields)))
    if templates is None or problems:
        raise InputError([_placed(spec, problem) for problem in problems])
    for _ in requests(templates, iter(sample or ())):
        pass
    return templates


def _note(problems: list[Problem], step: Callable[[], T]) -> T | None:
    """The result of a step, or None with its mistakes added to those before."""
    try:
        return step()
    except InputError as error:
        problems += error.problems
        return None


def _placed(spec: Spec, problem: Problem) -> Problem:
    """A mistake that knows only which setting it is about, at the place of that setting."""
    if problem.path not in spec.places:
        return problem
    return spec.problem(problem.path, f"{problem.path}: {problem.message}")


def _sample(spec: Spec) -> list[Row]:
    inputs, pattern = Inputs(spec.root), spec.source.options["path"]
    paths = [spec.root / path for path in inputs.find(pattern)]
    # What can be read once only, standard input or a pipe, is for the run.
    if pattern == "-" or any(path.is_fifo() or path.is_char_device() for path in paths):
        return []
    return list(read(spec.source, inputs, limit=_SAMPLE_ROWS))


def render(spec: Spec, *, limit: int | None = None) -> Iterator[bytes]:
    """The requests of the first rows as JSON lines, with the row number as custom_id; nothing is sent."""
    templates = check(spec)
    for row, params in requests(templates, read(spec.source, Inputs(spec.root), limit=limit)):
        yield b'{"custom_id":"%d","params":%b}' % (row.number, params)


def home(spec: Spec, *, simulate: bool) -> Path:
    """The folder that holds `.runner/` and that output paths are relative to."""
    return spec.root / SIMULATED if simulate else spec.root


def _offer(job: Job) -> Offer:
    batches = [batch for batch in job.store.batches(job.run) if batch.state == "prepared"]
    return Offer(
        run=job.run.id,
        model=str(job.spec.params["model"]),
        rows=job.run.rows,
        rejected=job.store.tally(job.run).get("rejected", 0),
        requests=sum(batch.requests for batch in batches),
        batches=len(batches),
        bytes=sum(batch.bytes for batch in batches),
    )


def _check_space(job: Job, offer: Offer) -> None:
    """Raise StateError if the disk has no room for what will come back, as far as that can be known."""
    needed, free = offer.requests * _RESULT_BYTES, shutil.disk_usage(job.store.path).free
    if free < needed:
        raise StateError(
            f"{job.store.path}: {free:,} bytes are free, and {plural(offer.requests, 'result')} need at least "
            f"{needed:,}: make room and run again; nothing was sent"
        )


def _agree(job: Job, consent: Consent) -> None:
    """Start a prepared run if its sending is agreed to. Raises UsageError if not."""
    if job.run.state != "prepared":
        return
    offer = _offer(job)
    _check_space(job, offer)
    is_free = job.run.is_canceled or offer.requests == 0
    if not (is_free or (consent(offer) if callable(consent) else consent)):
        job.store.discard(job.run)
        raise UsageError("nothing was sent: it was not agreed to")
    with job.store.transaction():
        # Only now: a new run that is declined, or killed before, leaves the one under way as it is.
        for other in job.store.runs(job.run.spec):
            if other.number != job.run.number and other.state in ("running", "prepared"):
                job.store.update(other, state="abandoned")
        job.run = job.store.update(job.run, state="running")


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
    `simulated/`. Otherwise `consent` must be true, or a function that agrees to the Offer, before a run sends
    anything. `limit` takes the first rows only. An unfinished run goes on if nothing has changed since; if
    something has, `resume` finishes it as recorded and `new` starts over. A finished run of which nothing has
    changed sends nothing: its outputs are written again, unless `new` is given. Without `wait`, and after
    `stop` is set, the summary may be of a run that is not finished; call again to go on. `accept_loss` ends rows
    whose results the API does not have any more as missing.

    Raises a RunnerError: see `runner.errors` for the kinds.
    """
    # A run is resumed as recorded: its templates and its input may be broken or gone by now.
    templates = None if resume else check(spec)
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
    places = [sinks.place(sink, root=spec.root, base=base) for sink in spec.sinks]
    unwritable = [sinks.check_place(spec, index, path) for index, path in enumerate(places)]
    if problems := [problem for problem in unwritable if problem]:
        raise InputError(problems)
    try:
        with (
            open_store(base / ".runner") as store,
            connected(store.path, simulate=simulate, betas=spec.betas) as api,
        ):
            found = Choice(spec, templates, limit, resume, new).find(store)
            if found is None:
                rows = templates or check(spec)
                found = prepare(spec, rows, store, limit=limit, stop=stop, report=report).run, spec
            job = Job(found[1], store, found[0], base, report)
            _agree(job, simulate or consent)
            seconds = poll_seconds or spec.batch.poll_seconds
            return _finish(job, api, poll_seconds=seconds, wait=wait, accept_loss=accept_loss, stop=stop)
    except OSError as error:
        raise StateError(f"{error.filename or base}: {error.strerror or error}") from error


def _finish(job: Job, api: Api, *, stop: Event, **how: Any) -> Summary:
    validate = outcome.optional_validator(job.spec.output_schema)
    if job.run.purged_at is not None:
        job.tell(f"run {job.run.id} is finished, nothing has changed since, and its rows and answers were purged")
        return summarize(job.store, job.run)
    if job.run.state == "finished":
        job.tell(f"run {job.run.id} is finished and nothing has changed since: its outputs are written again")
        _deliver(job, validate)
        return summarize(job.store, job.run)
    count = len(job.store.batches(job.run))
    job.tell(f"run {job.run.id}: {plural(job.run.rows, 'row')} in {plural(count, 'batch')}")
    if follow(job, api, validate, stop=stop, **how):
        _deliver(job, validate)
        job.tell(f"run {job.run.id}: finished")
    return summarize(job.store, job.run)


def _deliver(job: Job, validate: outcome.Validate | None) -> None:
    written = msgspec.json.encode(deliver(job, validate)).decode()
    finished_at = job.run.finished_at or time.time()
    job.run = job.store.update(job.run, state="finished", finished_at=finished_at, sinks=written)
