"""The files of a batch go through the Files API, and their ids take the place of their marks in its requests."""

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
from runner.store import Batch, Uploads, pieces

_FILE = re.compile(rb'(?<="file_id":")[^"\\]+(?=")')
_UNSAFE = re.compile(r'[<>:"|?*\\/\x00-\x1f]')
_LONGEST = 200
_AT_ONCE = 8


def uploads(job: Job, api: Api, batch: Batch, stop: Event) -> bool:
    """Upload what a prepared batch needs, and write it anew with ids; return whether there was anything to do.

    Each file is uploaded once for all runs, as long as the API has it: an id that it has no more, or that is of
    another workspace, is replaced too. After `stop` it ends early. Raises Refused for a file that the API
    refuses, StateError for one that is not what it was when the run was prepared, and ApiFault.
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
    """Upload files, and note their ids by their marks, here and for good."""
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
    """The id that a file gets. Raises Refused, and AccessError if there is no Files API."""
    path = one.path.partition("?")[0] if remote.is_url(one.path) else one.path
    name = _UNSAFE.sub("_", PurePath(path).name)[-_LONGEST:]
    try:
        return api.upload(_data(job, one), name, one.media_type)
    except NotFound as error:
        raise AccessError(f"there is no Files API here: {error}; leave out `upload`") from error
    except Refused as error:
        raise Refused(f"{one.path}: the Files API refuses it: {error}; leave out `upload`") from error


def _named(job: Job, batch: Batch) -> set[str]:
    """What the requests of a batch hold in the place of ids of files."""
    found = set[str]()
    path = job.store.folder(job.run).body(batch.round, batch.batch)
    with pieces() as files:
        for _, offset, size in job.store.requests_of(batch):
            found |= {match.decode() for match in _FILE.findall(files.read(path, offset, size))}
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
        raise StateError(
            f"{attached.path} cannot be read any more: {error.strerror or error}; put it back, or start over with "
            "--new"
        ) from error
    if hashlib.sha256(data).hexdigest() != attached.sha256:
        raise StateError(
            f"{attached.path} was edited since the run was prepared: put it back, or start over with --new"
        )
    return data


def _replace(job: Job, batch: Batch, changes: Mapping[bytes, bytes]) -> None:
    def changed(params: bytes) -> bytes:
        return _FILE.sub(lambda match: changes.get(match[0], match[0]), params)

    divide(job, batch, [job.store.requests_of(batch)], change=changed)
    job.store.folder(job.run).body(batch.round, batch.batch).unlink(missing_ok=True)
