"""The settings of a project: those of a machine or a team, not of a job.

Each comes from an environment variable, or else from `runner.toml` in the project folder. The options of commands
set the environment variables. Each setting knows where it is written, so that messages can say it.
"""

import os
import re
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

from runner.errors import UsageError
from runner.spec.spec_files import SETTINGS_FILE

ACCOUNTS = "accounts"
SETTINGS = ("state", "files", "project", "jobs", ACCOUNTS)
"""The settings in `runner.toml`. The environment variable of each is its name in capitals, after `RUNNER_`."""

JOBS_RULE = "must be a number from 1 to 999, auto or dask://HOST:PORT"

_NAME, _VARIABLE = re.compile(r"(?!sk-)[A-Za-z][A-Za-z0-9_.-]{0,39}"), re.compile(r"[A-Z_][A-Z0-9_]*")
_PASSWORD = re.compile(r"://[^/?@:]*:[^/?@]+@|[?&](ssl)?password=", re.IGNORECASE)
_PLACE_OF_ERROR = re.compile(r" \(at line (\d+), column (\d+)\)$")
_OPTIONS: dict[str, str] = {}
"""The values that options of this command have given to variables."""


class Setting(NamedTuple):
    """The value of a setting, and where it is written: a variable, an option, or a line of a file."""

    value: str
    origin: str


class _SettingsFile(NamedTuple):
    """The path and the text of a file with settings, to find the line of a key."""

    path: Path
    text: str

    def locate(self, key: str, table: str = "") -> str:
        """Return the path with the line of a key, or with that of its table if only this is found."""
        start = 0
        if table:
            header = re.search(rf"^\s*\[\s*{table}\s*\]", self.text, re.MULTILINE)
            start = 0 if header is None else header.end()
        found = re.compile(rf"""^[ \t]*\[*[ \t]*["']?{re.escape(key)}["']?[ \t]*[=.\]]""", re.MULTILINE).search(
            self.text, start
        )
        if found is None:
            return self.locate(table) if table else str(self.path)
        return f"{self.path}:{self.text.count(chr(10), 0, found.start()) + 1}"


def variable_of(name: str) -> str:
    """Return the environment variable of a setting."""
    return f"RUNNER_{name.upper()}"


def give_setting(name: str, value: str) -> None:
    """Set the environment variable of a setting to the value of its option."""
    os.environ[variable_of(name)] = _OPTIONS[name] = value


def read_settings(root: Path) -> dict[str, Setting]:
    """Return the settings of a project folder, by name.

    Raises UsageError for mistakes in `runner.toml`, and for one in a folder above that does not count.
    """
    path = root / SETTINGS_FILE
    found = _read_file(path) if path.exists() else {}
    if not path.exists():
        _check_none_above(root)
    for name in SETTINGS:
        if value := os.environ.get(variable_of(name)):
            # A test, or a program that calls commands, may have set the variable since.
            is_option = _OPTIONS.get(name) == value
            found[name] = Setting(value, f"--{name}" if is_option else variable_of(name))
    return found


def _check_none_above(root: Path) -> None:
    """Raise UsageError if a folder above in the same repository has settings: somebody relies on them."""
    for folder in (root, *root.parents):
        if (folder / SETTINGS_FILE).is_file():
            raise UsageError(
                f"{folder / SETTINGS_FILE} does not count: the project folder is {root}, which is nearer, with "
                f'`prompts/` or `.runner/`. Move the file there, or write one there with state = "local"'
            )
        if (folder / ".git").exists():
            return


def _read_file(path: Path) -> dict[str, Setting]:
    try:
        # Editors of Windows may write a byte order mark.
        text = path.read_text("utf-8-sig")
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = _PLACE_OF_ERROR.search(str(error))
        where = "" if place is None else f":{place[1]}:{place[2]}"
        raise UsageError(f"{path}{where}: {_PLACE_OF_ERROR.sub('', str(error))}") from error
    except (UnicodeDecodeError, OSError) as error:
        raise UsageError(f"{path}: {error}") from error
    file = _SettingsFile(path, text)
    return {name: Setting(_check_setting(file, name, value), _origin(file, name)) for name, value in found.items()}


def _origin(file: _SettingsFile, name: str) -> str:
    return f"{file.locate(name)}: {name}"


def _check_setting(file: _SettingsFile, name: str, value: Any) -> str:
    """Return the value of a setting as its environment variable has it. Raises UsageError."""
    origin = _origin(file, name)
    if name not in SETTINGS:
        raise UsageError(f"{file.locate(name)}: there is no setting {name!r}; {_suggest(name)}")
    if name == ACCOUNTS:
        return _join_accounts(file, value)
    if name == "jobs" and isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if value == "":
        raise UsageError(f"{origin} is empty: write a value, or delete the line")
    if not isinstance(value, str):
        raise UsageError(f"{origin} {JOBS_RULE if name == 'jobs' else 'must be text in quotes'}")
    if has_password(value):
        raise UsageError(
            f"{origin} contains a password; put it into the file that PGPASSFILE names, or set "
            f"{variable_of(name)} in the environment"
        )
    if name == "jobs":
        read_jobs(Setting(value, origin))
    return value


def _suggest(name: str) -> str:
    # Imported only for a mistake: most commands that read settings check no spec.
    from runner.spec.schema_errors import suggest_similar

    return suggest_similar(name.lower(), SETTINGS)


def _join_accounts(file: _SettingsFile, value: Any) -> str:
    """Return a table of accounts as their environment variable has them."""
    origin = _origin(file, ACCOUNTS)
    if not isinstance(value, dict) or not value:
        raise UsageError(f"{origin} must be a table with a name and the name of a variable for each account")
    for name, variable in value.items():
        where = file.locate(name, ACCOUNTS)
        # A file of TOML goes on with a table until the next one begins.
        if name in SETTINGS:
            raise UsageError(f"{where}: {name} stands below [{ACCOUNTS}]: move it above")
        if not isinstance(variable, str):
            raise UsageError(
                f"{where}: each account must be the name of a variable in quotes, such as SECOND_API_KEY"
            )
    joined = ",".join(f"{name}={variable}" for name, variable in value.items())
    parse_accounts(joined, origin)
    return joined


def has_password(url: str) -> bool:
    """Return whether a URL contains a password."""
    return _PASSWORD.search(url) is not None


def parse_jobs(written: str) -> int | str | None:
    """Return the number of processes that is meant, `auto`, or the URL of a cluster; None for a mistake."""
    if re.fullmatch(r"auto|dask://[^/@\s]+:[0-9]{1,5}", written):
        return written
    return int(written) if re.fullmatch(r"[1-9][0-9]{0,2}", written) else None


def read_jobs(setting: Setting) -> int | str:
    """Return what the setting `jobs` says. Raises UsageError for a mistake."""
    if (jobs := parse_jobs(setting.value)) is None:
        raise UsageError(f"{setting.origin} is {setting.value!r}: it {JOBS_RULE}")
    return jobs


def parse_accounts(text: str, origin: str) -> dict[str, str]:
    """Return the variable of each account in a text like `main=KEY,second=OTHER_KEY`. Raises UsageError.

    The message does not show what cannot be a name, since it may be a key.
    """
    found: dict[str, str] = {}
    for number, part in enumerate(text.split(","), 1):
        name, _, variable = (one.strip() for one in part.partition("="))
        if not _NAME.fullmatch(name) or not _VARIABLE.fullmatch(variable):
            # Without a variable beside it, a name may be a key that was written alone.
            account = repr(name) if variable and _NAME.fullmatch(name) else str(number)
            raise UsageError(
                f"{origin}: account {account} must be a name of letters, digits, _, - and ., and the name of an "
                "environment variable in capitals that holds its key, such as SECOND_API_KEY; never the key itself"
            )
        if name in SETTINGS:
            raise UsageError(f"{origin}: an account cannot be named {name!r}, which is a setting of its own")
        if name in found:
            raise UsageError(f"{origin}: there are two accounts {name!r}")
        if variable in found.values():
            raise UsageError(f"{origin}: two accounts have the key in {variable}: they would share one queue")
        found[name] = variable
    return found
