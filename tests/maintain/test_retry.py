"""A retry sends the failed rows of a run again, and no other; good answers are kept."""

import json
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.outputs import records
from tests.support.processes import Ended, command, killed_at_rename
from tests.support.projects import EACH_ONCE, SCHEMA, write_job
from tests.support.simulator import paid, simulator

FAILING = {1: "truncated", 7: "refused", 12: "errored"}
ONCE: dict[str, Any] = {"retry": {"attempts": 1}}
NEW_PROMPT = {"system": "Label the text with care.", "user": "{{ text }}"}


class Job:
    """The job of 20 rows, whose rows 1, 7 and 12 failed in the first run; later requests succeed."""

    def __init__(self, root: Path, environ: dict[str, str]) -> None:
        self.root, self.environ = root, environ
        self.failing = FAILING
        self.first_run = ""

    def pick(self, custom_id: str) -> str:
        run_id, _, _, row = custom_id.split("-")
        self.first_run = self.first_run or run_id
        return self.failing.get(int(row), "succeeded") if run_id == self.first_run else "succeeded"

    def call(self, *words: str, **how: Any) -> Ended:
        return command(self.root, self.environ, *words, **how)

    def sent(self) -> Counter[int]:
        """How often each row was sent and paid."""
        return sum((Counter({row: times}) for (_, row), times in paid(self.root / "api").items()), Counter())

    def sent_again(self) -> list[int]:
        return sorted((self.sent() - Counter(range(1, 21))).elements())

    def records(self) -> dict[str, dict[str, Any]]:
        return {one["key"]: one for one in records(self.root / "out/all.jsonl")}

    def outcomes(self) -> dict[str, str]:
        failed = {key: one["outcome"] for key, one in self.records().items() if one["outcome"] != "succeeded"}
        assert len(self.records()) == 20
        return failed


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    found = Job(tmp_path, {})
    write_job(tmp_path, **ONCE)
    with simulator(tmp_path / "api", mix=found.pick) as environ:
        found.environ = environ
        yield found


@pytest.fixture
def failed(job: Job) -> Job:
    assert job.call("run", "job.yaml", "--yes").returncode == 3
    assert job.outcomes() == {"r1": "truncated", "r7": "refused", "r12": "errored"}
    return job


def test_only_failed_rows_are_sent_and_outputs_hold_all(failed: Job) -> None:
    before = failed.records()
    ended = failed.call("retry", failed.first_run, "--yes")
    assert (ended.returncode, failed.outcomes(), failed.sent_again()) == (0, {}, [1, 7, 12])
    assert f"job: retries run {failed.first_run}, of which 17 good answers are kept\n" in ended.stderr
    assert all(
        one["output"] == before[key]["output"] for key, one in failed.records().items() if one["batch_id"] is None
    )
    assert failed.call("doctor").returncode == 0


def test_edited_prompt_is_used_for_failed_rows_only(failed: Job) -> None:
    write_job(failed.root, **ONCE, prompt=NEW_PROMPT)
    ended = failed.call("retry", "job", "--yes")
    assert (ended.returncode, failed.sent_again()) == (0, [1, 7, 12])
    assert "only the rows that are sent again get the new one" in ended.stderr
    shown = failed.call("show", "job", "--key", "r7", "--request").stdout
    assert json.loads(shown)["request"]["system"] == NEW_PROMPT["system"]
    again = failed.call("run", "job.yaml", "--yes")
    assert (again.returncode, failed.outcomes(), failed.sent_again()) == (0, {}, [1, 7, 12])


def test_old_answer_does_not_count_as_one_to_the_new_prompt(failed: Job) -> None:
    write_job(failed.root, **ONCE, prompt=NEW_PROMPT)
    assert failed.call("retry", "job", "--yes").returncode == 0
    assert failed.call("run", "job.yaml", "--yes", "--new").returncode == 0
    assert sorted(failed.sent().values()) == [2] * 20


@pytest.mark.parametrize(
    ("words", "again", "left"),
    [
        (("--outcome", "refused"), [7], {"r1": "truncated", "r12": "errored"}),
        (("--key", "r12"), [12], {"r1": "truncated", "r7": "refused"}),
    ],
)
def test_chosen_rows_are_sent_and_others_stay(
    failed: Job, words: tuple[str, ...], again: list[int], left: dict[str, str]
) -> None:
    assert failed.call("retry", "job.yaml", "--yes", *words).returncode == 3
    assert (failed.outcomes(), failed.sent_again()) == (left, again)
    assert failed.call("doctor").returncode == 0
    assert failed.call("retry", "job.yaml", "--yes").returncode == 0
    assert (failed.outcomes(), failed.sent_again()) == ({}, [1, 7, 12])


def test_row_without_a_result_can_stay(job: Job) -> None:
    job.failing = {3: "missing", 5: "errored"}
    write_job(job.root, **ONCE, batch={"poll_seconds": 0.1, "grace_seconds": 0.01})
    assert job.call("run", "job.yaml", "--yes").returncode == 3
    assert job.call("retry", "job", "--yes", "--key", "r5").returncode == 3
    assert (job.outcomes(), job.sent_again()) == ({"r3": "missing"}, [5])
    assert job.call("doctor").returncode == 0
    assert job.call("retry", "job", "--yes").returncode == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--key", "r2"), "has no failed row with the key 'r2'"),
        (("--outcome", "expired"), "has no failed row with the outcome expired"),
        (("--outcome", "bad"), "the outcome 'bad' is not one of succeeded"),
    ],
)
def test_choice_without_rows_is_an_error(failed: Job, words: tuple[str, ...], message: str) -> None:
    ended = failed.call("retry", "job", "--yes", *words)
    assert (ended.returncode, message in ended.stderr, failed.sent_again()) == (2, True, [])


def test_corrected_check_keeps_answers_without_sending(job: Job) -> None:
    job.failing = {}
    check = {"check": "score is string", "message": "the score is no text"}
    write_job(job.root, **ONCE, output={"schema": SCHEMA, "checks": [check]})
    assert job.call("run", "job.yaml", "--yes").returncode == 3
    write_job(job.root, **ONCE, output={"schema": SCHEMA, "checks": [{**check, "check": "score is number"}]})
    ended = job.call("retry", "job", "--yes")
    assert (ended.returncode, job.outcomes(), paid(job.root / "api")) == (0, {}, EACH_ONCE)


def test_answers_are_judged_again_by_an_edited_check(failed: Job) -> None:
    check = {"check": "row.id != 'r2'", "message": "never r2"}
    write_job(failed.root, **ONCE, output={"schema": SCHEMA, "checks": [check]})
    ended = failed.call("retry", "job", "--yes")
    assert (ended.returncode, failed.outcomes(), failed.sent_again()) == (3, {"r2": "invalid"}, [1, 2, 7, 12])


def test_good_answers_are_judged_by_a_stricter_check(job: Job) -> None:
    job.failing = {}
    assert job.call("run", "job.yaml", "--yes").returncode == 0
    check = {"check": "row.id != 'r2'", "message": "never r2"}
    write_job(job.root, **ONCE, output={"schema": SCHEMA, "checks": [check]})
    ended = job.call("retry", "job", "--yes")
    assert (ended.returncode, job.outcomes(), job.sent_again()) == (3, {"r2": "invalid"}, [2])


def test_new_rows_are_left_to_run(failed: Job) -> None:
    source = failed.root / "rows.csv"
    source.write_text(source.read_text().replace("number 7", "seven") + "r21,text number 21\n")
    ended = failed.call("retry", "job", "--yes")
    assert (ended.returncode, failed.outcomes(), failed.sent_again()) == (0, {}, [1, 7, 12])
    assert "new and edited rows are sent by `runner run" in ended.stderr
    assert failed.records()["r7"]["row"]["text"] == "text number 7"
    assert failed.call("run", "job.yaml", "--yes").returncode == 0
    assert (failed.sent()[21], failed.sent_again(), len(failed.records())) == (1, [1, 7, 7, 12, 21], 21)


def test_repeated_retry_resumes(failed: Job) -> None:
    first = failed.call("retry", failed.first_run, "--yes", "--no-wait")
    assert (first.returncode, f"resume with: runner retry {failed.first_run} --yes\n" in first.stderr) == (4, True)
    write_job(failed.root, **ONCE, prompt=NEW_PROMPT)
    ended = failed.call("retry", failed.first_run)
    assert (ended.returncode, failed.outcomes(), failed.sent_again()) == (0, {}, [1, 7, 12])
    assert "goes on as it was started" in ended.stderr
    assert "there is nothing to retry" in failed.call("retry", failed.first_run).stderr


@pytest.mark.parametrize("name", ["rows.jsonl", "spec.json", "1-1.jsonl", "all.jsonl"])
def test_killed_retry_pays_nothing_twice(failed: Job, name: str) -> None:
    killed = failed.call("retry", "job", "--yes", before=partial(killed_at_rename, name))
    assert killed.returncode < 0
    ended = failed.call("retry", "job", "--yes")
    assert (ended.returncode, failed.outcomes(), failed.sent_again()) == (0, {}, [1, 7, 12])


def test_unanswered_question_sends_nothing(failed: Job) -> None:
    ended = failed.call("retry", "job")
    assert (ended.returncode, "3 to send" in ended.stderr, failed.sent_again()) == (2, True, [])


def test_other_runs_cannot_be_retried(failed: Job) -> None:
    source = failed.root / "rows.csv"
    source.write_text(source.read_text() + "r21,text number 21\n")
    assert failed.call("run", "job.yaml", "--yes", "--no-wait").returncode == 4
    unfinished = failed.call("retry", "job", "--yes")
    assert (unfinished.returncode, "first finish it with `runner run job.yaml`" in unfinished.stderr) == (2, True)
    assert failed.call("run", "job.yaml").returncode == 0
    older = failed.call("retry", failed.first_run, "--yes")
    assert (older.returncode, "is not the newest run of job" in older.stderr) == (2, True)


def test_purged_run_cannot_be_retried(failed: Job) -> None:
    assert failed.call("purge", "job", "--yes").returncode == 0
    ended = failed.call("retry", "job", "--yes")
    assert (ended.returncode, "were purged" in ended.stderr) == (2, True)


def test_simulated_run_is_retried_in_the_simulation(job: Job) -> None:
    write_job(job.root, **ONCE, output={"schema": SCHEMA, "checks": [{"check": "score < 50", "message": "high"}]})
    assert job.call("run", "job.yaml", "--simulate").returncode == 3
    refused = job.call("retry", "job")
    assert (refused.returncode, "add --simulate to retry the simulated one" in refused.stderr) == (2, True)
    run_id = json.loads(job.call("status", "job", "--json").stdout)["run"]
    assert f"  again   runner retry {run_id}\n" in job.call("status", "job").stdout
    assert job.call("retry", run_id).returncode in (0, 3)
    assert (len(records(job.root / "simulated/out/all.jsonl")), job.sent()) == (20, Counter())


def test_retry_is_not_taken_for_the_run_to_recover(failed: Job) -> None:
    assert failed.call("retry", "job", "--yes").returncode == 0
    (failed.root / ".runner").rename(failed.root / "lost")
    ended = failed.call("recover", "job.yaml")
    assert (ended.returncode, f"run {failed.first_run} was recovered" in ended.stderr) == (3, True)
    assert failed.sent_again() == [1, 7, 12]
