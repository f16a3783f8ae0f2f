"""Encode each row as the bytes of one request.

Everything that is the same for all rows is encoded once. Only the rendered texts are encoded per row.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from runner.requests.allowed_files import AllowedFiles
from runner.requests.attachment_limits import check_attachment_limits
from runner.requests.attachment_totals import (
    AttachedCounts,
    AttachmentTotals,
    RowRejected,
    attachment_limits,
)
from runner.requests.attachments import AttachedFile, AttachmentEncoder
from runner.requests.constant_params import encode_text, render_constants
from runner.requests.params import Placeholder
from runner.requests.stored_params import Params, plain_params
from runner.templates.templates import Renderer, Templates


class _Slot(NamedTuple):
    """A placeholder with the renderers of its template and of the pages that its block selects, if it does."""

    placeholder: Placeholder
    render: Renderer
    render_pages: Renderer | None


_Part = bytes | _Slot


class EncodedRequest(NamedTuple):
    """The JSON of one row's `params`, or the problem that prevents it.

    `size_adjustment` corrects the byte length of the params for attachments, whose token count does not follow
    from their size. It can be negative. `attached` counts them.
    """

    params: Params
    size_adjustment: int = 0
    problem: str | None = None
    attached: AttachedCounts | None = None


RequestEncoder = Callable[[Mapping[str, Any]], EncodedRequest]
"""A function that encodes the request of one row from the names of its templates."""


def _encode_slot(
    templates: Templates,
    attachments: AttachmentEncoder,
    slot: _Slot,
    names: Mapping[str, Any],
    totals: AttachmentTotals,
) -> Params:
    """Return the JSON that replaces a placeholder. Raises InputError and RowRejected."""
    at, _, block = slot.placeholder
    if block is None:
        return plain_params(encode_text(templates, at, slot.render, names))
    pages = None if slot.render_pages is None else slot.render_pages(names).strip()
    return attachments.encode(block, slot.render(names), pages, totals)


def _ignore_attachment(_: AttachedFile) -> None:
    """Ignore attached files: the default for `on_attach`."""


def _render_constant_parts(templates: Templates) -> list[_Part]:
    """Return the parts of a request: bytes that are the same for all rows, and placeholders with their renderer.

    Raises InputError.
    """
    constant = render_constants(templates)
    return [
        piece if isinstance(piece, bytes) else _make_slot(templates, piece)
        for piece in constant.split(constant.params)
    ]


def _make_slot(templates: Templates, placeholder: Placeholder) -> _Slot:
    at, written, block = placeholder
    render_pages = None
    if block is not None and block.pages is not None:
        render_pages = templates.make_renderer(f"{at.rpartition('.')[0]}.pages", block.pages)
    return _Slot(placeholder, templates.make_renderer(at, written), render_pages)


def make_request_encoder(
    templates: Templates, on_attach: Callable[[AttachedFile], None] = _ignore_attachment
) -> RequestEncoder:
    """Return the function that encodes the request of one row from its names (see `Templates.variables`).

    Building it renders the templates that are the same for all rows. Raises InputError, as does each call.
    `on_attach` is called with the files that requests attach.
    """
    parts = _render_constant_parts(templates)
    if any(isinstance(part, _Slot) and part.placeholder[2] is not None for part in parts):
        return _make_attachment_encoder(templates, parts, on_attach)

    def encode(names: Mapping[str, Any]) -> EncodedRequest:
        pieces = [
            part if isinstance(part, bytes) else encode_text(templates, part.placeholder[0], part.render, names)
            for part in parts
        ]
        return EncodedRequest(plain_params(b"".join(pieces)))

    return encode


def _make_attachment_encoder(
    templates: Templates,
    parts: list[_Part],
    on_attach: Callable[[AttachedFile], None],
) -> RequestEncoder:
    """Return the function that encodes requests with documents or images."""
    attachments = AttachmentEncoder(AllowedFiles(templates.spec), on_attach)
    converts = any(block.convert for block in templates.spec.prompt.blocks())

    def render(names: Mapping[str, Any], totals: AttachmentTotals) -> Params:
        pieces = [
            plain_params(part)
            if isinstance(part, bytes)
            else _encode_slot(templates, attachments, part, names, totals)
            for part in parts
        ]
        return Params(*map(b"".join, zip(*pieces, strict=True)))

    def encode(names: Mapping[str, Any]) -> EncodedRequest:
        totals = AttachmentTotals()
        try:
            params = render(names, totals)
            if converts and _are_images_too_large(totals):
                totals = AttachmentTotals(has_many_images=True)
                params = render(names, totals)
            check_attachment_limits(templates.spec, totals)
        except RowRejected as error:
            return EncodedRequest(plain_params(b""), problem=str(error))
        return EncodedRequest(params, totals.size_adjustment, attached=totals.counts)

    return encode


def _are_images_too_large(totals: AttachmentTotals) -> bool:
    """Return whether images are too large only because the request has many."""
    limits, sides = attachment_limits(), totals.image_sides
    return len(sides) > limits.many and max(sides) > limits.side_of_many
