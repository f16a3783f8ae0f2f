"""Optional packages, and the extras that install them."""

from importlib.util import find_spec

_PACKAGES = {
    "data": ("fsspec", "pyarrow"),
    "sql": ("sqlalchemy",),
    "xlsx": ("openpyxl",),
    "documents": ("PIL", "pypdfium2"),
}


def missing_package_message(extra: str) -> str | None:
    """Return an installation hint if a package of an extra is missing, or None."""
    absent = [name for name in _PACKAGES[extra] if find_spec(name) is None]
    return f"{absent[0]} is not installed: pip install 'message-batch-runner[{extra}]'" if absent else None
