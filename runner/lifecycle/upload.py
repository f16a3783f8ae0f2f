"""Upload the files of a batch through the Files API, and put their ids into its requests."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePath
from threading import Event

import msgspec

from runner import remote
from runner.api import Api
from runner.attachments import Attached
from runner.errors import AccessError, NotFound, Refused, StateError
from runner.lifecycle.divide import divide
from runner.lifecycle.job import Job, name_of, plural
from runner.store.folder import pieces
from runner.store.records import Batch
from runner.store.uploads import Uploads

_FILE = re.compile(rb'(?<="file_id":")[^"\\]+(?=")')
_UNSAFE = re.compile(r'[<>:"|?*\\/\x00-\x1f]')
_LONGEST = 200
_AT_ONCE = 8


def uploads(job: Job, api: Api, batch: Batch, stop: Event) -> bool:
    """Upload the files of a prepared batch and rewrite its body with their ids.

    Returns whether the body changed or `stop` was set, which ends the uploads early. Each file is uploaded once
    for all runs while the API has it. An id that the API no longer has, or that belongs to another workspace, is
    replaced. Raises Refused for a file that the API rejects, and StateError for a file that has changed since the
    run was prepared. Raises AccessError if there is no Files API, and ApiFault for other faults.
    """
    if not any(block.upload for block in job.spec.prompt.blocks()):
        return False
    named = _named(job, batch)
    store = Uploads(job.store.path / "files.jsonl", api.base_url, api.whereabouts().workspace_id)
    marks = {name: mark for name, mark in store.marks().items() if name in named}
    files = {mark: one for one, mark in _attached(job) if mark in named or mark in marks.values()}
    marks |= {mark: mark for mark in files if mark in named}
    known = {mark: file_id for mark, file_id in store.ids().items() if mark in marks.values()}
    there = api.files_there(list(known.values()))
    ids = {mark: file_id for mark, file_id in known.items() if file_id in there}
    _upload(job, api, batch, store, {mark: one for mark, one in files.items() if mark not in ids}, ids, stop)
    changes = {name.encode(): ids[mark].encode() for name, mark in marks.items() if ids.get(mark, name) != name}
    if not stop.is_set() and changes:
        _replace(job, batch, changes)
    return bool(changes) or stop.is_set()


def _upload(
    job: Job,
    api: Api,
    batch: Batch,
    store: Uploads,
    lacking: Mapping[str, Attached],
    ids: dict[str, str],
    stop: Event,
) -> None:
    """Upload files, and record their ids by mark, in `ids` and durably in `store`."""
    if lacking:
        job.tell(f"{name_of(batch)}: {plural(len(lacking), 'file')} to upload")

    def upload(mark: str, one: Attached) -> None:
        if not stop.is_set():
            ids[mark] = _id(job, api, one)
            store.add(mark, ids[mark])

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        futures = [pool.submit(upload, mark, one) for mark, one in lacking.items()]
        try:
            for done in futures:
                done.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _id(job: Job, api: Api, one: Attached) -> str:
    """Upload a file and return its id. Raises Refused, and AccessError if there is no Files API."""
    path = one.path.partition("?")[0] if remote.is_url(one.path) else one.path
    name = _UNSAFE.sub("_", PurePath(path).name)[-_LONGEST:]
    try:
        return api.upload(_data(job, one), name, one.media_type)
    except NotFound as error:
        raise AccessError(
            f"the Files API is not available here: {error}; remove `upload` from the spec"
        ) from error
    except Refused as error:
        raise Refused(f"{one.path}: rejected by the Files API: {error}; remove `upload` from the spec") from error


def _named(job: Job, batch: Batch) -> set[str]:
    """Return the marks and file ids that the requests of a batch contain as `file_id`."""
    found = set[str]()
    path = job.store.folder(job.run).body(batch.round, batch.batch)
    with pieces() as files:
        for _, offset, size in job.store.requests_of(batch):
            found |= {match.decode() for match in _FILE.findall(files.read(path, offset, size))}
    return found


def _attached(job: Job) -> Iterator[tuple[Attached, str]]:
    """Yield each file to upload once, with its mark."""
    seen = set[str]()
    with job.store.folder(job.run).attached.open("rb") as lines:
        for line in lines:
            one = Attached(**msgspec.json.decode(line))
            if one.mark is not None and one.mark not in seen:
                seen.add(one.mark)
                yield one, one.mark


def _data(job: Job, attached: Attached) -> bytes:
    """Return the bytes of a file. Raises StateError if it has changed or can no longer be read."""
    try:
        if remote.is_url(attached.path):
            with remote.open_raw(attached.path) as raw:
                data = raw.readall()
        else:
            data = (job.spec.root / attached.path).read_bytes()
    except OSError as error:
        raise StateError(
            f"{attached.path} can no longer be read: {error.strerror or error}; restore it, or start over with "
            "--new"
        ) from error
    if hashlib.sha256(data).hexdigest() != attached.sha256:
        raise StateError(
            f"{attached.path} was edited after the run was prepared: restore it, or start over with --new"
        )
    return data


def _replace(job: Job, batch: Batch, changes: Mapping[bytes, bytes]) -> None:
    def changed(params: bytes) -> bytes:
        return _FILE.sub(lambda match: changes.get(match[0], match[0]), params)

    divide(job, batch, [job.store.requests_of(batch)], change=changed)
    job.store.folder(job.run).body(batch.round, batch.batch).unlink(missing_ok=True)
