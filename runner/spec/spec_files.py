"""Find the spec files that paths, folders and globs name, and the project of a spec."""

import os
import re
from collections.abc import Iterator, Sequence
from glob import glob, has_magic
from pathlib import Path

from runner.errors import InputError, Problem
from runner.files.regular import read_regular_file

SPEC_SUFFIXES = (".yaml", ".yml")
_KEYS = ("version", "source")
_MARKS = ("prompts", ".runner")

SETTINGS_FILE = "runner.toml"
"""The file in a project folder that says where its state is."""


def find_project_root(path: Path) -> Path:
    """Return the nearest folder above a spec with `prompts/`, `.runner/` or `runner.toml`, else its own folder."""
    # Links are not followed: a linked folder of specs belongs to the project that links to it.
    start = Path(os.path.abspath(path)).parent
    for folder in (start, *start.parents):
        if any((folder / name).is_dir() for name in _MARKS) or (folder / SETTINGS_FILE).is_file():
            return folder
    return start


def find_spec_files(written: Sequence[str]) -> list[Path]:
    """Return the spec files that are named, each once: a path as it is, a folder or a glob as its specs.

    A folder stands for its own *.yaml and *.yml files that are specs. Raises InputError for a folder or a glob
    without any.
    """
    found: dict[str, Path] = {}
    problems = []
    for text in written:
        paths = list(_expand(text))
        if not paths:
            problems.append(Problem(text, _no_specs_message(text)))
        for path in paths:
            found.setdefault(os.path.realpath(path), path)
    if problems:
        raise InputError(problems)
    return list(found.values())


def _expand(text: str) -> Iterator[Path]:
    path = Path(text)
    if path.is_dir():
        yield from _specs_of_folder(path)
    elif path.exists() or not has_magic(text):
        yield path
    else:
        for match in sorted(map(Path, glob(text, recursive=True))):  # noqa: PTH207 - `Path.glob` takes no absolute pattern
            if match.is_dir():
                yield from _specs_of_folder(match)
            elif is_spec_file(match):
                yield match


def _specs_of_folder(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.iterdir()) if is_spec_file(path))


def is_spec_file(path: Path) -> bool:
    """Return whether a file is a spec: a YAML mapping with the keys `version` and `source`.

    A file with mistakes counts if lines of it begin with both keys, so that it is reported.
    """
    from runner.spec.yaml.document import parse_yaml

    if path.suffix not in SPEC_SUFFIXES or path.name.startswith(".") or not path.is_file():
        return False
    try:
        data = read_regular_file(path)
    except OSError:
        return False
    try:
        value = parse_yaml(data, path=str(path)).value
    except InputError:
        text = data.decode("utf-8", "replace")
        return all(re.search(rf"^[\"']?{key}[\"']?\s*:", text, re.MULTILINE) for key in _KEYS)
    return isinstance(value, dict) and all(key in value for key in _KEYS)


def _no_specs_message(text: str) -> str:
    if Path(text).is_dir():
        return "the folder has no specs: YAML files with the keys `version` and `source`"
    return "no spec matches this pattern"
