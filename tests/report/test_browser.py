"""The page works in a browser: no errors, for keyboard and screen reader, and no text of a row is code."""

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from runner import Summary
from runner.report.write import make_page, write_file
from runner.runs.find import find_runs, open_run
from tests.report.browser import Page
from tests.support.projects import SCHEMA, write_job

READY = "document.readyState === 'complete' && / of /.test(document.getElementById('status').textContent)"
STATUS = "document.getElementById('status').textContent"
SIZE = "document.getElementById('size')"
KEYS = "[...document.querySelectorAll('#table button.key')].map((one) => one.textContent)"
HOSTILE = (
    "<script>boom()</script>", "<img src=x onerror=boom()>", '"><svg onload=boom()>', "javascript:boom()",
    "</script><script>boom()</script>", "{{ 7 * 7 }}{% raw %}", "' onfocus='boom()' autofocus='", "${boom()}",
    "</style><style>*{display:none}</style>", "\u2028boom()", "&lt;script&gt;", "<base href=//evil>", "<!--",
    "<meta http-equiv=refresh content=0>", "__proto__", "constructor", "toString", "<a href=data:x>", "]]>",
    "\u202egnp.exe",
)  # fmt: skip


def write_report(project: Path) -> Path:
    with open_run(find_runs()[0], lock=False) as (store, run):
        write_file(project / "report.html", make_page(store, run))
    return project / "report.html"


@pytest.fixture
def report(project: Path, run_job: Callable[..., Summary]) -> Path:
    """The report of a run of 120 rows, of which every tenth fails."""
    write_job(project, rows=120, batch={"poll_seconds": 0.1}, retry={"attempts": 1})
    run_job(mix=lambda custom_id: "truncated" if custom_id.endswith("0") else "succeeded")
    return write_report(project)


def test_page_opens_without_errors_and_loads_nothing(page: Page, report: Path) -> None:
    page.requests.clear()
    page.open(report, until=READY)
    assert page.problems == []
    assert page.requests == [report.as_uri()]
    assert page.evaluate(STATUS) == "1 to 25 of 120 of 120 rows"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_is_accessible(page: Page, report: Path, scheme: str) -> None:
    package = find_spec("axe_core_python")
    if package is None or package.origin is None:
        pytest.skip("axe-core-python is not installed")
    page.open(report, until=READY)
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    page.evaluate("document.querySelector('#table button.key').click()")
    page.evaluate("document.querySelectorAll('details').forEach((one) => one.open = true)")
    page.evaluate(Path(package.origin).with_name("axe.min.js").read_text("utf-8"))
    found = page.evaluate("axe.run().then((found) => found.violations)")
    serious = [one for one in found if one["impact"] in ("serious", "critical")]
    assert [(one["id"], one["nodes"][0]["html"], one["nodes"][0]["failureSummary"]) for one in serious] == []


def test_rows_are_found_and_paged_by_keyboard(page: Page, report: Path) -> None:
    page.open(report, until=READY)
    page.evaluate("document.getElementById('query').focus()")
    page.press(*"number 7")
    page.wait(f"{STATUS}.includes('11 of 120')")
    assert page.evaluate(KEYS) == ["r7", *(f"r{number}" for number in range(70, 80))]
    page.press("Tab", "t")
    page.wait(f"{STATUS}.includes('1 of 120')")
    assert page.evaluate(KEYS) == ["r70"]
    page.press("Tab", "Tab", "Tab", "Tab", "Enter")
    assert page.evaluate("document.getElementById('row-0').innerText").startswith("truncated: max_tokens")


def test_pages_turn_by_keyboard(page: Page, report: Path) -> None:
    page.open(report, until=READY)
    page.evaluate("document.getElementById('next').focus()")
    page.press("Enter")
    page.wait(f"{STATUS}.startsWith('26 to 50')")
    page.press("Tab", "Enter")
    page.wait(f"{STATUS}.startsWith('101 to 120')")
    assert page.evaluate(KEYS)[-1] == "r120"
    assert page.evaluate("document.getElementById('next').disabled")


def test_failed_field_is_marked(page: Page, project: Path, run_job: Callable[..., Summary]) -> None:
    check = {"check": "false", "message": "score: too high"}
    write_job(project, rows=3, retry={"attempts": 1}, output={"schema": SCHEMA, "checks": [check]})
    run_job()
    page.open(write_report(project), until=READY)
    page.evaluate("document.querySelector('#table button.key').click()")
    assert page.evaluate("document.querySelector('#table dd.wrong').previousSibling.textContent") == "score"


def test_hostile_texts_execute_nothing(page: Page, project: Path, run_job: Callable[..., Summary]) -> None:
    texts = [f"{HOSTILE[at % len(HOSTILE)]}{at}" for at in range(2_000)]
    write_hostile(project, texts)
    run_job(mix=lambda custom_id: "truncated" if custom_id.endswith("7") else "succeeded")
    page.open(write_report(project), until=READY)
    page.evaluate(f"{SIZE}.value = '100', {SIZE}.dispatchEvent(new Event('change'))")
    for number in range(1, 21):
        page.wait(f"{STATUS}.includes('to {number * 100:,} of')")
        page.evaluate("document.querySelectorAll('#table button.key').forEach((one) => one.click())")
        page.evaluate("document.getElementById('next').click()")
    assert page.problems == []
    assert page.evaluate("document.querySelectorAll('img, base, iframe, main a:not([href^=\"#\"])').length") == 0


def write_hostile(project: Path, texts: list[str]) -> None:
    """A job whose keys, fields, inputs and outputs are hostile."""
    write_job(project)
    lines = [json.dumps({"id": text, "text": text, "<b>": text, "__proto__": text}) for text in texts]
    (project / "rows.jsonl").write_text("\n".join(lines) + "\n")
    properties: dict[str, Any] = {"label": {"enum": texts[:400]}, "<img src=x>": {"enum": list(HOSTILE)}}
    schema = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    write_job(
        project,
        source={"type": "jsonl", "path": "rows.jsonl", "key": "id"},
        output={"schema": schema},
        evaluate=[{"name": "verdict", "expected": "row.text", "actual": "output.label"}],
        batch={"poll_seconds": 0.1},
        retry={"attempts": 1},
    )
