"""Rows with attached files: rejected, estimated, and sent again after an edit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest

from runner import Summary, load_spec, plan, run
from runner.cli.texts.summary import format_failures
from runner.errors import InputError, UsageError
from runner.lifecycle.validate.checks import validate_spec
from tests.support.files import pdf
from tests.support.outputs import records
from tests.support.projects import write_job
from tests.support.prompts import PATH_BLOCK
from tests.support.servers import web


@pytest.fixture
def scans(tmp_path: Path, run_job: Callable[..., Summary]) -> Path:  # noqa: ARG001 - it writes a job of its own first
    """A project whose rows are five PDFs, of which the second cannot be read and the fourth is too long."""
    (tmp_path / "scans").mkdir()
    for number, data in enumerate((pdf(), b"%PDF-", pdf(3), pdf(700), pdf(2))):
        (tmp_path / "scans" / f"{number}.pdf").write_bytes(data)
    source = {"type": "files", "path": "scans/*.pdf", "key": "name"}
    user = [{**PATH_BLOCK, "title": "{{ name }}"}, {"type": "text", "text": "What is it?"}]
    write_job(tmp_path, source=source, prompt={"user": user}, sinks=[{"type": "jsonl", "path": "out/all.jsonl"}])
    return tmp_path


def test_unsendable_rows_are_rejected_and_the_rest_are_sent(scans: Path, run_job: Callable[..., Summary]) -> None:
    assert run_job().outcomes == {"succeeded": 3, "rejected": 2}
    found = {row["key"]: row["error"] for row in records(scans / "out/all.jsonl")}
    assert [key for key, error in found.items() if error is None] == ["0.pdf", "2.pdf", "4.pdf"]
    assert found["3.pdf"]["message"] == (
        "it has 700 pages and images, and 600 is the most: send a part of the document with `pages`"
    )
    assert found["1.pdf"]["message"].startswith("scans/1.pdf is no PDF that can be read")


def test_validate_and_plan_report_unsendable_rows(scans: Path) -> None:
    spec = load_spec(scans / "job.yaml")
    for findings in (validate_spec(spec).findings, plan(spec, offline=True).findings):
        shown = [(found.path, found.rule, found.severity) for found in findings if found.rule == "rejected"]
        assert shown == [("scans/1.pdf", "rejected", "warning"), ("scans/3.pdf", "rejected", "warning")]


@pytest.mark.usefixtures("scans")
def test_rejected_rows_are_to_be_replaced_before_a_retry(run_job: Callable[..., Summary]) -> None:
    events = list[Any]()
    done = run_job()
    shown = "\n".join(format_failures(done))
    assert "These rows cannot be sent as they are. Replace the files that they attach, then\n  again   " in shown
    run_job(on_event=events.append)
    [unchanged] = [one.message for one in events if one.name == "unchanged"]
    assert "; replace the files or rows that cannot be sent: `runner retry" in unchanged


def test_other_failures_are_retried_as_they_are(scans: Path, run_job: Callable[..., Summary]) -> None:
    write_job(scans, retry={"attempts": 1})
    shown = "\n".join(format_failures(run_job(mix=lambda _: "errored")))
    assert "  again   " in shown and "Replace" not in shown


def test_plan_estimates_documents_per_page(scans: Path) -> None:
    made = plan(load_spec(scans / "job.yaml"), offline=True)
    assert made.rejected == 2
    # Six pages, each counted as 8,000 bytes of text.
    assert 6 * 8000 / 3.1 < made.input_tokens["value"] < 6 * 8000 / 3.1 + 1_200
    simulated = plan(load_spec(scans / "job.yaml"), simulate=True)
    assert simulated.cost["max"] == pytest.approx(made.cost["max"])


def test_only_the_edited_document_is_sent_again(scans: Path, run_job: Callable[..., Summary]) -> None:
    first = run_job()
    assert run_job().run == first.run
    (scans / "scans/0.pdf").write_bytes(pdf(text="Another"))
    second = run_job()
    assert second.run != first.run
    assert sum(len(records(path)) for path in (scans / "api").glob("msgbatch_*.jsonl")) == 4


def test_simulated_run_rejects_the_same_documents(scans: Path) -> None:
    assert run(load_spec(scans / "job.yaml"), simulate=True).outcomes == {"succeeded": 3, "rejected": 2}


def test_attached_file_counts_as_an_input(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, rows=3, prompt={"user": [{"type": "document", "path": "{{ id }}.txt"}]})
    for number in (1, 2, 3):
        (tmp_path / f"r{number}.txt").write_text(f"text {number}")
    first = run_job()
    assert run_job().run == first.run
    (tmp_path / "r2.txt").write_text("edited")
    unfinished = run_job(wait=False)
    assert unfinished.run != first.run
    (tmp_path / "r3.txt").unlink()
    with pytest.raises(UsageError, match=r"r3\.txt: edited"):
        run_job()
    assert run_job(resume=True).outcomes == {"succeeded": 3}
    assert sorted(len(records(path)) for path in (tmp_path / "api").glob("msgbatch_*.jsonl")) == [1, 3]


@pytest.mark.parametrize("size", [2_000, 9_000_000])
def test_file_shared_by_all_rows_is_recorded_once(
    tmp_path: Path, run_job: Callable[..., Summary], size: int
) -> None:
    (tmp_path / "handbook.txt").write_bytes(pdf(size=size))
    user = [{"type": "document", "path": "handbook.txt"}, {"type": "text", "text": "{{ text }}"}]
    write_job(tmp_path, rows=3, prompt={"user": user})
    assert run_job().outcomes == {"succeeded": 3}
    [attached] = (tmp_path / ".runner/runs").glob("*/attached.jsonl")
    assert [line["path"] for line in records(attached)] == ["handbook.txt"]


def test_missing_file_is_sent_once_it_appears(scans: Path, run_job: Callable[..., Summary]) -> None:
    write_job(scans, rows=2, prompt={"user": [{"type": "document", "path": "{{ id }}.txt"}]})
    (scans / "r1.txt").write_text("one")
    first = run_job()
    assert (first.outcomes, run_job().run) == ({"succeeded": 1, "rejected": 1}, first.run)
    (scans / "r2.txt").write_text("two")
    assert run_job().outcomes == {"succeeded": 2}
    (scans / "r1.txt").unlink()
    assert run_job().outcomes == {"succeeded": 1, "rejected": 1}
    (scans / "r1.txt").write_text("one")
    assert run_job().outcomes == {"succeeded": 2}
    assert sum(len(records(path)) for path in (scans / "api").glob("msgbatch_*.jsonl")) == 2


def test_missing_url_is_sent_once_it_appears(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe("/late/r1.txt", b"one")
    user = [{"type": "document", "path": "{{ id }}.txt", "folder": "memory:///late"}]
    write_job(tmp_path, rows=2, prompt={"user": user})
    first = run_job()
    assert (first.outcomes, run_job().run) == ({"succeeded": 1, "rejected": 1}, first.run)
    memory.pipe("/late/r2.txt", b"two")
    assert run_job().outcomes == {"succeeded": 2}
    memory.rm("/late", recursive=True)


def test_unreachable_server_rejects_no_row_and_keeps_outputs(
    tmp_path: Path, run_job: Callable[..., Summary]
) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "r1.txt").write_text("one")
    with web(tmp_path / "files") as url:
        user = [{"type": "document", "path": "{{ id }}.txt", "folder": url}]
        write_job(tmp_path, rows=2, prompt={"user": user})
        first = run_job()
        assert (first.outcomes, run_job().run) == ({"succeeded": 1, "rejected": 1}, first.run)
        written = (tmp_path / "out/all.jsonl").read_bytes()
    for again in ({}, {"new": True}):
        with pytest.raises(InputError, match=rf"{url}/r1\.txt: cannot read: Cannot connect"):
            run_job(**again)
    assert (tmp_path / "out/all.jsonl").read_bytes() == written
    assert len(list((tmp_path / ".runner/runs").iterdir())) == 1


def test_row_outside_the_project_does_not_block_a_resume(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    root = tmp_path / "project"
    (root / "docs").mkdir(parents=True)
    (root / "secret.txt").write_text("secret")
    (root / "docs" / "a.txt").write_text("one")
    source = {"type": "csv", "path": "names.csv", "key": "id"}
    (tmp_path / "names.csv").write_text("id,path\na,a.txt\nb,../secret.txt\n")
    block = {"type": "document", "path": "{{ path }}", "folder": "project/docs"}
    write_job(tmp_path, source=source, prompt={"user": [block]})
    unfinished = run_job(wait=False)
    assert unfinished.exit_code == 4
    finished = run_job()
    assert (finished.run, finished.outcomes) == (unfinished.run, {"succeeded": 1, "rejected": 1})
    assert run_job().run == finished.run


def test_request_too_large_to_send_synchronously_is_rejected(
    tmp_path: Path,
    run_job: Callable[..., Summary],  # noqa: ARG001 - it writes a job of its own first
) -> None:
    (tmp_path / "a.txt").write_bytes(b"x" * 33_000_000)
    source = {"type": "files", "path": "a.txt", "key": "name"}
    write_job(tmp_path, source=source, prompt={"user": [PATH_BLOCK]}, mode="sync")
    [finding] = [
        one for one in plan(load_spec(tmp_path / "job.yaml"), offline=True).findings if one.rule == "rejected"
    ]
    assert finding.message.endswith("bytes, and 32,000,000 is the most with `mode: sync`")
    write_job(tmp_path, source=source, prompt={"user": [PATH_BLOCK]}, mode="auto")
    made = plan(load_spec(tmp_path / "job.yaml"), offline=True)
    assert (made.rejected, made.mode, made.mode_reason) == (
        0,
        "batch",
        "because only batches take requests of more than 32 MB",
    )
