"""Encode the documents and images of a request in the form of the API."""

import base64
import binascii
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from runner.requests.allowed_files import AllowedFiles
from runner.requests.attachment_limits import detect_allowed_type, measure_attachment
from runner.requests.attachment_totals import AttachmentTotals, RowRejected
from runner.requests.convert_image import convert_image
from runner.requests.pdf import copy_pages
from runner.requests.source_cache import EncodedSource, SourceCache
from runner.requests.stored_params import FileReference, Params, encode_reference, plain_params
from runner.spec.prompt import Block

_MAX_REPORTED = 1_000


class AttachedFile(NamedTuple):
    """A file that rows attach, as it was read; see `input_files.InputFile` for the first five fields.

    `mark` is set for an upload through the Files API: the placeholder of the file's id until the upload. `pages`
    is the selection of the pages to upload, or None for all.
    """

    path: str
    bytes: int
    mtime_ns: int
    sha256: str
    version: str
    mark: str | None = None
    media_type: str = ""
    pages: str | None = None


def encode_attached(file: AttachedFile) -> bytes:
    """Return an attached file as JSON; `pages` is in it only if there is a selection, as in older versions."""
    fields = file._asdict()
    if file.pages is None:
        del fields["pages"]
    return msgspec.json.encode(fields)


def make_upload_placeholder(sha256: str, kind: str) -> str:
    """Return the placeholder for a file's id: equal for equal bytes and kind, and as long as an id."""
    return "upload_" + hashlib.sha256(f"{sha256} {kind}".encode()).hexdigest()[:24]


@dataclass(slots=True)
class AttachmentEncoder:
    """Encoder of the attachments of one spec, with a cache.

    `on_attach` is called for each file inside the allowed folders, usually once.
    """

    allowed_files: AllowedFiles
    on_attach: Callable[[AttachedFile], None]
    _cache: SourceCache = field(default_factory=SourceCache)
    _reported: dict[AttachedFile, None] = field(default_factory=dict)

    def encode(self, block: Block, value: str, pages: str | None, totals: AttachmentTotals) -> Params:
        """Return the JSON of a block's source or, if the block converts images, of one block for each page.

        `value` is its rendered path, URL, base64, id or text, and `pages` its rendered selection of pages.
        Raises RowRejected if it cannot be read, is of the wrong type, or exceeds a limit. Raises InputError if a
        server fails, or a package is missing.
        """
        if not value.strip():
            raise RowRejected(f"{block.given} is empty")
        if block.given == "text":
            encoded = _encode_json({"type": "text", "media_type": "text/plain", "data": value})
            totals.add_text(len(value.encode()))
            return plain_params(encoded)
        if block.given == "path":
            return self._encode_path(block, value.strip("\r\n"), pages, totals)
        value = value.strip()
        if block.given == "base64":
            return _encode_data(block, _decode_base64(value), f"the {block.type}", pages, totals)
        if block.given == "url" and not value.startswith(("https://", "http://")):
            raise RowRejected(f"{value} is no URL that the API reads: https:// is expected")
        totals.add_unopened(block.type)
        source = {"type": "url", "url": value} if block.given == "url" else _file_source(value)
        return plain_params(_encode_json(source))

    def _encode_path(self, block: Block, path: str, pages: str | None, totals: AttachmentTotals) -> Params:
        """Return the JSON of a file, from the cache if possible, and add its totals."""
        settings = (block.type, block.folder, block.upload, block.convert, block.cache, pages)
        key = (settings, totals.has_many_images, path)
        seen = self._cache.find(key)
        if seen is None:
            seen = self._read_source(block, path, pages, AttachmentTotals(has_many_images=totals.has_many_images))
            self._cache.add(key, seen)
        if seen.problem is not None:
            raise RowRejected(seen.problem)
        totals.add(seen.totals)
        return seen.source

    def _report(self, attached: AttachedFile) -> None:
        # A file that was evicted from the cache is read again, but must not be reported again.
        if attached not in self._reported:
            self.on_attach(attached)
            self._reported[attached] = None
            if len(self._reported) > _MAX_REPORTED:
                del self._reported[next(iter(self._reported))]

    def _read_source(self, block: Block, path: str, pages: str | None, totals: AttachmentTotals) -> EncodedSource:
        is_costly = block.convert or pages is not None
        try:
            return EncodedSource(self._encode_file(block, path, pages, totals), totals, is_costly=is_costly)
        except RowRejected as error:
            problem = str(error)
        # If the file changes, its row changes too, so its state is reported. Not inside `except`: an error raised
        # there would have the first one as its context.
        if (file := self.allowed_files.stat_file(block, path)) is not None:
            self._report(AttachedFile(file.path, file.size, file.mtime_ns, "", file.version))
        return EncodedSource(plain_params(b""), totals, problem, is_costly=is_costly)

    def _encode_file(self, block: Block, path: str, pages: str | None, totals: AttachmentTotals) -> Params:
        file, data = self.allowed_files.read_file(block, path)
        sha256 = hashlib.sha256(data).hexdigest()
        if not block.upload:
            reference = FileReference(file.path, len(data), sha256)
            encoded = _encode_data(block, data, path, pages, totals, reference)
            self._report(AttachedFile(file.path, file.size, file.mtime_ns, sha256, file.version))
            return encoded
        data = _select_pages(block, data, path, pages)
        kind = measure_attachment(block, data, path, totals)
        placeholder = make_upload_placeholder(hashlib.sha256(data).hexdigest(), kind)
        whole = AttachedFile(file.path, file.size, file.mtime_ns, sha256, file.version)
        self._report(whole._replace(mark=placeholder, media_type=kind, pages=pages))
        totals.size_adjustment += len(data) if kind == "text/plain" else 0
        return plain_params(_encode_json(_file_source(placeholder)))


def _encode_data(
    block: Block,
    data: bytes,
    name: str,
    pages: str | None,
    totals: AttachmentTotals,
    reference: FileReference | None = None,
) -> Params:
    """Return the JSON of a block with the data itself, and add its totals. Raises RowRejected.

    `reference` stands for the data on disk where they are sent as they are.
    """
    if not block.convert:
        sent = _select_pages(block, data, name, pages)
        kind = measure_attachment(block, sent, name, totals)
        return _encode_inline(sent, kind, totals, reference if sent is data else None)
    kind = detect_allowed_type(block, data, name)
    images = convert_image(data, kind, name, pages=pages, among_many=totals.has_many_images)
    sources = [
        _encode_inline(
            one, measure_attachment(block, one, name, totals), totals, reference if one is data else None
        )
        for one in images
    ]
    return Params(*(_join_images(block, forms) for forms in zip(*sources, strict=True)))


def _join_images(block: Block, sources: Sequence[bytes]) -> bytes:
    """Return the blocks of images from their sources; the last one is marked for the cache."""
    blocks = [b'{"type":"image","source":%b}' % source for source in sources]
    if block.cache is not None:
        mark = _encode_json({"type": "ephemeral", "ttl": block.cache})
        blocks[-1] = blocks[-1][:-1] + b',"cache_control":%b}' % mark
    return b",".join(blocks)


def _select_pages(block: Block, data: bytes, name: str, pages: str | None) -> bytes:
    """Return the part of a document that its block sends. Raises RowRejected."""
    if pages is None:
        return data
    kind = detect_allowed_type(block, data, name)
    if kind != "application/pdf":
        raise RowRejected(
            f"{name} is {kind}, and `pages` selects pages of a PDF: remove it, or leave out this file"
        )
    return copy_pages(data, name, pages)


def _encode_json(source: Mapping[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(source)
    except UnicodeEncodeError as error:
        raise RowRejected("half of a surrogate pair is not text") from error


def _file_source(file_id: str) -> dict[str, str]:
    return {"type": "file", "file_id": file_id}


def _decode_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RowRejected(f"the value of `base64` is not valid base64: {error}") from error


def _encode_inline(data: bytes, kind: str, totals: AttachmentTotals, reference: FileReference | None) -> Params:
    """Return the JSON of a source that contains the data itself; on disk it has the reference, if there is one."""
    if kind == "text/plain":
        return plain_params(_encode_json({"type": "text", "media_type": kind, "data": data.decode()}))
    source, encoded = b'{"type":"base64","media_type":"%b","data":"%b"}', base64.b64encode(data)
    totals.size_adjustment -= len(encoded)
    sent = source % (kind.encode(), encoded)
    return Params(sent, sent if reference is None else source % (kind.encode(), encode_reference(reference)))
