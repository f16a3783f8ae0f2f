"""Each fault that the simulator can have: the run ends as it should, and no row is paid twice."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from runner import Summary
from runner.errors import AccessError, ManualDecisionRequired, RequestRejected, ResultsLost
from runner.simulator.faults import FAULTS, ErrorResponse
from tests.jobs import SPEC, accepted, outputs, paid, records, write_job

ROWS, BATCHES = 20, 3
EACH_ONCE = {("1", row): 1 for row in range(1, ROWS + 1)}

PASSING = (
    "drop:2", "storm-429:2", "storm-500:3", "storm-529:3", "html:2", "queue-full:2", "refuse-504:1",
    "accept-then-drop:1", "accept-then-408:1", "accept-then-409:1", "accept-then-500:1", "accept-then-504:1",
    "accept-then-529:1", "accept-then-hang:1", "accept-then-cut:1", "accept-then-html:1", "accept-then-drop:3",
    "retrieve-404:3", "results-404:3", "late-commit:1", "future-status:2", "foreign-batch:2",
    "line-blank:2", "line-malformed:2", "line-duplicate:1", "line-missing:2", "line-bad-utf8:2",
    "cut-length:2", "cut-chunked:2", "cut-line:2", "cut-inside-line:2", "cut-short:2", "results-html:2",
)  # fmt: skip
TOGETHER = (
    ("accept-then-drop:1", "foreign-batch:1"),
    ("accept-then-504:3", "foreign-batch:3", "list-lag:3"),
    ("late-commit:1", "foreign-batch:1"),
    ("accept-then-drop:1", "storm-500:4"),
    ("accept-then-hang:1", "results-404:1", "line-malformed:1"),
)
ACCESS = ("revoked-key", "forbidden", "spend-limit", "billing", "on-hold", "redirect")
PATIENT = {**SPEC["batch"], "grace_seconds": 2}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    from runner import load_spec, run

    root = tmp_path_factory.mktemp("undisturbed")
    run(load_spec(write_job(root)), simulate=True)
    return outputs(root / "simulated")


@pytest.mark.parametrize("faults", [*((one,) for one in PASSING), *TOGETHER], ids=" ".join)
def test_passing_fault_leaves_no_trace(
    tmp_path: Path, job: Callable[..., Summary], undisturbed: dict[str, str], faults: tuple[str, ...]
) -> None:
    write_job(tmp_path, batch=PATIENT)
    summary = job(faults=faults)
    assert (summary.outcomes, summary.exit_code) == ({"succeeded": ROWS}, 0)
    assert paid(tmp_path / "api") == EACH_ONCE
    assert outputs(tmp_path) == undisturbed
    struck = [record["fault"] for record in records(tmp_path / "api" / "faults.jsonl")]
    assert {name.partition(":")[0] for name in faults} <= set(struck)


@pytest.mark.parametrize("fault", ACCESS)
def test_denied_access_stops_the_run_until_fixed(tmp_path: Path, job: Callable[..., Summary], fault: str) -> None:
    with pytest.raises(AccessError):
        job(faults=[f"{fault}:99"])
    assert paid(tmp_path / "api") == {}
    assert job().exit_code == 0
    assert paid(tmp_path / "api") == EACH_ONCE


@pytest.mark.parametrize("fault", ["max-requests:3", "max-bytes:2000", "max-queue:9", "too-large:1", "refuse:1"])
def test_batch_over_an_api_limit_is_split(tmp_path: Path, job: Callable[..., Summary], fault: str) -> None:
    assert job(faults=[fault]).outcomes == {"succeeded": ROWS}
    assert paid(tmp_path / "api") == EACH_ONCE


@pytest.mark.parametrize("fault", ["refused-row", "refused-unnamed-row"])
@pytest.mark.parametrize("row", [1, 11, 20])
def test_refused_request_is_isolated(tmp_path: Path, job: Callable[..., Summary], fault: str, row: int) -> None:
    summary = job(faults=[f"{fault}:{row}"])
    assert (summary.outcomes, summary.exit_code) == ({"succeeded": ROWS - 1, "rejected": 1}, 3)
    [record] = [one for one in records(tmp_path / "out/all.jsonl") if one["outcome"] == "rejected"]
    assert (record["key"], "Input should be" in record["error"]["message"]) == (f"r{row}", True)
    assert paid(tmp_path / "api") == {one: 1 for one in EACH_ONCE if one[1] != row}


def test_refusal_common_to_all_requests_rejects_no_row(tmp_path: Path, job: Callable[..., Summary]) -> None:
    for _ in range(2):
        with pytest.raises(RequestRejected, match="unknown beta"):
            job(faults=["refuse:9999"])
    assert job().outcomes == {"succeeded": ROWS}
    assert paid(tmp_path / "api") == EACH_ONCE


@pytest.mark.parametrize("fault", ["archived", "deleted"])
def test_lost_results_stop_the_run_after_other_batches(
    tmp_path: Path, job: Callable[..., Summary], fault: str
) -> None:
    with pytest.raises(ResultsLost, match="The payment for 8 requests is lost"):
        job(faults=[fault])
    with pytest.raises(ResultsLost):
        job()
    summary = job(accept_loss=True)
    assert (summary.outcomes, summary.exit_code) == ({"succeeded": 12, "missing": 8}, 3)
    assert paid(tmp_path / "api").items() <= EACH_ONCE.items()


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        ("canceled:4", "canceled"),
        ("truncated:4", "truncated"),
        ("refused:4", "refused"),
        ("future-result:4", "errored"),
    ],
)
def test_permanent_failures_are_not_retried(
    tmp_path: Path, job: Callable[..., Summary], fault: str, outcome: str
) -> None:
    assert job(faults=[fault]).outcomes == {"succeeded": ROWS - 4, outcome: 4}
    assert paid(tmp_path / "api") == EACH_ONCE


@pytest.mark.parametrize(
    "fault", ["errored:4", "overloaded:4", "expired:4", "invalid:4", "missing:4", "batch-expired:1"]
)
def test_temporary_failures_are_retried_once(tmp_path: Path, job: Callable[..., Summary], fault: str) -> None:
    assert job(faults=[fault]).outcomes == {"succeeded": ROWS}
    again = {one: times for one, times in paid(tmp_path / "api").items() if one[0] != "1"}
    assert (len(again), set(again.values())) == (8 if fault == "batch-expired:1" else 4, {1})


def test_foreign_results_are_never_delivered(tmp_path: Path, job: Callable[..., Summary]) -> None:
    summary = job(faults=["line-foreign:1"])
    assert (summary.outcomes, len(records(tmp_path / "out/all.jsonl"))) == ({"succeeded": ROWS}, ROWS)


def test_contradicting_result_gives_exit_code_3(job: Callable[..., Summary]) -> None:
    summary = job(faults=["line-conflict:1"])
    assert (summary.outcomes, summary.exit_code) == ({"succeeded": ROWS}, 3)
    assert [batch["ignored_lines"] for batch in summary.batches if "ignored_lines" in batch] == [
        {"contradicting": 1}
    ]


def test_unknown_batch_waits_for_a_decision_when_set_to_ask(tmp_path: Path, job: Callable[..., Summary]) -> None:
    write_job(tmp_path, batch={**SPEC["batch"], "on_unknown": "ask"})
    for _ in range(2):
        with pytest.raises(ManualDecisionRequired, match=r"reconcile \w+ --assume-not-sent"):
            job(faults=["refuse-504:1"] if not (tmp_path / "api").exists() else [])
        assert accepted(tmp_path / "api") == BATCHES - 1
    spec = json.loads((tmp_path / "job.yaml").read_text())
    spec["batch"]["on_unknown"] = "resubmit"
    (tmp_path / "job.yaml").write_text(json.dumps(spec))
    assert job().outcomes == {"succeeded": ROWS}
    assert paid(tmp_path / "api") == EACH_ONCE


def test_a_lone_request_without_a_result_ends_as_missing(tmp_path: Path, job: Callable[..., Summary]) -> None:
    write_job(tmp_path, rows=1, retry={"attempts": 2})
    assert job(faults=["missing:2"]).outcomes == {"missing": 1}
    assert accepted(tmp_path / "api") == 2


def test_refused_row_alone_in_a_batch_does_not_block_others(tmp_path: Path, job: Callable[..., Summary]) -> None:
    write_job(tmp_path, rows=9)
    assert job(faults=["refused-row:9"]).outcomes == {"succeeded": 8, "rejected": 1}


def test_ambiguous_refusal_needs_a_decision(tmp_path: Path, job: Callable[..., Summary]) -> None:
    write_job(tmp_path, rows=9)
    for _ in range(2):
        with pytest.raises(RequestRejected, match=r"row 9\)"):
            job(faults=["refused-unnamed-row:9"])
    assert job(faults=["refused-unnamed-row:9"], accept_loss=True).outcomes == {"succeeded": 8, "rejected": 1}


@pytest.mark.parametrize("times", [3, 6, 7, 8])
def test_temporary_refusal_rejects_no_row(tmp_path: Path, job: Callable[..., Summary], times: int) -> None:
    assert job(faults=[f"refuse:{times}"]).outcomes == {"succeeded": ROWS}
    assert paid(tmp_path / "api") == EACH_ONCE


@pytest.mark.parametrize("policy", ["ask", "resubmit"])
def test_unreadable_candidate_needs_a_decision(tmp_path: Path, job: Callable[..., Summary], policy: str) -> None:
    write_job(tmp_path, batch={**SPEC["batch"], "on_unknown": policy})
    with pytest.raises(ManualDecisionRequired, match="can no longer be read"):
        job(faults=["foreign-batch", "archived:2", "accept-then-drop"])
    assert paid(tmp_path / "api") == EACH_ONCE


def test_unreadable_candidate_does_not_hide_a_readable_one(tmp_path: Path, job: Callable[..., Summary]) -> None:
    assert job(faults=["foreign-batch", "archived:1", "accept-then-drop"]).outcomes == {"succeeded": ROWS}
    assert paid(tmp_path / "api") == EACH_ONCE


@pytest.mark.parametrize("fault", ["date-ahead:600", "date-ahead:90000", "date-behind:600"])
def test_wrong_server_clock_pays_nothing_twice(tmp_path: Path, job: Callable[..., Summary], fault: str) -> None:
    assert job(faults=[fault, "accept-then-drop:2"]).outcomes == {"succeeded": ROWS}
    assert paid(tmp_path / "api") == EACH_ONCE


def test_foreign_download_does_not_disown_a_batch(tmp_path: Path, job: Callable[..., Summary]) -> None:
    # One row a batch, so that a download with one foreign line holds nothing of ours.
    write_job(tmp_path, rows=2, batch={**SPEC["batch"], "max_requests": 1})
    assert job(faults=["line-foreign:2", "line-missing:1"]).outcomes == {"succeeded": 2}
    assert paid(tmp_path / "api") == {("1", 1): 1, ("1", 2): 1}


def test_other_workspace_is_allowed_if_nothing_was_accepted(job: Callable[..., Summary]) -> None:
    with pytest.raises(AccessError):
        job(faults=["billing"], workspace="wrkspc_a")
    assert job(workspace="wrkspc_b").outcomes == {"succeeded": ROWS}


def test_fault_during_error_handling_passes(tmp_path: Path, job: Callable[..., Summary]) -> None:
    def on(moment: str) -> None:
        moments.append(moment)
        if "results" in moments and moment == "retrieve" and len(broken) < 2:
            broken.append(moment)
            raise ErrorResponse(500, "boom")

    moments: list[str] = []
    broken: list[str] = []
    assert job(faults=["results-404:3"], on=on).outcomes == {"succeeded": ROWS}
    assert (len(broken), paid(tmp_path / "api")) == (2, EACH_ONCE)


def test_every_simulator_fault_is_tested() -> None:
    names = (
        "test_faults.py",
        "test_sync.py",
        "test_deadline.py",
        "test_plan.py",
        "test_repair.py",
        "test_long_turns.py",
    )
    source = "".join((Path(__file__).parent / name).read_text("utf-8") for name in names)
    assert [name for name in FAULTS if f'"{name}' not in source and f"{name}:" not in source] == []
