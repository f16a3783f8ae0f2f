"""The command costs, as a table and as JSON."""

import json
from pathlib import Path

import pytest

from tests.support.processes import RUN_SIMULATED, Ended, command
from tests.support.projects import write_job
from tests.support.simulator import environ_without_key


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with two simulated runs, for one of which no price is known."""
    root = tmp_path_factory.mktemp("project")
    write_job(root, labels={"team": "finance"})
    assert command(root, environ_without_key(), *RUN_SIMULATED).returncode == 0
    write_job(root, name="other", params={"model": "claude-of-tomorrow", "max_tokens": 100})
    assert command(root, environ_without_key(), *RUN_SIMULATED).returncode == 3
    return root


def costs(root: Path, *words: str) -> Ended:
    return command(root, environ_without_key(), "costs", *words)


def test_table_ends_with_a_total(project: Path) -> None:
    title, header, *lines = costs(project, "--simulate").stdout.splitlines()
    assert title == "costs of 2 runs (simulated: nothing was paid)"
    assert header.split() == ["spec", "runs", "rows", "paid", "estimated", "saved"]
    assert [line.split()[:4] for line in lines[:2]] == [
        ["job", "1", "20", lines[0].split()[3]],
        ["other", "1", "20", "unknown"],
    ]
    assert lines[2].split()[:5] == ["total", "2", "40", "at", "least"]
    assert lines[3].startswith("what 1 run cost is unknown: ")


def test_json_has_groups_and_a_total(project: Path) -> None:
    found = json.loads(costs(project, "--simulate", "--by", "label:team", "--json").stdout)
    assert [group["name"] for group in found["groups"]] == ["finance", "(none)"]
    assert found["groups"][1]["paid"] == {"known": None, "unknown": 1}
    assert found["total"]["paid"] == {"known": found["groups"][0]["paid"]["known"], "unknown": 1}


def test_project_without_runs_has_no_costs(tmp_path: Path) -> None:
    write_job(tmp_path)
    ended = costs(tmp_path)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "no runs\n")


def test_project_with_simulated_runs_alone_says_so(project: Path) -> None:
    ended = costs(project)
    assert (ended.returncode, ended.stdout) == (0, "")
    assert ended.stderr == "no real runs; --simulate sums up 2 simulated runs\n"


@pytest.mark.parametrize("words", [("--since", "2h"), ("--since", "30d"), ("--since", "2026-01-31")])
def test_runs_since_a_time_are_summed_up(project: Path, words: tuple[str, ...]) -> None:
    assert json.loads(costs(project, "--simulate", "--json", *words).stdout)["total"]["runs"] == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--since", "yesterday"), "'yesterday' is no time"),
        (("--since", "2026-02-30"), "'2026-02-30' is no time"),
        (("--by", "team"), "'team' is not one of spec, model, day and label:NAME"),
    ],
)
def test_mistake_in_an_option_is_named(project: Path, words: tuple[str, ...], message: str) -> None:
    ended = costs(project, *words)
    assert (ended.returncode, message in ended.stderr) == (2, True)
