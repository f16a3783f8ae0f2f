"""Bodies on disk have references to attached files; a file that changes stops its batch alone."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any

import pytest

from runner import Summary
from runner.errors import FileChanged, StateError
from runner.lifecycle.maintain.doctor import diagnose_state
from runner.lifecycle.maintain.show import RowChoice, show_rows
from runner.runs.find import find_run
from tests.support.files import image, pdf
from tests.support.outputs import records
from tests.support.projects import SPEC, write_job
from tests.support.prompts import PATH_BLOCK
from tests.support.simulator import answered, paid

SIZE = 200_000
DATA = [pdf(1, size=SIZE, text=f"Invoice {number}") for number in range(4)]


@pytest.fixture
def invoices(tmp_path: Path, run_job: Callable[..., Summary]) -> Path:  # noqa: ARG001 - it writes a job of its own first
    """A project with four documents, of which each is a batch of its own."""
    (tmp_path / "scans").mkdir()
    for number, data in enumerate(DATA):
        (tmp_path / "scans" / f"{number}.pdf").write_bytes(data)
    write_invoices(tmp_path)
    return tmp_path


def write_invoices(root: Path, **changes: Any) -> None:
    source = {"type": "files", "path": "scans/*.pdf", "key": "name"}
    user = [PATH_BLOCK, {"type": "text", "text": "{{ name }}?"}]
    batch = {**SPEC["batch"], "max_requests": 1}
    write_job(
        root, **{"source": source, "prompt": {"user": user}, "batch": batch, "retry": {"attempts": 3}, **changes}
    )


def stored_bytes(root: Path) -> int:
    """The size of all bodies on disk."""
    return sum(path.stat().st_size for path in root.glob(".runner/runs/*/bodies/*.json"))


def document(params: bytes) -> bytes:
    """The document in the params of a request."""
    return base64.b64decode(json.loads(params)["messages"][0]["content"][0]["source"]["data"])


def edit_at_first_create(root: Path, data: bytes | None) -> Callable[[str], None]:
    """A callback of the simulator that edits or removes the last document when the first batch arrives."""

    def on(moment: str) -> None:
        if moment == "create":
            path = root / "scans/3.pdf"
            path.unlink(missing_ok=True) if data is None else path.write_bytes(data)

    return on


def test_documents_are_sent_but_not_stored(invoices: Path, run_job: Callable[..., Summary]) -> None:
    sent: list[bytes] = []

    def note(params: bytes, usage: dict[str, Any]) -> dict[str, Any]:
        sent.append(document(params))
        return usage

    assert run_job(usage=note).outcomes == {"succeeded": 4}
    assert stored_bytes(invoices) < 4_000
    assert sorted(set(sent)) == sorted(DATA)


@pytest.mark.parametrize("data", [DATA[0], pdf(2), None], ids=["same size", "another size", "gone"])
def test_changed_document_stops_its_batch_alone(
    invoices: Path, run_job: Callable[..., Summary], data: bytes | None
) -> None:
    with pytest.raises(FileChanged, match=r"^scans/3\.pdf .* restore it, or start over with --new"):
        run_job(on=edit_at_first_create(invoices, data))
    assert sum(paid(invoices / "api").values()) == 3
    [output] = (invoices / "out").glob("*.jsonl")
    assert [row["key"] for row in records(output)] == ["0.pdf", "1.pdf", "2.pdf"]
    (invoices / "scans/3.pdf").write_bytes(DATA[3])
    assert run_job().outcomes == {"succeeded": 4}
    assert set(paid(invoices / "api").values()) == {1}


def test_rows_sent_again_keep_their_references(invoices: Path, run_job: Callable[..., Summary]) -> None:
    write_invoices(invoices, retry={"attempts": 2, "on": ["invalid"], "repair": True})
    assert run_job(mix=lambda _: "invalid").outcomes == {"invalid": 4}
    assert len(paid(invoices / "api")) == 8
    assert stored_bytes(invoices) < 20_000


def errored_first(id: str) -> str:
    """The outcome of a request: an error in the first round."""
    return "errored" if id.split("-")[1] == "1" else "succeeded"


def edit_at_download(root: Path) -> Callable[[str], None]:
    """A callback of the simulator that edits the last document when results are read."""

    def on(moment: str) -> None:
        if moment == "results":
            (root / "scans/3.pdf").write_bytes(DATA[0])

    return on


def test_changed_document_is_left_out_of_the_next_round(invoices: Path, run_job: Callable[..., Summary]) -> None:
    lines: list[str] = []
    with pytest.raises(FileChanged, match=r"^scans/3\.pdf was edited"):
        run_job(
            mix=errored_first, on=edit_at_download(invoices), on_event=lambda event: lines.append(event.message)
        )
    assert any("1 row cannot be sent again: scans/3.pdf was edited" in line for line in lines)
    assert [row["outcome"] for row in records(invoices / "out/all.jsonl")] == [*["succeeded"] * 3, "errored"]
    (invoices / "scans/3.pdf").write_bytes(DATA[3])
    assert run_job().outcomes == {"succeeded": 4}
    assert sum(paid(invoices / "api").values()) == 8


def test_changed_document_is_not_sent_synchronously(invoices: Path, run_job: Callable[..., Summary]) -> None:
    write_invoices(invoices, mode="sync", sync={"concurrency": 1})

    def edit(_: str) -> None:
        (invoices / "scans/3.pdf").write_bytes(DATA[0])

    with pytest.raises(FileChanged, match=r"^scans/3\.pdf was edited"):
        run_job(on=edit)
    (invoices / "scans/3.pdf").write_bytes(DATA[3])
    assert run_job().outcomes == {"succeeded": 4}
    assert len(answered(invoices / "api")) == 4


def test_damaged_body_loses_no_answer_in_flight(invoices: Path, run_job: Callable[..., Summary]) -> None:
    batch = {**SPEC["batch"], "max_requests": 4}
    write_invoices(invoices, mode="sync", sync={"concurrency": 2}, batch=batch)

    lock, damaged = Lock(), list[Path]()

    def damage(moment: str) -> None:
        with lock:
            if moment == "message" and not damaged:
                [body] = invoices.glob(".runner/runs/*/bodies/1-1.json")
                first, _, last = body.read_bytes().rpartition(b"\0{")
                body.write_bytes(first + b" {" + last)
                damaged.append(body)

    with pytest.raises(StateError, match=r"1-1\.json is damaged: a reference to a file is cut off"):
        run_job(on=damage)
    [results] = invoices.glob(".runner/runs/*/results/1-1.jsonl")
    assert len(records(results)) == len(answered(invoices / "api")) >= 2


def test_damaged_body_is_named_when_it_is_split(invoices: Path, run_job: Callable[..., Summary]) -> None:
    write_invoices(invoices, batch={**SPEC["batch"], "max_requests": 4})

    def damage(moment: str) -> None:
        if moment == "create":
            [body] = invoices.glob(".runner/runs/*/bodies/1-1.json")
            body.write_bytes(body.read_bytes().replace(b"\0{", b" {"))

    with pytest.raises(StateError, match=r"1-1\.json was changed after it was written"):
        run_job(on=damage, faults=["refuse:9"])
    assert paid(invoices / "api") == {}


def test_show_and_doctor_read_the_documents_again(
    invoices: Path, run_job: Callable[..., Summary], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(invoices)
    summary = run_job(wait=False)
    [shown] = show_rows(find_run(summary.run), RowChoice(key="3.pdf"), has_request=True)
    content = json.loads(bytes(shown["request"]))["messages"][0]["content"]
    assert base64.b64decode(content[0]["source"]["data"]) == DATA[3]
    assert diagnose_state().findings == []
    (invoices / "scans/3.pdf").write_bytes(DATA[0])
    [shown] = show_rows(find_run(summary.run), RowChoice(key="3.pdf"), has_request=True)
    content = json.loads(bytes(shown["request"]))["messages"][0]["content"]
    assert content[0]["source"]["data"] == f"{len(DATA[3]):,} bytes of scans/3.pdf"
    [found] = diagnose_state().findings
    assert "batch 4: cannot be sent again: scans/3.pdf was edited" in found
    [body] = invoices.glob(".runner/runs/*/bodies/1-4.json")
    body.write_bytes(body.read_bytes().replace(b"\0{", b" {"))
    with pytest.raises(StateError, match=r"1-4\.json is damaged: a reference to a file is cut off"):
        list(show_rows(find_run(summary.run), RowChoice(key="3.pdf"), has_request=True))


def test_image_that_is_converted_is_stored(invoices: Path, run_job: Callable[..., Summary]) -> None:
    for number in range(4):
        (invoices / f"scans/{number}.pdf").unlink()
    (invoices / "scans/a.pdf").write_bytes(image())
    (invoices / "scans/b.pdf").write_bytes(image(9, kind="BMP"))
    write_invoices(invoices, prompt={"user": [{"type": "image", "path": "{{ path }}", "convert": True}]})
    assert run_job().outcomes == {"succeeded": 2}
    stored = [path.read_bytes() for path in sorted(invoices.glob(".runner/runs/*/bodies/*.json"))]
    assert [b"scans/a.pdf" in stored[0], b"scans/b.pdf" in stored[1]] == [True, False]
