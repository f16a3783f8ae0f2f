"""A recovered run sends nothing that its batches do not hold, unless somebody agrees to what it costs."""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.outputs import records
from tests.support.processes import RUN, Ended, command
from tests.support.projects import write_job
from tests.support.simulator import paid, simulator
from tests.support.terminals import Terminal

SENT = 21
QUESTION = "send these requests? [y/N]:"


@pytest.fixture
def environ(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a job of 21 rows with a lost state: its run sent one, and reused 20 answers."""
    with simulator(tmp_path / "api") as variables:
        for rows in (20, 21):
            write_job(tmp_path, rows=rows)
            assert command(tmp_path, variables, *RUN).returncode == 0
        lose_state(tmp_path)
        yield variables


def lose_state(root: Path) -> None:
    shutil.rmtree(root / ".runner")
    shutil.rmtree(root / "out")


def count_paid(root: Path) -> int:
    return sum(paid(root / "api").values())


def recover(root: Path, environ: Mapping[str, str], *words: str) -> Ended:
    return command(root, environ, "recover", "job.yaml", *words)


def test_recover_without_a_terminal_sends_nothing(tmp_path: Path, environ: dict[str, str]) -> None:
    ended = recover(tmp_path, environ)
    assert (ended.returncode, count_paid(tmp_path)) == (2, SENT)
    assert "20 to send in 3 batches" in ended.stderr and "no ended batch holds them" in ended.stderr
    assert "at most $" in ended.stderr
    assert "`runner run job.yaml --yes` sends the rest" in ended.stderr


def test_run_asks_for_what_a_recovery_did_not_find(tmp_path: Path, environ: dict[str, str]) -> None:
    recover(tmp_path, environ)
    for words in (("run", "job.yaml"), ("run", "job.yaml", "--resume"), ("run", "job.yaml", "--no-wait")):
        ended = command(tmp_path, environ, *words)
        assert (ended.returncode, "20 to send" in ended.stderr, count_paid(tmp_path)) == (2, True, SENT)
    assert command(tmp_path, environ, *RUN).returncode == 0
    assert (len(records(tmp_path / "out/all.jsonl")), count_paid(tmp_path)) == (21, SENT + 20)


def test_several_specs_keep_a_recovered_run(tmp_path: Path, environ: dict[str, str]) -> None:
    recover(tmp_path, environ)
    text = (tmp_path / "job.yaml").read_text()
    (tmp_path / "other.yaml").write_text(text.replace('"job"', '"other"').replace("out/", "out/other-"))
    ended = command(tmp_path, environ, "run", "job.yaml", "other.yaml")
    assert (ended.returncode, count_paid(tmp_path)) == (2, SENT)
    assert "unfinished" in command(tmp_path, environ, "status", "job").stdout


def test_recover_with_yes_sends_what_was_not_found(tmp_path: Path, environ: dict[str, str]) -> None:
    ended = recover(tmp_path, environ, "--yes")
    assert (ended.returncode, "20 to send in 3 batches" in ended.stderr) == (0, True)
    assert count_paid(tmp_path) == SENT + 20
    assert command(tmp_path, environ, "run", "job.yaml").returncode == 0


def test_a_cost_cap_is_consent_to_recover(tmp_path: Path) -> None:
    write_job(tmp_path, limits={"max_cost": 1})
    with simulator(tmp_path / "api") as environ:
        assert command(tmp_path, environ, "run", "job.yaml").returncode == 0
        write_job(tmp_path, rows=21, limits={"max_cost": 1})
        assert command(tmp_path, environ, "run", "job.yaml").returncode == 0
        lose_state(tmp_path)
        ended = recover(tmp_path, environ)
    assert (ended.returncode, "capped at $1\n" in ended.stderr, count_paid(tmp_path)) == (0, True, SENT + 20)


@pytest.mark.parametrize(("answer", "code", "sent"), [("y\n", 0, SENT + 20), ("n\n", 130, SENT)])
def test_recover_asks_on_a_terminal(
    tmp_path: Path, environ: dict[str, str], answer: str, code: int, sent: int
) -> None:
    with Terminal(tmp_path, environ, columns=120) as terminal:
        terminal.start("recover", "job.yaml")
        terminal.wait_for(QUESTION)
        terminal.type(answer)
        assert (terminal.end(), count_paid(tmp_path)) == (code, sent)
    assert command(tmp_path, environ, "run", "job.yaml").returncode == (2 if code else 0)


def test_a_canceled_recovery_only_collects(tmp_path: Path, environ: dict[str, str]) -> None:
    recover(tmp_path, environ)
    assert command(tmp_path, environ, "cancel", "job.yaml").returncode == 0
    assert command(tmp_path, environ, "run", "job.yaml").returncode == 3
    outcomes = [one["outcome"] for one in records(tmp_path / "out/all.jsonl")]
    assert (outcomes.count("succeeded"), outcomes.count("canceled")) == (1, 20)
    assert count_paid(tmp_path) == SENT


def test_the_canary_is_part_of_the_consent(tmp_path: Path) -> None:
    write_job(tmp_path, canary=2)
    moments: list[str] = []
    with simulator(tmp_path / "api", on=moments.append) as environ:
        assert command(tmp_path, environ, *RUN).returncode == 0
        lose_state(tmp_path)
        before, ended = moments.count("message"), recover(tmp_path, environ)
        assert (ended.returncode, "2 to send in 1 batch" in ended.stderr) == (2, True)
        assert moments.count("message") == before == 2
        assert command(tmp_path, environ, *RUN).returncode == 0
    assert moments.count("message") == 4


@pytest.mark.parametrize(("words", "code", "sent"), [((), 2, 20), (("--yes",), 0, 21)])
def test_a_round_that_was_not_sent_needs_consent(
    tmp_path: Path, words: tuple[str, ...], code: int, sent: int
) -> None:
    write_job(tmp_path, retry={"attempts": 1})
    mix = lambda id: "errored" if id[13:] == "-1-1-2" else "succeeded"  # noqa: E731
    with simulator(tmp_path / "api", mix=mix) as environ:
        assert command(tmp_path, environ, *RUN).returncode == 3
        lose_state(tmp_path)
        write_job(tmp_path)
        ended = recover(tmp_path, environ, *words)
        assert (ended.returncode, "1 to send in 1 batch" in ended.stderr) == (code, True)
        assert count_paid(tmp_path) == sent
