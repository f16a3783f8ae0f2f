"""A plan says what requests attach, and how much of its cost that is."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from runner import Plan, load_spec, plan
from runner.cli.texts.plan import format_plan
from tests.support.files import image, pdf
from tests.support.processes import command
from tests.support.projects import write_job
from tests.support.simulator import environ_without_key

DOCUMENT = {"type": "document", "path": "{{ path }}"}
TEXT = {"type": "text", "text": "What is it?"}


def plan_files(root: Path, files: dict[str, bytes], *blocks: dict[str, Any], **settings: Any) -> Plan:
    """The plan of a job with one row for each file."""
    (root / "in").mkdir(parents=True)
    for name, data in files.items():
        (root / "in" / name).write_bytes(data)
    source = {"type": "files", "path": "in/*", "key": "name"}
    write_job(root, source=source, prompt={"user": [*blocks, TEXT]}, **settings)
    return plan(load_spec(root / "job.yaml"), offline=True)


def attached_line(made: Plan) -> str:
    """The line of a plan about attachments."""
    [line] = [line for line in format_plan(made).splitlines() if line.startswith("  attached")]
    return line


def test_documents_pages_and_bytes_are_counted(tmp_path: Path) -> None:
    files = {"a": pdf(3), "b": pdf(9), "c": b"some text", "d": b"%PDF-1.4"}
    made = plan_files(tmp_path, files, DOCUMENT)
    assert made.attached is not None and made.estimated_cost is not None
    size = sum(map(len, (pdf(3), pdf(9), b"some text")))
    assert {name: made.attached[name] for name in ("documents", "images", "pages", "bytes", "unopened")} == {
        "documents": 3, "images": 0, "pages": 12, "bytes": size, "unopened": 0
    }  # fmt: skip
    assert 0.9 * made.estimated_cost < made.attached["cost"] < made.estimated_cost
    assert attached_line(made).startswith(f"  attached  3 documents, 12 pages, {size / 1000:.1f} kB: about $")
    assert attached_line(made).endswith(" of the cost")


def test_plan_says_how_many_more_rows_are_rejected(tmp_path: Path) -> None:
    files = {f"{number}.pdf": b"<html>" for number in range(7)}
    rejected = [one for one in plan_files(tmp_path, files, DOCUMENT).findings if one.rule == "rejected"]
    assert [one.path for one in rejected] == [f"in/{number}.pdf" for number in range(5)]
    assert [one.message.endswith(" (and 2 more rows)") for one in rejected] == [False] * 4 + [True]


def test_converted_and_selected_pages_count_as_they_are_sent(tmp_path: Path) -> None:
    pages = [Image.new("L", (9, 9))] * 5
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    scan = {"type": "image", "path": "a.tif", "convert": True, "pages": "2-"}
    made = plan_files(tmp_path, {"a.pdf": pdf(7)}, {**DOCUMENT, "pages": "1-2"}, scan, allow=["constant-prompt"])
    assert attached_line(made).startswith("  attached  1 document, 4 images, 2 pages, ")


def test_half_the_price_halves_the_cost_of_attachments(tmp_path: Path) -> None:
    costs = {}
    for mode in ("sync", "batch"):
        made = plan_files(tmp_path / mode, {"a": image()}, {"type": "image", "path": "{{ path }}"}, mode=mode)
        assert made.attached is not None
        costs[mode] = made.attached["cost"]
    assert costs["sync"] == pytest.approx(2 * costs["batch"], abs=2e-6)


def test_content_that_is_not_opened_is_said_to_be_unknown(tmp_path: Path) -> None:
    url = {"type": "document", "url": "https://example.org/{{ name }}"}
    assert attached_line(plan_files(tmp_path, {"a": b"", "b": b""}, url)).startswith(
        "  attached  2 documents, 2 of unknown size by URL or id: about $"
    )


def test_plan_without_a_price_counts_all_the_same(tmp_path: Path) -> None:
    params = {"model": "claude-unknown", "max_tokens": 9}
    made = plan_files(tmp_path, {"a": pdf()}, DOCUMENT, params=params)
    assert made.attached is not None and made.attached["cost"] is None
    assert attached_line(made) == f"  attached  1 document, 1 page, {len(pdf())} B"


def test_plan_without_attachments_has_no_such_line(tmp_path: Path) -> None:
    made = plan_files(tmp_path, {"a": b"x"})
    assert made.attached is None and "  attached" not in format_plan(made)


def test_json_of_a_plan_has_the_numbers(tmp_path: Path) -> None:
    made = plan_files(tmp_path, {"a": pdf(2)}, DOCUMENT)
    done = command(tmp_path, environ_without_key(), "plan", "job.yaml", "--offline", "--json")
    assert json.loads(done.stdout)["attached"] == made.attached
