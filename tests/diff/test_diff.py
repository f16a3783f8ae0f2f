"""Two runs are compared: exactly what was planted is found, and because of what."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner import Summary, UsageError, load_spec, run
from runner.lifecycle.diff.choose import choose_runs
from runner.lifecycle.diff.compare import RowDifference
from runner.lifecycle.diff.diff import Diff, diff_runs
from runner.lifecycle.maintain.purge import find_purgeable, purge_run
from runner.runs.find import RunInfo, find_runs
from runner.store.open_store import open_store
from tests.support.processes import command
from tests.support.projects import SCHEMA, SPEC, write_job
from tests.support.simulator import environ_without_key

ROWS = 20
SCORE = re.compile(rb'score\\":-?\d*(\d)')


def simulate(root: Path, **options: Any) -> Summary:
    """Run the job of a project against the simulator of this process."""
    return run(load_spec(root / "job.yaml"), simulate=True, **options)


def find_differences(*targets: str) -> tuple[Diff, dict[str, RowDifference]]:
    differing: list[RowDifference] = []
    found = diff_runs(*choose_runs(targets or ("job",)), on_difference=differing.append)
    return found, {str(one.key): one for one in differing}


def kinds(diff: Diff) -> dict[str, int]:
    return {kind: rows for kind, rows in diff.rows.items() if rows}


def edit_rows(root: Path, *pairs: tuple[str, str]) -> None:
    text = (root / "rows.csv").read_text()
    for old, new in pairs:
        text = text.replace(old, new)
    (root / "rows.csv").write_text(text)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a finished run of the job."""
    monkeypatch.chdir(tmp_path)
    write_job(tmp_path, rows=ROWS)
    simulate(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def answered_twice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose rows were answered twice in the same words."""
    root = tmp_path_factory.mktemp("twice")
    write_job(root, rows=ROWS, reuse=False, batch={**SPEC["batch"], "max_requests": ROWS})
    for _ in range(2):
        simulate(root, new=True)
    return root


@contextmanager
def other_scores(run_info: RunInfo, rows: set[int]) -> Iterator[None]:
    """Have the answers of these rows hold another score."""
    path = run_info.output_root / ".runner" / "runs" / run_info.summary.run / "results" / "1-1.jsonl"
    written = path.read_bytes()
    lines = written.splitlines(keepends=True)
    for index, line in enumerate(lines):
        found = SCORE.search(line)
        row = int(json.loads(line)["custom_id"].rpartition("-")[2])
        if found is not None and row in rows:
            digit = b"%d" % (9 - int(found[1]))
            lines[index] = line[: found.start(1)] + digit + line[found.end(1) :]
    path.write_bytes(b"".join(lines))
    yield
    path.write_bytes(written)


@settings(max_examples=20, deadline=None)
@given(st.sets(st.integers(1, ROWS)))
def test_exactly_the_planted_changes_are_found(answered_twice: Path, planted: set[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(answered_twice)
        with other_scores(find_runs()[0], planted):
            diff, found = find_differences()
    assert {int(key[1:]) for key in found} == planted
    assert {change.field for one in found.values() for change in one.changes} <= {"output.score"}
    assert diff.because == ({"again": len(planted)} if planted else {})


@pytest.mark.usefixtures("project")
def test_run_does_not_differ_from_itself() -> None:
    [only] = find_runs()
    diff, found = find_differences(only.summary.run, only.summary.run)
    assert (found, kinds(diff), diff.fields, diff.edited) == ({}, {"same": ROWS}, [], [])


def test_edited_rows_differ_because_of_the_data(project: Path) -> None:
    edit_rows(project, ("text number 3\n", "other text\n"), ("r7,text number 7\n", ""))
    with (project / "rows.csv").open("a") as file:
        file.write("r99,text\n")
    simulate(project)
    diff, found = find_differences()
    assert kinds(diff) == {"same": ROWS - 2, "changed": 1, "added": 1, "removed": 1}
    assert {key: one.because for key, one in found.items()} == {"r3": ("data",), "r7": (), "r99": ()}
    assert [example.key for example in diff.examples["removed"]] == ["r7"]


@pytest.mark.parametrize(
    ("changes", "because"),
    [
        ({"prompt": {"user": "Please: {{ text }}"}}, "prompt"),
        ({"params": {"model": "claude-sonnet-5", "max_tokens": 100}}, "model"),
        ({"params": {"model": "claude-haiku-5-5", "max_tokens": 99}}, "params"),
        ({"output": {"schema": {**SCHEMA, "required": ["label"]}}}, "schema"),
        ({"params": {"model": "claude-sonnet-5", "max_tokens": 99}}, "model+params"),
    ],
)
def test_cause_is_what_was_edited(project: Path, changes: dict[str, Any], because: str) -> None:
    write_job(project, rows=ROWS, **changes)
    simulate(project)
    diff, _ = find_differences()
    assert list(diff.because) == [because]
    assert diff.compared == ROWS and len(diff.edited) >= 1


def test_edited_attachment_is_the_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = [{"type": "document", "path": "terms.txt"}, {"type": "text", "text": "{{ text }}"}]
    for terms in ("All sales are final.", "Goods can be returned within a month."):
        write_job(tmp_path, rows=3, prompt={"user": blocks})
        (tmp_path / "terms.txt").write_text(terms)
        simulate(tmp_path)
    diff, _ = find_differences()
    assert list(diff.because) == ["file"]


def test_answers_that_fail_a_new_check_have_regressed(project: Path) -> None:
    checks = [{"check": "row.id != 'r2'", "message": "never r2"}]
    write_job(project, rows=ROWS, output={"schema": SCHEMA, "checks": checks}, retry={"attempts": 1})
    simulate(project)
    diff, found = find_differences()
    assert (found["r2"].kind, found["r2"].because) == ("regressed", ("output",))
    assert found["r2"].changes == (("outcome", "succeeded", "invalid: never r2"),)
    again, _ = find_differences(diff.new.run, diff.old.run)
    assert again.rows["fixed"] == 1


def test_text_is_compared_without_a_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for text in ("{{ text }}", "An utterly different question: {{ text }}"):
        write_job(tmp_path, rows=3, output={"allow_empty": True}, prompt={"user": text})
        simulate(tmp_path)
    diff, _ = find_differences()
    [field] = diff.fields
    assert (field.field, isinstance(field.examples[0].old, str)) == ("output", True)


def test_rows_without_key_are_paired_with_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_job(tmp_path, rows=3, source={"type": "csv", "path": "rows.csv"})
    simulate(tmp_path)
    edit_rows(tmp_path, ("r1,text number 1\nr2,text number 2\n", "r2,text number 2\nr1,text number 1\n"))
    simulate(tmp_path)
    diff, found = find_differences()
    assert "paired by number" in diff.warnings[0]
    assert set(found) == {"1", "2"}


def test_keys_and_numbers_cannot_be_compared(project: Path) -> None:
    write_job(project, rows=ROWS, source={"type": "csv", "path": "rows.csv"})
    simulate(project)
    with pytest.raises(UsageError, match="can be compared"):
        find_differences()


def test_unfinished_run_is_compared_as_far_as_it_is(project: Path) -> None:
    write_job(project, rows=ROWS, prompt={"user": "Please: {{ text }}"})
    simulate(project, wait=False)
    newest = find_runs()[0]
    diff, found = find_differences(choose_runs(["job", newest.summary.run])[0].summary.run, newest.summary.run)
    assert (kinds(diff), found, diff.new.state) == ({"pending": ROWS}, {}, "running")


def test_purged_run_is_refused_with_a_remedy(project: Path) -> None:
    write_job(project, rows=ROWS, prompt={"user": "Please: {{ text }}"})
    simulate(project)
    purge_run(find_purgeable(find_runs()[1].summary.run)[0])
    with pytest.raises(UsageError, match=r"were purged on .*name two runs"):
        find_differences()


def test_run_alone_is_compared_with_the_finished_run_before(project: Path) -> None:
    for text in ("a {{ text }}", "b {{ text }}"):
        write_job(project, rows=ROWS, prompt={"user": text})
        simulate(project)
    newest, middle, oldest = find_runs()
    assert [one.summary.run for one in choose_runs([middle.summary.run])] == [
        oldest.summary.run,
        middle.summary.run,
    ]
    assert [one.summary.run for one in choose_runs(["job"])] == [middle.summary.run, newest.summary.run]
    with pytest.raises(UsageError, match="no run of job was finished before"):
        choose_runs([oldest.summary.run])


@pytest.mark.usefixtures("project")
def test_spec_with_one_finished_run_is_refused() -> None:
    with pytest.raises(UsageError, match=r"job\.yaml does not have two finished runs"):
        choose_runs(["job.yaml"])


def test_pilot_is_left_out_unless_it_is_named(project: Path) -> None:
    write_job(project, rows=ROWS, prompt={"user": "a {{ text }}"})
    pilot = simulate(project).run
    with open_store(project / "simulated" / ".runner") as store:
        store.update_run(store.runs()[0], is_pilot=True)
    with pytest.raises(UsageError, match="does not have two finished runs"):
        choose_runs(["job"])
    assert choose_runs([pilot])[1].summary.run == pilot


def test_changes_are_not_written_over_the_source(project: Path) -> None:
    edit_rows(project, ("text number 3", "another text"))
    simulate(project)
    before = (project / "rows.csv").read_text()
    ended = command(project, environ_without_key(), "diff", "job", "--csv", "rows.csv")
    assert (ended.returncode, "rows.csv is an input of run" in ended.stderr) == (2, True)
    assert (project / "rows.csv").read_text() == before
