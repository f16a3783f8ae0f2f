"""Params on disk have references to files, and what is sent has their data, or the file has changed."""

import base64
import hashlib
import json
import os
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.errors import FileChanged
from runner.requests.stored_params import (
    FileReference,
    Params,
    StoredBody,
    encode_reference,
    outline_params,
    plain_params,
    replace_sent,
    restore_params,
)

FILES = st.lists(st.binary(max_size=400), max_size=4, unique_by=len)


def reference(root: Path, name: str, data: bytes) -> FileReference:
    """Write a file and return the reference to it."""
    (root / name).write_bytes(data)
    return FileReference(name, len(data), hashlib.sha256(data).hexdigest())


def made_params(root: Path, text: str, *contents: bytes) -> Params:
    """Params with a text and the data of these files."""
    sent, stored = [json.dumps(text).encode()], [json.dumps(text).encode()]
    for data in contents:
        sent.append(b'"%b"' % base64.b64encode(data))
        stored.append(b'"%b"' % encode_reference(reference(root, f"é {len(data)}", data)))
    return Params(b'{"parts":[%b]}' % b",".join(sent), b'{"parts":[%b]}' % b",".join(stored))


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=40), FILES, st.text(max_size=10))
def test_stored_params_give_what_is_sent(text: str, contents: list[bytes], other: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        params = made_params(Path(name), text, *contents)
        assert restore_params(params.stored, Path(name)) == params
        edited = params.sent[:-2] + b",%b]}" % json.dumps(other).encode()
        again = replace_sent(params, edited)
        assert restore_params(again.stored, Path(name)) == again == Params(edited, again.stored)
        assert all(base64.b64encode(data) not in again.stored for data in contents if len(data) > 200)


def test_body_is_the_same_wherever_its_blocks_end(tmp_path: Path) -> None:
    for size in (0, 1, 1 << 18, 200_000):
        few = [made_params(tmp_path, "x" * size, os.urandom(1_000_001), b"ab")] * 2
        many = [made_params(tmp_path, "y", b"ab")] * 9_000
        for made in ([*few, *many], [plain_params(b"[1]")] * 3):
            (tmp_path / "body").write_bytes(b"\n".join(one.stored for one in made))
            sent = b"\n".join(restore_params(one.stored, tmp_path).sent for one in made)
            body = StoredBody(tmp_path / "body", tmp_path)
            assert b"".join(body) == b"".join(body) == sent
            assert body.is_intact(hashlib.sha256(sent).hexdigest())


def replace_by(make: Callable[[], None], path: Path) -> None:
    path.unlink()
    make()


CHANGES: dict[str, Callable[[Path], Any]] = {
    "edited": lambda path: path.write_bytes(b"other"),
    "longer": lambda path: path.write_bytes(b"bytes and more"),
    "shorter": lambda path: path.write_bytes(b"b"),
    "gone": lambda path: path.unlink(),
    "a folder": lambda path: replace_by(path.mkdir, path),
    "a pipe": lambda path: replace_by(lambda: os.mkfifo(path), path),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_file_is_named(tmp_path: Path, change: str) -> None:
    params = made_params(tmp_path, "text", b"bytes")
    CHANGES[change](tmp_path / "é 5")
    with pytest.raises(FileChanged, match=r"^é 5 .*[:;] restore it, or start over with --new$"):
        restore_params(params.stored, tmp_path)
    shown = json.loads(outline_params(params.stored))
    assert shown == {"parts": ["text", "5 bytes of é 5"]}


def test_file_of_a_server_that_is_down_is_not_to_be_restored(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        url = f"http://127.0.0.1:{probe.getsockname()[1]}/a.pdf"
    with pytest.raises(FileChanged, match=r"/a\.pdf cannot be read now: .*; run the same command again"):
        restore_params(encode_reference(FileReference(url, 5, "")), tmp_path)


@pytest.mark.parametrize("cut", [1, 2, 10, 40])
def test_body_that_was_cut_off_is_damaged(tmp_path: Path, cut: int) -> None:
    stored = made_params(tmp_path, "text", b"bytes").stored
    (tmp_path / "body").write_bytes(stored[: stored.rindex(b"\0") - cut + 1])
    with pytest.raises(ValueError, match="cut off"):
        list(StoredBody(tmp_path / "body", tmp_path))
