"""Small pictures of what a row has attached: its images, and the first pages of its PDFs."""

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from runner.errors import FileChanged
from runner.lifecycle.deliver.row_results import RequestFinder, RowResult
from runner.report.page.rows import Drawing
from runner.requests.attachment_totals import RowRejected
from runner.requests.pdf import open_pdf, render_page
from runner.requests.stored_params import restore_params
from runner.requests.whole_image import open_image
from runner.runs.project import find_state_root
from runner.store.run_folder import FileSlices
from runner.store.store import Store

if TYPE_CHECKING:
    from PIL import Image

_SIDE, _QUALITY, _MAX_PICTURES = 240, 60, 4
_PDF = "application/pdf"
_NEVER_SENT = ("rejected", "canceled")
_CHANGED = "a file has changed since it was sent, or is gone"
_UNREADABLE = "a file cannot be drawn"
_UNKNOWN = "the run that sent them was purged, or they failed in an earlier run"
_MANY = f"only the first {_MAX_PICTURES} pictures of a row are shown"


class _Source(msgspec.Struct):
    type: str
    data: str = ""
    media_type: str = ""


class _Block(msgspec.Struct):
    type: str
    source: Any = None


class _Message(msgspec.Struct):
    content: Any


class _Params(msgspec.Struct):
    messages: list[_Message]


@dataclass(frozen=True, slots=True)
class Thumbnailer:
    """Draws what rows of a run have attached."""

    store: Store
    files: FileSlices
    requests: RequestFinder

    def draw(self, found: RowResult) -> Drawing:
        """Return at most four pictures of a row; none if a file is no longer as it was sent."""
        place = self.requests.find(found)
        if place is None:
            is_sent = found.outcome is not None and found.outcome.outcome not in _NEVER_SENT
            return Drawing(missing=_UNKNOWN if is_sent else None)
        sender, round, batch, offset, length = place
        stored = self.files.read(self.store.folder(sender).body(round, batch), offset, length)
        try:
            params = msgspec.json.decode(
                restore_params(stored, find_state_root(self.store.path)).sent, type=_Params
            )
        except FileChanged:
            return Drawing(missing=_CHANGED)
        except ValueError:
            return Drawing(missing=_UNREADABLE)
        return _draw_params(params)


def _draw_params(params: _Params) -> Drawing:
    pictures, missing = list[str](), None
    for source in _list_sources(params):
        if len(pictures) == _MAX_PICTURES:
            return Drawing(pictures, _MANY)
        try:
            pictures.append(_draw(base64.b64decode(source.data), source.media_type))
        except RowRejected:
            missing = _UNREADABLE
    return Drawing(pictures, missing)


def _list_sources(params: _Params) -> Iterator[_Source]:
    for message in params.messages:
        for block in message.content if isinstance(message.content, list) else ():
            if (source := _read_source(block)) is not None:
                yield source


def _read_source(block: Any) -> _Source | None:
    """Return the data of an image or a document in a request; None for any other block."""
    try:
        source = msgspec.convert(msgspec.convert(block, _Block).source, _Source)
    except msgspec.ValidationError:
        return None
    return source if source.type == "base64" else None


def _draw(data: bytes, kind: str) -> str:
    """Return a small picture as a data URL. Raises RowRejected for data that cannot be drawn."""
    if kind == _PDF:
        with open_pdf(data, "the file") as document:
            return _encode(render_page(document, 0, "the file", _SIDE))
    with open_image(data, kind, "the file") as image:
        image.thumbnail((_SIDE, _SIDE))
        return _encode(image)


def _encode(image: "Image.Image") -> str:
    file = io.BytesIO()
    image.convert("RGB").save(file, "jpeg", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
