"""A lost state is built anew from the API's own batches, and nothing is paid twice."""

import json
import shutil
from functools import partial
from pathlib import Path

import pytest

from tests.jobs import SPEC, command, killed_at_rename, outputs, paid, records, simulator, write_job

RUN = ("run", "job.yaml", "--yes")
EACH_ONCE = {("1", row): 1 for row in range(1, 21)}


def lose(root: Path) -> None:
    shutil.rmtree(root / ".runner")
    shutil.rmtree(root / "out", ignore_errors=True)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write_job(tmp_path)
    return tmp_path


def test_a_lost_run_that_was_finished_is_recovered(project: Path) -> None:
    with simulator(project / "api") as environ:
        assert command(project, environ, *RUN).returncode == 0
        before = outputs(project)
        lose(project)
        ended = command(project, environ, "recover", "job.yaml")
        assert (ended.returncode, outputs(project)) == (0, before)
        assert command(project, environ, *RUN).returncode == 0
        assert command(project, environ, "doctor").returncode == 0
    assert paid(project / "api") == EACH_ONCE


def test_a_lost_run_with_a_batch_under_way_and_one_never_sent_is_recovered(project: Path) -> None:
    created = []

    def on(moment: str) -> None:
        created.append(moment)

    with simulator(project / "api", seconds=2, faults=["queue-full:99"]) as environ:
        assert command(project, environ, *RUN, "--no-wait").returncode == 4
    assert paid(project / "api") == {}
    with simulator(project / "api", seconds=0.1, faults=["max-queue:8"]) as environ:
        assert command(project, environ, *RUN, "--no-wait").returncode == 4
    with simulator(project / "api", seconds=2, on=on) as environ:
        assert sum(paid(project / "api").values()) == 8
        lose(project)
        ended = command(project, environ, "recover", "job.yaml")
    assert (ended.returncode, created.count("create")) == (0, 2)
    assert paid(project / "api") == EACH_ONCE


@pytest.mark.parametrize("faults", [(), ("date-behind:60",), ("date-ahead:60",)])
def test_later_rounds_are_found_too_whatever_the_clock_says(project: Path, faults: tuple[str, ...]) -> None:
    kinds = {f"-1-1-{row}": "errored" for row in (2, 5)}
    mix = lambda id: next((kind for end, kind in kinds.items() if id[13:] == end), "succeeded")  # noqa: E731
    with simulator(project / "api", mix=mix, faults=faults) as environ:
        assert command(project, environ, *RUN).returncode == 0
        before, bill = outputs(project), paid(project / "api")
        lose(project)
        assert command(project, environ, "recover", "job.yaml").returncode == 0
    assert (outputs(project), paid(project / "api")) == (before, bill)
    assert (bill["2", 2], bill["2", 5], sum(bill.values())) == (1, 1, 22)


@pytest.mark.parametrize("edited", ["rows.csv", "order", "job.yaml"])
def test_nothing_is_recovered_from_another_input_or_spec(project: Path, edited: str) -> None:
    with simulator(project / "api") as environ:
        assert command(project, environ, *RUN).returncode == 0
        lose(project)
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


def test_it_is_too_early_while_no_batch_has_ended(project: Path) -> None:
    with simulator(project / "api", seconds=60) as environ:
        assert command(project, environ, *RUN, "--no-wait").returncode == 4
        lose(project)
        ended = command(project, environ, "recover", "job.yaml")
    assert (ended.returncode, "unfinished" in ended.stderr) == (4, True)


def test_a_state_that_is_not_lost_is_left_alone(project: Path) -> None:
    with simulator(project / "api") as environ:
        assert command(project, environ, *RUN).returncode == 0
        ended = command(project, environ, "recover", "job.yaml")
    assert (ended.returncode, "is not lost" in ended.stderr) == (2, True)


def test_a_database_that_forgot_a_run_is_not_used(project: Path) -> None:
    with simulator(project / "api") as environ:
        assert command(project, environ, "run", "job.yaml", "--yes", "--limit", "3").returncode == 0
        shutil.copy(project / ".runner/state.db", project / "old.db")
        (project / "rows.csv").write_text("id,text\nx,one\ny,two\n")
        assert command(project, environ, *RUN).returncode == 0
        shutil.copy(project / "old.db", project / ".runner/state.db")
        ended = command(project, environ, *RUN)
    assert (ended.returncode, "has no record of the run" in ended.stderr) == (8, True)


def test_a_database_of_before_the_create_does_not_pay_again(project: Path) -> None:
    with simulator(project / "api", faults=["queue-full:99"]) as environ:
        assert command(project, environ, *RUN, "--no-wait").returncode == 4
    shutil.copy(project / ".runner/state.db", project / "old.db")
    with simulator(project / "api") as environ:
        assert command(project, environ, *RUN).returncode == 0
        shutil.copy(project / "old.db", project / ".runner/state.db")
        assert command(project, environ, *RUN).returncode == 0
    assert paid(project / "api") == EACH_ONCE
    assert len(json.loads((project / "out/all.jsonl").read_text().splitlines()[-1])["key"]) > 0


def test_what_a_recovered_run_may_have_sent_is_not_ended_by_a_cancel(project: Path) -> None:
    with simulator(project / "api", seconds=0.1) as environ:
        assert command(project, environ, *RUN).returncode == 0
        lose(project)
        stopped = partial(killed_at_rename, "1-1.jsonl")
        assert command(project, environ, "recover", "job.yaml", before=stopped).returncode == -9
        assert command(project, environ, "cancel", "job.yaml").returncode == 0
        assert command(project, environ, *RUN).returncode == 0
    assert [record["outcome"] for record in records(project / "out/all.jsonl")] == ["succeeded"] * 20
    assert paid(project / "api") == EACH_ONCE


def test_a_recovery_that_is_killed_is_made_again_before_anything_is_sent(project: Path) -> None:
    with simulator(project / "api") as environ:
        assert command(project, environ, *RUN).returncode == 0
        lose(project)
        stopped = partial(killed_at_rename, "spec.json")
        assert command(project, environ, "recover", "job.yaml", before=stopped).returncode == -9
        refused = command(project, environ, *RUN)
        assert (refused.returncode, "did not finish" in refused.stderr) == (2, True)
        assert command(project, environ, "recover", "job.yaml").returncode == 0
    assert paid(project / "api") == EACH_ONCE


def test_a_round_that_was_sent_is_not_dropped_because_retry_was_edited(project: Path) -> None:
    mix = lambda id: "errored" if id[13:] == "-1-1-2" else "succeeded"  # noqa: E731
    with simulator(project / "api", mix=mix) as environ:
        assert command(project, environ, *RUN).returncode == 0
        before = outputs(project)
        lose(project)
        write_job(project, retry={"attempts": 1})
        ended = command(project, environ, "recover", "job.yaml")
        assert (ended.returncode, "`retry` allows fewer rounds" in ended.stderr) == (8, True)
        lose(project)
        write_job(project)
        assert command(project, environ, "recover", "job.yaml").returncode == 0
    assert outputs(project) == before


def recovered(root: Path, before: dict[str, str]) -> None:
    """Lose the state and recover it: everything is there again."""
    with simulator(root / "api") as environ:
        lose(root)
        ended = command(root, environ, "recover", "job.yaml")
        assert (ended.returncode, outputs(root)) == (0, before), ended.stderr
        assert command(root, environ, "doctor", "--remote").returncode == 0


def test_a_run_is_recovered_though_its_batches_would_be_others_now(project: Path) -> None:
    with simulator(project / "api") as environ:
        assert command(project, environ, *RUN).returncode == 0
    write_job(project, batch={**SPEC["batch"], "max_requests": 5})
    recovered(project, outputs(project))
    assert paid(project / "api") == EACH_ONCE


def test_a_run_of_which_a_batch_was_divided_is_recovered(project: Path) -> None:
    with simulator(project / "api", faults=["refused-row:6"]) as environ:
        assert command(project, environ, *RUN).returncode == 3
    bill = paid(project / "api")
    assert sum(bill.values()) == 19
    with simulator(project / "api", faults=["refused-row:6"]) as environ:
        before = outputs(project)
        lose(project)
        assert command(project, environ, "recover", "job.yaml").returncode == 3
    after = outputs(project)
    assert (after["labels.csv"], paid(project / "api")) == (before["labels.csv"], bill)


def test_of_a_run_that_took_earlier_answers_what_it_sent_itself_is_recovered(project: Path) -> None:
    with simulator(project / "api") as environ:
        assert command(project, environ, *RUN).returncode == 0
        rows = project / "rows.csv"
        rows.write_text(rows.read_text().replace("number 3\n", "other\n").replace("number 19\n", "another\n"))
        assert command(project, environ, *RUN).returncode == 0
        assert sum(paid(project / "api").values()) == 22
        before = (project / "out/labels.csv").read_text()
        lose(project)
        ended = command(project, environ, "recover", "job.yaml")
        assert (ended.returncode, (project / "out/labels.csv").read_text()) == (0, before)
    # The others had their answers from a run whose state is lost as well.
    assert sum(paid(project / "api").values()) == 40


def test_a_run_whose_batches_are_others_waits_for_those_under_way(project: Path) -> None:
    with simulator(project / "api", seconds=0.1, faults=["max-queue:8"]) as environ:
        assert command(project, environ, *RUN, "--no-wait").returncode == 4
        write_job(project, batch={**SPEC["batch"], "max_requests": 5})
    with simulator(project / "api", seconds=60) as environ:
        assert command(project, environ, *RUN, "--no-wait").returncode == 4
        lose(project)
        ended = command(project, environ, "recover", "job.yaml")
    assert (ended.returncode, "recover again after" in ended.stderr) == (4, True)
