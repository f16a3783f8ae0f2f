"""Passing faults of the simulator leave no trace, and every fault has a test."""

from collections.abc import Callable
from pathlib import Path

import pytest

from runner import Summary, load_spec, run
from runner.simulator.fault_list import FAULTS
from runner.simulator.responses import ErrorResponse
from tests.support import TESTS
from tests.support.outputs import outputs, records
from tests.support.projects import EACH_ONCE, ROWS, SPEC, write_job
from tests.support.simulator import paid

PASSING = (
    "drop:2", "storm-429:2", "storm-500:3", "storm-529:3", "html:2", "queue-full:2", "refuse-504:1",
    "refuse-500:1", "refuse-503:3", "refuse-529:3",
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
PATIENT = {**SPEC["batch"], "grace_seconds": 2}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("undisturbed")
    run(load_spec(write_job(root)), simulate=True)
    return outputs(root / "simulated")


@pytest.mark.parametrize("faults", [*((one,) for one in PASSING), *TOGETHER], ids=" ".join)
def test_passing_fault_leaves_no_trace(
    tmp_path: Path, run_job: Callable[..., Summary], undisturbed: dict[str, str], faults: tuple[str, ...]
) -> None:
    write_job(tmp_path, batch=PATIENT)
    summary = run_job(faults=faults)
    assert (summary.outcomes, summary.exit_code) == ({"succeeded": ROWS}, 0)
    assert paid(tmp_path / "api") == EACH_ONCE
    assert outputs(tmp_path) == undisturbed
    struck = [record["fault"] for record in records(tmp_path / "api" / "faults.jsonl")]
    assert {name.partition(":")[0] for name in faults} <= set(struck)


def test_contradicting_result_gives_exit_code_3(run_job: Callable[..., Summary]) -> None:
    summary = run_job(faults=["line-conflict:1"])
    assert (summary.outcomes, summary.exit_code) == ({"succeeded": ROWS}, 3)
    assert [batch["ignored_lines"] for batch in summary.batches if "ignored_lines" in batch] == [
        {"contradicting": 1}
    ]


def test_fault_during_error_handling_passes(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    def on(moment: str) -> None:
        moments.append(moment)
        if "results" in moments and moment == "retrieve" and len(broken) < 2:
            broken.append(moment)
            raise ErrorResponse(500, "boom")

    moments: list[str] = []
    broken: list[str] = []
    assert run_job(faults=["results-404:3"], on=on).outcomes == {"succeeded": ROWS}
    assert (len(broken), paid(tmp_path / "api")) == (2, EACH_ONCE)


def test_every_simulator_fault_is_tested() -> None:
    paths = [path for path in TESTS.rglob("test_*.py") if not {"fuzz", "simulator"} & {*path.parts}]
    source = "".join(path.read_text("utf-8") for path in paths)
    assert [name for name in FAULTS if f'"{name}' not in source and f"{name}:" not in source] == []
