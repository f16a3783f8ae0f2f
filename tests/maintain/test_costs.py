"""The costs of a project are summed up by spec, model, day and label; what is unknown is never 0."""

from collections.abc import Callable
from pathlib import Path

import pytest

from runner import Summary
from runner.lifecycle.maintain.costs import Amount, Costs, sum_costs
from runner.lifecycle.maintain.purge import purge_run
from runner.runs.find import find_runs
from runner.store.open_store import open_store
from tests.support.projects import write_job
from tests.support.simulator import bill

OTHER_MODEL = {"model": "claude-sonnet-5", "max_tokens": 100}
UNPRICED = {"model": "claude-of-tomorrow", "max_tokens": 100}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def paid(costs: Costs) -> dict[str, float | None]:
    return {group.name: group.paid.known for group in costs.groups}


def test_sum_is_what_the_api_bills(project: Path, run_job: Callable[..., Summary]) -> None:
    write_job(project)
    first = run_job()
    write_job(project, name="other", prompt={"user": "Other: {{ text }}"}, mode="sync")
    second = run_job()
    costs = sum_costs()
    assert costs.total.paid.known == pytest.approx(bill(project / "api"), abs=2e-6)
    assert paid(costs) == {"other": second.cost["actual"], "job": first.cost["actual"]}
    assert (costs.total.runs, costs.total.rows, costs.total.paid.unknown) == (2, 40, 0)
    assert costs.total.saved.known == first.cost["saved"]


def test_estimates_are_summed_up_too(project: Path, run_job: Callable[..., Summary]) -> None:
    write_job(project)
    first = run_job()
    assert sum_costs().total.estimated == Amount(first.cost["estimated"], 0)


def test_purged_runs_keep_their_costs(project: Path, run_job: Callable[..., Summary]) -> None:
    write_job(project, labels={"team": "a"})
    run_job()
    before = [sum_costs(by=by) for by in ("spec", "model", "day", "label:team")]
    purge_run(find_runs()[0])
    assert [sum_costs(by=by) for by in ("spec", "model", "day", "label:team")] == before


def test_runs_are_grouped_by_label_and_model(project: Path, run_job: Callable[..., Summary]) -> None:
    for number, (labels, params) in enumerate(
        [({"team": "a"}, OTHER_MODEL), ({"team": "b"}, OTHER_MODEL), ({}, None)]
    ):
        own = {"params": params} if params is not None else {}
        write_job(project, rows=3, labels=labels, prompt={"user": f"{number} {{{{ text }}}}"}, **own)
        run_job()
    assert set(paid(sum_costs(by="label:team"))) == {"a", "b", "(none)"}
    assert [(group.name, group.runs) for group in sum_costs(by="model").groups] == [
        ("claude-sonnet-5", 2),
        ("claude-haiku-5-5", 1),
    ]


def test_unknown_price_is_unknown(project: Path, run_job: Callable[..., Summary]) -> None:
    write_job(project, rows=3)
    known = run_job()
    write_job(project, rows=3, name="other", params=UNPRICED)
    run_job()
    costs = sum_costs()
    assert paid(costs) == {"job": known.cost["actual"], "other": None}
    assert costs.total.paid == Amount(known.cost["actual"], 1)


def test_unfinished_run_counts_what_is_collected(project: Path, run_job: Callable[..., Summary]) -> None:
    write_job(project)
    run_job(wait=False)
    [group] = sum_costs().groups
    assert (group.paid, group.in_flight) == (Amount(0.0, 0), 3)


def test_runs_that_only_reuse_cost_nothing(project: Path, run_job: Callable[..., Summary]) -> None:
    write_job(project)
    first = run_job()
    run_job(new=True)
    costs = sum_costs()
    assert (costs.total.runs, costs.total.estimated.unknown) == (2, 0)
    assert costs.total.paid == Amount(first.cost["actual"], 0)


def test_older_runs_are_left_out_since_a_time(project: Path, run_job: Callable[..., Summary]) -> None:
    write_job(project, rows=3)
    run_job()
    with open_store(project / ".runner") as store:
        store.update_run(store.runs()[0], started_at=1_700_000_000.0)
    assert [group.name for group in sum_costs(by="day").groups] == ["2023-11-14"]
    assert sum_costs(since=1_700_000_001.0).groups == []
    assert sum_costs(since=1_700_000_000.0).total.runs == 1


def test_simulated_runs_are_summed_up_apart(project: Path, run_job: Callable[..., Summary]) -> None:
    write_job(project, rows=3)
    run_job(simulate=True)
    assert (sum_costs().total.runs, sum_costs(simulate=True).total.runs) == (0, 1)
