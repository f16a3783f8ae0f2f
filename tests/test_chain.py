"""Jobs that read the outputs of others, each run in its turn and resumed by itself."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from runner import load_spec, plan
from runner.errors import InputError
from runner.lifecycle.prepare.validate import validate_spec
from runner.runs.spec_order import sort_by_dependency
from tests.jobs import (
    SPEC,
    accepted,
    command,
    end,
    kill,
    killed_at_rename,
    paid,
    records,
    simulator,
    start,
    write_job,
)

RUN_CHAIN = ("run", "third.yaml", "second.yaml", "first.yaml", "--yes")


def write_chain(root: Path, **changes: Any) -> None:
    """Three specs: the second reads the outputs of the first, the third those of the second."""
    write_job(root, name="first", **changes)
    (root / "job.yaml").rename(root / "first.yaml")
    user = {
        "second": "{{ key }} was {{ output.label }} of {{ input.text }}",
        "third": "{{ key }}: {{ input.key }}",
    }
    for name, before in (("second", "first"), ("third", "second")):
        spec = {
            **SPEC,
            "name": name,
            "source": {"type": "run", "spec": f"{before}.yaml", "key": "key"},
            "prompt": {"user": user[name]},
            "sinks": [{"type": "jsonl", "path": f"out/{name}.jsonl"}],
        }
        (root / f"{name}.yaml").write_text(json.dumps(spec))


def output_keys(root: Path, name: str) -> list[str]:
    return [one["key"] for one in records(root / "out" / f"{name}.jsonl")]


def test_specs_run_in_source_order(tmp_path: Path) -> None:
    write_chain(tmp_path)
    with simulator(tmp_path / "api") as environ:
        ended = command(tmp_path, environ, *RUN_CHAIN)
        assert (ended.returncode, command(tmp_path, environ, "doctor").returncode) == (0, 0), ended.stderr
    assert output_keys(tmp_path, "third") == output_keys(tmp_path, "second") == [f"r{n}" for n in range(1, 21)]
    first, third = records(tmp_path / "out/second.jsonl")[4], records(tmp_path / "out/third.jsonl")[4]
    assert (first["row"]["input"]["text"], third["row"]["input"]["input"]["text"]) == ("text number 5",) * 2
    assert sum(paid(tmp_path / "api").values()) == 60


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
        with pytest.raises(InputError):  # its prompt asks for the label of an output that is none
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


def test_missing_upstream_output_is_reported(tmp_path: Path) -> None:
    write_chain(tmp_path)
    spec = load_spec(tmp_path / "second.yaml")
    assert validate_spec(spec).findings == []
    with pytest.raises(
        InputError, match=r"out/all\.jsonl: not found: first\.yaml writes this file, so run that spec first"
    ):
        plan(spec, offline=True)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("second.yaml", "the specs refer to each other in a circle: second.yaml → second.yaml"),
        ("third.yaml", "the specs refer to each other in a circle: second.yaml → third.yaml → second.yaml"),
        ("absent.yaml", "cannot read the spec"),
        ("../first.yaml", "is outside the project folder"),
        ("narrow.yaml", "needs a jsonl sink on this machine, without `columns`"),
    ],
)
def test_invalid_run_source_is_an_error(tmp_path: Path, spec: str, message: str) -> None:
    write_chain(tmp_path)
    narrow = {**SPEC, "name": "narrow", "sinks": [{"type": "csv", "path": "out/n.csv"}]}
    (tmp_path / "narrow.yaml").write_text(json.dumps(narrow))
    path = tmp_path / "second.yaml"
    path.write_text(path.read_text().replace("first.yaml", spec))
    with pytest.raises(InputError, match=message.replace(".", r"\.")):
        load_spec(path)


def test_specs_that_do_not_read_each_other_keep_their_order(tmp_path: Path) -> None:
    write_chain(tmp_path)
    loaded = [load_spec(tmp_path / f"{name}.yaml") for name in ("third", "first")]
    assert [spec.name for spec in sort_by_dependency(loaded)] == ["third", "first"]


def test_limited_chain_resumes_with_its_limit(tmp_path: Path) -> None:
    write_chain(tmp_path)
    words = ("run", "first.yaml", "second.yaml", "--yes", "--limit", "3")
    with simulator(tmp_path / "api", seconds=0.1) as environ:
        assert command(tmp_path, environ, "run", "first.yaml", "--yes", "--limit", "3").returncode == 0
    with simulator(tmp_path / "api", seconds=1) as environ:
        assert command(tmp_path, environ, *words, "--no-wait").returncode == 4
        ended = command(tmp_path, environ, *words)
    assert (ended.returncode, sum(paid(tmp_path / "api").values())) == (0, 6), ended.stderr


def test_spec_of_another_project_is_rejected_as_source(tmp_path: Path) -> None:
    write_chain(tmp_path)
    (tmp_path / "other/prompts").mkdir(parents=True)
    (tmp_path / "first.yaml").rename(tmp_path / "other/first.yaml")
    path = tmp_path / "second.yaml"
    path.write_text(path.read_text().replace("first.yaml", "other/first.yaml"))
    with pytest.raises(InputError, match="belongs to another project"):
        load_spec(path)


def test_interrupt_stops_the_whole_chain(tmp_path: Path) -> None:
    write_chain(tmp_path)
    process: Any = None

    def on(moment: str) -> None:
        if moment == "results":
            process.terminate()

    with simulator(tmp_path / "api", on=on) as environ:
        process = start(tmp_path, environ, *RUN_CHAIN)
        ended = end(tmp_path, process)
    assert (ended.returncode, accepted(tmp_path / "api") <= 3) == (143, True)
