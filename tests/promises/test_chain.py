"""Jobs that read the outputs of others, each run in its turn and resumed by itself."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from runner import load_spec, plan
from runner.errors import InputError
from tests.support.outputs import output_keys
from tests.support.processes import command, end, kill, killed_at_rename, start
from tests.support.projects import RUN_CHAIN, write_chain
from tests.support.simulator import accepted, paid, simulator


def test_spec_killed_during_prepare_does_not_block_another(tmp_path: Path) -> None:
    write_chain(tmp_path)
    with simulator(tmp_path / "api") as environ:
        killed = command(
            tmp_path, environ, "run", "first.yaml", "--yes", before=partial(killed_at_rename, "spec.json")
        )
        assert killed.returncode == -9
        (tmp_path / "other.yaml").write_text((tmp_path / "first.yaml").read_text().replace('"first"', '"other"'))
        assert command(tmp_path, environ, "run", "other.yaml", "--yes").returncode == 0
        assert command(tmp_path, environ, "run", "first.yaml", "--yes").returncode == 0


def test_simulated_chain_reads_simulated_outputs(tmp_path: Path) -> None:
    write_chain(tmp_path)
    ended = command(tmp_path, {"PATH": "/usr/bin"}, "run", "second.yaml", "first.yaml", "--simulate", "--json")
    assert ended.returncode == 0, ended.stderr
    assert [json.loads(line)["spec"] for line in ended.stdout.splitlines()] == ["first", "second"]
    assert not (tmp_path / "out").exists()
    assert plan(load_spec(tmp_path / "second.yaml"), simulate=True).reused == 20


def test_only_succeeded_rows_are_passed_on_by_default(tmp_path: Path) -> None:
    write_chain(tmp_path, retry={"attempts": 1})
    text = (tmp_path / "second.yaml").read_text()
    with simulator(
        tmp_path / "api", mix=lambda id: "errored" if id.endswith("-1-1-3") else "succeeded"
    ) as environ:
        assert command(tmp_path, environ, "run", "first.yaml", "second.yaml", "--yes").returncode == 3
        assert "r3" not in output_keys(tmp_path, "second")
        (tmp_path / "second.yaml").write_text(text.replace('"key": "key"', '"key": "key", "rows": "failed"'))
        with pytest.raises(InputError):  # its prompt asks for the label of an output that does not exist
            plan(load_spec(tmp_path / "second.yaml"), offline=True)
        (tmp_path / "second.yaml").write_text(
            text.replace('"key": "key"', '"key": "key", "rows": "failed"').replace("output.label", "error.type")
        )
        assert plan(load_spec(tmp_path / "second.yaml"), offline=True).rows == 1


@pytest.mark.parametrize("number", [1, 4, 7])
def test_killed_chain_resumes_where_it_stopped(tmp_path: Path, number: int) -> None:
    write_chain(tmp_path)
    seen: list[str] = []
    process: Any = None

    def on(moment: str) -> None:
        seen.append(moment)
        if moment == "created" and seen.count("created") == number:
            kill(process.pid)

    with simulator(tmp_path / "api", on=on) as environ:
        process = start(tmp_path, environ, *RUN_CHAIN)
        assert end(tmp_path, process).returncode == -9
    with simulator(tmp_path / "api") as environ:
        assert command(tmp_path, environ, *RUN_CHAIN).returncode == 0
    assert (accepted(tmp_path / "api"), sum(paid(tmp_path / "api").values())) == (9, 60)
    assert output_keys(tmp_path, "third") == [f"r{n}" for n in range(1, 21)]


def test_unfinished_spec_ends_the_chain(tmp_path: Path) -> None:
    write_chain(tmp_path)
    with simulator(tmp_path / "api", seconds=60) as environ:
        ended = command(tmp_path, environ, *RUN_CHAIN, "--no-wait")
    assert (ended.returncode, accepted(tmp_path / "api")) == (4, 3)
    assert "third.yaml second.yaml first.yaml" in ended.stderr


def test_edited_first_spec_resends_only_changed_rows(tmp_path: Path) -> None:
    write_chain(tmp_path)
    with simulator(tmp_path / "api") as environ:
        assert command(tmp_path, environ, *RUN_CHAIN).returncode == 0
        rows = tmp_path / "rows.csv"
        rows.write_text(rows.read_text().replace("text number 7\n", "another text\n"))
        assert command(tmp_path, environ, *RUN_CHAIN).returncode == 0
    # Row 7 of each, and in the last two links only if what they are asked has changed.
    assert 61 <= sum(paid(tmp_path / "api").values()) <= 63


def test_limited_chain_resumes_with_its_limit(tmp_path: Path) -> None:
    write_chain(tmp_path)
    words = ("run", "first.yaml", "second.yaml", "--yes", "--limit", "3")
    with simulator(tmp_path / "api", seconds=0.1) as environ:
        assert command(tmp_path, environ, "run", "first.yaml", "--yes", "--limit", "3").returncode == 0
    with simulator(tmp_path / "api", seconds=1) as environ:
        assert command(tmp_path, environ, *words, "--no-wait").returncode == 4
        ended = command(tmp_path, environ, *words)
    assert (ended.returncode, sum(paid(tmp_path / "api").values())) == (0, 6), ended.stderr


def test_interrupt_stops_the_whole_chain(tmp_path: Path) -> None:
    write_chain(tmp_path)
    process: Any = None
    sent: list[str] = []

    def on(moment: str) -> None:
        # A second signal would end the process at once.
        if moment == "results" and not sent:
            sent.append(moment)
            process.terminate()

    with simulator(tmp_path / "api", on=on) as environ:
        process = start(tmp_path, environ, *RUN_CHAIN)
        ended = end(tmp_path, process)
    assert (ended.returncode, accepted(tmp_path / "api") <= 3) == (143, True)
