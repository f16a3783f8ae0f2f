"""Params of a request in which every text that is the same for all rows is rendered already."""

import re
import secrets
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from runner.errors import InputError
from runner.requests.params import Placeholder, build_params
from runner.templates.templates import Renderer, Templates


def encode_text(templates: Templates, setting: str, render: Renderer, names: Mapping[str, Any]) -> bytes:
    """Return the JSON of a rendered text. Raises InputError if it is empty or no Unicode."""
    text = render(names)
    if not text or text.isspace():
        raise InputError(
            [templates.spec.problem(setting, f"{setting} renders to empty text, which the API rejects")]
        )
    try:
        return msgspec.json.encode(text)
    except UnicodeEncodeError as error:
        raise InputError(
            [templates.spec.problem(setting, f"{setting} contains half of a surrogate pair")]
        ) from error


class ConstantParams(NamedTuple):
    """Params in which `marker` with the index of a placeholder stands for what is rendered per row."""

    params: dict[str, Any]
    placeholders: list[Placeholder]
    marker: str

    def is_constant(self, part: Any) -> bool:
        """Return whether a part of the params is the same for all rows."""
        return self.marker.encode() not in msgspec.json.encode(part)

    def first_bytes(self, params: dict[str, Any]) -> bytes:
        """Return the JSON of params up to the first placeholder."""
        return msgspec.json.encode(params).partition(b'"%b' % self.marker.encode())[0]

    def split(self, params: dict[str, Any]) -> Iterator[bytes | Placeholder]:
        """Yield the JSON of params in pieces: bytes and placeholders by turns."""
        pieces = re.split(b'"%b(\\d+)"' % self.marker.encode(), msgspec.json.encode(params))
        for index, piece in enumerate(pieces):
            yield self.placeholders[int(piece)] if index % 2 else piece


def render_constants(templates: Templates) -> ConstantParams:
    """Return the params of a spec's requests. Raises InputError."""
    found = ConstantParams({}, [], f"slot-{secrets.token_hex(16)}-")

    def add_placeholder(one: Placeholder) -> str:
        at, written, block = one
        if block is None and templates.is_constant(at, written):
            text = encode_text(templates, at, templates.make_renderer(at, written), templates.variables({}))
            return msgspec.json.decode(text, type=str)
        found.placeholders.append(one)
        return f"{found.marker}{len(found.placeholders) - 1}"

    found.params.update(build_params(templates.spec, add_placeholder))
    return found
