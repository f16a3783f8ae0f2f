"""Several specs in one command: one table of plans, one question, and all are sent before any is waited for."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.outputs import output_keys, records
from tests.support.processes import command
from tests.support.projects import SPEC, write_chain, write_job
from tests.support.simulator import accepted, end_batches, environ_without_key, paid, simulator


def write_specs(root: Path, *names: str, **changes: dict[str, Any]) -> None:
    """Write specs with these names and prompts of their own, and remove the one that `write_job` writes."""
    base = json.loads(write_job(root).read_text())
    (root / "job.yaml").unlink()
    for name in names:
        sinks = [{"type": "jsonl", "path": f"out/{name}.jsonl"}]
        own = {"name": name, "sinks": sinks, "prompt": {"user": f"{name}: {{{{ text }}}}"}}
        (root / f"{name}.yaml").write_text(json.dumps({**base, **own, **changes.get(name, {})}))


def sent(root: Path) -> int:
    return sum(paid(root / "api").values())


def test_the_plans_are_one_table_with_a_total(tmp_path: Path) -> None:
    write_specs(tmp_path, "one", "two", two={"limits": {"max_cost": 5}})
    ended = command(tmp_path, environ_without_key(), "run", ".", "--simulate", "--limit", "10")
    table = ended.stderr.partition("plan of 2 specs\n")[2].splitlines()
    assert table[0].split() == ["spec", "rows", "to", "send", "reused", "estimated", "maximum"]
    assert table[1].split()[:4] == ["one", "10", "10", "0"]
    assert table[2].endswith("in 2 batches, capped at $5")
    assert table[3].split()[:4] == ["total", "20", "20", "0"]
    assert (ended.returncode, ended.stdout.count("10 rows, 10 succeeded")) == (0, 2)


def test_nothing_is_sent_without_one_consent_for_all(tmp_path: Path) -> None:
    write_specs(tmp_path, "one", "two", two={"limits": {"max_cost": 5}})
    with simulator(tmp_path / "api") as environ:
        ended = command(tmp_path, environ, "run", ".")
        assert (ended.returncode, accepted(tmp_path / "api")) == (2, 0)
        assert "add `--yes`, or set `limits.max_cost` in one\n" in ended.stderr
        assert command(tmp_path, environ, "status").stderr == "no runs yet\n"
        assert command(tmp_path, environ, "run", ".", "--yes").returncode == 0
    assert sent(tmp_path) == 40


def test_nothing_is_sent_if_one_spec_has_a_mistake(tmp_path: Path) -> None:
    bad = {"prompt": {"user": "{{ txet }}"}}
    write_specs(tmp_path, "one", "two", "three", two=bad, three=bad)
    with simulator(tmp_path / "api") as environ:
        ended = command(tmp_path, environ, "run", ".", "--yes")
        assert command(tmp_path, environ, "status").stderr == "no runs yet\n"
    assert (ended.returncode, accepted(tmp_path / "api")) == (2, 0)
    assert ended.stderr.count("'txet' is undefined") == 2


def test_all_specs_are_sent_before_any_is_waited_for(tmp_path: Path) -> None:
    write_specs(tmp_path, "one", "two")
    with simulator(tmp_path / "api", seconds=600) as environ:
        ended = command(tmp_path, environ, "run", "*.yaml", "--yes", "--no-wait")
        assert (ended.returncode, accepted(tmp_path / "api")) == (4, 6)
    assert ended.stderr.endswith("resume with: runner run '*.yaml' --yes\n")
    end_batches(tmp_path / "api")
    with simulator(tmp_path / "api") as environ:
        assert command(tmp_path, environ, "run", "*.yaml", "--yes").returncode == 0
    assert (sent(tmp_path), len(output_keys(tmp_path, "two"))) == (40, 20)


def test_max_wait_holds_for_all_specs_together(tmp_path: Path) -> None:
    write_chain(tmp_path)
    with simulator(tmp_path / "api", seconds=600) as environ:
        ended = command(tmp_path, environ, "run", "f*.yaml", "second.yaml", "--yes", "--max-wait", "1s")
    assert (ended.returncode, accepted(tmp_path / "api")) == (4, 3)
    assert "second: not begun, because it waits for first" in ended.stderr


def test_a_spec_that_reads_another_is_planned_after_it(tmp_path: Path) -> None:
    write_chain(tmp_path)
    text = (tmp_path / "second.yaml").read_text()
    (tmp_path / "second.yaml").write_text(json.dumps({**json.loads(text), "limits": {"max_cost": 5}}))
    with simulator(tmp_path / "api") as environ:
        ended = command(tmp_path, environ, "run", ".", "--yes")
        assert ended.returncode == 0
        assert "  second  planned after first, whose outputs it reads; capped at $5\n" in ended.stderr
        assert "  third   planned after second, whose outputs it reads\n" in ended.stderr
        again = command(tmp_path, environ, "run", ".")
    assert (again.returncode, sent(tmp_path)) == (0, 60)


def test_a_waiting_spec_without_cap_needs_its_own_consent(tmp_path: Path) -> None:
    write_chain(tmp_path, limits={"max_cost": 5})
    with simulator(tmp_path / "api") as environ:
        ended = command(tmp_path, environ, "run", "first.yaml", "second.yaml")
    assert "  second  planned after first, whose outputs it reads; you are asked again then\n" in ended.stderr
    assert ended.stderr.endswith("nothing was sent of second: not confirmed\n")
    assert (ended.returncode, sent(tmp_path)) == (2, 20)


def test_specs_with_the_same_requests_pay_them_once(tmp_path: Path) -> None:
    same = {"prompt": {"user": "{{ text }}"}}
    write_specs(tmp_path, "one", "two", one=same, two=same)
    with simulator(tmp_path / "api") as environ:
        ended = command(tmp_path, environ, "run", ".", "--yes")
    assert "  two    planned after one, whose answers it can reuse\n" in ended.stderr
    assert (ended.returncode, sent(tmp_path), len(output_keys(tmp_path, "two"))) == (0, 20, 20)


def test_specs_of_several_projects_run_together(tmp_path: Path) -> None:
    for name in ("here", "there"):
        write_job(tmp_path / name)
    with simulator(tmp_path / "api") as environ:
        ended = command(tmp_path, environ, "run", "here", "there/*.yaml", "--yes", "--json")
    assert [json.loads(line)["outcomes"] for line in ended.stdout.splitlines()] == [{"succeeded": 20}] * 2
    for name in ("here", "there"):
        assert len(records(tmp_path / name / "out" / "all.jsonl")) == 20
        assert (tmp_path / name / ".runner" / "state.db").exists()


def test_an_error_of_one_spec_does_not_stop_the_others(tmp_path: Path) -> None:
    write_specs(tmp_path, "one", "two", one={"limits": {"max_cost": 0.000001}})
    with simulator(tmp_path / "api") as environ:
        ended = command(tmp_path, environ, "run", ".", "--yes")
    assert (ended.returncode, len(output_keys(tmp_path, "two"))) == (7, 20)
    assert "error: one: " in ended.stderr


def test_the_exit_code_is_the_highest_of_all(tmp_path: Path) -> None:
    write_specs(tmp_path, "one", "two", one={"retry": {"attempts": 1}})
    mix = lambda id: "errored" if id.endswith("-1-1-3") else "succeeded"  # noqa: E731
    with simulator(tmp_path / "api", mix=mix) as environ:
        codes = [command(tmp_path, environ, "run", name, "--yes").returncode for name in ("two.yaml", ".")]
    assert codes == [0, 3]


def test_a_pending_run_is_finished_before_its_changes(tmp_path: Path) -> None:
    write_specs(tmp_path, "one", "two")
    with simulator(tmp_path / "api", seconds=600) as environ:
        assert command(tmp_path, environ, "run", "one.yaml", "--yes", "--no-wait").returncode == 4
    end_batches(tmp_path / "api")
    (tmp_path / "rows.csv").write_text((tmp_path / "rows.csv").read_text() + "r21,text number 21\n")
    with simulator(tmp_path / "api") as environ:
        ended = command(tmp_path, environ, "run", ".", "--yes")
    assert "its changes are planned after that" in ended.stderr
    assert [len(output_keys(tmp_path, name)) for name in ("one", "two")] == [21, 21]
    assert (ended.returncode, sent(tmp_path)) == (0, 42)


def test_plan_shows_the_table_and_sends_nothing(tmp_path: Path) -> None:
    write_chain(tmp_path)
    ended = command(tmp_path, environ_without_key(), "plan", ".", "--simulate")
    assert ended.returncode == 0
    assert "  second  planned after first, whose outputs it reads\n" in ended.stdout
    assert ended.stdout.count(" 20 ") == 4
    assert not (tmp_path / "simulated" / ".runner").exists()
    (tmp_path / "first.yaml").unlink()
    assert command(tmp_path, environ_without_key(), "plan", "s*.yaml", "--simulate").returncode == 2


@pytest.mark.parametrize("words", [("--select", "state:failed"), ("--select", "state:unfinished")])
def test_unfinished_specs_are_selected_and_finished(tmp_path: Path, words: tuple[str, ...]) -> None:
    write_specs(tmp_path, "one", "two", "three")
    with simulator(tmp_path / "api", seconds=600) as environ:
        assert command(tmp_path, environ, "run", "one.yaml", "two.yaml", "--yes", "--no-wait").returncode == 4
        first = command(tmp_path, environ, "run", ".", *words, "--no-wait")
        assert (first.returncode, accepted(tmp_path / "api")) == (4, 6)
    assert "resume with: runner run one.yaml two.yaml\n" in first.stderr
    end_batches(tmp_path / "api")
    with simulator(tmp_path / "api") as environ:
        assert command(tmp_path, environ, "run", "one.yaml", "two.yaml").returncode == 0
        assert SPEC["name"] not in command(tmp_path, environ, "status").stdout


def test_new_holds_for_specs_that_wait_for_others(tmp_path: Path) -> None:
    write_chain(tmp_path, reuse=False)
    for path in (tmp_path / "second.yaml", tmp_path / "third.yaml"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "reuse": False}))
    with simulator(tmp_path / "api") as environ:
        codes = [
            command(tmp_path, environ, "run", ".", "--yes", *more).returncode for more in ((), (), ("--new",))
        ]
    assert (codes, sent(tmp_path)) == ([0, 0, 0], 120)


def test_resume_holds_for_specs_that_wait_for_others(tmp_path: Path) -> None:
    write_chain(tmp_path)
    with simulator(tmp_path / "api", seconds=600) as environ:
        assert command(tmp_path, environ, "run", "first.yaml", "--yes", "--no-wait").returncode == 4
    end_batches(tmp_path / "api")
    with simulator(tmp_path / "api") as environ:
        ended = command(tmp_path, environ, "run", ".", "--yes", "--resume")
    assert "there is no unfinished run of second to resume: run without --resume" in ended.stderr
    assert (ended.returncode, sent(tmp_path)) == (2, 20)
