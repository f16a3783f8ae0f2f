"""Check the keys of a project, and compare the batches that they lead to with the state."""

from collections.abc import Iterator

from runner.api.accounts import ANY, Accounts, describe_missing_account
from runner.api.client import Api
from runner.api.remote_batch import RETENTION_SECONDS
from runner.errors import AccessError, UsageError
from runner.lifecycle.follow.remote_batches import check_workspace, identify_batches
from runner.runs.context import batch_label
from runner.runs.project import find_accounts, find_state_root, open_accounts
from runner.runs.snapshot import read_endpoint
from runner.spec.endpoint import Endpoint
from runner.store.accounts import AccountSettings, find_unset_keys, read_keys
from runner.store.records import Batch, Run
from runner.store.run_batches import IN_FLIGHT
from runner.store.store import Store
from runner.text import pluralize


def check_keys(store: Store, runs: list[Run]) -> Iterator[str]:
    """Yield why the next run could not use the accounts in the settings, without a call."""
    settings = find_accounts(find_state_root(store.path), Endpoint())
    if settings is not None:
        yield from _find_bad_keys(settings)
    names = set() if settings is None else settings.variables.keys()
    for run in runs:
        for account, batches in _group_by_account(store, run).items():
            gone = [] if account is None else [name for name in account.split(ANY) if name not in names]
            yield from (f"run {run.id}: {describe_missing_account(name, batches[0])}" for name in gone)


def _find_bad_keys(settings: AccountSettings) -> Iterator[str]:
    unset = list(find_unset_keys(settings))
    yield from unset
    try:
        if not unset:
            read_keys(settings)
    except UsageError as error:
        yield str(error)


def _group_by_account(store: Store, run: Run) -> dict[str | None, list[Batch]]:
    """Return the batches that the next run needs to find, by their accounts."""
    groups: dict[str | None, list[Batch]] = {}
    for batch in store.batches(run) if run.state == "running" else ():
        if batch.state in IN_FLIGHT and batch.send_mode == "batch":
            groups.setdefault(batch.account, []).append(batch)
    return groups


def check_platforms(store: Store, runs: list[Run]) -> Iterator[str]:
    """Yield what is wrong with the batches on each platform that has runs, by default that of Anthropic itself."""
    used: dict[Endpoint, list[Run]] = {}
    for run in runs:
        if run.state != "preparing":
            used.setdefault(read_endpoint(store, run), []).append(run)
    found: dict[str, None] = {}
    for endpoint, own in (used or {Endpoint(): []}).items():
        # Two of them, or two accounts, can lead to the same workspace.
        found |= dict.fromkeys(_check_platform(store, endpoint, own))
    yield from found


def _check_platform(store: Store, endpoint: Endpoint, runs: list[Run]) -> Iterator[str]:
    try:
        with open_accounts(store.path, endpoint, simulate=False) as accounts:
            yield from _check_each_account(store, accounts, runs)
    except (AccessError, UsageError) as error:
        if find_accounts(find_state_root(store.path), endpoint) is None:
            raise
        yield str(error)


def _check_each_account(store: Store, accounts: Accounts, runs: list[Run]) -> Iterator[str]:
    """Yield what is wrong in each account. One that is refused is a finding, unless it is the only one."""
    refused: set[str | None] = set()
    for name, api in accounts:
        try:
            yield from _find_untracked_batches(store, api)
        except AccessError as error:
            if not accounts.are_named:
                raise
            refused.add(name)
            yield str(error)
    for run in runs:
        for account, batches in _group_by_account(store, run).items():
            # One that is not in the settings is found without a call.
            if account is None or set(account.split(ANY)) <= set(accounts.names):
                yield from (f"run {run.id}: {line}" for line in _find_other_workspace(accounts, batches, refused))


def _find_other_workspace(accounts: Accounts, batches: list[Batch], refused: set[str | None]) -> Iterator[str]:
    """Yield why the batches of an account cannot be found with its key."""
    try:
        for name, api in accounts.search(batches[0]):
            if name not in refused:
                check_workspace(batches, api)
    except AccessError as error:
        yield str(error)


def _find_untracked_batches(store: Store, api: Api) -> Iterator[str]:
    """Yield batches of our runs in the workspace that the state does not have: paid for, but not used."""
    known = {run.id: {(one.round, one.batch): one for one in store.batches(run)} for run in store.runs()}
    for run_id, found in identify_batches(api, api.list_batches(created_after=api.now - RETENTION_SECONDS)):
        ours = known.get(run_id, {}).get((found.round, found.batch))
        if ours is not None and ours.state == "prepared":
            yield (
                f"run {run_id}: {found.batch_id} was sent as {batch_label(ours)}, but the state does not know it: "
                "an older state was restored. The next run takes its results, and does not send it again"
            )
            continue
        if run_id not in known or (ours is not None and ours.batch_id in (found.batch_id, None)):
            continue
        cost = "paid for, but not used" if ours is None else "paid twice"
        which = f"batch {found.batch} of round {found.round}"
        yield f"run {run_id}: {found.batch_id} was sent as {which}: {pluralize(found.requests, 'request')} {cost}"
