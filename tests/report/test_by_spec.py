"""The report shows which answers are wrong, and how the variants of the spec compare, by the spec as it is now."""

import base64
import json
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner import Summary
from tests.report.browser import Page
from tests.support.outputs import records
from tests.support.processes import RUN, RUN_SIMULATED, command
from tests.support.projects import SPEC, write_job
from tests.support.simulator import environ_without_key, simulator

KEYS = environ_without_key()
EVALUATE = [{"name": "verdict", "expected": "row.gold", "actual": "output.label"}]
VARIANTS = {"small": {"params.model": "claude-haiku-5-5"}, "large": {"params.model": "claude-opus-5-5"}}
READY = "document.readyState === 'complete' && / of /.test(document.getElementById('status').textContent)"
LABEL = "document.getElementById('wrong')"


def write_labelled(root: Path, *, gold: str = "good", **changes: Any) -> None:
    """Write a job of twenty rows, of which the first ten have a label."""
    write_job(root, evaluate=EVALUATE, **{"batch": {**SPEC["batch"], "max_requests": 20}, **changes})
    rows = "".join(f"r{number},text {number},{gold if number <= 10 else ''}\n" for number in range(1, 21))
    (root / "rows.csv").write_text(f"id,text,gold\n{rows}")


def report(root: Path, target: str = "job", *words: str) -> str:
    """The page about the newest run of a target; with `--md`, its short form."""
    ended = command(root, KEYS, "report", target, "-o", "report.html", *words)
    assert ended.returncode == 0, ended.stderr
    return (root / "report.html").read_text()


def unpack(page: str, pattern: str) -> Any:
    [found] = re.findall(pattern + r">([^<]*)</script>", page)
    return json.loads(zlib.decompress(base64.b64decode(found)))


def wrong_keys(page: str) -> dict[str, Any]:
    """The rows that a page marks as wrong, with what it says about them."""
    index, block = unpack(page, 'id="index"'), unpack(page, 'class="block"')
    marked = {key: wrong for key, wrong in zip(block["key"], block["wrong"], strict=True) if wrong}
    assert sum(index["wrong"]) == len(marked)
    return marked


def keys_without(root: Path, label: str) -> set[str]:
    """The first ten rows whose answer is not this one."""
    found = records(root / "simulated/out/all.jsonl")[:10]
    return {one["key"] for one in found if one["output"]["label"] != label}


def test_wrong_answers_are_marked_with_both_values(tmp_path: Path) -> None:
    write_labelled(tmp_path)
    assert command(tmp_path, KEYS, *RUN_SIMULATED).returncode == 0
    marked = wrong_keys(report(tmp_path))
    assert set(marked) == keys_without(tmp_path, "good") and 0 < len(marked) < 10
    assert all(one == [["verdict", "good", "bad"]] for one in marked.values())


def test_labels_are_those_of_today(tmp_path: Path) -> None:
    write_labelled(tmp_path)
    assert command(tmp_path, KEYS, *RUN_SIMULATED).returncode == 0
    write_labelled(tmp_path, gold="bad")
    assert set(wrong_keys(report(tmp_path))) == keys_without(tmp_path, "bad")


@pytest.mark.parametrize("text", [None, "version: 1\nname: job\nnonsense: 1\n"])
def test_report_does_not_need_the_spec(tmp_path: Path, text: str | None) -> None:
    write_labelled(tmp_path)
    assert command(tmp_path, KEYS, *RUN_SIMULATED).returncode == 0
    if text is None:
        (tmp_path / "job.yaml").unlink()
    else:
        (tmp_path / "job.yaml").write_text(text)
    page = report(tmp_path)
    assert wrong_keys(page) == {} and 'id="wrong"' not in page


def test_row_without_a_valid_answer_is_wrong(tmp_path: Path) -> None:
    write_labelled(tmp_path, retry={"attempts": 1})
    with simulator(
        tmp_path / "api", mix=lambda name: "refused" if name.endswith("-3") else "succeeded"
    ) as environ:
        assert command(tmp_path, environ, *RUN).returncode == 3
    assert wrong_keys(report(tmp_path))["r3"] == [["verdict", "good", None]]


def test_wrong_rows_are_filtered_and_marked(page: Page, project: Path, run_job: Callable[..., Summary]) -> None:
    write_labelled(project, retry={"attempts": 1})
    run_job(simulate=True)
    report(project)
    page.open(project / "report.html", until=READY)
    wrong = keys_without(project, "good")
    page.evaluate(f"{LABEL}.value = '1', {LABEL}.dispatchEvent(new Event('change'))")
    page.wait(f"document.getElementById('status').textContent.includes(' of {len(wrong)} of 20 rows')")
    marked = "[...document.querySelectorAll('#table .mark')].map((one) => one.closest('tr').querySelector('.key'))"
    assert set(page.evaluate(f"{marked}.map((one) => one.textContent)")) == wrong
    page.evaluate("document.querySelector('#table button.key').click()")
    cells = page.evaluate(
        "[...document.querySelectorAll('#table .labels tbody tr > *')].map((one) => one.innerText)"
    )
    assert cells == ["verdict", "good", "✗ bad"]
    assert page.problems == []


def compared(page: str) -> str:
    """The part about variants, as text; empty without it."""
    found = re.search(r'<section id="variants".*?</section>', page, re.DOTALL)
    return "" if found is None else " ".join(re.sub(r"<[^>]+>", " ", found[0].replace("&#39;", "'")).split())


def test_variants_are_compared_as_at_the_end_of_a_run(tmp_path: Path) -> None:
    write_labelled(tmp_path, variants=VARIANTS)
    ended = command(tmp_path, KEYS, *RUN_SIMULATED)
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.partition("job: 2 variants on the same 20 rows (simulated)\n")[2].splitlines()
    shown, text = compared(report(tmp_path)), report(tmp_path, "job", "--md").replace("\\", "")
    for line in lines[3:]:
        assert line.strip() in shown and line.strip() in text
    for line in lines[1:3]:
        cells = re.split(r" {2,}", line.strip())
        assert " ".join(cells[1:]) in shown and f"| {' | '.join(cells)} |" in text


@pytest.mark.parametrize("words", [("--simulate",), ("--yes", "--no-wait")])
def test_real_runs_are_not_compared_with_simulated_ones(tmp_path: Path, words: tuple[str, ...]) -> None:
    write_labelled(tmp_path, variants=VARIANTS)
    with simulator(tmp_path / "api") as environ:
        assert command(tmp_path, environ, "run", "job.yaml", "--yes", "--select", "variant:small").returncode == 0
        command(tmp_path, environ, "run", "job.yaml", *words, "--select", "variant:large")
    assert compared(report(tmp_path, "job@small")) == ""


def test_earlier_run_of_a_variant_is_not_compared(tmp_path: Path) -> None:
    write_labelled(tmp_path, variants=VARIANTS)
    assert command(tmp_path, KEYS, *RUN_SIMULATED).returncode == 0
    ended = command(tmp_path, KEYS, "report", "job@small", "-o", "first.html")
    first = re.search(r"\bt[0-9a-z]{12}\b", (tmp_path / "first.html").read_text())
    assert first is not None, ended.stderr
    assert command(tmp_path, KEYS, *RUN_SIMULATED, "--new").returncode == 0
    assert compared(report(tmp_path, first[0])) == "" and compared(report(tmp_path, "job@small"))


def test_variant_whose_rows_were_purged_is_left_out(tmp_path: Path) -> None:
    write_labelled(tmp_path, variants={**VARIANTS, "third": {"params.max_tokens": 90}}, report="out/report.html")
    assert command(tmp_path, KEYS, *RUN_SIMULATED).returncode == 0
    assert command(tmp_path, KEYS, "purge", "job@small", "--yes").returncode == 0
    words = ("run", "job.yaml", "--simulate", "--yes", "--new", "--select", "variant:large")
    assert command(tmp_path, KEYS, *words).returncode == 0
    text = compared((tmp_path / "simulated/out/report.large.html").read_text())
    assert "2 variants on the same 20 rows" in text and "small is left out: the rows of run" in text


def test_damaged_run_of_a_variant_is_not_compared(tmp_path: Path) -> None:
    write_labelled(tmp_path, variants=VARIANTS)
    assert command(tmp_path, KEYS, *RUN_SIMULATED).returncode == 0
    small = command(tmp_path, KEYS, "status", "job@small", "--json")
    run = json.loads(small.stdout.splitlines()[0])["run"]
    (tmp_path / f"simulated/.runner/runs/{run}/rows.jsonl").unlink()
    assert compared(report(tmp_path, "job@large")) == ""
