"""Files are uploaded once, and again if they are gone."""

import hashlib
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner import Summary, load_spec, run
from runner.errors import RunnerError, StateError
from runner.requests.attachments import make_upload_placeholder
from runner.requests.pdf import copy_pages
from runner.simulator.responses import DropConnection, ErrorResponse
from tests.support.files import pdf
from tests.support.outputs import records
from tests.support.processes import command, end, kill, start
from tests.support.projects import SPEC, write_job
from tests.support.prompts import PATH_BLOCK
from tests.support.simulator import paid, simulator

UPLOADED = {**PATH_BLOCK, "upload": True}


@pytest.fixture
def letters(tmp_path: Path, run_job: Callable[..., Summary]) -> Path:  # noqa: ARG001 - it writes a job of its own first
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


def test_a_file_is_uploaded_once_over_rows_and_runs(letters: Path, run_job: Callable[..., Summary]) -> None:
    assert run_job().outcomes == {"succeeded": 3}
    assert sorted((one["filename"], one["mime_type"], one["size_bytes"]) for one in uploaded(letters)) == [
        ("0.txt", "text/plain", 3), ("1.txt", "text/plain", 3)
    ]  # fmt: skip
    (letters / "3.txt").write_text("two")
    assert run_job().outcomes == {"succeeded": 4}
    (letters / "3.txt").write_text("three")
    assert run_job().outcomes == {"succeeded": 4}
    assert [one["filename"] for one in uploaded(letters)][2:] == ["3.txt"]
    bodies = b"".join(path.read_bytes() for path in (letters / ".runner/runs").glob("*/bodies/*.json"))
    assert {one["id"].encode() in bodies for one in uploaded(letters)} == {True}
    assert paid(letters / "api") == {("1", 1): 1, ("1", 2): 1, ("1", 3): 1, ("1", 4): 2}


def test_file_deleted_at_the_api_is_uploaded_again(letters: Path, run_job: Callable[..., Summary]) -> None:
    run_job()
    with (letters / "api" / "files.jsonl").open("a") as log:
        for one in uploaded(letters):
            log.write(json.dumps({"type": "file_deleted", "id": one["id"]}) + "\n")
    assert run_job(new=True).outcomes == {"succeeded": 3}
    assert len(uploaded(letters)) == 2, "what was answered needs no file"
    write_job(letters, **{**json.loads((letters / "job.yaml").read_text()), "reuse": False})
    assert run_job(new=True).outcomes == {"succeeded": 3}
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
    # An interrupted upload is repeated: it costs nothing.
    assert len(uploaded(letters)) <= 2 * 2


@pytest.mark.usefixtures("letters")
def test_failed_upload_is_retried(run_job: Callable[..., Summary]) -> None:
    seen: list[str] = []

    def on(name: str) -> None:
        seen.append(name)
        if name == "upload" and seen.count(name) < 3:
            raise ErrorResponse(529, "NotAccepted")

    assert run_job(on=on).outcomes == {"succeeded": 3}
    assert seen.count("upload") == 4


def test_file_edited_before_upload_stops_the_run(letters: Path, run_job: Callable[..., Summary]) -> None:
    seen: list[str] = []

    def on(name: str) -> None:
        seen.append(name)
        if name == "upload" and seen.count(name) < 3:
            (letters / "2.txt").write_text("edited")
            (letters / "1.txt").write_text("edited")
            raise ErrorResponse(529, "NotAccepted")

    with pytest.raises(StateError, match=r"1\.txt was edited after the run was prepared"):
        run_job(on=on)


@pytest.mark.parametrize("mode", ["batch", "sync"])
def test_uploads_work_in_every_send_mode(letters: Path, run_job: Callable[..., Summary], mode: str) -> None:
    write_job(letters, **{**json.loads((letters / "job.yaml").read_text()), "mode": mode, "canary": 1})
    assert run_job().outcomes == {"succeeded": 3}
    assert len(uploaded(letters)) == 2
    assert run(load_spec(letters / "job.yaml"), simulate=True).outcomes == {"succeeded": 3}


def test_text_that_looks_like_a_file_mark_is_sent_unchanged(
    letters: Path, run_job: Callable[..., Summary]
) -> None:
    mark = make_upload_placeholder(hashlib.sha256(b"one").hexdigest(), "text/plain")
    for number, text in enumerate((mark, "upload_" + "0" * 24, f'"file_id":"{mark}"')):
        user = [UPLOADED, {"type": "text", "text": f"see {text} in the log"}]
        write_job(letters, **{**json.loads((letters / "job.yaml").read_text()), "prompt": {"user": user}})
        assert run_job(new=True).outcomes == {"succeeded": 3}
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
    letters: Path, run_job: Callable[..., Summary], status: int, words: str
) -> None:
    def on(name: str) -> None:
        if name == "upload":
            raise ErrorResponse(status, "no")

    (letters / 'a:b?"c.txt').write_text("odd name")
    with pytest.raises(RunnerError, match=words):
        run_job(on=on)
    assert run_job().outcomes == {"succeeded": 4}
    assert "a_b__c.txt" in {one["filename"] for one in uploaded(letters)}


def test_missing_upload_does_not_block_other_batches(letters: Path, run_job: Callable[..., Summary]) -> None:
    (letters / "3.txt").write_text("three")

    def on(name: str) -> None:
        if name == "uploaded":
            (letters / "3.txt").unlink(missing_ok=True)

    with pytest.raises(StateError, match=r"3\.txt can no longer be read: .*restore it, or start over with --new"):
        run_job(on=on)
    assert sum(paid(letters / "api").values()) == 2
    (letters / "3.txt").write_text("three")
    assert run_job(resume=True).outcomes == {"succeeded": 4}


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


def test_selected_pages_are_uploaded_once_for_all_rows(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    (tmp_path / "a.pdf").write_bytes(pdf(9, size=60_000))
    pages = {"pages": "{{ '1-2' if row.id[1:] | int is odd else '9' }}"}
    user = [{**UPLOADED, "path": "a.pdf", **pages}, {"type": "text", "text": "{{ text }}"}]
    write_job(tmp_path, rows=6, prompt={"user": user})
    assert run_job().outcomes == {"succeeded": 6}
    assert [one["filename"] for one in uploaded(tmp_path)] == ["a.pdf", "a.pdf"]
    assert sorted(one["size_bytes"] for one in uploaded(tmp_path)) == sorted(
        len(copy_pages(pdf(9, size=60_000), "a.pdf", selected)) for selected in ("1-2", "9")
    )
    assert run(load_spec(tmp_path / "job.yaml"), simulate=True).outcomes == {"succeeded": 6}
