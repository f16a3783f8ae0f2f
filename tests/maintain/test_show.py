"""Rows of a run are shown with what was sent, what came back and why they failed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runner import Summary
from runner.errors import StateError, UsageError
from runner.lifecycle.maintain.purge import find_purgeable, purge_run
from runner.lifecycle.maintain.show import RowChoice, show_rows
from runner.runs.find import find_runs
from tests.support.outputs import records
from tests.support.processes import command
from tests.support.projects import SPEC, write_job
from tests.support.simulator import environ_without_key

KINDS = {1: "truncated", 3: "truncated", 5: "refused"}


def mix(custom_id: str) -> str:
    return KINDS.get(int(custom_id.rpartition("-")[2]), "succeeded")


def rows(*, has_request: bool = False, **choice: Any) -> list[dict[str, Any]]:
    return list(show_rows(find_runs()[0], RowChoice(**choice), has_request=has_request))


def keys(**choice: Any) -> list[str]:
    return [str(one["key"]) for one in rows(**choice)]


@pytest.fixture
def finished(project: Path, run_job: Callable[..., Summary], monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(project)
    write_job(project, rows=6, retry={"attempts": 1})
    run_job(mix=mix)
    return project


@pytest.mark.usefixtures("finished")
@pytest.mark.parametrize(
    ("choice", "shown"),
    [
        ({}, ["r1", "r2", "r3", "r4", "r5", "r6"]),
        ({"failed": True}, ["r1", "r3", "r5"]),
        ({"outcome": "refused"}, ["r5"]),
        ({"outcome": "pending"}, []),
        ({"reason": "truncated: max"}, ["r1", "r3"]),
        ({"key": "r2"}, ["r2"]),
        ({"key": "r2", "failed": True}, []),
    ],
)
def test_chosen_rows_are_shown(choice: dict[str, Any], shown: list[str]) -> None:
    assert keys(**choice) == shown


def test_row_is_shown_as_in_the_outputs(finished: Path) -> None:
    written = records(finished / "out/all.jsonl")
    shown = [msgspec.json.decode(msgspec.json.encode(row)) for row in rows()]
    reasons = [row.pop("reason") for row in shown]
    assert reasons == ["truncated: max_tokens", None, "truncated: max_tokens", None, "refused", None]
    assert shown == written


@pytest.mark.usefixtures("finished")
def test_request_is_what_was_sent() -> None:
    [row] = rows(key="r5", has_request=True)
    params = msgspec.json.decode(row["request"])
    assert (params["messages"][0]["content"], params["max_tokens"]) == ("text number 5", 100)


@pytest.mark.usefixtures("finished")
def test_unknown_key_is_an_error() -> None:
    with pytest.raises(UsageError, match="has no row with the key 'r9'"):
        rows(key="r9")


@pytest.mark.usefixtures("finished")
def test_rows_of_a_purged_run_cannot_be_shown() -> None:
    purge_run(find_purgeable()[0])
    with pytest.raises(UsageError, match=r"were purged on \d{4}-\d\d-\d\d; its outputs are kept"):
        rows(failed=True)


def test_damaged_result_is_an_error(finished: Path) -> None:
    for path in (finished / ".runner/runs").glob("*/results/1-1.jsonl"):
        path.write_bytes(path.read_bytes().replace(b"custom_id", b"custom_ix"))
    with pytest.raises(StateError, match="are damaged"):
        rows()


def test_unfinished_row_is_pending(
    project: Path, run_job: Callable[..., Summary], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    assert run_job(wait=False).failures is None
    assert (keys(), keys(outcome="pending")[:2]) == ([], ["r1", "r2"])
    [row] = rows(key="r4", has_request=True)
    assert (row["outcome"], row["reason"], row["output"]) == ("pending", None, None)
    assert msgspec.json.decode(row["request"])["messages"][0]["content"] == "text number 4"


def test_reused_row_has_the_request_it_was_paid_with(
    project: Path, run_job: Callable[..., Summary], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    write_job(project, rows=3)
    run_job()
    source = project / "rows.csv"
    source.write_text(source.read_text() + f"r4,{'long ' * 400}\nr5,text number 5\nr6,text number 5\n")
    text = source.read_text()
    write_job(project, batch={**SPEC["batch"], "max_bytes": 1500})
    source.write_text(text)
    run_job()
    found = {one["key"]: one for one in rows(has_request=True)}
    assert [key for key, one in found.items() if one["request"] is None] == ["r4"]
    assert msgspec.json.decode(found["r2"]["request"])["messages"][0]["content"] == "text number 2"
    assert [found[key]["outcome"] for key in ("r1", "r4", "r6")] == ["succeeded", "rejected", "succeeded"]
    assert str(found["r4"]["reason"]).startswith("rejected: the request has # bytes")
    assert found["r5"]["request"] == found["r6"]["request"]
    purge_run(next(one for one in find_purgeable() if one.summary.rows == 3))
    assert rows(key="r2", has_request=True)[0]["request"] is None


def test_newest_run_that_is_simulated_is_said_to_be_so(finished: Path, run_job: Callable[..., Summary]) -> None:
    real = find_runs()[0].summary.run
    assert "simulated" not in command(finished, environ_without_key(), "show", "job").stderr
    newest = run_job(simulate=True).run
    for words in (("show", "job"), ("report", "job.yaml", "--md")):
        line = f"run {newest} is simulated; the newest real run of job is {real}\n"
        assert command(finished, environ_without_key(), *words).stderr == line
    assert command(finished, environ_without_key(), "show", newest).stderr == ""
