"""An output as a folder of parts, each of a bounded number of rows, and `_SUCCESS`, written last.

The parts are written elsewhere. A local folder then takes the place of the earlier one by two renames, since a
folder that holds files cannot be replaced by one. Objects are replaced one by one, between the removal of
`_SUCCESS` and a new one.
"""

import filecmp
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from runner.files import remote
from runner.files.atomic import sync_folder
from runner.files.markers import SUCCESS_MARKER
from runner.io_types.annotations import keywords
from runner.sinks.destination import Destination, prove_writable, why_not_creatable

RowsPerPart = Annotated[
    int, keywords(minimum=1000, description="Rows of each part but the last one; only with `parts: true`.")
]


_OWN_NAME = re.compile(rf"part-\d{{5}}\.(jsonl|parquet)|{SUCCESS_MARKER}|\.{SUCCESS_MARKER}{remote.PROOF_SUFFIX}")


_MOST_PARTS = 100_000
"""With more of them, the order of the names would not be that of the rows."""


Writer = Callable[[Sequence[Any]], None]


@dataclass(slots=True)
class _Parts:
    """The parts in a folder, of which the `current` one is open while it has fewer than `rows_per_part` rows."""

    folder: Path
    open_part: Callable[[Destination], AbstractContextManager[Writer]]
    suffix: str
    rows_per_part: int
    current: ExitStack
    rows: int = 0
    _write_row: Writer | None = None

    def write(self, values: Sequence[Any]) -> None:
        """Write one row, and close its part if it is full."""
        if self._write_row is None:
            self._write_row = self.open_next()
        self._write_row(values)
        self.rows += 1
        if self.rows % self.rows_per_part == 0:
            # Not before the next row: an error about rows of this part counts back from its last one.
            self.current.close()
            self._write_row = None

    def open_next(self) -> Writer:
        """Open the next part. Raises ValueError if there are too many."""
        number = self.rows // self.rows_per_part
        if number == _MOST_PARTS:
            raise ValueError(f"there would be more than {_MOST_PARTS:,} parts: set a larger `rows_per_part`")
        place = Destination(self.folder / f"part-{number:05}{self.suffix}")
        return self.current.enter_context(self.open_part(place))


@contextmanager
def open_parts(
    destination: Destination,
    open_part: Callable[[Destination], AbstractContextManager[Writer]],
    *,
    suffix: str,
    rows_per_part: int,
) -> Iterator[Writer]:
    """Yield a function that writes one row to the current part; `open_part` opens the file of each.

    Without rows there is one empty part, which still has the columns. The folder appears once the context ends
    without an error; a folder with the same bytes stays as it is. Raises OSError.
    """
    with _make_beside(destination) as folder:
        with ExitStack() as current:
            parts = _Parts(folder, open_part, suffix, rows_per_part, current)
            yield parts.write
            if parts.rows == 0:
                parts.open_next()
        (folder / SUCCESS_MARKER).touch()
        _publish(folder, destination)


@contextmanager
def _make_beside(destination: Destination) -> Iterator[Path]:
    """Yield an empty folder for the parts: beside the target, or for a URL one that is temporary."""
    if destination.path is None:
        with tempfile.TemporaryDirectory(prefix="runner-sink-") as made:
            yield Path(made)
        return
    target = _resolve(destination.path)
    _end_swap(target)
    beside = _hidden(target, "tmp")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        yield beside
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _resolve(path: Path) -> Path:
    """Return the folder that a path stands for: a link stays, and its target is replaced."""
    return Path(os.path.realpath(path))


def _hidden(folder: Path, kind: str) -> Path:
    return folder.with_name(f".{folder.name}.runner-{kind}")


def _end_swap(target: Path) -> None:
    """Put back the folder that a killed process has moved away, or delete it if another one is in its place."""
    earlier = _hidden(target, "old")
    if earlier.exists() and not target.exists():
        earlier.rename(target)
    shutil.rmtree(earlier, ignore_errors=True)


def _publish(folder: Path, destination: Destination) -> None:
    if (reason := find_foreign(destination)) is not None:
        raise OSError(None, reason)
    if destination.path is None:
        _upload(folder, destination.url)
    else:
        _swap(folder, _resolve(destination.path))


def _swap(folder: Path, target: Path) -> None:
    """Put a folder in the place of an earlier one, unless both have the same bytes."""
    sync_folder(folder)
    names = _list_folder(folder)
    if names == _list_folder(target):
        _, differ, unknown = filecmp.cmpfiles(folder, target, names, shallow=False)
        if not differ and not unknown:
            return
    earlier = _hidden(target, "old")
    if target.exists():
        target.rename(earlier)
    try:
        folder.rename(target)
    except OSError:
        if earlier.exists():
            earlier.rename(target)
        raise
    sync_folder(target.parent)
    shutil.rmtree(earlier, ignore_errors=True)


def _upload(folder: Path, url: str) -> None:
    """Replace the objects below a URL by the files of a folder; there is no `_SUCCESS` meanwhile."""
    earlier, names = remote.list_names(url), _list_folder(folder)
    if SUCCESS_MARKER in earlier:
        remote.delete_url(f"{url}/{SUCCESS_MARKER}")
    parts = [name for name in names if name != SUCCESS_MARKER]
    for name in parts:
        remote.upload_file(folder / name, f"{url}/{name}")
    for name in earlier:
        if name not in names:
            remote.delete_url(f"{url}/{name}")
    remote.upload_file(folder / SUCCESS_MARKER, f"{url}/{SUCCESS_MARKER}")


def _list_folder(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def find_foreign(destination: Destination) -> str | None:
    """Return why a folder cannot be replaced: a file in it that no sink wrote; or None. Raises OSError."""
    path, url = destination.path, destination.url
    names = remote.list_names(url) if path is None else _list_folder(path)
    foreign = next((name for name in names if not _OWN_NAME.fullmatch(name)), None)
    if foreign is None:
        return None
    return f"{destination} holds {foreign}, which is no part of an output: name a folder that holds nothing else"


def why_not_parts(destination: Destination) -> str | None:
    """Return why parts cannot be written to a folder, as far as can be told without writing, or None."""
    if destination.path is None:
        return remote.why_not_writable(f"{destination.url}/{SUCCESS_MARKER}")
    path = _resolve(destination.path)
    try:
        if path.exists() and not path.is_dir():
            return f"{path} is a file, not a folder of parts: move it away, or change the `path` of this sink"
        if path.is_mount():
            return f"{path} is a mount point, which cannot be replaced: name a folder in it"
        return find_foreign(destination) or why_not_creatable(path)
    except OSError as error:
        return f"{path} cannot be accessed: {error.strerror}"


def prove_parts(destination: Destination) -> str | None:
    """Return why parts cannot be written to a folder, found by writing there, or None. Nothing of it stays."""
    if destination.path is not None:
        return prove_writable(Destination(_resolve(destination.path)))
    try:
        remote.prove_writable(f"{destination.url}/{SUCCESS_MARKER}")
        return find_foreign(destination)
    except OSError as error:
        return f"cannot write {destination}: {error.strerror}"
