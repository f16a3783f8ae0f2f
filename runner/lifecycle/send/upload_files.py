"""Upload the files of a batch through the Files API, and put their ids into its requests."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePath
from threading import Event

import msgspec

from runner.api.client import Api
from runner.errors import AccessError, NotFound, RequestRejected, StateError
from runner.files import remote
from runner.lifecycle.prepare.split_batch import split_batch
from runner.requests.attachments import AttachedFile, make_upload_placeholder
from runner.requests.pdf import copy_pages
from runner.requests.stored_params import FileReference, read_file
from runner.runs.context import RunContext
from runner.store.records import Batch
from runner.store.run_folder import open_slices
from runner.store.uploaded_files import UploadedFiles
from runner.text import pluralize

_FILE_ID = re.compile(rb'(?<="file_id":")[^"\\]+(?=")')


_UNSAFE_NAME_CHARACTERS = re.compile(r'[<>:"|?*\\/\x00-\x1f]')


_MAX_NAME_CHARS = 200


_MAX_CONCURRENT_UPLOADS = 8


def upload_files(context: RunContext, api: Api, batch: Batch, stop: Event) -> None:
    """Upload the files of a prepared batch and rewrite its body with their ids.

    `stop` ends the uploads early. Each file is uploaded once for all runs while the API has it. An id that the
    API no longer has, or that belongs to another workspace, is replaced. Raises RequestRejected for a file that
    the API rejects, and StateError for a file that has changed since the run was prepared. Raises AccessError if
    there is no Files API, and ApiError for other faults.
    """
    if not any(block.upload for block in context.spec.prompt.blocks()):
        return
    named = _find_file_ids(context, batch)
    store = UploadedFiles(context.store.uploads, api.base_url, api.fetch_workspace_info().workspace_id)
    marks = {name: mark for name, mark in store.marks_by_id().items() if name in named}
    files = {mark: one for one, mark in _files_to_upload(context) if mark in named or mark in marks.values()}
    marks |= {mark: mark for mark in files if mark in named}
    known = {mark: file_id for mark, file_id in store.ids_by_mark().items() if mark in marks.values()}
    there = api.find_existing_files(list(known.values()))
    ids = {mark: file_id for mark, file_id in known.items() if file_id in there}
    _upload_missing(
        context, api, batch, store, {mark: one for mark, one in files.items() if mark not in ids}, ids, stop
    )
    changes = {name.encode(): ids[mark].encode() for name, mark in marks.items() if ids.get(mark, name) != name}
    if not stop.is_set() and changes:
        _replace_file_ids(context, batch, changes)


def _upload_missing(
    context: RunContext,
    api: Api,
    batch: Batch,
    store: UploadedFiles,
    missing_files: Mapping[str, AttachedFile],
    ids: dict[str, str],
    stop: Event,
) -> None:
    """Upload files, and record their ids by mark, in `ids` and durably in `store`."""
    if missing_files:
        context.report("uploading", f"{pluralize(len(missing_files), 'file')} to upload", batch)

    def upload(mark: str, one: AttachedFile) -> None:
        if not stop.is_set():
            ids[mark] = _upload_file(context, api, one)
            store.add(mark, ids[mark])

    try:
        with ThreadPoolExecutor(_MAX_CONCURRENT_UPLOADS) as pool:
            futures = [pool.submit(upload, mark, one) for mark, one in missing_files.items()]
            try:
                for done in futures:
                    done.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    finally:
        context.store.upload_pending()


def _upload_file(context: RunContext, api: Api, one: AttachedFile) -> str:
    """Upload a file and return its id. Raises RequestRejected, and AccessError if there is no Files API."""
    path = one.path.partition("?")[0] if remote.is_url(one.path) else one.path
    name = _UNSAFE_NAME_CHARACTERS.sub("_", PurePath(path).name)[-_MAX_NAME_CHARS:]
    try:
        return api.upload_file(_read_file(context, one), name, one.media_type)
    except NotFound as error:
        raise AccessError(
            f"the Files API is not available here: {error}; remove `upload` from the spec"
        ) from error
    except RequestRejected as error:
        raise RequestRejected(
            f"{one.path}: rejected by the Files API: {error}; remove `upload` from the spec"
        ) from error


def _find_file_ids(context: RunContext, batch: Batch) -> set[str]:
    """Return the marks and file ids that the requests of a batch contain as `file_id`."""
    found = set[str]()
    path = context.store.folder(context.run).body(batch.round, batch.batch)
    with open_slices() as files:
        for _, offset, size in context.store.row_index.requests_of(batch):
            found |= {match.decode() for match in _FILE_ID.findall(files.read(path, offset, size))}
    return found


def _files_to_upload(context: RunContext) -> Iterator[tuple[AttachedFile, str]]:
    """Yield each file to upload once, with its mark."""
    seen = set[str]()
    with context.store.folder(context.run).attachments.open("rb") as lines:
        for line in lines:
            one = AttachedFile(**msgspec.json.decode(line))
            if one.mark is not None and one.mark not in seen:
                seen.add(one.mark)
                yield one, one.mark


def _read_file(context: RunContext, attached: AttachedFile) -> bytes:
    """Return the bytes of a file. Raises FileChanged."""
    reference = FileReference(attached.path, attached.bytes, attached.sha256)
    data = b"".join(read_file(reference, context.spec.root))
    return data if attached.pages is None else _copy_pages(attached, data, attached.pages)


def _copy_pages(attached: AttachedFile, data: bytes, pages: str) -> bytes:
    """Return the selected pages of a file. Raises StateError if another pypdfium2 copies them differently."""
    copied = copy_pages(data, attached.path, pages)
    if make_upload_placeholder(hashlib.sha256(copied).hexdigest(), attached.media_type) != attached.mark:
        raise StateError(
            f"{attached.path}: another version of pypdfium2 was installed after the run was prepared, and copies "
            "pages differently: start over with --new"
        )
    return copied


def _replace_file_ids(context: RunContext, batch: Batch, changes: Mapping[bytes, bytes]) -> None:
    def changed(params: bytes) -> bytes:
        return _FILE_ID.sub(lambda match: changes.get(match[0], match[0]), params)

    split_batch(context, batch, [context.store.row_index.requests_of(batch)], transform=changed)
    context.store.folder(context.run).body(batch.round, batch.batch).unlink(missing_ok=True)
