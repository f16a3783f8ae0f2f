"""Attached files come only from allowed folders and URLs."""

import os
from pathlib import Path

import fsspec
import pytest

from tests.support.files import pdf
from tests.support.prompts import PATH_BLOCK, blocks_problem, sent_blocks
from tests.support.servers import web


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("../secret", "../secret leads out of "),
        ("/etc/passwd", "/etc/passwd leads out of "),
        ("link", "link leads out of "),
        ("https://169.254.169.254/x", "is not below `folder`"),
        ("file:///etc/passwd", "is not below `folder`"),
        ("a\0b", "is no path"),
        (" ", "path is empty"),
        ("x" * 300, "cannot be read"),
    ],
)
def test_row_cannot_reach_a_file_outside_the_project(tmp_path: Path, path: str, words: str) -> None:
    root = tmp_path / "project"
    root.mkdir()
    (tmp_path / "secret").write_text("secret")
    (root / "link").symlink_to(tmp_path / "secret")
    assert words in blocks_problem(root, PATH_BLOCK, path=path)


def test_link_to_a_name_that_is_not_utf8_rejects_its_row(tmp_path: Path) -> None:
    target = os.fsencode(tmp_path / "scans") + b"\xff"
    Path(os.fsdecode(target)).write_bytes(pdf())
    (tmp_path / "link").symlink_to(os.fsdecode(target))
    assert r"'scans\udcff' is no path in UTF-8" in blocks_problem(tmp_path, PATH_BLOCK, path="link")


def test_folder_setting_allows_files_in_that_folder(tmp_path: Path) -> None:
    root, scans = tmp_path / "project", tmp_path / "scans"
    root.mkdir()
    scans.mkdir()
    (scans / "a").write_bytes(pdf())
    block = {**PATH_BLOCK, "folder": str(scans)}
    for path in ("a", str(scans / "a")):
        assert sent_blocks(root, block, path=path)[0]["source"]["media_type"] == "application/pdf"
    assert "leads out of" in blocks_problem(root, block, path="../project/blocks.yaml")
    source = {"type": "files", "path": f"{scans}/*"}
    assert sent_blocks(root, PATH_BLOCK, source=source, path=str(scans / "a"))[0]["type"] == "document"


def test_url_is_sent_only_below_the_folder_or_the_source(tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe("/scans/a.pdf", pdf())
    for own in ({"folder": "memory:///scans"}, {"source": {"type": "files", "path": "memory:///scans/*.pdf"}}):
        block = {**PATH_BLOCK, **({"folder": own["folder"]} if "folder" in own else {})}
        row = {"path": "memory:///scans/a.pdf", **({"source": own["source"]} if "source" in own else {})}
        assert sent_blocks(tmp_path, block, **row)[0]["source"]["type"] == "base64"
        for path in ("memory:///other/a.pdf", "memory:///scans/../other", "memory:///scansmore/a"):
            assert "is not below `folder`" in blocks_problem(tmp_path, block, **{**row, "path": path})
    memory.rm("/scans", recursive=True)


@pytest.mark.parametrize(
    "way", ["%2e%2e/secret", ".%2e/secret", "..%2fsecret", "%252e%252e/secret", "..", "..?x", "a/../b"]
)
def test_row_cannot_reach_a_url_outside_the_folder(tmp_path: Path, way: str) -> None:
    block = {**PATH_BLOCK, "folder": "http://127.0.0.1:9/files"}
    for path in (f"http://127.0.0.1:9/files/{way}", way):
        assert "is not below `folder`" in blocks_problem(tmp_path, block, path=path)
    for folder in (f"file://{tmp_path}", f"local://{tmp_path}"):
        assert "is not below `folder`" in blocks_problem(
            tmp_path, {**PATH_BLOCK, "folder": folder}, path="blocks.yaml"
        )


def test_redirect_cannot_leave_the_folder(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    with web(tmp_path) as url:
        block = {**PATH_BLOCK, "folder": url}
        assert sent_blocks(tmp_path, block, path="secret.txt")[0]["source"]["data"] == "secret"
        assert blocks_problem(tmp_path, {**PATH_BLOCK, "folder": f"{url}/to"}, path="secret.txt")


def test_double_colon_cannot_reach_another_file_system(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    way = f"x::file://{tmp_path}/secret.txt"
    assert blocks_problem(tmp_path, {**PATH_BLOCK, "folder": "memory:///scans"}, path=way).endswith("no such file")


def test_path_invalid_in_a_url_is_a_problem_of_its_row(tmp_path: Path) -> None:
    with web(tmp_path) as url:
        assert blocks_problem(tmp_path, {**PATH_BLOCK, "folder": url}, path="a" * 70_000).endswith(
            "is too long for a URL"
        )


def test_a_path_is_relative_to_a_folder_that_is_a_url(tmp_path: Path) -> None:
    fsspec.filesystem("memory").pipe("/scans/a b.pdf", pdf())
    block = {**PATH_BLOCK, "folder": "memory:///scans"}
    assert sent_blocks(tmp_path, block, path="a b.pdf")[0]["source"]["type"] == "base64"
