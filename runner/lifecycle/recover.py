"""Rebuild the lost state of a run from its spec, its input and the batches that the API has.

The custom_id of a request identifies its run, round, batch and row. The id of a run identifies its spec and input.
So the first round is prepared again under the old id and counts as sent. Batches that were found are bound to it;
the others are searched for.

The batches found can differ from the prepared ones, and then the round is rebuilt from the batches found. This
happens if a batch was split after a rejection, rows reused results of an earlier run, or `batch` was edited.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from threading import Event

from runner.api import Api, Remote
from runner.body import custom_id, row_of
from runner.errors import RunnerError, Unavailable, UsageError
from runner.lifecycle.check import check
from runner.lifecycle.execute import connected
from runner.lifecycle.job import Report, plural, silent
from runner.lifecycle.layout import lay_out
from runner.lifecycle.prepare import prepare
from runner.lifecycle.reconcile import custom_ids
from runner.lifecycle.record import origin, record
from runner.outcome import read
from runner.spec.spec import Spec
from runner.store.ids import began_at, tag, tag_of
from runner.store.records import Found, Run
from runner.store.state import Store, open_store

_KEPT_SECONDS = 29 * 86_400
_OURS = re.compile(r"([0-9a-z]{13})-(\d{1,4})-(\d{1,9})-(\d{1,18})")


def recover(
    spec: Spec,
    *,
    limit: int | None = None,
    run_id: str | None = None,
    stop: Event | None = None,
    say: Callable[[str], None] = lambda _: None,
    report: Report = silent,
) -> Run:
    """Rebuild the state of the newest run of a spec, or of `run_id`, from the batches of the last 29 days.

    Nothing is sent; `lifecycle.run` resumes the run. `say` is called with messages for the user. Raises UsageError
    if there is no such run, if its state is not lost, or if the spec or the input has changed. Raises Unavailable
    if unfinished batches must end first.
    """
    templates = check(spec).templates
    own_tag = tag(origin(spec, record(spec, templates, limit)))
    with open_store(spec.root / ".runner") as store, connected(store.path, simulate=False) as api:
        remotes = list(api.newest(until=api.now - _KEPT_SECONDS))
        found = _scan(api, remotes, own_tag)
        chosen = run_id or max(found, default=None)
        if chosen is None or chosen not in found:
            raise UsageError(
                f"no batch of the last 29 days belongs to {run_id or spec.name} in its current form: the spec, "
                "input, templates, vars and --limit must be the same as when the run was started"
            )
        for run in store.runs():
            if run.state == "preparing":
                store.discard(run)
        if any(run.id == chosen for run in store.runs()):
            raise UsageError(f"the state of run {chosen} is not lost: use `runner run` to resume it")
        newer = sum(
            remote.processing_status != "ended" and remote.created_at > began_at(chosen) for remote in remotes
        )
        if newer:
            say(
                f"found {plural(newer, 'unfinished batch')} in the workspace, created after run {chosen} began: "
                "if a newer run of this spec is lost, recover again after they have ended"
            )
        stop = stop or Event()
        run = prepare(spec, templates, store, limit=limit, stop=stop, report=report, run_id=chosen).run
        try:
            if not _is_as_prepared(store, run, found[chosen]):
                if newer:
                    raise Unavailable(_TOO_EARLY)
                sent = {one.batch: list(_rows(api, run, one)) for one in found[chosen] if one.round == 1}
                lay_out(spec, store, run, sent, now=api.now)
        except RunnerError:
            store.discard(run)
            raise
        with store.transaction():
            store.note_found(run, found[chosen])
            return store.update(run, state="running", created_at=began_at(run.id), recovered_at=api.now)


def _scan(api: Api, remotes: list[Remote], own_tag: str) -> dict[str, list[Found]]:
    """Return the batches of all runs with this tag, by run id.

    Raises Unavailable if none is found and unfinished batches could belong to such a run.
    """
    found: dict[str, list[Found]] = {}
    for run_id, one in found_in(api, remotes):
        if tag_of(run_id) == own_tag:
            found.setdefault(run_id, []).append(one)
    waiting = sum(remote.processing_status != "ended" for remote in remotes)
    if not found and waiting:
        raise Unavailable(
            f"no batch of this spec found yet; {plural(waiting, 'unfinished batch')} in the workspace may belong "
            "to it: recover again after they have ended"
        )
    return found


def found_in(api: Api, remotes: Iterable[Remote]) -> Iterator[tuple[str, Found]]:
    """Yield the run id and the batch of each ended remote batch that belongs to a run of this program."""
    for remote in list(remotes):
        if remote.processing_status != "ended" or remote.archived_at is not None:
            continue
        match = next(filter(None, map(_OURS.fullmatch, custom_ids(api, remote))), None)
        if match is not None:
            run_id, round, batch, _ = match.groups()
            yield run_id, Found(remote.id, int(round), int(batch), remote.requests, remote.created_at)


_TOO_EARLY = (
    "the batches of this run differ from those that the current spec makes, and unfinished batches cannot be "
    "read yet: recover again after they have ended"
)


def _rows(api: Api, run: Run, one: Found) -> Iterator[int]:
    """Yield the rows that a remote batch contains."""
    prefix = custom_id(run.id, one.round, one.batch, 0)[:-1]
    rest = b""
    for block in api.results(one.batch_id):
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            with suppress(ValueError):
                row = row_of(read(line).custom_id, prefix=prefix)
                if row is not None:
                    yield row


def _is_as_prepared(store: Store, run: Run, found: list[Found]) -> bool:
    """Return whether the first round, prepared again, has the batches that were sent."""
    prepared = {batch.batch: batch.requests for batch in store.batches(run)}
    return all(prepared.get(one.batch) == one.requests for one in found if one.round == 1)
