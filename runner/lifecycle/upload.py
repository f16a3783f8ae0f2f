"""The files of a batch go through the Files API, and their ids take the place of their marks in its requests."""

import hashlib
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePath

import msgspec

from runner import remote
from runner.api import Api
from runner.attachments import MARK, Attached
from runner.errors import StateError
from runner.lifecycle.divide import divide
from runner.lifecycle.job import Job, name_of, plural
from runner.store import Batch, Uploads, pieces

_MARK = re.compile(MARK.encode())
_AT_ONCE = 8


def uploads(job: Job, api: Api, batch: Batch) -> bool:
    """Upload what a prepared batch needs, and write it anew with ids; return whether there was anything to do.

    Each file is uploaded once for all runs, as long as the API has it. Uploading costs nothing. Raises StateError
    for a file that is not what it was when the run was prepared, and ApiFault.
    """
    if not any(block.upload for block in job.spec.prompt.blocks()):
        return False
    marks = _marks(job, batch)
    if not marks:
        return False
    store = Uploads(job.store.path / "files.jsonl", api.base_url, api.whereabouts().workspace_id)
    known = {mark: file_id for mark, file_id in store.ids().items() if mark in marks}
    there = api.files_there(list(known.values()))
    ids = {mark: file_id for mark, file_id in known.items() if file_id in there}
    lacking = [(one, mark) for one, mark in _attached(job) if mark in marks and mark not in ids]
    if lacking:
        job.tell(f"{name_of(batch)}: {plural(len(lacking), 'file')} to upload")

    def upload(one: Attached, mark: str) -> None:
        ids[mark] = api.upload(_data(job, one), PurePath(one.path).name, one.media_type)
        store.add(mark, ids[mark])

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for done in [pool.submit(upload, *pair) for pair in lacking]:
            done.result()
    _replace(job, batch, {mark.encode(): file_id.encode() for mark, file_id in ids.items()})
    return True


def _marks(job: Job, batch: Batch) -> set[str]:
    """The marks in the requests of a batch."""
    found = set[str]()
    path = job.store.folder(job.run).body(batch.round, batch.batch)
    with pieces() as files:
        for _, offset, size in job.store.requests_of(batch):
            found |= {match.decode() for match in _MARK.findall(files.read(path, offset, size))}
    return found


def _attached(job: Job) -> Iterator[tuple[Attached, str]]:
    """The files that are to be uploaded, each once, with their marks."""
    seen = set[str]()
    with job.store.folder(job.run).attached.open("rb") as lines:
        for line in lines:
            one = Attached(**msgspec.json.decode(line))
            if one.mark is not None and one.mark not in seen:
                seen.add(one.mark)
                yield one, one.mark


def _data(job: Job, attached: Attached) -> bytes:
    """The bytes of a file. Raises StateError if they are not what they were."""
    try:
        if remote.is_url(attached.path):
            with remote.open_raw(attached.path) as raw:
                data = raw.readall()
        else:
            data = (job.spec.root / attached.path).read_bytes()
    except OSError as error:
        raise StateError(f"{attached.path} cannot be read any more: {error.strerror or error}") from error
    if hashlib.sha256(data).hexdigest() != attached.sha256:
        raise StateError(
            f"{attached.path} was edited since the run was prepared: put it back, or start over with --new"
        )
    return data


def _replace(job: Job, batch: Batch, ids: dict[bytes, bytes]) -> None:
    def with_ids(params: bytes) -> bytes:
        return _MARK.sub(lambda match: ids.get(match[0], match[0]), params)

    divide(job, batch, [job.store.requests_of(batch)], change=with_ids)
