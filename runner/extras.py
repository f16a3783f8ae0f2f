"""Packages that only some jobs need: which extra brings them."""

from importlib.util import find_spec

_PACKAGES = {
    "data": ("fsspec", "pyarrow"),
    "sql": ("sqlalchemy",),
    "xlsx": ("openpyxl",),
    "documents": ("PIL", "pypdfium2"),
}


def lacking(extra: str) -> str | None:
    """What to install, in words, if a package of an extra is not there."""
    absent = [name for name in _PACKAGES[extra] if find_spec(name) is None]
    return f"{absent[0]} is not installed: pip install 'message-batch-runner[{extra}]'" if absent else None
