"""Where the state of a project is: settings of a machine or a team, not of a job.

Each comes from an environment variable, or else from `runner.toml` in the project folder.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from runner.errors import UsageError
from runner.spec.redact import redact_passwords
from runner.store.moved import is_away

SETTINGS_FILE = "runner.toml"
SETTINGS = ("state", "files", "project", "jobs")
"""The settings in `runner.toml`. The environment variable of each is its name in capitals, after `RUNNER_`."""

_DATABASE_URL = re.compile(r"postgres(ql)?://")
_FILES_URL = re.compile(r"[a-z][a-z0-9+.-]*://.")
_PASSWORD = re.compile(r"://[^/@:]*:[^/@]+@")


@dataclass(frozen=True, slots=True)
class StatePlace:
    """Where the state of a project is.

    - `folder`: `.runner/` of the project; it holds the files of runs, or copies of those in `files`.
    - `database`: the URL of a PostgreSQL database; None for `state.db` in the folder.
    - `files`: the URL of a folder in an object store; None for the folder.
    - `project`: the name of the project in a database that projects share.
    """

    folder: Path
    database: str | None = None
    files: str | None = None
    project: str = ""

    @property
    def is_shared(self) -> bool:
        """True if other machines use this state too."""
        return self.database is not None

    @property
    def exists(self) -> bool:
        """True if there can be runs: a state folder is made with the first one."""
        return self.is_shared or (self.folder / "state.db").exists() or is_away(self.folder)

    @property
    def project_files(self) -> str | None:
        """The URL of the folder of the project in the object store, if there is one."""
        if self.files is None:
            return None
        # Not with the signs that a URL may be decoded by: a name is one folder, whatever is in it.
        return f"{self.files}/{quote(self.project, safe='').replace('%', '=')}"

    def __str__(self) -> str:
        if self.database is None:
            return str(self.folder)
        return f"{redact_passwords(self.database)}, project {self.project!r}"


def read_settings(root: Path) -> dict[str, str]:
    """Return the settings of a project folder, by name. Raises UsageError for mistakes in `runner.toml`."""
    path = root / SETTINGS_FILE
    written = _read_file(path) if path.exists() else {}
    return {name: value for name in SETTINGS if (value := _find(name, written))}


def _find(name: str, written: Mapping[str, str]) -> str | None:
    return os.environ.get(f"RUNNER_{name.upper()}") or written.get(name)


def _read_file(path: Path) -> dict[str, str]:
    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise UsageError(f"{path}: {error}") from error
    return {name: _check_setting(path, name, value) for name, value in found.items()}


def _check_setting(path: Path, name: str, value: Any) -> str:
    if name not in SETTINGS:
        raise UsageError(f"{path}: there is no setting {name!r}; it can be {', '.join(SETTINGS)}")
    if name == "jobs" and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value:
        raise UsageError(f"{path}: {name} must be text in quotes")
    if _PASSWORD.search(value):
        raise UsageError(
            f"{path}: {name} contains a password; put it into the file that PGPASSFILE names, or set "
            f"RUNNER_{name.upper()} in the environment"
        )
    return value


def find_place(root: Path) -> StatePlace:
    """Return where the state of a project folder is. Raises UsageError for settings that do not fit together."""
    settings = read_settings(root)
    folder, state, files = root / ".runner", settings.get("state"), settings.get("files")
    if state is None:
        if files is not None:
            raise UsageError('`files` needs a shared `state` beside it, such as state = "postgresql://host/name"')
        return StatePlace(folder)
    return make_shared_place(root, state, files, settings.get("project"))


def make_shared_place(root: Path, state: str, files: str | None, project: str | None) -> StatePlace:
    """Return the place of a shared state; `project` is the name of the folder by default. Raises UsageError."""
    if not _DATABASE_URL.match(state):
        raise UsageError(f"state is {state!r}: it must be a URL that begins with postgresql://")
    if files is None or not _FILES_URL.match(files):
        raise UsageError(
            "a shared `state` needs `files` beside it, the URL of a folder such as s3://bucket/runner"
        )
    return StatePlace(root / ".runner", state, files.rstrip("/"), project or root.resolve().name)
