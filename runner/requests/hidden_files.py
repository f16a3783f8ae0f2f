"""Recognize hidden files and folders by their names, however a file system may read such a name."""

import re
import unicodedata
from collections.abc import Iterable


def find_hidden_part(parts: Iterable[str]) -> str | None:
    """Return the first part of a path that names a hidden file or folder, or None."""
    return next((part for part in parts if _is_hidden(part)), None)


def _is_hidden(part: str) -> bool:
    """Return whether a name begins with a dot; `.` and `..` are steps, and not names.

    Some file systems ignore characters without a width, and some programs map look-alikes of a dot to it.
    A backslash separates parts on some systems.
    """
    return any(_is_hidden_name(one) for one in re.split(r"[/\\]", unicodedata.normalize("NFKC", part)))


def _is_hidden_name(name: str) -> bool:
    seen = "".join(sign for sign in name if not _is_ignorable(sign))
    return seen.startswith(".") and seen not in (".", "..")


def _is_ignorable(sign: str) -> bool:
    return unicodedata.category(sign) in ("Cf", "Cc", "Mn") or sign.isspace()
