"""One file per row."""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from runner.columns import as_text
from runner.sinks.place import Place

_LONGEST = 255


@contextmanager
def write_files(place: Place, columns: Mapping[str, Any]) -> Iterator[Callable[[Sequence[Any]], None]]:
    """Yield a function that writes one file, of a name and a content; text as it is, everything else as JSON.

    The files are written beside the folder, and moved into it at the end; what else is there stays.
    """
    folder = place.path
    if folder is None or len(columns) != 2:
        raise ValueError("files are written to a folder of this machine")
    beside = folder.with_name(f".{folder.name}.runner-tmp")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:

        def write(values: Sequence[Any]) -> None:
            name, content = values
            target = beside / _checked(name)
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                with target.open("x", encoding="utf-8", newline="") as file:
                    file.write(as_text(content) or "")
            except FileExistsError as error:
                raise ValueError(f"{name!r} is the name of an earlier row's file already") from error

        yield write
        # Once for all of them: a sync of each would take longer than the run.
        os.sync()
        _move(beside, folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _checked(name: Any) -> PurePosixPath:
    """A name that stays in its folder. Raises ValueError for one that does not."""
    if not isinstance(name, str | int) or isinstance(name, bool) or not str(name).strip():
        raise ValueError(f"{name!r} cannot be the name of a file")
    path = PurePosixPath(str(name))
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in str(name):
        raise ValueError(f"{name!r} leads out of the folder")
    if any(len(part.encode()) > _LONGEST for part in path.parts):
        raise ValueError(f"{str(name)[:40]!r}… is longer than the {_LONGEST} bytes that a name can have")
    return path


def _move(beside: Path, folder: Path) -> None:
    """Put every file below one folder in its place below another. Raises OSError if a link leads out of that."""
    folder.mkdir(parents=True, exist_ok=True)
    real = folder.resolve()
    for parent, _, names in os.walk(beside):
        to = folder / Path(parent).relative_to(beside)
        to.mkdir(parents=True, exist_ok=True)
        if not to.resolve().is_relative_to(real):
            raise OSError(None, f"{to} is a link out of {folder}")
        for name in names:
            (Path(parent) / name).replace(to / name)
