"""The accounts of a project: the names of several organizations, and of the variables that hold their API keys.

They are settings of a place, not of a job: `[accounts]` in `runner.toml`, or `RUNNER_ACCOUNTS`. No message shows
what cannot be a name, since it may be a key.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from runner.errors import UsageError
from runner.store.place import ACCOUNTS, read_settings

_NAME, _VARIABLE = re.compile(r"(?!sk-)[A-Za-z][A-Za-z0-9_.-]{0,39}"), re.compile(r"[A-Z_][A-Z0-9_]*")


@dataclass(frozen=True, slots=True)
class AccountSettings:
    """The variable of each account by its name, in their order, and where they are set."""

    variables: Mapping[str, str]
    origin: str


def read_accounts(root: Path) -> AccountSettings | None:
    """Return the accounts of a project folder, or None if there are none. Raises UsageError."""
    setting = read_settings(root).get(ACCOUNTS)
    return None if setting is None else AccountSettings(parse_accounts(*setting), setting.origin)


def parse_accounts(text: str, origin: str) -> dict[str, str]:
    """Return the variable of each account in a text like `main=KEY,second=OTHER_KEY`. Raises UsageError."""
    found: dict[str, str] = {}
    for number, part in enumerate(text.split(","), 1):
        name, _, variable = (one.strip() for one in part.partition("="))
        if not _NAME.fullmatch(name) or not _VARIABLE.fullmatch(variable):
            raise UsageError(
                f"{origin}: account {number} must be a name of letters, digits, _, - and ., and the name of an "
                "environment variable in capitals that holds its key, such as SECOND_API_KEY; never the key itself"
            )
        if name in found:
            raise UsageError(f"{origin}: there are two accounts {name!r}")
        if variable in found.values():
            raise UsageError(f"{origin}: two accounts have the key in {variable}: they would share one queue")
        found[name] = variable
    return found
