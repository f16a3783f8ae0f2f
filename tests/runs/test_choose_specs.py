"""Specs are selected by tag and state, and run after the specs that they read from."""

import json
from pathlib import Path

import pytest

from runner import load_spec
from runner.errors import UsageError
from runner.runs.choose_specs import choose_specs, sort_by_dependency
from tests.support.outputs import output_keys, records
from tests.support.processes import command
from tests.support.projects import IMPOSSIBLE_SCHEMA, RUN_CHAIN, UNLABELED_SINKS, write_chain, write_job
from tests.support.simulator import environ_without_key, paid, simulator


def test_specs_run_in_source_order(tmp_path: Path) -> None:
    write_chain(tmp_path)
    with simulator(tmp_path / "api") as environ:
        ended = command(tmp_path, environ, *RUN_CHAIN)
        assert (ended.returncode, command(tmp_path, environ, "doctor").returncode) == (0, 0), ended.stderr
    assert output_keys(tmp_path, "third") == output_keys(tmp_path, "second") == [f"r{n}" for n in range(1, 21)]
    first, third = records(tmp_path / "out/second.jsonl")[4], records(tmp_path / "out/third.jsonl")[4]
    assert (first["row"]["input"]["text"], third["row"]["input"]["input"]["text"]) == ("text number 5",) * 2
    assert sum(paid(tmp_path / "api").values()) == 60


def test_specs_that_do_not_read_each_other_keep_their_order(tmp_path: Path) -> None:
    write_chain(tmp_path)
    loaded = [load_spec(tmp_path / f"{name}.yaml") for name in ("third", "first")]
    assert [spec.name for spec in sort_by_dependency(loaded)] == ["third", "first"]


@pytest.fixture
def four(tmp_path: Path) -> Path:
    """A folder with a spec that never ran, and one each whose run finished, failed and is unfinished."""
    write_job(tmp_path)
    text = (tmp_path / "job.yaml").read_text()
    tags = {"fresh": ["nightly"], "good": ["nightly", "small"], "bad": ["small"], "slow": []}
    for name, own in tags.items():
        spec = {**json.loads(text), "name": name, "tags": own}
        spec["prompt"] = {"user": f"{name}: {{{{ text }}}}"}
        if name == "bad":
            spec |= {"output": {"schema": IMPOSSIBLE_SCHEMA}, "sinks": UNLABELED_SINKS}
        (tmp_path / f"{name}.yaml").write_text(json.dumps(spec))
    (tmp_path / "job.yaml").unlink()
    with simulator(tmp_path / "api", seconds=600) as environ:
        assert command(tmp_path, environ, "run", "slow.yaml", "--yes", "--no-wait").returncode == 4
    with simulator(tmp_path / "api") as environ:
        assert command(tmp_path, environ, "run", "good.yaml", "--yes").returncode == 0
        assert command(tmp_path, environ, "run", "bad.yaml", "--yes").returncode == 3
    return tmp_path


def test_specs_are_selected_by_tag_and_state(four: Path) -> None:
    def names(*select: str) -> str:
        return " ".join(spec.name for spec in choose_specs([str(four)], vars={}, select=select))

    assert names() == "bad fresh good slow"
    assert names("tag:nightly") == "fresh good"
    assert names("state:failed") == "bad slow"
    assert names("state:unfinished") == "slow"
    assert names("state:new") == "fresh"
    assert names("tag:small,state:failed") == "bad"
    assert names("state:new", "tag:small") == "bad fresh good"


def test_simulated_runs_do_not_count_as_real_ones(four: Path) -> None:
    chosen = choose_specs([str(four)], vars={}, select=["state:new"], simulate=True)
    assert [spec.name for spec in chosen] == ["bad", "fresh", "good", "slow"]


@pytest.mark.parametrize(
    ("select", "message"),
    [
        ("tag:nightyl", "none of these specs has the tag 'nightyl': none of them has `tags`"),
        ("state:done", "'state:done' selects nothing: expected tag:NAME, variant:NAME, state:failed"),
        ("nightly", "'nightly' selects nothing"),
        ("tag:", "'tag:' selects nothing"),
    ],
)
def test_an_unknown_selection_is_an_error(tmp_path: Path, select: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        choose_specs([str(write_job(tmp_path))], vars={}, select=[select])


def test_two_specs_of_one_name_in_a_project_are_an_error(tmp_path: Path) -> None:
    text = write_job(tmp_path).read_text()
    (tmp_path / "same.yaml").write_text(text)
    for words in (("run", ".", "--simulate"), ("validate", ".")):
        ended = command(tmp_path, environ_without_key(), *words)
        assert ended.returncode == 2
        assert ended.stderr.startswith("same.yaml:1:")
        assert "job.yaml has the name 'job' too" in ended.stderr


def test_one_name_in_two_projects_is_no_error(tmp_path: Path) -> None:
    specs = [str(write_job(tmp_path / name)) for name in ("one", "two")]
    assert [spec.name for spec in choose_specs(specs, vars={})] == ["job", "job"]


def test_an_empty_selection_is_no_error(tmp_path: Path) -> None:
    write_job(tmp_path)
    ended = command(tmp_path, environ_without_key(), "run", ".", "--simulate", "--select", "state:failed")
    assert (ended.returncode, ended.stderr) == (0, "no spec is selected: nothing to do\n")


def test_validate_checks_the_specs_of_a_folder(tmp_path: Path) -> None:
    write_job(tmp_path, tags=["nightly"])
    text = (tmp_path / "job.yaml").read_text()
    (tmp_path / "bad.yaml").write_text(text.replace('"job"', '"bad"').replace('"params"', '"parms"'))
    ended = command(tmp_path, environ_without_key(), "validate", "*.yaml", "--select", "tag:nightly")
    assert (ended.returncode, ended.stdout) == (2, "job.yaml: valid\n")
    assert "bad.yaml:1:" in ended.stderr
