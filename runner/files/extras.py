"""Optional packages, and the extras that install them."""

import json
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

_NAME = "message-batch-runner"

_PACKAGES = {
    "data": ("fsspec", "pyarrow"),
    "sql": ("sqlalchemy",),
    "xlsx": ("openpyxl",),
    "zstd": () if sys.version_info >= (3, 14) else ("backports.zstd",),
    "documents": ("PIL", "pypdfium2"),
    "heic": ("pillow_heif",),
    "notify": ("apprise",),
    "aws": ("boto3",),
    "objects": ("obstore", "boto3"),
    "google": ("google.auth", "requests"),
    "dask": ("distributed",),
    "otel": ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"),
}


def _is_clone(folder: Path) -> bool:
    """Return whether a folder is a clone of this project's repository."""
    try:
        return f'name = "{_NAME}"' in (folder / "pyproject.toml").read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return False


def find_clone() -> Path | None:
    """Return the clone of the repository that this package runs in or was installed from, or None."""
    from importlib.metadata import PackageNotFoundError, distribution

    folders = [Path(__file__).parents[2]]
    try:
        origin = json.loads(distribution(_NAME).read_text("direct_url.json") or "{}").get("url", "")
        folders.append(Path(unquote(urlsplit(origin).path)))
    except (PackageNotFoundError, ValueError):
        pass
    return next(filter(_is_clone, folders), None)


def install_command(extra: str) -> str:
    """Return the command that installs an extra, or several with commas, from the clone if there is one."""
    clone = find_clone()
    if clone is None:
        return f"pip install '{_NAME}[{extra}]'"
    return f"pip install '{'.' if clone == Path.cwd() else clone}[{extra}]'"


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def missing_package_message(extra: str, *, packages: Sequence[str] = ()) -> str | None:
    """Return an installation hint if a package of an extra is missing, or None.

    `packages` are those of the extra that are needed, by default all.
    """
    return missing_packages_message({extra: packages or _PACKAGES[extra]})


def missing_packages_message(needed: Mapping[str, Sequence[str]]) -> str | None:
    """Return a hint that installs all extras of which a needed package is missing, or None.

    `needed` has the packages that are needed of each extra.
    """
    absent = {extra: [name for name in names if not _is_installed(name)] for extra, names in needed.items()}
    first = {extra: names[0] for extra, names in absent.items() if names}
    if not first:
        return None
    verb = "is" if len(first) == 1 else "are"
    return f"{' and '.join(first.values())} {verb} not installed: {install_command(','.join(first))}"
