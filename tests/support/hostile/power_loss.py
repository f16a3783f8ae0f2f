"""Disks after a power loss: what a file system may have kept of the writes of one traced process.

A file keeps what was in it when it was last synced, and a folder the names that it had then. Of later changes a
disk may keep all, none, or some: names without contents, or contents without names.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

_CALLS = "openat,write,pwrite64,lseek,ftruncate,fsync,fdatasync,rename,unlink,rmdir,mkdir,sendto"
_LINE = re.compile(r"\d+ +(\w+)\((.*)\) += (-?\d+)", re.DOTALL)
_HEX = re.compile(r"(?:\\x[0-9a-f]{2})+")
_PART = re.compile(r'"([^"]*)"|<([^>]*)>|([\w|]+)')
KINDS = ("nothing", "everything", "names", "contents")
"""The changes that were not synced, and that a disk kept all the same."""


class Call(NamedTuple):
    """One system call: its name, the path of its file, and the rest of its arguments as the call needs them."""

    name: str
    path: str
    words: tuple[str, ...]
    data: bytes
    result: int

    @property
    def is_sync(self) -> bool:
        return self.name in ("fsync", "fdatasync")

    @property
    def creates_batch(self) -> bool:
        return self.name == "sendto" and self.data.startswith(b"POST /v1/messages/batches ")


@dataclass(eq=False)
class File:
    """The bytes of a file, and those that are certainly on disk."""

    data: bytearray = field(default_factory=bytearray)
    synced: bytes = b""


@dataclass(eq=False)
class Folder:
    """The names in a folder, and those that are certainly on disk."""

    names: dict[str, "File | Folder"] = field(default_factory=dict)
    synced: dict[str, "File | Folder"] = field(default_factory=dict)


def _bytes(text: str) -> bytes:
    return _HEX.sub(lambda match: bytes.fromhex(match[0].replace("\\x", "")).decode("latin-1"), text).encode(
        "latin-1"
    )


def trace(log: Path, root: Path, words: tuple[str, ...], environ: Mapping[str, str]) -> list[Call]:
    """Run a command in `root` and return its successful calls that concern files in `root`, or that send."""
    strace = ["strace", "-f", "-y", "-xx", "-s", str(1 << 24), "-e", f"trace={_CALLS}", "-o", str(log)]
    subprocess.run([*strace, sys.executable, "-m", "runner", *words], cwd=root, env=dict(environ), check=True)
    with log.open() as file:
        return list(_read_calls(file, str(root)))


def _read_calls(lines: Iterator[str], root: str) -> Iterator[Call]:
    marks = ["".join(f"\\x{byte:02x}" for byte in text.encode()) for text in (root, "POST ")]
    begun: dict[str, str] = {}
    for line in lines:
        thread = line.partition(" ")[0]
        if line.endswith("<unfinished ...>\n"):
            begun[thread] = line.removesuffix(" <unfinished ...>\n")
            continue
        whole = begun.pop(thread) + line.partition("resumed>")[2] if " resumed>" in line else line
        match = _LINE.match(whole)
        if match is None or int(match[3]) < 0 or not any(mark in whole for mark in marks):
            continue
        parts = [(kind, next(one for one in found if one is not None)) for kind, found in _split(match[2])]
        texts = [_bytes(text) for kind, text in parts if kind == "text"]
        paths = [_bytes(text).decode() for kind, text in parts if kind == "path"]
        words = tuple(text for kind, text in parts if kind == "word")
        name = match[1]
        named = name in ("openat", "rename", "unlink", "rmdir", "mkdir")
        path = texts[0].decode() if named else (paths or [""])[-1]
        data = texts[1] if name == "rename" else b"" if named or not texts else texts[0]
        # A file without a name, which the kernel shows as a number, is gone after a power loss.
        is_inside = path == root or (path.startswith(f"{root}/") and not PurePosixPath(path).name.startswith("#"))
        if name == "sendto" or is_inside:
            yield Call(name, path, words, data, int(match[3]))


def _split(arguments: str) -> Iterator[tuple[str, tuple[str | None, ...]]]:
    for match in _PART.finditer(arguments):
        kind = "text" if match[1] is not None else "path" if match[2] is not None else "word"
        yield kind, match.groups()


class Disk:
    """The files of a project while calls happen, beginning with an empty folder."""

    def __init__(self, root: Path, is_ignored: Callable[[Call], bool] = lambda _: False) -> None:
        self.root, self.is_ignored = root, is_ignored
        self.folder = Folder()
        self.open: dict[str, tuple[File, int]] = {}

    def _parent(self, path: str) -> tuple[Folder, str]:
        folder = self.folder
        *parents, name = PurePosixPath(path).relative_to(self.root).parts
        for parent in parents:
            found = folder.names.setdefault(parent, Folder())
            assert isinstance(found, Folder)
            folder = found
        return folder, name

    def _find(self, path: str) -> "File | Folder | None":
        if path == str(self.root):
            return self.folder
        folder, name = self._parent(path)
        return folder.names.get(name)

    def apply(self, call: Call) -> None:
        """Change the files as a call did."""
        if call.name != "sendto" and not (call.is_sync and self.is_ignored(call)):
            getattr(self, f"_{call.name}")(call)

    def _openat(self, call: Call) -> None:
        if call.path == str(self.root):
            return
        folder, name = self._parent(call.path)
        flags = next(word for word in call.words if "O_" in word)
        found = folder.names.get(name)
        if found is None and "O_CREAT" in flags:
            found = folder.names[name] = File()
        if isinstance(found, File):
            if "O_TRUNC" in flags:
                found.data.clear()
            self.open[f"{call.path} {call.result}"] = (found, -1 if "O_APPEND" in flags else 0)

    def _write(self, call: Call) -> None:
        key = f"{call.path} {call.words[0]}"
        file, at = self.open[key]
        start = len(file.data) if at < 0 else at
        _put(file, start, call.data)
        self.open[key] = (file, at if at < 0 else start + len(call.data))

    def _lseek(self, call: Call) -> None:
        key = f"{call.path} {call.words[0]}"
        if key in self.open and self.open[key][1] >= 0:
            self.open[key] = (self.open[key][0], call.result)

    def _pwrite64(self, call: Call) -> None:
        found = self._find(call.path)
        if isinstance(found, File):
            _put(found, int(call.words[-1]), call.data)

    def _ftruncate(self, call: Call) -> None:
        found, size = self._find(call.path), int(call.words[-1], 0)
        if isinstance(found, File):
            found.data[size:] = bytes(max(0, size - len(found.data)))

    def _fsync(self, call: Call) -> None:
        match self._find(call.path):
            case File() as file:
                file.synced = bytes(file.data)
            case Folder() as folder:
                folder.synced = dict(folder.names)

    _fdatasync = _fsync

    def _rename(self, call: Call) -> None:
        folder, name = self._parent(call.path)
        target, new_name = self._parent(call.data.decode())
        target.names[new_name] = folder.names.pop(name)

    def _unlink(self, call: Call) -> None:
        folder, name = self._parent(call.path)
        folder.names.pop(name, None)

    _rmdir = _unlink

    def _mkdir(self, call: Call) -> None:
        folder, name = self._parent(call.path)
        folder.names.setdefault(name, Folder())

    def keep(self, kind: str) -> dict[str, bytes | None]:
        """Return the files, and folders as None, that a disk has after a power loss that keeps `kind`."""
        kept: dict[str, bytes | None] = {}
        has_names, has_contents = kind in ("everything", "names"), kind in ("everything", "contents")

        def add(folder: Folder, path: str) -> None:
            for name, found in (folder.names if has_names else folder.synced).items():
                if isinstance(found, Folder):
                    kept[f"{path}{name}"] = None
                    add(found, f"{path}{name}/")
                elif not name.endswith("-shm"):
                    kept[f"{path}{name}"] = bytes(found.data) if has_contents else found.synced

        add(self.folder, "")
        return kept


def _put(file: File, at: int, data: bytes) -> None:
    file.data.extend(bytes(max(0, at - len(file.data))))
    file.data[at : at + len(data)] = data


def write_disk(root: Path, kept: Mapping[str, bytes | None], folders: tuple[str, ...]) -> None:
    """Replace the `folders` of a project by what a disk has kept."""
    for name in folders:
        shutil.rmtree(root / name, ignore_errors=True)
    for name, data in kept.items():
        path = root / name
        if data is None:
            path.mkdir(exist_ok=True)
        else:
            path.write_bytes(data)
            os.chmod(path, 0o600)  # noqa: PTH101
