"""A run stays on the platform that it began on, whatever the command and the spec since."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from runner import load_spec, run
from runner.errors import AccessError, InputError, UsageError
from runner.lifecycle.validate.checks import validate_file
from runner.spec.endpoint import Endpoint
from runner.spec.record import make_record, spec_from_record
from tests.support.outputs import records
from tests.support.processes import RUN, command
from tests.support.projects import EACH_ONCE, write_job
from tests.support.servers import Proxy
from tests.support.simulator import paid, set_only

ON_AWS = {"platform": "aws"}
slow_batches = pytest.mark.parametrize("aws", [600], indirect=True)


@pytest.fixture
def keyed(monkeypatch: pytest.MonkeyPatch, aws: Proxy) -> Proxy:
    """Claude Platform on AWS, with an API key: nothing needs to be installed."""
    monkeypatch.setenv("ANTHROPIC_AWS_API_KEY", "key of aws")
    return aws


def reaches_aws(root: Path, keyed: Proxy, *words: str) -> bool:
    """Whether a command ends well, and all its calls go to the workspace on AWS."""
    keyed.got.clear()
    ended = command(root, os.environ, *words)
    assert ended.returncode == 0, (words, ended.stderr)
    return {one.headers.get("anthropic-workspace-id") for one in keyed.got} == {"wrkspc_aws"}


def test_plan_names_the_platform_that_is_paid(tmp_path: Path, keyed: Proxy) -> None:
    write_job(tmp_path, api=ON_AWS)
    assert "20 rows for claude-haiku-5-5 on AWS\n" in command(tmp_path, os.environ, "plan", "job.yaml").stdout
    assert '"platform":"aws"' in command(tmp_path, os.environ, "plan", "job.yaml", "--json").stdout
    assert "/aws/v1/messages/count_tokens" in {one.path for one in keyed.got}


def test_each_command_reaches_the_platform(tmp_path: Path, keyed: Proxy) -> None:
    write_job(tmp_path, api=ON_AWS)
    for words in (("validate", "job.yaml", "--online"), ("plan", "job.yaml"), RUN):
        assert reaches_aws(tmp_path, keyed, *words), words
    shutil.rmtree(tmp_path / ".runner")
    assert reaches_aws(tmp_path, keyed, "recover", "job.yaml")
    write_job(tmp_path)
    for line in ("doctor --remote", "reconcile job.yaml", "purge job.yaml --remote --yes"):
        assert reaches_aws(tmp_path, keyed, *line.split()), line
    assert paid(tmp_path / "api") == {}


@slow_batches
def test_run_is_canceled_on_its_platform(tmp_path: Path, keyed: Proxy) -> None:
    run(load_spec(write_job(tmp_path, api=ON_AWS)), consent=True, wait=False)
    write_job(tmp_path)
    assert reaches_aws(tmp_path, keyed, "cancel", "job.yaml")
    assert sum(one.path.endswith("/cancel") for one in keyed.got) == 3


@slow_batches
def test_edited_platform_leaves_a_run_where_it_is(tmp_path: Path, keyed: Proxy) -> None:
    first = run(load_spec(write_job(tmp_path, api=ON_AWS)), consent=True, wait=False)
    edited = load_spec(write_job(tmp_path))
    with pytest.raises(UsageError, match=r"changes since it began:\n  api: .*aws"):
        run(edited, consent=True)
    keyed.got.clear()
    assert run(edited, resume=True, wait=False).run == first.run
    assert {one.headers["anthropic-workspace-id"] for one in keyed.got} == {"wrkspc_aws"}


@slow_batches
def test_run_is_not_resumed_in_another_workspace(
    tmp_path: Path, keyed: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = load_spec(write_job(tmp_path, api=ON_AWS))
    run(spec, consent=True, wait=False)
    monkeypatch.setenv("ANTHROPIC_AWS_WORKSPACE_ID", "wrkspc_other")
    with pytest.raises(AccessError, match="workspace wrkspc_aws, but the credentials belong to wrkspc_other"):
        run(spec)
    assert len([one for one in keyed.got if one.method == "POST" and one.path.endswith("/batches")]) == 3


@pytest.mark.usefixtures("keyed")
def test_answers_are_reused_in_another_region(tmp_path: Path) -> None:
    run(load_spec(write_job(tmp_path, api=ON_AWS)), consent=True)
    moved = run(load_spec(write_job(tmp_path, api={**ON_AWS, "region": "eu-west-1"})), consent=True)
    assert (moved.outcomes, paid(tmp_path / "api")) == ({"succeeded": 20}, EACH_ONCE)


def test_simulation_needs_nothing_of_a_platform(
    tmp_path: Path, keyed: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_only(monkeypatch)
    for platform in ("aws", "google"):
        run(load_spec(write_job(tmp_path, name=platform, api={"platform": platform})), simulate=True)
        assert len(records(tmp_path / "simulated/out/all.jsonl")) == 20
    assert keyed.got == []


@pytest.mark.parametrize(
    ("platform", "missing"),
    [
        (
            "aws",
            ["region is not known: set api.region, or AWS_REGION or AWS_DEFAULT_REGION", "workspace_id is not"],
        ),
        (
            "google",
            ["project is not known: set api.project, or ANTHROPIC_GOOGLE_CLOUD_PROJECT", "workspace_id is"],
        ),
    ],
)
def test_missing_settings_are_found_before_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, platform: str, missing: list[str]
) -> None:
    set_only(monkeypatch)
    path = write_job(tmp_path, api={"platform": platform})
    found = [one.message for one in validate_file(path).errors if one.message.startswith("api: ")]
    assert all(any(f"api: {start}" in message for message in found) for start in missing), found
    with pytest.raises(InputError, match=missing[0]):
        run(load_spec(path), consent=True)


def test_snapshot_keeps_a_platform_and_omits_the_usual_one(tmp_path: Path) -> None:
    spec = load_spec(write_job(tmp_path, api={**ON_AWS, "region": "eu-west-1"}))
    record = make_record(spec)
    assert spec_from_record(record, path=spec.path, root=spec.root).api == Endpoint("aws", "eu-west-1")
    assert make_record(replace(spec, api=Endpoint())).keys() == record.keys() - {"api"}
    assert (spec.batch.max_bytes, load_spec(write_job(tmp_path)).batch.max_bytes) == (32_000_000, 200_000_000)
