"""Copy the files of runs between a state folder and an object store."""

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from runner.errors import StateError
from runner.files.atomic import make_private_folder, sync_folder
from runner.files.object_store import ObjectStore, StoredFile
from runner.store.shared.shared_files import SharedFiles

Report = Callable[[str], None]
"""Is told in a line what is done."""

# After a signal, those of one chunk are finished.
_COPIES_AT_ONCE, _CHUNK = 4, 64
_UPLOADED_LIST = "files.jsonl"


def _names_below(folder: Path) -> Iterator[str]:
    """Yield the files of a run by their names in its folder, without those that only this machine needs."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            yield path.relative_to(folder).as_posix()


class RunFiles:
    """The files of all runs of one project, of which no other process changes any meanwhile."""

    def __init__(self, objects: ObjectStore, folder: Path, check_lock: Callable[[], None]) -> None:
        self._objects, self._folder = objects, folder
        self._shared = SharedFiles(objects, folder, is_ours=lambda _: True, check_lock=check_lock)

    def upload(self, runs: Sequence[str], report: Report) -> int:
        """Make the store have the files of these runs as the folder has them; return their number.

        Raises StateError if one cannot be written, or has another size afterwards.
        """
        path, count = self._folder / _UPLOADED_LIST, 0
        if path.exists():
            count += self._upload([path])
        for number, run in enumerate(runs, 1):
            folder = self._folder / "runs" / run
            report(f"uploading run {run}, {number:,} of {len(runs):,}")
            count += self._upload([folder / name for name in _names_below(folder)])
            self._make_equal(run)
        return count

    def _upload(self, paths: Sequence[Path]) -> int:
        for start in range(0, len(paths), _CHUNK):
            for path in paths[start : start + _CHUNK]:
                # What an interrupted move has uploaded is listed, and not sent again.
                self._shared.exists(path)
                self._shared.note_written(path)
            self._shared.upload_pending()
        return len(paths)

    def _make_equal(self, run: str) -> None:
        """Compare the objects of a run with its files, and delete those that an interrupted move has left."""
        folder = self._folder / "runs" / run
        stored, names = self._objects.list_files(f"runs/{run}"), set(_names_below(folder))
        for name in stored.keys() - names:
            self._objects.delete(f"runs/{run}/{name}")
        for name in names:
            found = stored.get(name)
            if found is None or found.size != (folder / name).stat().st_size:
                raise StateError(f"{self._objects.url}/runs/{run}/{name} is not what was uploaded: run this again")

    def download(self, runs: Sequence[str], report: Report) -> int:
        """Make the folder have the files of these runs as the store has them, durably; return their number."""
        found, count = self._objects.find(_UPLOADED_LIST), 0
        if found is not None:
            count += self._download({self._folder / _UPLOADED_LIST: found})
        for number, run in enumerate(runs, 1):
            folder = self._folder / "runs" / run
            make_private_folder(folder)
            report(f"downloading run {run}, {number:,} of {len(runs):,}")
            stored = {folder / name: file for name, file in self._objects.list_files(f"runs/{run}").items()}
            self._remove_others(folder, stored)
            count += self._download(stored)
        return count

    def _download(self, stored: Mapping[Path, StoredFile]) -> int:
        files = list(stored.items())
        for start in range(0, len(files), _CHUNK):
            with ThreadPoolExecutor(_COPIES_AT_ONCE) as pool:
                list(pool.map(self._fetch, *zip(*files[start : start + _CHUNK], strict=True)))
        for folder in {path.parent for path in stored}:
            sync_folder(folder)
        return len(files)

    def _remove_others(self, folder: Path, stored: Collection[Path]) -> None:
        """Delete files that were never uploaded: their writer was killed before it recorded them."""
        for name in list(_names_below(folder)):
            if folder / name not in stored:
                (folder / name).unlink()

    def _fetch(self, path: Path, stored: StoredFile) -> None:
        self._shared.fetch(path)
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            size = os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)
        if size != stored.size:
            raise StateError(f"{path} is not what the store has: run this again")

    def delete(self) -> None:
        """Delete all objects of the project."""
        self._objects.delete_folder("runs")
        self._objects.delete(_UPLOADED_LIST)
