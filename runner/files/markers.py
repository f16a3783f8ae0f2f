"""Names of files that say something about a folder, and hold no rows."""

from pathlib import PurePosixPath

SUCCESS_MARKER = "_SUCCESS"
"""The empty file that is written last to a folder of parts, as Hadoop and Spark do."""


def is_marker(path: str) -> bool:
    """Return whether a path or URL names such a file."""
    return PurePosixPath(path).name == SUCCESS_MARKER
