"""The place of the state of a project, by its settings."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from runner.errors import UsageError
from runner.files.object_store import SCHEMES
from runner.spec.redact import redact_passwords
from runner.store.moving.moved import is_away
from runner.store.settings import Setting, has_password, read_settings

LOCAL_STATE = ("local", ".runner")
"""Values of `state` for a state in the project folder, whatever else is set."""

_DATABASE_URL = re.compile(r"postgres(ql)?://")
# Otherwise the client would take a part of the password for the host or the port, and name it in a message.
_CLEAR_URL = re.compile(
    r"""[^:]+:// ([^/?\#@]*@)?
    (\[[^]/?\#@]*\] | [^]:/?\#@,[]*) (:\d*)? (, (\[[^]/?\#@]*\] | [^]:/?\#@,[]*) (:\d*)?)*
    (/[^?\#@]*)? (\?[^=&\#@]+=[^&\#]* (&[^=&\#@]+=[^&\#]*)*)?""",
    re.VERBOSE,
)
# The client names the whole password in its message about these.
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})|%00")


def _encode(found: re.Match[str]) -> str:
    return "".join(f"={byte:02X}" for byte in found[0].encode())


@dataclass(frozen=True, slots=True)
class StatePlace:
    """The place of the state of a project.

    - `folder`: `.runner/` of the project; it holds the files of runs, or copies of those in `files`.
    - `database`: the URL of a PostgreSQL database; None for `state.db` in the folder.
    - `files`: the URL of a folder in an object store; None for the folder.
    - `project`: the name of the project in a database that projects share.
    - `database_origin`, `files_origin`: where the two URLs are written, for messages.
    """

    folder: Path
    database: str | None = None
    files: str | None = None
    project: str = ""
    database_origin: str = field(default="state", compare=False)
    files_origin: str = field(default="files", compare=False)

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
        """The URL of the project's folder: a name that no client decodes, and that is one folder."""
        if self.files is None:
            return None
        name = re.sub(r"[^A-Za-z0-9_.-]|^\.+$", _encode, self.project)
        return f"{self.files}/{name}"

    def __str__(self) -> str:
        if self.database is None:
            return str(self.folder)
        return f"{redact_passwords(self.database)}, project {self.project!r}"


def _check_database(state: Setting) -> None:
    shown = f"{state.origin} is {redact_passwords(state.value)!r}"
    if not _DATABASE_URL.match(state.value):
        raise UsageError(f"{shown}: it must be local, or a URL that begins with postgresql://")
    if not _CLEAR_URL.fullmatch(state.value) or _BAD_ESCAPE.search(state.value):
        raise UsageError(
            f"{shown}, which is no valid URL: in a password, @ is written as %40, / as %2F, : as %3A, % as %25"
        )


def _check_files(files: Setting) -> None:
    scheme, _, rest = files.value.partition("://")
    if scheme not in SCHEMES or not rest:
        known = ", ".join(f"{one}://" for one in SCHEMES)
        shown = redact_passwords(files.value)
        raise UsageError(f"{files.origin} is {shown!r}: it must be the URL of a folder, with {known}")
    if has_password(files.value) or re.search(r"[?#]", rest):
        raise UsageError(
            f"{files.origin} must not contain a password, ? or #: credentials are given as the guide says, see "
            "`When machines come and go` in specs/README.md"
        )
    if rest.startswith("/") != (scheme == "file"):
        rule = (
            "a folder of this machine has three slashes: file:///" if scheme == "file" else f"{scheme}://bucket/"
        )
        raise UsageError(f"{files.origin} is {files.value!r}: {rule}{rest.lstrip('/')}")


def find_place(root: Path) -> StatePlace:
    """Return where the state of a project folder is. Raises UsageError for settings that do not fit together."""
    settings = read_settings(root)
    folder, state, files = root / ".runner", settings.get("state"), settings.get("files")
    if state is not None and state.value in LOCAL_STATE:
        return StatePlace(folder)
    if state is None:
        if files is not None:
            raise UsageError(
                f'{files.origin} needs a shared `state` beside it, such as state = "postgresql://host/name"'
            )
        return StatePlace(folder)
    return make_shared_place(root, state, files, settings.get("project"))


def make_shared_place(root: Path, state: Setting, files: Setting | None, project: Setting | None) -> StatePlace:
    """Return the place of a shared state; `project` is the name of the folder by default. Raises UsageError."""
    _check_database(state)
    if files is None:
        raise UsageError(f"{state.origin} needs `files` beside it, the URL of a folder such as s3://bucket/runner")
    _check_files(files)
    name = root.resolve().name if project is None else project.value
    return StatePlace(root / ".runner", state.value, files.value.rstrip("/"), name, state.origin, files.origin)
