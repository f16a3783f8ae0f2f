"""The accounts of a project: the names of several organizations, and of the variables that hold their API keys.

They are settings of a place, not of a job: `[accounts]` in `runner.toml`, or `RUNNER_ACCOUNTS`.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from runner.errors import AccessError, UsageError
from runner.store.settings import ACCOUNTS, parse_accounts, read_settings

DEFAULT_VARIABLE = "ANTHROPIC_API_KEY"


@dataclass(frozen=True, slots=True)
class AccountSettings:
    """The variable of each account by its name, in their order, and where they are set."""

    variables: Mapping[str, str]
    origin: str

    @property
    def default(self) -> str | None:
        """The account whose key is also used without accounts, if there is one."""
        return next((name for name, variable in self.variables.items() if variable == DEFAULT_VARIABLE), None)


def read_accounts(root: Path) -> AccountSettings | None:
    """Return the accounts of a project folder; None without any. Raises UsageError for mistakes in them."""
    setting = read_settings(root).get(ACCOUNTS)
    return None if setting is None else AccountSettings(parse_accounts(*setting), setting.origin)


def find_unset_keys(accounts: AccountSettings) -> Iterator[str]:
    """Yield a message for each account whose variable is not set."""
    for name, variable in accounts.variables.items():
        if not os.environ.get(variable):
            yield (
                f"{variable} is not set, which holds the key of the account {name!r} ({accounts.origin}): set it, "
                "or write it into .env beside the spec"
            )


def read_keys(accounts: AccountSettings) -> dict[str, str]:
    """Return the key of each account by its name. Raises AccessError for one that is not set, and UsageError."""
    for unset in find_unset_keys(accounts):
        raise AccessError(unset)
    keys: dict[str, str] = {}
    for name, variable in accounts.variables.items():
        key = os.environ[variable]
        if key in keys.values():
            other = next(one for one, known in keys.items() if known == key)
            raise UsageError(
                f"{accounts.origin}: {other!r} and {name!r} have the same key, and would share one queue: name one"
            )
        keys[name] = key
    return keys
