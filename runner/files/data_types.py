"""The type of a data file, by its name."""

from pathlib import PurePath

from runner.files.compression import is_compressed
from runner.files.remote import is_url

DATA_TYPES = {
    ".csv": "csv", ".tsv": "csv", ".tab": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json",
    ".parquet": "parquet", ".xlsx": "xlsx",
}  # fmt: skip
"""The type of source for each suffix of a data file."""


def find_suffix(path: str) -> str:
    """Return the suffix of a path or URL in lower case, without that of its compression."""
    name = PurePath(path.partition("?")[0] if is_url(path) else path)
    return (name.with_suffix("") if is_compressed(path) else name).suffix.lower()


def is_data(path: str) -> bool:
    """Return whether a path names a data file, which is no YAML. JSON can be both."""
    return DATA_TYPES.get(find_suffix(path), "json") != "json"
