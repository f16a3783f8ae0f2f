"""A lost state is rebuilt from the API's own batches, and nothing is paid twice."""

import json
import shutil
from functools import partial
from pathlib import Path

import pytest

from tests.support.outputs import outputs, records
from tests.support.processes import RUN, command, killed_at_rename
from tests.support.projects import EACH_ONCE, SPEC, forget_queue, plan_of_edited_job, write_job
from tests.support.simulator import end_batches, most_usage, paid, simulator, simulator_client


def lose_state(root: Path) -> None:
    shutil.rmtree(root / ".runner")
    shutil.rmtree(root / "out", ignore_errors=True)


def test_lost_finished_run_is_recovered(project: Path) -> None:
    with simulator(project / "api") as environ:
        assert command(project, environ, *RUN).returncode == 0
        before = outputs(project)
        lose_state(project)
        ended = command(project, environ, "recover", "job.yaml")
        assert (ended.returncode, outputs(project)) == (0, before)
        assert command(project, environ, *RUN).returncode == 0
        assert command(project, environ, "doctor").returncode == 0
    assert paid(project / "api") == EACH_ONCE


def test_a_lost_run_is_recovered_by_the_beginning_of_its_id(project: Path) -> None:
    with simulator(project / "api") as environ:
        run = json.loads(command(project, environ, *RUN, "--json").stdout)["run"]
        lose_state(project)
        assert command(project, environ, "recover", "job.yaml", "--run", "nope").returncode == 2
        ended = command(project, environ, "recover", "job.yaml", "--run", run[:10])
        assert (ended.returncode, f"run {run} was recovered" in ended.stderr) == (0, True)


def test_batches_of_as_many_other_rows_are_recovered(project: Path) -> None:
    with simulator(project / "api") as environ:
        for rows in (8, 16):
            write_job(project, rows=rows)
            assert command(project, environ, *RUN).returncode == 0
        lose_state(project)
        assert command(project, environ, "recover", "job.yaml", "--yes").returncode == 0
        assert {one["outcome"] for one in records(project / "out/all.jsonl")} == {"succeeded"}
    # The answers that the run had taken over are lost with its state.
    assert sum(paid(project / "api").values()) == 24


def test_lost_unfinished_run_is_recovered(project: Path) -> None:
    created = []

    def on(moment: str) -> None:
        created.append(moment)

    with simulator(project / "api", seconds=2, faults=["queue-full:99"]) as environ:
        assert command(project, environ, *RUN, "--no-wait").returncode == 4
    assert paid(project / "api") == {}
    forget_queue(project)
    with simulator(project / "api", seconds=600, faults=["max-queue:8"]) as environ:
        assert command(project, environ, *RUN, "--no-wait").returncode == 4
    end_batches(project / "api")
    with simulator(project / "api", seconds=2, on=on) as environ:
        assert sum(paid(project / "api").values()) == 8
        lose_state(project)
        ended = command(project, environ, "recover", "job.yaml", "--yes")
    assert (ended.returncode, created.count("create")) == (0, 2)
    assert paid(project / "api") == EACH_ONCE


@pytest.mark.parametrize("faults", [(), ("date-behind:60",), ("date-ahead:60",)])
def test_later_rounds_are_recovered_despite_a_wrong_clock(project: Path, faults: tuple[str, ...]) -> None:
    kinds = {f"-1-1-{row}": "errored" for row in (2, 5)}
    mix = lambda id: next((kind for end, kind in kinds.items() if id[13:] == end), "succeeded")  # noqa: E731
    with simulator(project / "api", mix=mix, faults=faults) as environ:
        assert command(project, environ, *RUN).returncode == 0
        before, bill = outputs(project), paid(project / "api")
        lose_state(project)
        assert command(project, environ, "recover", "job.yaml").returncode == 0
    assert (outputs(project), paid(project / "api")) == (before, bill)
    assert (bill["2", 2], bill["2", 5], sum(bill.values())) == (1, 1, 22)


@pytest.mark.parametrize("edited", ["rows.csv", "order", "job.yaml"])
def test_changed_input_or_spec_is_not_recovered(project: Path, edited: str) -> None:
    with simulator(project / "api") as environ:
        assert command(project, environ, *RUN).returncode == 0
        lose_state(project)
        if edited == "rows.csv":
            write_job(project, rows=19)
        elif edited == "order":
            head, *lines = (project / "rows.csv").read_text().splitlines()
            (project / "rows.csv").write_text("\n".join([head, *reversed(lines)]) + "\n")
        else:
            write_job(project, prompt={"user": "Other words: {{ text }}"})
        ended = command(project, environ, "recover", "job.yaml")
        assert (ended.returncode, "Traceback" in ended.stderr) == (2, False)
        write_job(project)
        assert command(project, environ, "recover", "job.yaml").returncode == 0
    assert paid(project / "api") == EACH_ONCE


def test_recover_names_the_runs_of_other_forms(project: Path) -> None:
    with simulator(project / "api") as environ:
        run = json.loads(command(project, environ, *RUN, "--json").stdout)["run"]
        write_job(project, rows=8)
        assert command(project, environ, *RUN).returncode == 0
        lose_state(project)
        ended = command(project, environ, "recover", "job.yaml")
        assert (ended.returncode, "its newest run sent nothing, because all answers" in ended.stderr) == (2, True)
        assert f"  {run} of 20" in ended.stderr and ": 20 requests" in ended.stderr
        assert "`runner run job.yaml` would send all rows, and pay for them" in ended.stderr
        write_job(project)
        assert command(project, environ, "recover", "job.yaml").returncode == 0
        write_job(project, rows=8)
        assert command(project, environ, *RUN).returncode == 0
    assert paid(project / "api") == EACH_ONCE


def test_grown_input_is_recovered_without_paying_again(project: Path) -> None:
    with simulator(project / "api") as environ:
        for rows in (20, 21):
            write_job(project, rows=rows)
            assert command(project, environ, *RUN).returncode == 0
        lose_state(project)
        ended = command(project, environ, "recover", "job.yaml")
        assert (ended.returncode, "may have their answers in these runs" in ended.stderr) == (2, True)
        assert command(project, environ, "cancel", "job.yaml").returncode == 0
        assert command(project, environ, "run", "job.yaml").returncode == 3
        write_job(project)
        assert command(project, environ, "recover", "job.yaml").returncode == 0
        write_job(project, rows=21)
        assert command(project, environ, "run", "job.yaml").returncode == 0
    assert {one["outcome"] for one in records(project / "out/all.jsonl")} == {"succeeded"}
    assert sum(paid(project / "api").values()) == 21


def test_rows_whose_results_are_missing_are_not_sent(project: Path) -> None:
    mix = lambda id: "missing" if id[13:] == "-1-1-2" else "succeeded"  # noqa: E731
    with simulator(project / "api", mix=mix, seconds=600) as environ:
        assert command(project, environ, *RUN, "--no-wait").returncode == 4
    end_batches(project / "api")
    lose_state(project)
    write_job(project, batch={**SPEC["batch"], "max_requests": 5})
    with simulator(project / "api") as environ:
        ended = command(project, environ, "recover", "job.yaml", "--yes")
        assert (ended.returncode, "1 of 8 results of" in ended.stderr) == (4, True)
    assert sum(paid(project / "api").values()) == 19


def test_recover_waits_until_a_batch_has_ended(project: Path) -> None:
    moments: list[str] = []
    with simulator(project / "api", seconds=60, on=moments.append) as environ:
        assert command(project, environ, *RUN, "--no-wait").returncode == 4
        lose_state(project)
        ended = command(project, environ, "recover", "job.yaml")
    assert (ended.returncode, "unfinished" in ended.stderr, "results" in moments) == (4, True, False)


def test_existing_state_is_not_recovered(project: Path) -> None:
    with simulator(project / "api") as environ:
        assert command(project, environ, *RUN).returncode == 0
        ended = command(project, environ, "recover", "job.yaml")
    assert (ended.returncode, "is not lost: `runner run job.yaml` goes on" in ended.stderr) == (2, True)


def test_database_without_a_known_run_is_not_used(project: Path) -> None:
    with simulator(project / "api") as environ:
        assert command(project, environ, "run", "job.yaml", "--yes", "--limit", "3").returncode == 0
        shutil.copy(project / ".runner/state.db", project / "old.db")
        (project / "rows.csv").write_text("id,text\nx,one\ny,two\n")
        assert command(project, environ, *RUN).returncode == 0
        shutil.copy(project / "old.db", project / ".runner/state.db")
        ended = command(project, environ, *RUN)
    assert (ended.returncode, "has no record of the run" in ended.stderr) == (8, True)


def test_database_from_before_the_create_does_not_pay_again(project: Path) -> None:
    with simulator(project / "api", faults=["queue-full:99"]) as environ:
        assert command(project, environ, *RUN, "--no-wait").returncode == 4
    shutil.copy(project / ".runner/state.db", project / "old.db")
    with simulator(project / "api") as environ:
        assert command(project, environ, *RUN).returncode == 0
        shutil.copy(project / "old.db", project / ".runner/state.db")
        assert command(project, environ, *RUN).returncode == 0
    assert paid(project / "api") == EACH_ONCE
    assert len(json.loads((project / "out/all.jsonl").read_text().splitlines()[-1])["key"]) > 0


def test_cancel_keeps_batches_that_may_have_been_sent(project: Path) -> None:
    with simulator(project / "api", seconds=0.1) as environ:
        assert command(project, environ, *RUN).returncode == 0
        lose_state(project)
        stopped = partial(killed_at_rename, "1-1.jsonl")
        assert command(project, environ, "recover", "job.yaml", before=stopped).returncode == -9
        assert command(project, environ, "cancel", "job.yaml").returncode == 0
        assert command(project, environ, *RUN).returncode == 0
    assert [record["outcome"] for record in records(project / "out/all.jsonl")] == ["succeeded"] * 20
    assert paid(project / "api") == EACH_ONCE


def test_killed_recovery_is_repeated_before_sending(project: Path) -> None:
    with simulator(project / "api") as environ:
        assert command(project, environ, *RUN).returncode == 0
        lose_state(project)
        stopped = partial(killed_at_rename, "spec.json")
        assert command(project, environ, "recover", "job.yaml", before=stopped).returncode == -9
        refused = command(project, environ, *RUN)
        assert (refused.returncode, "did not finish" in refused.stderr) == (2, True)
        assert command(project, environ, "recover", "job.yaml").returncode == 0
    assert paid(project / "api") == EACH_ONCE


def test_recovery_keeps_sent_rounds_after_a_retry_edit(project: Path) -> None:
    mix = lambda id: "errored" if id[13:] == "-1-1-2" else "succeeded"  # noqa: E731
    with simulator(project / "api", mix=mix) as environ:
        assert command(project, environ, *RUN).returncode == 0
        before = outputs(project)
        lose_state(project)
        write_job(project, retry={"attempts": 1})
        ended = command(project, environ, "recover", "job.yaml")
        assert (ended.returncode, "`retry` allows fewer rounds" in ended.stderr) == (8, True)
        lose_state(project)
        write_job(project)
        assert command(project, environ, "recover", "job.yaml").returncode == 0
    assert outputs(project) == before


def assert_recovers(root: Path, before: dict[str, str]) -> None:
    """Lose the state and recover it: everything is there again."""
    with simulator(root / "api") as environ:
        lose_state(root)
        ended = command(root, environ, "recover", "job.yaml")
        assert (ended.returncode, outputs(root)) == (0, before), ended.stderr
        assert command(root, environ, "doctor", "--remote").returncode == 0


def test_run_is_recovered_after_a_batch_size_edit(project: Path) -> None:
    with simulator(project / "api") as environ:
        assert command(project, environ, *RUN).returncode == 0
    write_job(project, batch={**SPEC["batch"], "max_requests": 5})
    assert_recovers(project, outputs(project))
    assert paid(project / "api") == EACH_ONCE


def test_run_with_a_split_batch_is_recovered(project: Path) -> None:
    with simulator(project / "api", faults=["refused-row:6"]) as environ:
        assert command(project, environ, *RUN).returncode == 3
    bill = paid(project / "api")
    assert sum(bill.values()) == 19
    with simulator(project / "api", faults=["refused-row:6"]) as environ:
        before = outputs(project)
        lose_state(project)
        assert command(project, environ, "recover", "job.yaml", "--yes").returncode == 3
    after = outputs(project)
    assert (after["labels.csv"], paid(project / "api")) == (before["labels.csv"], bill)


def test_run_with_reused_answers_recovers_what_it_sent(project: Path) -> None:
    with simulator(project / "api") as environ:
        assert command(project, environ, *RUN).returncode == 0
        rows = project / "rows.csv"
        rows.write_text(rows.read_text().replace("number 3\n", "other\n").replace("number 19\n", "another\n"))
        assert command(project, environ, *RUN).returncode == 0
        assert sum(paid(project / "api").values()) == 22
        before = (project / "out/labels.csv").read_text()
        lose_state(project)
        ended = command(project, environ, "recover", "job.yaml", "--yes")
        assert (ended.returncode, (project / "out/labels.csv").read_text()) == (0, before)
    # The others had their answers from a run whose state is lost as well.
    assert sum(paid(project / "api").values()) == 40


def test_recovery_with_changed_batches_waits_for_unfinished_ones(project: Path) -> None:
    with simulator(project / "api", seconds=600, faults=["max-queue:8"]) as environ:
        assert command(project, environ, *RUN, "--no-wait").returncode == 4
        write_job(project, batch={**SPEC["batch"], "max_requests": 5})
    end_batches(project / "api")
    with simulator(project / "api", seconds=60) as environ:
        assert command(project, environ, *RUN, "--no-wait").returncode == 4
        lose_state(project)
        ended = command(project, environ, "recover", "job.yaml")
    assert (ended.returncode, "recover again after" in ended.stderr) == (4, True)


def test_lost_results_of_a_recovered_run_count_as_paid(project: Path) -> None:
    # Of 8, 8 and 4 rows, 8 are lost, and 12 count twice: their batches are not found, and are sent again.
    cap = round((plan_of_edited_job(project).cost["max"] or 0) * 1.4, 6)
    write_job(project, limits={"max_cost": cap})
    with simulator(project / "api", faults=["max-queue:8"], seconds=600, usage=most_usage) as environ:
        assert command(project, environ, *RUN, "--no-wait").returncode == 4
    end_batches(project / "api")
    lose_state(project)
    with simulator(project / "api", usage=most_usage) as environ:
        stopped = partial(killed_at_rename, "1-1.jsonl")
        assert command(project, environ, "recover", "job.yaml", before=stopped).returncode == -9
        [batch_id] = [path.stem for path in (project / "api").glob("msgbatch_*.json") if is_first(path)]
        with simulator_client(environ["ANTHROPIC_BASE_URL"]) as api:
            api.messages.batches.delete(batch_id)
        ended = command(project, environ, *RUN, "--accept-loss")
    assert (ended.returncode, "may have been paid twice" in ended.stderr) == (7, True), ended.stderr


def is_first(path: Path) -> bool:
    return "-1-1-1" in path.with_suffix(".jsonl").read_text()


def test_lost_canary_of_a_recovered_run_counts_as_paid(project: Path) -> None:
    write_job(project, canary=2)
    with simulator(project / "api") as environ:
        assert command(project, environ, *RUN).returncode == 0
        lose_state(project)
        ended = command(project, environ, "recover", "job.yaml", "--yes")
    assert (ended.returncode, "batch 1 may have been paid twice" in ended.stdout) == (0, True), ended.stdout
