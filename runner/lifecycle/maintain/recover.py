"""Rebuild the lost state of a run from its spec, its input and the batches that the API has.

The custom_id of a request identifies its run, round, batch and row. The id of a run identifies its spec and input.
So the first round is prepared again under the old id and counts as sent. Batches that were found are bound to it;
the others are searched for.

The batches found can differ from the prepared ones, and then the round is rebuilt from the batches found. This
happens if a batch was split after a rejection, rows reused results of an earlier run, or `batch` was edited.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from itertools import chain
from threading import Event
from typing import NamedTuple

from runner.api.accounts import Accounts
from runner.api.client import Api
from runner.api.remote_batch import RETENTION_SECONDS, RemoteBatch
from runner.errors import ResultsIncomplete, RunnerError, Unavailable, UsageError
from runner.lifecycle.follow.remote_batches import identify_batches
from runner.lifecycle.maintain.rebuild_round import rebuild_first_round
from runner.lifecycle.prepare.prepare import prepare_first_round
from runner.lifecycle.send.recovered import find_unconfirmed_batches
from runner.lifecycle.validate.checks import validate_spec
from runner.pricing.rates import rate_for_spec
from runner.requests.custom_id import custom_id_prefix, parse_row_number
from runner.results.outcome import parse_result
from runner.runs.events import ProgressCallback, ignore_progress
from runner.runs.find import match_run_id
from runner.runs.project import find_state, open_accounts
from runner.runs.snapshot import origin_digest, take_snapshot
from runner.spec.spec import Spec
from runner.store.open_store import open_store
from runner.store.records import RecoveredBatch, Run
from runner.store.run_ids import origin_tag, parse_created_at, parse_tag
from runner.store.store import Store
from runner.text import pluralize

_MAX_SHOWN = 10


class _FoundBatches(NamedTuple):
    """Remote batches of runs that the state does not have, by run id.

    `own` are those of the spec as it is now, `others` those of other specs, or of earlier forms of this one.
    """

    own: dict[str, list[RecoveredBatch]]
    others: dict[str, list[RecoveredBatch]]

    def list_others(self) -> str:
        """Return a line for each other run, newest first: its id, when it was sent, and its requests."""
        lines = []
        for run_id, batches in sorted(self.others.items(), reverse=True):
            sent_at = datetime.fromtimestamp(min(one.created_at for one in batches), UTC)
            requests = pluralize(sum(one.requests for one in batches), "request")
            lines.append(f"  {run_id} of {sent_at:%Y-%m-%d %H:%M UTC}: {requests}")
        left = len(lines) - _MAX_SHOWN
        return "\n".join([*lines[:_MAX_SHOWN], *([f"  and {left:,} older"] if left > 0 else [])])


def _choose_run(spec: Spec, store: Store, found: _FoundBatches, run_id: str | None) -> str:
    """Return the id of the run to recover, by its beginning or by default the newest one. Raises UsageError."""
    newest_first = sorted(found.own, reverse=True)
    chosen = match_run_id(run_id, {one: one for one in newest_first}) if run_id else next(iter(newest_first), None)
    if chosen is None or chosen not in found.own:
        raise UsageError(_describe_nothing_found(spec, store, found, run_id))
    for run in store.runs():
        if run.state == "preparing":
            store.delete_run(run)
    if any(run.id == chosen for run in store.runs()):
        raise UsageError(
            f"run {chosen} needs no recovery, as its state is not lost: `runner run {spec.path}` goes on with it"
        )
    if (project := store.find_other_project(chosen)) is not None:
        raise UsageError(
            f"run {chosen} is not lost: it is in project {project!r} of this database. Name that project with "
            "--project, RUNNER_PROJECT or `project` in runner.toml"
        )
    return chosen


_OTHER_RUNS_MESSAGE = (
    "These runs are of other specs, or of earlier forms of this one. Put the spec, input, templates, vars and "
    "--limit back as they were, and `runner recover` finds such a run"
)


def _describe_nothing_found(spec: Spec, store: Store, found: _FoundBatches, run_id: str | None) -> str:
    """Return that no batch belongs to a spec, and what the workspace holds instead."""
    lines = [f"no batch of the last 29 days belongs to {run_id or spec.name} in its current form"]
    if run_id is None:
        lines[0] += ": it has changed since, or its newest run sent nothing, because all answers were reused"
    if found.others:
        lines += [f"{_OTHER_RUNS_MESSAGE}:", found.list_others()]
    if next(iter(store.runs(spec.name)), None) is None:
        lines.append(f"`runner run {spec.path}` would send all rows, and pay for them")
    return "\n".join(lines)


def _count_newer(remotes: list[RemoteBatch], run_id: str) -> int:
    """Count the unfinished remote batches that were created after a run began."""
    began = parse_created_at(run_id)
    return sum(remote.processing_status != "ended" and remote.created_at > began for remote in remotes)


def _rebuild(
    spec: Spec, store: Store, remotes: "_Remotes", run: Run, found: list[RecoveredBatch], *, has_newer: bool
) -> None:
    """Make the first round that of the batches that were sent. Raises Unavailable if they must end first."""
    sent = {one.batch: list(_read_rows(remotes.apis[one.batch_id], run, one)) for one in found if one.round == 1}
    if _matches_prepared(store, run, found, sent):
        return
    if has_newer:
        raise Unavailable(_TOO_EARLY_MESSAGE)
    for one in found:
        if one.round == 1 and (missing := one.requests - len(set(sent[one.batch]))) > 0:
            # A row whose result is missing would count as never sent, and be paid again.
            raise ResultsIncomplete(
                f"{missing:,} of {pluralize(one.requests, 'result')} of {one.batch_id} missing from the download: "
                "recover again later"
            )
    rebuild_first_round(spec, store, run, sent, now=remotes.now)


class _Remotes(NamedTuple):
    """The remote batches of the last 29 days in all accounts, the client for each by its id, and the time."""

    batches: list[RemoteBatch]
    apis: dict[str, Api]
    now: float


def _list_remotes(accounts: Accounts) -> _Remotes:
    now, remotes, apis = accounts.first.now, list[RemoteBatch](), dict[str, Api]()
    for _, api in accounts:
        # Two accounts can have the same workspace.
        new = [one for one in api.list_batches(created_after=now - RETENTION_SECONDS) if one.id not in apis]
        apis |= dict.fromkeys((one.id for one in new), api)
        remotes += new
    return _Remotes(remotes, apis, now)


def _find_batches(remotes: _Remotes, store: Store, own_tag: str) -> _FoundBatches:
    """Return the batches of runs with this tag, and of those that are not known.

    Raises Unavailable if none has the tag, and unfinished batches could belong to such a run.
    """
    found, known = _FoundBatches({}, {}), {run.id for run in store.runs()}
    identified = (identify_batches(remotes.apis[remote.id], [remote]) for remote in remotes.batches)
    for run_id, one in chain.from_iterable(identified):
        if parse_tag(run_id) == own_tag:
            found.own.setdefault(run_id, []).append(one)
        elif run_id not in known:
            found.others.setdefault(run_id, []).append(one)
    waiting = sum(remote.processing_status != "ended" for remote in remotes.batches)
    if not found.own and waiting:
        raise Unavailable(
            f"no batch of this spec found yet; {pluralize(waiting, 'unfinished batch')} in the "
            "workspace may belong to it: recover again after they have ended"
        )
    return found


_TOO_EARLY_MESSAGE = (
    "the batches of this run differ from those that the current spec makes, and unfinished batches cannot be "
    "read yet: recover again after they have ended"
)


_OTHER_ANSWERS_MESSAGE = (
    "rows of this run that are in no batch may have their answers in these runs, of other specs or of earlier "
    "forms of this one; the guide to specs says how to recover those first, and pay for nothing again"
)


def _read_rows(api: Api, run: Run, one: RecoveredBatch) -> Iterator[int]:
    """Yield the rows that a remote batch contains."""
    prefix = custom_id_prefix(run.id, one.round, one.batch)
    rest = b""
    for block in api.stream_results(one.batch_id):
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            with suppress(ValueError):
                row = parse_row_number(parse_result(line).custom_id, prefix=prefix)
                if row is not None:
                    yield row


def _matches_prepared(store: Store, run: Run, found: list[RecoveredBatch], sent: Mapping[int, list[int]]) -> bool:
    """Return whether the first round, prepared again, has the batches that were sent, with their rows.

    Counts are not enough: if rows reused results of an earlier run, batches of others can have the same ones.
    """
    prepared = {batch.batch: batch for batch in store.batches(run)}
    for one in found:
        if one.round != 1:
            continue
        batch = prepared.get(one.batch)
        if batch is None or batch.requests != one.requests:
            return False
        if not set(sent[one.batch]) <= set(store.row_index.rows_of(batch)):
            return False
    return True


def _count_lost_answers(spec: Spec, store: Store, run: Run, rows: set[int]) -> None:
    """Count the canary of a recovered run as paid before: its answers are lost, and its rows are sent again."""
    for batch in store.batches(run):
        sizes = dict(zip(store.row_index.rows_of(batch), store.row_index.request_sizes_of(batch), strict=True))
        lost = [size for row, size in sizes.items() if row in rows]
        if lost:
            rate = rate_for_spec(spec)
            cost = 0.0 if rate is None else rate.cost_upper_bound(lost, is_batched=False)
            store.transition(batch, batch.state, doubted_cost=cost)


def recover_run(
    spec: Spec,
    *,
    limit: int | None = None,
    run_id: str | None = None,
    stop: Event | None = None,
    warn: Callable[[str], None] = lambda _: None,
    report: ProgressCallback = ignore_progress,
) -> Run:
    """Rebuild the state of the newest run of a spec from the batches of the last 29 days.

    `run_id` is the id of another run, or the beginning of it.
    Nothing is sent; `lifecycle.run` resumes the run. `warn` is called with messages for the user. Raises
    UsageError if there is no such run, if its state is not lost, or if the spec or the input has changed.
    Raises Unavailable if unfinished batches must end first, or if results of a batch are missing.
    """
    templates, stop = validate_spec(spec).templates, stop or Event()
    own_tag = origin_tag(origin_digest(spec, take_snapshot(spec, templates, limit)))
    place = find_state(spec.root)
    with open_store(place) as store, open_accounts(place.folder, spec.api, simulate=False) as accounts:
        store.hold(spec.name)
        accounts.stop_at(stop)
        remotes = _list_remotes(accounts)
        found = _find_batches(remotes, store, own_tag)
        chosen = _choose_run(spec, store, found, run_id)
        if newer := _count_newer(remotes.batches, chosen):
            warn(
                f"found {pluralize(newer, 'unfinished batch')} in the workspace, created after run {chosen} "
                "began, which may hold rows of it: if a newer run of this spec is lost, recover again after they "
                "have ended"
            )
        run = prepare_first_round(spec, templates, store, limit=limit, stop=stop, report=report, run_id=chosen).run
        canary = [batch for batch in store.batches(run) if batch.send_mode == "canary"]
        lost = {row for batch in canary for row in store.row_index.rows_of(batch)}
        try:
            _rebuild(spec, store, remotes, run, found.own[chosen], has_newer=newer > 0)
        except RunnerError:
            store.delete_run(run)
            raise
        with store.transaction():
            _count_lost_answers(spec, store, run, lost)
            store.remote_index.add_recovered_batches(run, found.own[chosen])
            created_at = parse_created_at(run.id)
            run = store.update_run(run, state="running", created_at=created_at, recovered_at=accounts.first.now)
        if found.others and find_unconfirmed_batches(store, run):
            warn(f"{_OTHER_ANSWERS_MESSAGE}:\n{found.list_others()}")
        return run
