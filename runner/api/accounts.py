"""The clients of the accounts that the batches of a run are spread over."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from threading import Event

from runner.api.client import Api
from runner.errors import AccessError
from runner.store.records import Batch

ANY = ","
"""Stands between the accounts of a batch that may be in each of them."""


def describe_missing_account(name: str | None, batch: Batch) -> str:
    """Return the message about a batch whose account is not in the settings."""
    return (
        f"{batch.label} was sent with the account {name!r}, which is not in the settings: add {name} = "
        '"VARIABLE", with the variable that holds its key, below [accounts] in runner.toml or in '
        "RUNNER_ACCOUNTS; an account that was renamed must get this name back"
    )


class Accounts:
    """One client for each account by its name, in the order of the settings; without accounts, one without a name.

    A batch from before there were accounts has none: it is in the account `default`, whose key was used then, or
    else the client for it is opened by `open_default`. `first` is for what only one account can do.
    """

    def __init__(
        self, clients: Mapping[str | None, Api], open_default: Callable[[], Api], default: str | None = None
    ) -> None:
        self._clients, self._open_default, self.default = dict(clients), open_default, default
        self.names = tuple(self._clients)
        self.first = self._clients[self.names[0]]
        for api in self._clients.values():
            self._share(api)

    def _share(self, api: Api) -> None:
        """Let a client have the clock of the first one, and stop with it."""
        api.clock, api.stop = self.first.clock, self.first.stop

    def stop_at(self, stop: Event) -> None:
        """End all calls early once `stop` is set."""
        self.first.stop = stop
        for api in self._clients.values():
            self._share(api)

    @property
    def are_named(self) -> bool:
        """True if there are accounts in the settings."""
        return None not in self.names

    @property
    def are_several(self) -> bool:
        """True if there is more than one account."""
        return len(self.names) > 1

    @property
    def any_name(self) -> str | None:
        """The account of a batch that may be in each of them."""
        return ANY.join(name for name in self.names if name is not None) or None

    def __iter__(self) -> Iterator[tuple[str | None, Api]]:
        """Yield the accounts that can send, with their clients."""
        return ((name, self._clients[name]) for name in self.names)

    def find_reader(self) -> Api:
        """Return the first client that the API does not refuse, to ask what all accounts are told."""
        *others, last = self._clients.values()
        for api in others:
            with suppress(AccessError):
                api.fetch_workspace_info()
                return api
        return last

    def of(self, batch: Batch) -> Api:
        """Return the client of the account that a batch is in. Raises AccessError without one in the settings."""
        [(_, api)] = self.search(batch)
        return api

    def search(self, batch: Batch) -> list[tuple[str | None, Api]]:
        """Return each account that a batch can be in, with its client. Raises AccessError for one without any."""
        names = [self.default] if batch.account is None else batch.account.split(ANY)
        return [(name, self._find(name, batch)) for name in names]

    def _find(self, name: str | None, batch: Batch) -> Api:
        if name is None and name not in self._clients:
            self._clients[name] = self._connect_default(batch)
        if name not in self._clients:
            raise AccessError(f"{describe_missing_account(name, batch)}. Nothing was sent again")
        return self._clients[name]

    def _connect_default(self, batch: Batch) -> Api:
        try:
            api = self._open_default()
        except AccessError as error:
            raise AccessError(
                f"{batch.label} was sent before there were accounts, with another key: {error}"
            ) from error
        self._share(api)
        return api
