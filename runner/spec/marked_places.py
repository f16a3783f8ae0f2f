"""Names of outputs that are written beside those of a job, with a mark in them."""

from pathlib import PurePosixPath

FILE_SINKS = ("csv", "jsonl", "parquet", "xlsx", "files")
"""The types of sinks that write a file or folder at their `path` or `url`."""

_DOUBLE_SUFFIXES = (".gz", ".zst", ".bz2", ".xz")


def insert_mark(place: str, mark: str) -> str:
    """Return `out/labels.MARK.csv` for `out/labels.csv`."""
    folder, slash, name = place.rstrip("/").rpartition("/")
    path = PurePosixPath(name)
    suffix = "".join(path.suffixes[-2:]) if path.suffix in _DOUBLE_SUFFIXES else path.suffix
    return f"{folder}{slash}{name.removesuffix(suffix)}.{mark}{suffix}"
