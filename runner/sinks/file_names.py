"""Names of the files in one folder: usable on common systems, and without conflicts between rows."""

import re
import unicodedata
from pathlib import PurePosixPath
from typing import Any

from runner.tabular.temporary import open_temporary_database

MAX_NAME_BYTES = 255


_MAX_PATH_BYTES = 900
"""The longest path in the folder: with the folder, systems allow 1,024 bytes or more."""


_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])\s*(\..*)?", re.IGNORECASE)


_WRAP = "put text around it in `name`, as in `'row-' ~ key ~ '.txt'`"


class NameIndex:
    """A map from names to places of rows, in a temporary file, so that memory stays flat."""

    def __init__(self) -> None:
        self._db = open_temporary_database(
            "CREATE TABLE name (name TEXT PRIMARY KEY, kind TEXT, shown TEXT, place TEXT) WITHOUT ROWID"
        )

    def setdefault(self, name: str, kind: str, shown: str, place: str) -> tuple[str, str, str] | None:
        """Return the (kind, shown name, place) first stored for a name; None if it was new, and is stored now."""
        values = (name, kind, shown, place)
        if self._db.execute("INSERT INTO name VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", values).rowcount:
            return None
        found = self._db.execute("SELECT kind, shown, place FROM name WHERE name = ?", (name,)).fetchone()
        return str(found[0]), str(found[1]), str(found[2])

    def close(self) -> None:
        """Delete all names."""
        self._db.close()


class FileNames:
    """The file names of the rows so far."""

    def __init__(self) -> None:
        self._index = NameIndex()

    def add(self, name: Any, place: str = "an earlier row") -> PurePosixPath:
        """Return a name as a path inside the folder, and remember it with the place of its row.

        Raises ValueError, with the remedy, for a name that some system does not allow, and for a conflict with
        an earlier name: equal, equal without letter case, or one is the folder of the other.
        """
        path = check_file_name(name)
        shown, parts = str(path), [_fold(part) for part in path.parts]
        found = self._index.setdefault("/".join(parts), "file", shown, place)
        if found is not None:
            raise ValueError(_describe_conflict(shown, *found))
        for depth in range(1, len(parts)):
            found = self._index.setdefault("/".join(parts[:depth]), "folder", shown, place)
            if found is not None and found[0] == "file":
                message = f"{shown!r} needs a folder with the file name {found[1]!r} of {found[2]}"
                raise ValueError(f"{message}: add an ending in `name`, as in `key ~ '.txt'`")
        return path

    def close(self) -> None:
        """Forget all names."""
        self._index.close()


def check_file_name(name: Any) -> PurePosixPath:
    """Return a file name as a path inside its folder. Raises ValueError if some system does not allow it."""
    if not isinstance(name, str | int) or isinstance(name, bool) or not str(name).strip():
        raise ValueError(f"{name!r} is not a valid file name: {_WRAP}")
    path = PurePosixPath(str(name))
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise ValueError(f"{name!r} is not a path inside the folder: {_WRAP}")
    _check_length(str(name), path)
    if bad := next((sign for sign in str(name) if sign == "\\" or unicodedata.category(sign) == "Cc"), None):
        raise ValueError(
            f"the file name {name!r} contains {bad!r}, which not every system allows: replace it in `name`, as in "
            f"`key | replace({bad!r}, '-')`"
        )
    for part in path.parts:
        if _RESERVED.fullmatch(part):
            raise ValueError(f"the file name {name!r} is reserved on Windows: {_WRAP}")
        if part.endswith((".", " ")):
            raise ValueError(f"{part!r} ends in a dot or a space, which Windows drops: {_WRAP}")
    return path


def _check_length(name: str, path: PurePosixPath) -> None:
    longest = max(len(part.encode("utf-8", "surrogatepass")) for part in path.parts)
    whole = len(str(path).encode("utf-8", "surrogatepass"))
    if longest > MAX_NAME_BYTES or whole > _MAX_PATH_BYTES:
        most = f"{MAX_NAME_BYTES} bytes" + f", and with its folders {_MAX_PATH_BYTES}" * (
            longest <= MAX_NAME_BYTES
        )
        raise ValueError(
            f"{name[:40]!r}… is too long: a file name can have at most {most}; shorten it in `name`, as in "
            "`key[:60]`"
        )


def _fold(part: str) -> str:
    """Return a name as file systems compare it that ignore letter case and Unicode forms."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", part).casefold())


def _describe_conflict(shown: str, kind: str, other: str, place: str) -> str:
    if kind == "folder":
        message = f"the file name {shown!r} is also the folder of {other!r} of {place}"
        return f"{message}: add an ending in `name`, as in `key ~ '.txt'`"
    if other == shown:
        message = f"the file name {shown!r} is already used by {place}"
    else:
        message = (
            f"the file name {shown!r} differs from {other!r} of {place} only in letter case or Unicode form, and "
            "many systems treat both as one file"
        )
    return f"{message}: use a column in `name` that tells the rows apart"
