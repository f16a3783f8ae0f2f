"""The choice between resuming a run and starting a new one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner import Summary, load_spec, run
from runner.errors import InputError, UsageError
from runner.runs.snapshot import SpecSnapshot, describe_changes
from runner.spec.pilot import make_pilot_spec
from runner.spec.record import make_record
from runner.spec.spec import Pilot
from tests.support.outputs import records
from tests.support.projects import SPEC, write_job
from tests.support.servers import proxy
from tests.support.simulator import accepted, simulator


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        ({"params": {**SPEC["params"], "max_tokens": 200}}, "params.max_tokens: 100 → 200"),
        (
            {"prompt": {"system": "Label every text that you get, in a word.", "user": "{{ text }}"}},
            'prompt.system: "Label the text." → "Label every text that you get, in a..."',
        ),
        ({"prompt": {"user": "{{ text }}!"}}, "prompt.user"),
        ({"rows": 21}, "rows.csv: edited"),
    ],
)
def test_unfinished_run_with_changed_inputs_is_not_touched(
    tmp_path: Path, run_job: Callable[..., Summary], edit: dict[str, Any], named: str
) -> None:
    first = run_job(wait=False)
    write_job(tmp_path, **edit)
    with pytest.raises(UsageError, match="--resume") as caught:
        run_job()
    assert named in str(caught.value)
    resumed = run_job(resume=True)
    assert (resumed.run, resumed.rows, accepted(tmp_path / "api")) == (first.run, 20, 3)


def test_new_run_leaves_the_unfinished_run_alone(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    first = run_job(wait=False)
    second = run_job(new=True)
    assert (second.run != first.run, second.state, accepted(tmp_path / "api")) == (True, "finished", 6)


def test_an_edited_template_is_a_change(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    (tmp_path / "prompts" / "user.j2").write_text("{{ text }}")
    write_job(tmp_path, prompt={"user": "user.j2"})
    run_job(wait=False)
    (tmp_path / "prompts" / "user.j2").write_text("{{ text }}?")
    with pytest.raises(UsageError, match=r"prompts/user\.j2: edited"):
        run_job()


def test_sinks_and_retry_can_be_edited_during_a_run(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    first = run_job(wait=False)
    write_job(tmp_path, sinks=[{"type": "jsonl", "path": "other.jsonl"}], retry={"attempts": 1})
    assert run_job().run == first.run
    assert len(records(tmp_path / "other.jsonl")) == 20


def test_unsent_run_is_replaced_by_the_current_spec(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    with pytest.raises(UsageError, match="nothing was sent"):
        run_job(consent=False)
    write_job(tmp_path, rows=3)
    assert run_job().rows == 3


def test_unchanged_finished_run_is_not_sent_again(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    first = run_job()
    (tmp_path / "out" / "all.jsonl").unlink()
    assert (run_job().run, accepted(tmp_path / "api")) == (first.run, 3)
    assert len(records(tmp_path / "out" / "all.jsonl")) == 20
    write_job(tmp_path, reuse=False)
    assert (run_job(new=True).run != first.run, accepted(tmp_path / "api")) == (True, 6)


def test_changed_input_starts_a_new_run(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    first = run_job()
    write_job(tmp_path, rows=21, reuse=False)
    assert (run_job().run != first.run, accepted(tmp_path / "api")) == (True, 6)


def test_declined_new_run_leaves_the_unfinished_run(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    first = run_job(wait=False)
    with pytest.raises(UsageError, match="nothing was sent"):
        run_job(new=True, consent=False)
    assert (run_job().run, accepted(tmp_path / "api")) == (first.run, 3)


def test_run_resumes_without_its_input(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    first = run_job(wait=False)
    (tmp_path / "rows.csv").unlink()
    assert (run_job(resume=True).run, accepted(tmp_path / "api")) == (first.run, 3)


def test_limited_run_resumes_with_its_limit(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    first = run_job(limit=2, wait=False)
    assert run_job(limit=2).run == first.run
    assert len(records(tmp_path / "out" / "all.jsonl")) == 2


def test_declined_new_run_is_never_sent_later(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    assert run_job().state == "finished"
    write_job(tmp_path, reuse=False)
    with pytest.raises(UsageError, match="nothing was sent"):
        run_job(new=True, consent=False)
    assert (run_job().state, accepted(tmp_path / "api")) == ("finished", 3)


def test_resumed_run_keeps_its_beta_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    betas = "output-300k-2026-03-24"
    with simulator(tmp_path / "api", seconds=600) as environ, proxy(environ["ANTHROPIC_BASE_URL"]) as passing:
        for name, value in {**environ, "ANTHROPIC_BASE_URL": passing.url}.items():
            monkeypatch.setenv(name, value)
        run(load_spec(write_job(tmp_path, betas=[betas])), consent=True, wait=False)
        passing.got.clear()
        run(load_spec(write_job(tmp_path)), resume=True, wait=False)
    assert {one.headers.get("anthropic-beta") for one in passing.got} == {betas}


def test_copy_of_a_spec_does_not_take_over_its_runs(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    run_job()
    copy = tmp_path / "copy.yaml"
    copy.write_text((tmp_path / "job.yaml").read_text())
    with pytest.raises(InputError, match=r"job\.yaml has the name 'job' too, .* rename one of them"):
        run_job(spec=copy)
    (tmp_path / "job.yaml").unlink()
    assert run_job(spec=copy).outcomes == {"succeeded": 20}
    assert accepted(tmp_path / "api") == 3


def test_changed_limit_and_pilot_are_shown_as_they_are_given(tmp_path: Path) -> None:
    spec = load_spec(write_job(tmp_path))
    pilots = [make_pilot_spec(spec, Pilot(rows, 0, None)) for rows in (5, 8)]
    before, after = (
        SpecSnapshot(make_record(one), {}, limit, []) for one, limit in zip(pilots, (None, 3), strict=True)
    )
    assert describe_changes(before, after) == ["pilot.rows: 5 → 8", "--limit: not set → 3"]
