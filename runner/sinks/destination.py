"""Places that sinks write to: local files, which are replaced atomically, URLs and databases."""

import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from runner.files import remote
from runner.files.atomic import atomic_write
from runner.files.compression import compress
from runner.io_types.types import DESTINATIONS
from runner.spec.redact import redact_passwords
from runner.spec.spec import Sink, Spec
from runner.tabular.database import Transactions

_END_OF_FOLDER = re.compile(r"(?<=[^/:])/+$")


_BLOCK_BYTES, _PROOF_BYTES = 1 << 20, 1 << 12


def _ignore_file(_: BinaryIO) -> None:
    """Ignore an open file: the default for `on_open`."""


@dataclass(frozen=True, slots=True)
class Destination:
    """A local path, or the URL of a file or database.

    A database is written within `transactions` if they are given. `on_open` is called with each file that is
    opened to write.
    """

    path: Path | None = None
    url: str = ""
    transactions: Transactions | None = field(default=None, compare=False, repr=False)
    on_open: Callable[[BinaryIO], None] = field(default=_ignore_file, compare=False, repr=False)

    def __str__(self) -> str:
        return str(self.path) if self.path is not None else redact_passwords(self.url)

    @property
    def database_url(self) -> str:
        """The URL of the database at this place."""
        return self.url if self.path is None else f"sqlite:///{self.path}"

    @contextmanager
    def open_file(self) -> Iterator[BinaryIO]:
        """Yield a file to write, compressed according to its suffix. Raises OSError.

        It is write-only and not seekable. It appears once the context ends without an error.
        """
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(self.path, skip_if_unchanged=True) as raw, compress(self.path.name, raw) as file:
                self.on_open(file)
                yield file
            return
        with tempfile.TemporaryDirectory(prefix="runner-sink-") as folder:
            whole = Path(folder) / "whole"
            with whole.open("wb", buffering=_BLOCK_BYTES) as raw, compress(self.url, raw) as file:
                self.on_open(file)
                yield file
            remote.upload_file(whole, self.url)


@dataclass(frozen=True, slots=True)
class InMemory(Destination):
    """A file in memory, which is not closed."""

    file: BytesIO = field(default_factory=BytesIO, compare=False, repr=False)

    @contextmanager
    def open_file(self) -> Iterator[BinaryIO]:
        """Yield the file."""
        yield self.file


def destination_setting(sink: Sink) -> str:
    """Return the setting that names the place of a sink; a checked spec has exactly one."""
    return next(name for name in DESTINATIONS if name in sink.options)


def resolve_path(written: str, *, root: Path, base: Path) -> Path:
    """Return the place of a path below `base`; in a simulation, neither an absolute path nor `..` may leave it."""
    return base / (os.path.normpath(f"/{written}").lstrip("/") if base != root else written)


def resolve_destination(sink: Sink, *, root: Path, base: Path) -> Destination:
    """Return the place of a sink below `base`.

    `base` is the project's folder `root`, or a folder inside it in a simulation. In a real run, absolute paths
    and URLs are unchanged. In a simulation they are moved below `base`: `s3://bucket/a` becomes `s3/bucket/a`,
    and a database becomes a SQLite file.
    """
    is_simulated = base != root
    url = sink.options.get("url")
    written = str(sink.options.get("path", url))
    if url is None and not remote.is_url(written):
        return Destination(resolve_path(written, root=root, base=base))
    if not is_simulated:
        return Destination(url=_END_OF_FOLDER.sub("", written) if sink.has_parts else written)
    scheme, _, rest = redact_passwords(written).partition("://")
    parts = [re.sub(r"[^A-Za-z0-9._=-]", "_", part) for part in rest.split("/") if part not in ("", ".", "..")]
    below = base.joinpath(scheme, *parts)
    return Destination(below.with_name(f"{below.name}.db") if url is not None else below)


def resolve_report(spec: Spec, base: Path) -> Destination | None:
    """Return the place below `base` of the page about a run, as `resolve_destination` does; None without one."""
    if spec.report is None:
        return None
    page = Sink("report", "all", None, {"path": spec.report})
    return resolve_destination(page, root=spec.root, base=base)


def why_not_writable(destination: Destination, *, is_folder: bool = False) -> str | None:
    """Return why nothing can be written at a place, as far as can be told without writing, or None."""
    if destination.path is None:
        return remote.why_not_writable(destination.url)
    path = destination.path
    try:
        if (reason := why_not_creatable(path, is_folder=is_folder)) is not None:
            return reason
        if path.is_dir() and not is_folder:
            return f"{path} is a folder, not a file"
        if path.exists() and not path.is_file() and not is_folder:
            # The output would replace it: a run as root would delete /dev/null.
            return f"{path} is not a regular file"
    except OSError as error:
        return f"{path} cannot be accessed: {error.strerror}"
    return None


def why_not_creatable(path: Path, *, is_folder: bool = False) -> str | None:
    """Return why a file cannot be created or replaced at a path, or a file in the folder there. Raises OSError."""
    parent = _nearest_folder(path, is_folder=is_folder)
    if parent.is_dir() and os.access(parent, os.W_OK | os.X_OK):
        return None
    remedy = "make it writable" if parent.is_dir() else "move that file away"
    return f"{parent} is not a writable folder: {remedy}, or correct the `path` of this sink"


def prove_writable(destination: Destination, *, is_folder: bool = False) -> str | None:
    """Return why nothing can be written at a place, found by writing there, or None. Nothing of it stays.

    At a URL an empty object is written and deleted, in a folder a file without a name.
    """
    try:
        if destination.path is None:
            remote.prove_writable(destination.url)
        else:
            _prove_folder(_nearest_folder(destination.path, is_folder=is_folder))
    except OSError as error:
        return f"cannot write {destination}: {error.strerror}"
    return None


def _nearest_folder(path: Path, *, is_folder: bool) -> Path:
    """Return the first folder that exists of those that an output needs."""
    return next(folder for folder in ((path, *path.parents) if is_folder else path.parents) if folder.exists())


def _prove_folder(folder: Path) -> None:
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(_PROOF_BYTES))
        file.flush()
        # A server may only then find out that its disk is full.
        os.fsync(file.fileno())
