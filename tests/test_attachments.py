"""Documents and images of a row: found by path, URL or bytes, known by their bytes, held to the API's limits."""

import base64
import hashlib
import json
import os
import re
import signal
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pypdfium2
import pytest

from runner import Summary, load_spec, plan, run
from runner.errors import InputError, RunnerError, StateError, UsageError
from runner.lifecycle.prepare.validate import validate_spec
from runner.requests.attachments import make_upload_placeholder
from runner.requests.encode import EncodedRequest, make_request_encoder
from runner.simulator.faults import DropConnection, ErrorResponse
from runner.templates.templates import load_templates
from tests.files import image, pdf
from tests.jobs import SPEC, command, end, kill, paid, records, simulator, start, write_job
from tests.servers import web


def encode_blocks_with(
    root: Path, *blocks: dict[str, Any], source: dict[str, Any] | None = None
) -> Callable[..., EncodedRequest]:
    """The function that encodes a row, by its columns, whose prompt is these blocks."""
    (root / "prompts").mkdir(exist_ok=True)
    spec = {**SPEC, "prompt": {"user": list(blocks)}, "source": source or SPEC["source"]}
    (root / "blocks.yaml").write_text(json.dumps(spec))
    templates = load_templates(load_spec(root / "blocks.yaml"))
    encode = make_request_encoder(templates)
    return lambda **row: encode(templates.variables(row))


def encode_blocks(
    root: Path, *blocks: dict[str, Any], source: dict[str, Any] | None = None, **row: Any
) -> EncodedRequest:
    """What becomes of one row whose prompt is these blocks."""
    return encode_blocks_with(root, *blocks, source=source)(**row)


def sent_blocks(root: Path, *blocks: dict[str, Any], **row: Any) -> list[dict[str, Any]]:
    """The content blocks that are sent for one row."""
    found = encode_blocks(root, *blocks, **row)
    assert found.problem is None
    content: list[dict[str, Any]] = json.loads(found.params)["messages"][0]["content"]
    return content


def blocks_problem(root: Path, *blocks: dict[str, Any], **row: Any) -> str:
    """Why a row cannot be sent."""
    found = encode_blocks(root, *blocks, **row)
    assert (found.params, found.size_adjustment) == (b"", 0)
    return str(found.problem)


PATH_BLOCK = {"type": "document", "path": "{{ path }}"}
IMAGE_BLOCK = {"type": "image", "path": "{{ path }}"}


def test_document_block_has_bytes_and_all_settings(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(pdf(2))
    block = {**PATH_BLOCK, "title": "{{ who }}", "context": "of {{ who }}", "citations": True, "cache": "1h"}
    text = {"type": "text", "text": "{{ who }}?", "cache": "5m"}
    assert sent_blocks(tmp_path, block, text, path="a.bin", who='A"') == [
        {
            "type": "document",
            "source": {
                "type": "base64",
                "media_type": "application/pdf",
                "data": base64.b64encode(pdf(2)).decode(),
            },
            "title": 'A"',
            "context": 'of A"',
            "citations": {"enabled": True},
            "cache_control": {"type": "ephemeral", "ttl": "1h"},
        },
        {"type": "text", "text": 'A"?', "cache_control": {"type": "ephemeral", "ttl": "5m"}},
    ]


@pytest.mark.parametrize(
    ("block", "row", "source"),
    [
        ({"url": "{{ u }}"}, {"u": "https://x.org/a.pdf"}, {"type": "url", "url": "https://x.org/a.pdf"}),
        ({"file_id": "{{ i }}"}, {"i": "file_011"}, {"type": "file", "file_id": "file_011"}),
        ({"text": "{{ t }}"}, {"t": "é\n"}, {"type": "text", "media_type": "text/plain", "data": "é\n"}),
        ({"base64": "{{ b }}"}, {"b": base64.b64encode("é".encode()).decode()},
         {"type": "text", "media_type": "text/plain", "data": "é"}),
    ],
)  # fmt: skip
def test_a_document_can_be_a_url_an_id_a_text_or_bytes(
    tmp_path: Path, block: dict[str, str], row: dict[str, str], source: dict[str, str]
) -> None:
    assert sent_blocks(tmp_path, {"type": "document", **block}, **row) == [{"type": "document", "source": source}]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
def test_image_type_is_detected_from_bytes(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a.pdf").write_bytes(image(kind=kind))
    [block] = sent_blocks(tmp_path, IMAGE_BLOCK, path="a.pdf")
    assert block["source"]["media_type"] == f"image/{kind.lower()}"


def locked(path: Path) -> bytes:
    """A PDF that needs a password: one whose trailer says that it is encrypted."""
    data = pdf()
    secret = b"/Encrypt << /Filter /Standard /V 1 /R 2 /O (%b) /U (%b) /P -4 >> /ID [(a) (a)] " % (
        b"o" * 32,
        b"u" * 32,
    )
    path.write_bytes(data.replace(b"trailer\n<< ", b"trailer\n<< " + secret))
    return path.read_bytes()


def header(width: int, height: int) -> bytes:
    """The beginning of a PNG of this size: all that is looked at."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return start + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))


FILES: dict[str, tuple[dict[str, str], Callable[[], bytes], str]] = {
    "absent": (PATH_BLOCK, bytes, "a cannot be read: No such file or directory"),
    "empty": (PATH_BLOCK, bytes, "a is empty"),
    "an image as a document": (
        PATH_BLOCK,
        image,
        "a is image/png, and a document is a PDF or UTF-8 text: make it a block",
    ),
    "a PDF as an image": (IMAGE_BLOCK, pdf, "a is application/pdf, and an image is png, jpeg, gif or webp"),
    "a damaged PDF": (PATH_BLOCK, lambda: b"%PDF-1.4 and no more", "a is no PDF that can be read"),
    "a damaged image": (IMAGE_BLOCK, lambda: image()[:20], "a is no image that can be read"),
    "no text": (
        PATH_BLOCK,
        lambda: b"\0\1\2",
        "a is application/octet-stream, and a document is a PDF or UTF-8 text",
    ),
    "text that is none in the end": (
        PATH_BLOCK,
        lambda: b"x" * 9000 + b"\xff",
        "a is neither a PDF nor UTF-8 text",
    ),
    "too many pages": (PATH_BLOCK, lambda: pdf(601), "it has 601 pages and images, and 600 is the most"),
    "too wide": (
        IMAGE_BLOCK,
        lambda: image(8001, 1),
        "an image is 8,001 pixels wide or high, and 8,000 is the most",
    ),
    "too many pixels": (IMAGE_BLOCK, lambda: header(20_000, 10_000), "pixels"),
    "prose about PDFs": (IMAGE_BLOCK, lambda: b"as in %PDF-1.7", "a is text/plain, and an image is png"),
    "too large": (IMAGE_BLOCK, lambda: image() + b"\0" * 4_000_000, "a has 4,000,0"),
}


@pytest.mark.parametrize("case", FILES)
def test_unusable_file_is_a_problem_of_its_row(tmp_path: Path, case: str) -> None:
    block, make, words = FILES[case]
    if case != "absent":
        (tmp_path / "a").write_bytes(make())
    assert words in blocks_problem(tmp_path, block, path="a")


def test_a_pdf_with_a_password_is_a_problem_of_its_row(tmp_path: Path) -> None:
    locked(tmp_path / "a")
    with pytest.raises(pypdfium2.PdfiumError, match="password"):
        pypdfium2.PdfDocument(tmp_path / "a")
    assert blocks_problem(tmp_path, PATH_BLOCK, path="a") == "a needs a password"


def test_limits_apply_to_the_whole_request(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(pdf(60))
    (tmp_path / "b").write_bytes(image(2001, 1))
    other = {**PATH_BLOCK, "path": "{{ path }}"}
    assert encode_blocks(tmp_path, *[other] * 10, path="a").problem is None
    assert blocks_problem(tmp_path, *[other] * 11, path="a").startswith("it has 660 pages and images")
    assert encode_blocks(tmp_path, *[IMAGE_BLOCK] * 20, path="b").problem is None
    assert blocks_problem(tmp_path, *[IMAGE_BLOCK] * 21, path="b") == (
        "an image is 2,001 pixels wide or high among 21 images, and 2,000 is the most"
    )


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


def test_document_size_is_estimated_per_page(tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(pdf(2))
    (tmp_path / "large").write_bytes(pdf(2, size=300_000))
    small, large = (encode_blocks(tmp_path, PATH_BLOCK, path=name) for name in ("small", "large"))
    weights = [len(one.params) + one.size_adjustment for one in (small, large)]
    assert weights[0] == weights[1]
    assert 2 * 8000 < weights[0] < 2 * 8000 + 500
    by_url = encode_blocks(tmp_path, {"type": "document", "url": "https://x.org/a"})
    assert by_url.size_adjustment == 20 * 8000


@pytest.fixture
def scans(tmp_path: Path, job: Callable[..., Summary]) -> Path:  # noqa: ARG001 - it writes a job of its own first
    """A project whose rows are five PDFs, of which the second cannot be read and the fourth is too long."""
    (tmp_path / "scans").mkdir()
    for number, data in enumerate((pdf(), b"%PDF-", pdf(3), pdf(700), pdf(2))):
        (tmp_path / "scans" / f"{number}.pdf").write_bytes(data)
    source = {"type": "files", "path": "scans/*.pdf", "key": "name"}
    user = [{**PATH_BLOCK, "title": "{{ name }}"}, {"type": "text", "text": "What is it?"}]
    write_job(tmp_path, source=source, prompt={"user": user}, sinks=[{"type": "jsonl", "path": "out/all.jsonl"}])
    return tmp_path


def test_unsendable_rows_are_rejected_and_the_rest_are_sent(scans: Path, job: Callable[..., Summary]) -> None:
    assert job().outcomes == {"succeeded": 3, "rejected": 2}
    found = {row["key"]: row["error"] for row in records(scans / "out/all.jsonl")}
    assert [key for key, error in found.items() if error is None] == ["0.pdf", "2.pdf", "4.pdf"]
    assert found["3.pdf"]["message"] == "it has 700 pages and images, and 600 is the most"
    assert found["1.pdf"]["message"].startswith("scans/1.pdf is no PDF that can be read")


def test_validate_and_plan_report_unsendable_rows(scans: Path) -> None:
    spec = load_spec(scans / "job.yaml")
    for findings in (validate_spec(spec).findings, plan(spec, offline=True).findings):
        shown = [(found.path, found.rule, found.severity) for found in findings if found.rule == "rejected"]
        assert shown == [("scans/1.pdf", "rejected", "warning"), ("scans/3.pdf", "rejected", "warning")]


def test_plan_estimates_documents_per_page(scans: Path) -> None:
    made = plan(load_spec(scans / "job.yaml"), offline=True)
    assert made.rejected == 2
    # Six pages, of which each is reckoned at 8,000 bytes of text.
    assert 6 * 8000 / 3.1 < made.input_tokens["value"] < 6 * 8000 / 3.1 + 1_200
    simulated = plan(load_spec(scans / "job.yaml"), simulate=True)
    assert simulated.cost["max"] == pytest.approx(made.cost["max"])


def test_only_the_edited_document_is_sent_again(scans: Path, job: Callable[..., Summary]) -> None:
    first = job()
    assert job().run == first.run
    (scans / "scans/0.pdf").write_bytes(pdf(text="Another"))
    second = job()
    assert second.run != first.run
    assert sum(len(records(path)) for path in (scans / "api").glob("msgbatch_*.jsonl")) == 4


def test_simulated_run_rejects_the_same_documents(scans: Path) -> None:
    assert run(load_spec(scans / "job.yaml"), simulate=True).outcomes == {"succeeded": 3, "rejected": 2}


def test_attached_file_counts_as_an_input(tmp_path: Path, job: Callable[..., Summary]) -> None:
    write_job(tmp_path, rows=3, prompt={"user": [{"type": "document", "path": "{{ id }}.txt"}]})
    for number in (1, 2, 3):
        (tmp_path / f"r{number}.txt").write_text(f"text {number}")
    first = job()
    assert job().run == first.run
    (tmp_path / "r2.txt").write_text("edited")
    unfinished = job(wait=False)
    assert unfinished.run != first.run
    (tmp_path / "r3.txt").unlink()
    with pytest.raises(UsageError, match=r"r3\.txt: edited"):
        job()
    assert job(resume=True).outcomes == {"succeeded": 3}
    assert sorted(len(records(path)) for path in (tmp_path / "api").glob("msgbatch_*.jsonl")) == [1, 3]


@pytest.mark.parametrize("size", [2_000, 9_000_000])
def test_file_shared_by_all_rows_is_recorded_once(tmp_path: Path, job: Callable[..., Summary], size: int) -> None:
    (tmp_path / "handbook.txt").write_bytes(pdf(size=size))
    user = [{"type": "document", "path": "handbook.txt"}, {"type": "text", "text": "{{ text }}"}]
    write_job(tmp_path, rows=3, prompt={"user": user})
    assert job().outcomes == {"succeeded": 3}
    [attached] = (tmp_path / ".runner/runs").glob("*/attached.jsonl")
    assert [line["path"] for line in records(attached)] == ["handbook.txt"]


@pytest.mark.parametrize("upload", [True, False])
def test_shared_file_is_read_once_while_memory_allows(tmp_path: Path, upload: bool) -> None:
    for name, size in (("a", 200_000), ("b", 7_000_000), ("c", 7_000_000)):
        (tmp_path / name).write_bytes(pdf(3, size=size))
    encode = encode_blocks_with(tmp_path, {**PATH_BLOCK, "upload": upload})
    first = encode(path="a")
    assert (encode(path="none").params, first.size_adjustment == 3 * 8_000) == (b"", upload)
    (tmp_path / "a").unlink()
    (tmp_path / "none").write_bytes(pdf())
    assert (encode(path="a"), encode(path="none").params) == (first, b"")
    for path in "bcd":
        encode(path=path)
    assert encode(path="a") == (
        first if upload else EncodedRequest(b"", 0, "a cannot be read: No such file or directory")
    )


def test_edited_file_in_a_folder_starts_a_new_run(tmp_path: Path, job: Callable[..., Summary]) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.txt").write_text("one")
    write_job(tmp_path, rows=2, prompt={"user": [{"type": "document", "path": "a.txt", "folder": "docs"}]})
    first = job()
    assert job().run == first.run
    (tmp_path / "docs" / "a.txt").write_text("two")
    assert job().run != first.run


UPLOADED = {**PATH_BLOCK, "upload": True}


@pytest.fixture
def letters(tmp_path: Path, job: Callable[..., Summary]) -> Path:  # noqa: ARG001 - it writes a job of its own first
    """A project whose rows attach three files, two of which hold the same."""
    for number, text in enumerate(("one", "two", "one")):
        (tmp_path / f"{number}.txt").write_text(text)
    source = {"type": "files", "path": "*.txt", "key": "name"}
    user = [UPLOADED, {"type": "text", "text": "{{ name }}?"}]
    batch = {**SPEC["batch"], "max_requests": 2}
    write_job(tmp_path, source=source, prompt={"user": user}, batch=batch)
    return tmp_path


def uploaded(root: Path) -> list[dict[str, Any]]:
    """The files that a simulator was sent."""
    path = root / "api" / "files.jsonl"
    return [one for one in records(path) if one["type"] == "file"] if path.exists() else []


def test_a_file_is_uploaded_once_over_rows_and_runs(letters: Path, job: Callable[..., Summary]) -> None:
    assert job().outcomes == {"succeeded": 3}
    assert sorted((one["filename"], one["mime_type"], one["size_bytes"]) for one in uploaded(letters)) == [
        ("0.txt", "text/plain", 3), ("1.txt", "text/plain", 3)
    ]  # fmt: skip
    (letters / "3.txt").write_text("two")
    assert job().outcomes == {"succeeded": 4}
    (letters / "3.txt").write_text("three")
    assert job().outcomes == {"succeeded": 4}
    assert [one["filename"] for one in uploaded(letters)][2:] == ["3.txt"]
    bodies = b"".join(path.read_bytes() for path in (letters / ".runner/runs").glob("*/bodies/*.json"))
    assert {one["id"].encode() in bodies for one in uploaded(letters)} == {True}
    assert paid(letters / "api") == {("1", 1): 1, ("1", 2): 1, ("1", 3): 1, ("1", 4): 2}


def test_file_deleted_at_the_api_is_uploaded_again(letters: Path, job: Callable[..., Summary]) -> None:
    job()
    with (letters / "api" / "files.jsonl").open("a") as log:
        for one in uploaded(letters):
            log.write(json.dumps({"type": "file_deleted", "id": one["id"]}) + "\n")
    assert job(new=True).outcomes == {"succeeded": 3}
    assert len(uploaded(letters)) == 2, "what was answered needs no file"
    write_job(letters, **{**json.loads((letters / "job.yaml").read_text()), "reuse": False})
    assert job(new=True).outcomes == {"succeeded": 3}
    assert len(uploaded(letters)) == 4


@pytest.mark.parametrize("time", [1, 2])
def test_run_killed_during_upload_resumes(letters: Path, time: int) -> None:
    seen: list[str] = []

    def on(name: str) -> None:
        seen.append(name)
        if name == "uploaded" and seen.count(name) == time:
            kill(process.pid)
            raise DropConnection

    with simulator(letters / "api", on=on) as environ:
        process = start(letters, environ, "run", "job.yaml", "--yes")
        assert end(letters, process).returncode == -9
        assert command(letters, environ, "run", "job.yaml", "--yes").returncode == 0
    assert paid(letters / "api") == {("1", 1): 1, ("1", 2): 1, ("1", 3): 1}
    # What was under way is uploaded again: it costs nothing.
    assert len(uploaded(letters)) <= 2 * 2


@pytest.mark.usefixtures("letters")
def test_failed_upload_is_retried(job: Callable[..., Summary]) -> None:
    seen: list[str] = []

    def on(name: str) -> None:
        seen.append(name)
        if name == "upload" and seen.count(name) < 3:
            raise ErrorResponse(529, "Overloaded")

    assert job(on=on).outcomes == {"succeeded": 3}
    assert seen.count("upload") == 4


def test_file_edited_before_upload_stops_the_run(letters: Path, job: Callable[..., Summary]) -> None:
    seen: list[str] = []

    def on(name: str) -> None:
        seen.append(name)
        if name == "upload" and seen.count(name) < 3:
            (letters / "2.txt").write_text("edited")
            (letters / "1.txt").write_text("edited")
            raise ErrorResponse(529, "Overloaded")

    with pytest.raises(StateError, match=r"1\.txt was edited after the run was prepared"):
        job(on=on)


@pytest.mark.parametrize("mode", ["batch", "sync"])
def test_uploads_work_in_every_send_mode(letters: Path, job: Callable[..., Summary], mode: str) -> None:
    write_job(letters, **{**json.loads((letters / "job.yaml").read_text()), "mode": mode, "canary": 1})
    assert job().outcomes == {"succeeded": 3}
    assert len(uploaded(letters)) == 2
    assert run(load_spec(letters / "job.yaml"), simulate=True).outcomes == {"succeeded": 3}


@pytest.mark.parametrize("kind", ["fifo", "folder", "loop"])
def test_special_file_is_a_problem_of_its_row(tmp_path: Path, kind: str) -> None:
    make = {"fifo": os.mkfifo, "folder": os.mkdir, "loop": lambda path: path.symlink_to("a")}
    make[kind](tmp_path / "a")
    assert re.search("a is no regular file|a cannot be read: ", blocks_problem(tmp_path, PATH_BLOCK, path="a"))


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


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ({"text": " {{ t }} "}, "text is empty"),
        ({"url": "ftp://x/a"}, "ftp://x/a is no URL that the API reads"),
        ({"url": "not a url"}, "not a url is no URL that the API reads"),
        ({"path": "a", "folder": "absent"}, "the folder absent is not there"),
    ],
)
def test_content_the_api_would_reject_is_a_problem_of_its_row(
    tmp_path: Path, block: dict[str, str], words: str
) -> None:
    assert words in blocks_problem(tmp_path, {"type": "document", **block}, t="\n")


def test_file_too_large_for_any_body_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb") as file:
        file.truncate(180_000_000)
    assert blocks_problem(tmp_path, PATH_BLOCK, path="a").startswith(
        "a has 180,000,000 bytes, and 150,000,000 is the most: make it"
    )


def test_pdf_with_a_false_page_count_counts_real_pages(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(pdf(50).replace(b"/Count 50", b"/Count 1 "))
    assert encode_blocks(tmp_path, PATH_BLOCK, path="a").size_adjustment > 48 * 8000


def test_missing_file_is_sent_once_it_appears(scans: Path, job: Callable[..., Summary]) -> None:
    write_job(scans, rows=2, prompt={"user": [{"type": "document", "path": "{{ id }}.txt"}]})
    (scans / "r1.txt").write_text("one")
    first = job()
    assert (first.outcomes, job().run) == ({"succeeded": 1, "rejected": 1}, first.run)
    (scans / "r2.txt").write_text("two")
    assert job().outcomes == {"succeeded": 2}
    (scans / "r1.txt").unlink()
    assert job().outcomes == {"succeeded": 1, "rejected": 1}
    (scans / "r1.txt").write_text("one")
    assert job().outcomes == {"succeeded": 2}
    assert sum(len(records(path)) for path in (scans / "api").glob("msgbatch_*.jsonl")) == 2


def test_missing_url_is_sent_once_it_appears(tmp_path: Path, job: Callable[..., Summary]) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe("/late/r1.txt", b"one")
    user = [{"type": "document", "path": "{{ id }}.txt", "folder": "memory:///late"}]
    write_job(tmp_path, rows=2, prompt={"user": user})
    first = job()
    assert (first.outcomes, job().run) == ({"succeeded": 1, "rejected": 1}, first.run)
    memory.pipe("/late/r2.txt", b"two")
    assert job().outcomes == {"succeeded": 2}
    memory.rm("/late", recursive=True)


def test_unreachable_server_rejects_no_row_and_keeps_outputs(tmp_path: Path, job: Callable[..., Summary]) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "r1.txt").write_text("one")
    with web(tmp_path / "files") as url:
        user = [{"type": "document", "path": "{{ id }}.txt", "folder": url}]
        write_job(tmp_path, rows=2, prompt={"user": user})
        first = job()
        assert (first.outcomes, job().run) == ({"succeeded": 1, "rejected": 1}, first.run)
        written = (tmp_path / "out/all.jsonl").read_bytes()
    for again in ({}, {"new": True}):
        with pytest.raises(InputError, match=rf"{url}/r1\.txt: cannot read: Cannot connect"):
            job(**again)
    assert (tmp_path / "out/all.jsonl").read_bytes() == written
    assert len(list((tmp_path / ".runner/runs").iterdir())) == 1


def test_row_outside_the_project_does_not_block_a_resume(tmp_path: Path, job: Callable[..., Summary]) -> None:
    root = tmp_path / "project"
    (root / "docs").mkdir(parents=True)
    (root / "secret.txt").write_text("secret")
    (root / "docs" / "a.txt").write_text("one")
    source = {"type": "csv", "path": "names.csv", "key": "id"}
    (tmp_path / "names.csv").write_text("id,path\na,a.txt\nb,../secret.txt\n")
    block = {"type": "document", "path": "{{ path }}", "folder": "project/docs"}
    write_job(tmp_path, source=source, prompt={"user": [block]})
    unfinished = job(wait=False)
    assert unfinished.exit_code == 4
    finished = job()
    assert (finished.run, finished.outcomes) == (unfinished.run, {"succeeded": 1, "rejected": 1})
    assert job().run == finished.run


def test_text_that_looks_like_a_file_mark_is_sent_unchanged(letters: Path, job: Callable[..., Summary]) -> None:
    mark = make_upload_placeholder(hashlib.sha256(b"one").hexdigest(), "text/plain")
    for number, text in enumerate((mark, "upload_" + "0" * 24, f'"file_id":"{mark}"')):
        user = [UPLOADED, {"type": "text", "text": f"see {text} in the log"}]
        write_job(letters, **{**json.loads((letters / "job.yaml").read_text()), "prompt": {"user": user}})
        assert job(new=True).outcomes == {"succeeded": 3}
        body = max((letters / ".runner/runs").glob("*/bodies/*.json"), key=lambda path: path.stat().st_mtime_ns)
        params = [one["params"] for one in json.loads(body.read_text())["requests"]]
        assert all(one["messages"][0]["content"][1]["text"] == f"see {text} in the log" for one in params), number


def test_stale_file_ids_are_replaced_before_sending(letters: Path) -> None:
    spec = {**json.loads((letters / "job.yaml").read_text()), "batch": {**SPEC["batch"], "max_requests": 8}}
    write_job(letters, **spec, limits={"max_cost": 0.000001})
    with simulator(letters / "api") as environ:
        assert command(letters, environ, "run", "job.yaml").returncode == 7
        first = uploaded(letters)
        with (letters / "api" / "files.jsonl").open("a") as log:
            log.write("".join(json.dumps({"type": "file_deleted", "id": one["id"]}) + "\n" for one in first))
    write_job(letters, **spec, limits={"max_cost": 5})
    with simulator(letters / "api") as environ:
        assert command(letters, environ, "run", "job.yaml").returncode == 0
    ids = {one["id"] for one in uploaded(letters)} - {one["id"] for one in first}
    body = max(
        (letters / ".runner/runs").glob("*/bodies/*.json"), key=lambda path: path.stat().st_mtime_ns
    ).read_text()
    assert len(first) == len(ids) == 2
    assert all(one in body for one in ids) and not any(one["id"] in body for one in first)


@pytest.mark.parametrize(
    ("status", "words"), [(400, "rejected by the Files API"), (404, "the Files API is not available")]
)
def test_rejected_upload_ends_the_run_with_the_reason(
    letters: Path, job: Callable[..., Summary], status: int, words: str
) -> None:
    def on(name: str) -> None:
        if name == "upload":
            raise ErrorResponse(status, "no")

    (letters / 'a:b?"c.txt').write_text("odd name")
    with pytest.raises(RunnerError, match=words):
        job(on=on)
    assert job().outcomes == {"succeeded": 4}
    assert "a_b__c.txt" in {one["filename"] for one in uploaded(letters)}


def test_missing_upload_does_not_block_other_batches(letters: Path, job: Callable[..., Summary]) -> None:
    (letters / "3.txt").write_text("three")

    def on(name: str) -> None:
        if name == "uploaded":
            (letters / "3.txt").unlink(missing_ok=True)

    with pytest.raises(StateError, match=r"3\.txt can no longer be read: .*restore it, or start over with --new"):
        job(on=on)
    assert sum(paid(letters / "api").values()) == 2
    (letters / "3.txt").write_text("three")
    assert job(resume=True).outcomes == {"succeeded": 4}


def test_uploads_stop_on_sigterm(tmp_path: Path) -> None:
    for number in range(60):
        (tmp_path / f"{number}.txt").write_text(f"text {number}")
    source = {"type": "files", "path": "*.txt", "key": "name"}
    write_job(tmp_path, source=source, prompt={"user": [UPLOADED]}, batch={**SPEC["batch"], "max_requests": 100})
    seen: list[str] = []

    def on(name: str) -> None:
        seen.append(name)
        if name == "uploaded":
            if seen.count(name) == 1:
                os.kill(process.pid, signal.SIGTERM)
            time.sleep(0.3)

    with simulator(tmp_path / "api", on=on) as environ:
        process = start(tmp_path, environ, "run", "job.yaml", "--yes")
        assert end(tmp_path, process).returncode == 143
    assert 0 < len(uploaded(tmp_path)) < 40
    with simulator(tmp_path / "api") as environ:
        assert command(tmp_path, environ, "run", "job.yaml", "--yes").returncode == 0
    assert len(uploaded(tmp_path)) == 60


def test_purge_deletes_uploaded_files(letters: Path) -> None:
    with simulator(letters / "api") as environ:
        assert command(letters, environ, "run", "job.yaml", "--yes").returncode == 0
        assert command(letters, environ, "purge", "job.yaml", "--remote", "--yes").returncode == 0
    deleted = {one["id"] for one in records(letters / "api/files.jsonl") if one["type"] == "file_deleted"}
    assert deleted == {one["id"] for one in uploaded(letters)}
