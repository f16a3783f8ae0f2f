"""The file that is meant by a path that does not exist."""

import os
from difflib import get_close_matches
from pathlib import Path

EDITOR_SCHEMA = "runner.schema.json"
"""The file with the JSON schema of specs, which `runner init` writes for editors. A spec never means it."""

_MAX_LISTED = 5
_SPEC_SUFFIXES = (".yaml", ".yml")


def _list_names(folder: Path, suffix: str) -> list[str]:
    try:
        names = sorted(one.name for one in folder.iterdir() if one.name.endswith(suffix))
    except OSError:
        return []
    return [name for name in names if name[0] != "." and name != EDITOR_SCHEMA]


def _find_folder(root: Path, path: str) -> Path:
    """Return the folder of a path below `root`, or the nearest one above it that exists."""
    folder = (root / path).parent
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    return folder


def find_nearest_file(root: Path, path: str) -> str | None:
    """Return the file in the same folder below `root` whose name is most like that of a missing path, or None.

    A spec is never meant by the path of another kind of file.
    """
    folder, name = _find_folder(root, path), Path(path).name
    names = [one for one in _list_names(folder, "") if (folder / one).is_file()]
    if not name.endswith(_SPEC_SUFFIXES):
        names = [one for one in names if not one.endswith(_SPEC_SUFFIXES)]
    near = get_close_matches(name, names, n=1, cutoff=0.6)
    return os.path.relpath(folder / near[0], root) if near and not Path(path).is_absolute() else None


def suggest_file(root: Path, path: str) -> str:
    """Return what to do about a path below `root` that does not exist: the nearest file, or what is there."""
    near = find_nearest_file(root, path)
    if near is not None:
        return f"did you mean {near!r}?"
    folder = _find_folder(root, path)
    names = _list_names(folder, Path(path).suffix)
    if not names:
        return f"put it into {folder}, or correct the path"
    more = f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else ""
    return f"{folder} has {', '.join(names[:_MAX_LISTED])}{more}"
