"""Files sink: one file per row."""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from runner.io_types.annotations import NonEmpty
from runner.sinks.destination import Destination
from runner.sinks.file_names import FileNames
from runner.tabular.column_types import to_text


def list_columns(*, name: NonEmpty, content: NonEmpty = "output") -> dict[str, str]:
    """Return the two columns of a file as expressions.

    Settings:
        name: Name of a row's file in the folder, as a Jinja expression like those in `columns`: `row.id ~ '.md'`.
        content: Content of a row's file, as a Jinja expression. Values other than text become JSON.
    """
    return {"name": name, "content": content}


@contextmanager
def write_files(destination: Destination, columns: Mapping[str, Any]) -> Iterator[Callable[[Sequence[Any]], None]]:
    """Write one file per row.

    Yield a function that writes one file from a name and a content. Text is written unchanged, other values as
    JSON. The files are written to a folder beside the target, and moved into it at the end. Other files in the
    target stay. The function raises ValueError for a name that is invalid, or in conflict with an earlier one.

    Settings:
        path: Output folder, relative to the project root. The files appear in it once all of them are written.
    """
    folder = destination.path
    if folder is None or len(columns) != 2:
        raise ValueError("a files sink must write to a folder on this machine")
    beside = folder.with_name(f".{folder.name}.runner-tmp")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        with closing(FileNames()) as names:

            def write(values: Sequence[Any]) -> None:
                name, content = values
                path = names.add(name)
                _check_target(folder / path, folder)
                target = beside / path
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("x", encoding="utf-8", newline="") as file:
                    file.write(to_text(content) or "")

            yield write
        # One sync for all files: syncing each would take longer than the run.
        os.sync()
        _move_files(beside, folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _check_target(target: Path, folder: Path) -> None:
    """Raise ValueError if a file cannot be moved to its place because of what is there already."""
    if target.is_dir():
        raise ValueError(f"{target} is a folder, not a file: move it away, or change `name`")
    for parent in target.relative_to(folder).parents:
        if (folder / parent).exists() and not (folder / parent).is_dir():
            raise ValueError(f"{folder / parent} is a file, not a folder: move it away, or change `name`")


def _move_files(beside: Path, folder: Path) -> None:
    """Move every file below one folder to the same place below another.

    Raises OSError if a link in the target leads to a place outside it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    real = folder.resolve()
    for parent, _, names in os.walk(beside):
        to = folder / Path(parent).relative_to(beside)
        to.mkdir(parents=True, exist_ok=True)
        if not to.resolve().is_relative_to(real):
            raise OSError(None, f"{to} is a link to a place outside {folder}")
        for name in names:
            (Path(parent) / name).replace(to / name)
