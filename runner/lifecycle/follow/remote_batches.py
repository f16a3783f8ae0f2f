"""The remote batches of a workspace, and which of them are ours.

A batch has no label: the custom_ids of its results say which run it belongs to.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import closing

from runner.api.accounts import Accounts
from runner.api.client import Api, WorkspaceInfo
from runner.api.remote_batch import RemoteBatch
from runner.errors import AccessError, NotFound
from runner.results.outcome import parse_result
from runner.runs.context import batch_label
from runner.store.records import Batch, RecoveredBatch

# On the API's clock. Wide, because a listing that is slightly out of date must not hide our batch.
CLOCK_MARGIN_SECONDS = 300


def check_workspace(batches: Iterable[Batch], api: Api, info: WorkspaceInfo | None = None) -> None:
    """Raise AccessError if batches were sent to another base URL or workspace.

    This client would never find them. Its workspace is that of `info`, or else it is asked for.
    """
    sent = [batch for batch in batches if batch.base_url is not None]
    if not sent:
        return
    workspace_id = (info or api.fetch_workspace_info()).workspace_id
    for batch in sent:
        if batch.base_url != api.base_url:
            raise AccessError(
                f"{batch_label(batch)} was sent to {batch.base_url}, but the base URL is now {api.base_url}: "
                "set it back"
            )
        if workspace_id and batch.workspace_id and batch.workspace_id != workspace_id:
            raise AccessError(_describe_other_workspace(batch, workspace_id, api))


def _describe_other_workspace(batch: Batch, workspace_id: str, api: Api) -> str:
    where = f"{batch_label(batch)} is in workspace {batch.workspace_id}"
    if api.key is None:
        return f"{where}, but the credentials belong to {workspace_id}: use those of {batch.workspace_id}"
    account, variable = api.key
    return (
        f"account {account}: {where}, but the key in {variable} belongs to {workspace_id}: set {variable} to a "
        f"key of {batch.workspace_id}"
    )


def check_workspaces(batches: Iterable[Batch], accounts: Accounts) -> None:
    """Raise AccessError if batches were sent to another base URL or workspace than their accounts have now."""
    groups: dict[str | None, list[Batch]] = {}
    for batch in batches:
        if batch.base_url is not None:
            groups.setdefault(batch.account, []).append(batch)
    for group in groups.values():
        for _, api in accounts.search(group[0]):
            check_workspace(group, api)


# Someone else's results can begin with a line of any length; an id stands at the front of it.
_MAX_HEAD_BYTES = 1 << 22
_FIRST_ID = re.compile(rb'\s*\{\s*"custom_id"\s*:\s*"([a-zA-Z0-9_-]{1,64})"')


def read_custom_ids(api: Api, remote: RemoteBatch) -> list[str]:
    """Return the custom_ids of the first results of an ended batch; empty if none can be read."""
    head = bytearray()
    try:
        with closing(api.stream_results(remote.id)) as blocks:
            for block in blocks:
                head += block
                if b"\n" in block or len(head) > _MAX_HEAD_BYTES:
                    break
    except NotFound:
        return []
    *lines, rest = bytes(head).split(b"\n")
    if not lines:
        match = _FIRST_ID.match(rest)
        return [match[1].decode()] if match is not None and len(rest) > _MAX_HEAD_BYTES else []
    found = []
    for line in lines:
        try:
            found.append(parse_result(line).custom_id)
        except ValueError:
            continue
    return found


_CUSTOM_ID = re.compile(r"([0-9a-z]{13})-(\d{1,4})-(\d{1,9})-(\d{1,18})")


def identify_batches(api: Api, remotes: Iterable[RemoteBatch]) -> Iterator[tuple[str, RecoveredBatch]]:
    """Yield the run id and the batch of each ended remote batch that belongs to a run of this program."""
    for remote in list(remotes):
        if remote.processing_status != "ended" or remote.archived_at is not None:
            continue
        match = next(filter(None, map(_CUSTOM_ID.fullmatch, read_custom_ids(api, remote))), None)
        if match is not None:
            run_id, round, batch, _ = match.groups()
            yield run_id, RecoveredBatch(remote.id, int(round), int(batch), remote.requests, remote.created_at)
