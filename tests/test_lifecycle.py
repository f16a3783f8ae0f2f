"""The lifecycle against a simulator that misbehaves: real SDK, real socket, every row once, no batch twice."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from runner import Summary, load_spec, run
from runner.errors import (
    AccessError,
    InputError,
    RequestRejected,
    ResultsLost,
    StateError,
    StateLocked,
    UsageError,
)
from runner.lifecycle.maintain.cancel import cancel_run
from runner.simulator.faults import DropConnection, ErrorResponse
from runner.store.store import open_store
from tests.jobs import SPEC, accepted, paid, records, simulator, write_job
from tests.test_cli import IMPOSSIBLE_SCHEMA


def fail_at(moment: str, error: Exception, *, times: int = 1) -> Callable[[str], None]:
    """Fail the first calls that reach a moment."""
    left = [times]

    def on(name: str) -> None:
        if name == moment and left[0]:
            left[0] -= 1
            raise error

    return on


def test_every_row_is_delivered_once_in_input_order(tmp_path: Path, job: Callable[..., Summary]) -> None:
    summary = job()
    found = records(tmp_path / "out" / "all.jsonl")
    assert [record["key"] for record in found] == [f"r{n}" for n in range(1, 21)]
    assert list(found[0]) == [
        "key", "row", "outcome", "output", "error", "usage", "stop_reason", "model", "custom_id", "batch_id"
    ]  # fmt: skip
    assert (found[0]["row"], summary.outcomes) == ({"id": "r1", "text": "text number 1"}, {"succeeded": 20})
    assert (summary.state, summary.exit_code) == ("finished", 0)


def test_many_batches_are_in_flight_at_once(job: Callable[..., Summary]) -> None:
    moments: list[str] = []
    summary = job(on=moments.append, seconds=2)
    assert moments.index("results") > max(index for index, name in enumerate(moments) if name == "created")
    assert [batch["requests"] for batch in summary.batches] == [8, 7, 5]


def test_only_retryable_rows_are_sent_again(job: Callable[..., Summary]) -> None:
    kinds = {"1": "errored", "2": "expired", "3": "invalid", "4": "overloaded", "5": "refused", "6": "truncated"}
    summary = job(mix=lambda id: kinds.get(id.rsplit("-")[-1], "succeeded") if "-1-" in id[13:16] else "succeeded")
    assert summary.outcomes == {"succeeded": 18, "truncated": 1, "refused": 1}
    assert [batch["requests"] for batch in summary.batches] == [8, 7, 5, 4]
    assert summary.exit_code == 3


def test_invalid_request_is_sent_once(tmp_path: Path, job: Callable[..., Summary]) -> None:
    write_job(tmp_path, output={"schema": IMPOSSIBLE_SCHEMA})
    summary = job()
    error = records(tmp_path / "out" / "all.jsonl")[0]["error"]
    assert (summary.outcomes, error["type"]) == ({"errored": 20}, "invalid_request_error")
    assert accepted(tmp_path / "api") == 3


def test_failing_row_is_sent_as_often_as_retry_allows(tmp_path: Path, job: Callable[..., Summary]) -> None:
    write_job(tmp_path, retry={"attempts": 2})
    summary = job(mix=lambda id: "errored" if id.endswith("-7") else "succeeded")
    assert summary.outcomes == {"succeeded": 19, "errored": 1}
    assert [batch["requests"] for batch in summary.batches] == [8, 7, 5, 1]


@pytest.mark.parametrize(
    "error", [ErrorResponse(429, "queue full", {"retry-after": "0.3"}), ErrorResponse(429, "slow down")]
)
def test_rate_limited_create_is_retried(tmp_path: Path, job: Callable[..., Summary], error: Exception) -> None:
    assert job(on=fail_at("create", error, times=2)).outcomes == {"succeeded": 20}
    assert accepted(tmp_path / "api") == 3


def test_a_retry_after_of_a_day_is_capped(job: Callable[..., Summary]) -> None:
    lines: list[str] = []
    error = ErrorResponse(429, "wait", {"retry-after": "86400"})
    summary = job(on=fail_at("create", error), wait=False, report=lambda line, _: lines.append(line))
    assert summary.state == "running"
    assert [line for line in lines if "trying again in 300 s" in line]


@pytest.mark.parametrize("moment", ["created", "create"])
@pytest.mark.parametrize(
    "error", [DropConnection(), ErrorResponse(500, "boom"), ErrorResponse(504, "late"), ErrorResponse(529, "busy")]
)
def test_create_without_a_response_is_never_paid_twice(
    tmp_path: Path, job: Callable[..., Summary], moment: str, error: Exception
) -> None:
    assert job(on=fail_at(moment, error)).outcomes == {"succeeded": 20}
    assert accepted(tmp_path / "api") == 3


@pytest.mark.parametrize(("moment", "told"), [("create", "is not ours"), ("created", "was accepted as")])
def test_foreign_batch_is_never_taken_for_ours(
    tmp_path: Path, job: Callable[..., Summary], tmp_path_factory: pytest.TempPathFactory, moment: str, told: str
) -> None:
    other = tmp_path_factory.mktemp("other")
    write_job(other)
    with simulator(tmp_path / "api") as environ:
        os.environ.update({name: environ[name] for name in ("ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY")})
        run(load_spec(other / "job.yaml"), consent=True)
    lines: list[str] = []
    summary = job(on=fail_at(moment, DropConnection()), report=lambda line, _: lines.append(line))
    assert [line for line in lines if told in line]
    assert (summary.outcomes, accepted(tmp_path / "api")) == ({"succeeded": 20}, 6)


def test_nothing_is_resent_while_a_candidate_is_unfinished(tmp_path: Path, job: Callable[..., Summary]) -> None:
    write_job(tmp_path, rows=5, batch={**SPEC["batch"], "grace_seconds": 0})
    assert job(on=fail_at("created", DropConnection()), seconds=3).outcomes == {"succeeded": 5}
    assert accepted(tmp_path / "api") == 1


def test_lost_creates_of_equal_size_are_told_apart(tmp_path: Path, job: Callable[..., Summary]) -> None:
    write_job(tmp_path, rows=3, batch={**SPEC["batch"], "max_requests": 1})
    assert job(on=fail_at("created", DropConnection(), times=3)).outcomes == {"succeeded": 3}
    assert accepted(tmp_path / "api") == 3


@pytest.mark.parametrize("moment", ["retrieve", "results"])
def test_temporary_404_on_a_known_batch_is_ignored(
    tmp_path: Path, job: Callable[..., Summary], moment: str
) -> None:
    assert job(on=fail_at(moment, ErrorResponse(404, "not found"), times=2)).outcomes == {"succeeded": 20}
    assert accepted(tmp_path / "api") == 3


def test_missing_batch_ends_the_run_without_resending(tmp_path: Path, job: Callable[..., Summary]) -> None:
    with pytest.raises(ResultsLost, match="Nothing was sent again"):
        job(faults=["deleted:3"])
    assert accepted(tmp_path / "api") == 3


@pytest.mark.parametrize("moment", ["retrieve", "list", "results"])
@pytest.mark.parametrize(
    "error", [DropConnection(), ErrorResponse(500, "boom"), ErrorResponse(529, "busy"), ErrorResponse(429, "slow")]
)
def test_failed_read_call_is_retried(
    tmp_path: Path, job: Callable[..., Summary], moment: str, error: Exception
) -> None:
    assert job(on=fail_at(moment, error, times=2)).outcomes == {"succeeded": 20}
    assert accepted(tmp_path / "api") == 3


def test_interrupted_download_is_repeated(job: Callable[..., Summary]) -> None:
    assert job(on=fail_at("results-half", DropConnection(), times=2)).outcomes == {"succeeded": 20}


def test_missing_results_are_sent_again(job: Callable[..., Summary]) -> None:
    moments: list[str] = []
    summary = job(mix=lambda id: "missing" if id.endswith("-1-1-3") else "succeeded", on=moments.append)
    assert summary.outcomes == {"succeeded": 20}
    assert [batch["requests"] for batch in summary.batches] == [8, 7, 5, 1]
    assert moments.count("results") >= 6


def test_no_wait_run_advances_with_each_call(tmp_path: Path, job: Callable[..., Summary]) -> None:
    first = job(wait=False, seconds=0.5)
    assert (first.state, first.exit_code, accepted(tmp_path / "api")) == ("running", 4, 3)
    time.sleep(0.8)
    second = job(wait=False)
    assert (second.run, second.state, accepted(tmp_path / "api")) == (first.run, "finished", 3)


def test_stopped_run_resumes(tmp_path: Path, job: Callable[..., Summary]) -> None:
    stop = Event()
    first = job(on=lambda name: stop.set() if name == "created" else None, stop=stop)
    assert (first.state, accepted(tmp_path / "api")) == ("running", 1)
    assert (job().run, accepted(tmp_path / "api")) == (first.run, 3)


def test_run_stopped_during_prepare_is_discarded(tmp_path: Path, job: Callable[..., Summary]) -> None:
    stop = Event()
    stop.set()
    with pytest.raises(Exception, match="before anything was sent"):
        job(stop=stop)
    assert list((tmp_path / ".runner" / "runs").iterdir()) == []


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        ({"params": {**SPEC["params"], "max_tokens": 200}}, "params.max_tokens: 100 → 200"),
        ({"prompt": {"user": "{{ text }}!"}}, "prompt.user"),
        ({"rows": 21}, "rows.csv: edited"),
    ],
)
def test_unfinished_run_with_changed_inputs_is_not_touched(
    tmp_path: Path, job: Callable[..., Summary], edit: dict[str, Any], named: str
) -> None:
    first = job(wait=False)
    write_job(tmp_path, **edit)
    with pytest.raises(UsageError, match="--resume") as caught:
        job()
    assert named in str(caught.value)
    resumed = job(resume=True)
    assert (resumed.run, resumed.rows, accepted(tmp_path / "api")) == (first.run, 20, 3)


def test_new_run_leaves_the_unfinished_run_alone(tmp_path: Path, job: Callable[..., Summary]) -> None:
    first = job(wait=False)
    second = job(new=True)
    assert (second.run != first.run, second.state, accepted(tmp_path / "api")) == (True, "finished", 6)


def test_an_edited_template_is_a_change(tmp_path: Path, job: Callable[..., Summary]) -> None:
    (tmp_path / "prompts" / "user.j2").write_text("{{ text }}")
    write_job(tmp_path, prompt={"user": "user.j2"})
    job(wait=False)
    (tmp_path / "prompts" / "user.j2").write_text("{{ text }}?")
    with pytest.raises(UsageError, match=r"prompts/user\.j2: edited"):
        job()


def test_sinks_and_retry_can_be_edited_during_a_run(tmp_path: Path, job: Callable[..., Summary]) -> None:
    first = job(wait=False)
    write_job(tmp_path, sinks=[{"type": "jsonl", "path": "other.jsonl"}], retry={"attempts": 1})
    assert job().run == first.run
    assert len(records(tmp_path / "other.jsonl")) == 20


def test_unsent_run_is_replaced_by_the_current_spec(tmp_path: Path, job: Callable[..., Summary]) -> None:
    with pytest.raises(UsageError, match="nothing was sent"):
        job(consent=False)
    write_job(tmp_path, rows=3)
    assert job().rows == 3


def test_unchanged_finished_run_is_not_sent_again(tmp_path: Path, job: Callable[..., Summary]) -> None:
    first = job()
    (tmp_path / "out" / "all.jsonl").unlink()
    assert (job().run, accepted(tmp_path / "api")) == (first.run, 3)
    assert len(records(tmp_path / "out" / "all.jsonl")) == 20
    write_job(tmp_path, reuse=False)
    assert (job(new=True).run != first.run, accepted(tmp_path / "api")) == (True, 6)


def test_changed_input_starts_a_new_run(tmp_path: Path, job: Callable[..., Summary]) -> None:
    first = job()
    write_job(tmp_path, rows=21, reuse=False)
    assert (job().run != first.run, accepted(tmp_path / "api")) == (True, 6)


def test_declined_new_run_leaves_the_unfinished_run(tmp_path: Path, job: Callable[..., Summary]) -> None:
    first = job(wait=False)
    with pytest.raises(UsageError, match="nothing was sent"):
        job(new=True, consent=False)
    assert (job().run, accepted(tmp_path / "api")) == (first.run, 3)


def test_run_resumes_without_its_input(tmp_path: Path, job: Callable[..., Summary]) -> None:
    first = job(wait=False)
    (tmp_path / "rows.csv").unlink()
    assert (job(resume=True).run, accepted(tmp_path / "api")) == (first.run, 3)


def test_lost_database_is_not_recreated_over_existing_runs(tmp_path: Path, job: Callable[..., Summary]) -> None:
    job(wait=False)
    for path in (tmp_path / ".runner").glob("state.db*"):
        path.unlink()
    with pytest.raises(StateError, match="is missing or empty"):
        job()
    assert accepted(tmp_path / "api") == 3


def test_modified_body_is_not_sent(tmp_path: Path, job: Callable[..., Summary]) -> None:
    with pytest.raises(AccessError):
        job(faults=["revoked-key:99"])
    [body] = (tmp_path / ".runner" / "runs").glob("*/bodies/1-2.json")
    body.write_bytes(body.read_bytes().replace(b"Label", b"Lobel"))
    with pytest.raises(StateError, match="was changed after it was written"):
        job()
    assert accepted(tmp_path / "api") == 1


def test_failed_cancel_is_repeated(
    tmp_path: Path, job: Callable[..., Summary], monkeypatch: pytest.MonkeyPatch
) -> None:
    job(wait=False, seconds=20)
    monkeypatch.chdir(tmp_path)
    with simulator(tmp_path / "api", seconds=20, on=fail_at("cancel", ErrorResponse(529, "busy"))):
        _, left = cancel_run("job.yaml")
    moments: list[str] = []
    job(wait=False, on=moments.append, seconds=20)
    assert (len(left), moments.count("cancel")) == (1, 1)


def test_limited_run_resumes_with_its_limit(tmp_path: Path, job: Callable[..., Summary]) -> None:
    first = job(limit=2, wait=False)
    assert job(limit=2).run == first.run
    assert len(records(tmp_path / "out" / "all.jsonl")) == 2


def test_nothing_is_sent_without_consent(tmp_path: Path, job: Callable[..., Summary]) -> None:
    offers: list[Any] = []

    def decline(offer: Any) -> bool:
        offers.append(offer)
        return False

    with pytest.raises(UsageError, match="nothing was sent"):
        job(consent=decline)
    assert (offers[0].new, offers[0].batches, accepted(tmp_path / "api")) == (20, 3, 0)


def test_oversized_row_is_rejected_and_the_rest_are_sent(tmp_path: Path, job: Callable[..., Summary]) -> None:
    write_job(tmp_path, batch={**SPEC["batch"], "max_bytes": 2000})
    with (tmp_path / "rows.csv").open("a") as file:
        file.write(f"huge,{'x' * 3000}\nlast,text\n")
    summary = job()
    last = records(tmp_path / "out" / "all.jsonl")[-2]
    assert summary.outcomes == {"succeeded": 21, "rejected": 1}
    assert (last["key"], last["outcome"], last["custom_id"], last["batch_id"]) == ("huge", "rejected", None, None)
    assert "batch.max_bytes" in last["error"]["message"]


def test_duplicate_key_is_reported_with_both_places(tmp_path: Path, job: Callable[..., Summary]) -> None:
    with (tmp_path / "rows.csv").open("a") as file:
        file.write("r3,again\n")
    with pytest.raises(InputError) as caught:
        job()
    message = "duplicate key: id 'r3' is already used by rows.csv:4; keys must be unique"
    assert str(caught.value) == f"rows.csv:22: {message}"
    assert accepted(tmp_path / "api") == 0


def test_bad_last_row_is_found_before_sending(tmp_path: Path, job: Callable[..., Summary]) -> None:
    write_job(tmp_path, rows=500)
    with (tmp_path / "rows.csv").open("a") as file:
        file.write("r501\n")
    with pytest.raises(InputError, match=r"rows\.csv:502"):
        job()
    assert accepted(tmp_path / "api") == 0


def test_template_error_is_reported_with_its_row(tmp_path: Path, job: Callable[..., Summary]) -> None:
    write_job(tmp_path, prompt={"user": "{{ 1 // (text | length - 14) }}"})
    with pytest.raises(InputError, match=r"modulo by zero.*\(row 10, rows.csv:11\)"):
        job()


@pytest.mark.parametrize("status", [401, 402, 403])
def test_rejected_key_stops_the_run_until_fixed(tmp_path: Path, job: Callable[..., Summary], status: int) -> None:
    with pytest.raises(AccessError, match=f"HTTP {status}"):
        job(on=fail_at("retrieve", ErrorResponse(status, "no")))
    assert (job().outcomes, accepted(tmp_path / "api")) == ({"succeeded": 20}, 3)


def test_rejected_create_stops_the_run_and_loses_nothing(tmp_path: Path, job: Callable[..., Summary]) -> None:
    fail = fail_at("create", ErrorResponse(400, "bad"), times=99)
    sent: list[str] = []

    def on(name: str) -> None:
        sent.append(name)
        if sent.count("create") > 1:
            fail(name)

    with pytest.raises(RequestRejected, match=r"batch \d+ \(row 9\) was rejected by the API as a whole"):
        job(on=on)
    assert "results" in sent
    assert job().outcomes == {"succeeded": 20}
    assert set(paid(tmp_path / "api").values()) == {1}


def test_two_runners_never_share_a_state(tmp_path: Path, job: Callable[..., Summary]) -> None:
    with open_store(tmp_path / ".runner"), pytest.raises(StateLocked, match="another runner"):
        job()
    assert job().state == "finished"


def test_canceled_run_collects_finished_batches(
    tmp_path: Path, job: Callable[..., Summary], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = job(wait=False, seconds=5, on=fail_at("create", ErrorResponse(429, "full"), times=0))
    monkeypatch.chdir(tmp_path)
    with simulator(tmp_path / "api") as environ:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", environ["ANTHROPIC_BASE_URL"])
        assert cancel_run(first.run)[0].summary.run == first.run
    done = job()
    assert (done.run, done.outcomes) == (first.run, {"canceled": 20})
    assert records(tmp_path / "out" / "all.jsonl")[0]["error"]["type"] == "canceled"


def test_unsent_batches_are_never_sent_after_a_cancel(
    tmp_path: Path, job: Callable[..., Summary], monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = Event()
    first = job(on=lambda name: stop.set() if name == "created" else None, stop=stop)
    monkeypatch.chdir(tmp_path)
    with simulator(tmp_path / "api") as environ:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", environ["ANTHROPIC_BASE_URL"])
        cancel_run(first.run)
    assert job().outcomes["canceled"] >= 12
    assert accepted(tmp_path / "api") == 1


def test_simulated_state_and_outputs_stay_apart(tmp_path: Path) -> None:
    write_job(tmp_path, sinks=[{"type": "jsonl", "path": str(tmp_path / "elsewhere" / "x.jsonl")}])
    summary = run(load_spec(tmp_path / "job.yaml"), simulate=True)
    assert not (tmp_path / ".runner").exists()
    assert not (tmp_path / "elsewhere").exists()
    assert Path(summary.sinks[0]["path"]).is_relative_to(tmp_path / "simulated")


def test_run_snapshot_is_readable_json(tmp_path: Path, job: Callable[..., Summary]) -> None:
    summary = job()
    recorded = json.loads((tmp_path / ".runner" / "runs" / summary.run / "spec.json").read_text())
    assert recorded["record"]["params"] == SPEC["params"]
    assert [file["path"] for file in recorded["inputs"]] == ["rows.csv"]


def test_unfinished_batch_is_never_searched_at_another_address(
    tmp_path: Path, job: Callable[..., Summary], tmp_path_factory: pytest.TempPathFactory
) -> None:
    write_job(tmp_path, batch={**SPEC["batch"], "grace_seconds": 0})
    job(wait=False, on=fail_at("created", DropConnection()))
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    with pytest.raises(AccessError, match="was sent to http"):
        job(folder=elsewhere)
    assert (accepted(tmp_path / "api"), accepted(elsewhere)) == (3, 0)


def test_unwritable_sink_is_found_before_sending(tmp_path: Path, job: Callable[..., Summary]) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    for path, why in (("folder", "is a folder"), ("file/x.jsonl", "is not a writable folder")):
        write_job(tmp_path, sinks=[{"type": "jsonl", "path": path}])
        with pytest.raises(InputError, match=why):
            job()
    assert accepted(tmp_path / "api") == 0


def test_column_of_a_missing_output_is_empty(tmp_path: Path, job: Callable[..., Summary]) -> None:
    columns = {"id": "key", "double": "output.score * 2"}
    write_job(tmp_path, sinks=[{"type": "jsonl", "path": "out/x.jsonl", "columns": columns}])
    job(mix=lambda id: "refused" if id.endswith("-1") else "succeeded", seconds=0)
    found = records(tmp_path / "out" / "x.jsonl")
    assert found[0] == {"id": "r1", "double": None}
    assert isinstance(found[1]["double"], int)


def test_all_kinds_of_mistakes_are_reported_at_once(tmp_path: Path, job: Callable[..., Summary]) -> None:
    write_job(
        tmp_path,
        prompt={"user": "{{ nope }}", "system": "no.j2"},
        output={"schema": {"$ref": "#/nowhere"}},
        sinks=[{"type": "jsonl", "path": "x.jsonl", "columns": {"a": "foo.b"}}],
        source={"type": "csv", "path": "rows.csv", "key": "nokey"},
    )
    with pytest.raises(InputError) as caught:
        job()
    assert [word in str(caught.value) for word in ("no.j2", "output.schema", "'foo'", "nokey")] == [True] * 4


@pytest.mark.parametrize("moment", ["created", "none"])
def test_run_never_resumes_in_another_workspace(tmp_path: Path, job: Callable[..., Summary], moment: str) -> None:
    job(wait=False, on=fail_at(moment, DropConnection()))
    with pytest.raises(AccessError, match="workspace wrkspc_simulated, but the API key belongs to wrkspc_other"):
        job(workspace="wrkspc_other")
    assert (job().outcomes, accepted(tmp_path / "api")) == ({"succeeded": 20}, 3)


def test_declined_new_run_is_never_sent_later(tmp_path: Path, job: Callable[..., Summary]) -> None:
    assert job().state == "finished"
    write_job(tmp_path, reuse=False)
    with pytest.raises(UsageError, match="nothing was sent"):
        job(new=True, consent=False)
    assert (job().state, accepted(tmp_path / "api")) == ("finished", 3)
