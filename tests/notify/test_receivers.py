"""The receivers of a spec are checked before anything is sent, and no message shows an address."""

from pathlib import Path

import pytest

from runner.lifecycle.validate.checks import validate_file
from runner.spec.record import compute_fingerprint, make_record
from tests.support.projects import load_lines, load_problems, write_job

SECRET = "whsec_" + "q" * 40


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in ("specs", "prompts"):
        (tmp_path / name).mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{on: [finished]}", "exactly one of `url`, `apprise` and `command`"),
        ("{on: [finished], url: 'https://a.b/c', command: [x]}", "exactly one of"),
        ("{on: [done], command: [x]}", "notify.0.on.0 is the text 'done': expected one of: finished"),
        ("{on: [], command: [x]}", "have at least this many items: 1"),
        ("{on: [finished], command: [x, '{row}']}", "unknown placeholder {row}: expected one of {run}"),
        ("{on: [finished], command: './load.sh'}", "must be a list"),
        ("{on: [finished], command: [x], timeout: 5}", "must be text"),
        ("{on: [finished], command: [x], secret: '" + SECRET + "'}", "`secret` needs a `url`"),
        ("{on: [finished], url: 'https://a.b/c', timeout: 5m}", "`timeout` needs a `command`"),
        ("{on: [spending], command: [x]}", "`spending` needs `limits.max_cost`"),
        ("{on: [finished], command: [x], at: 0.5}", "add `spending` to `on`"),
    ],
)
def test_mistake_of_a_receiver_is_found(project: Path, entry: str, message: str) -> None:
    [problem] = load_problems(project, f"notify: [{entry}]")
    assert message in problem.message
    assert problem.line == 7


@pytest.mark.parametrize(
    "entry",
    [
        "{on: [finished], url: 'HIDDEN'}",
        "{on: [finished], url: 'https://user:HIDDEN@host/'}",
        "{on: [finished], url: [HIDDEN]}",
        "{on: [finished], apprise: 'HIDDEN'}",
        "{on: [finished], url: 'https://a.b/c', secret: 'HIDDEN'}",
        "{on: [finished], url: 'https://a.b/c', secret: 'whsec_" + "HIDDEN4" * 5 + "'}",
    ],
)
def test_message_shows_no_address(project: Path, entry: str) -> None:
    problems = load_problems(project, f"notify: [{entry}]")
    assert problems
    assert "HIDDEN" not in "".join(map(str, problems))


def test_secrets_of_the_environment_can_be_used(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    monkeypatch.setenv("SLACK_TOKEN", "slack://token")
    lines = "url: 'https://a.b/c', secret: '${env:HOOK_SECRET}'}, {on: [failed], apprise: '${env:SLACK_TOKEN}'"
    spec = load_lines(project, "notify: [{on: [finished], " + lines + "}]")
    assert spec.notify[0].secret == SECRET
    assert "slack:" not in repr(spec)
    assert SECRET not in repr(spec)


def test_receivers_are_no_part_of_a_run(project: Path) -> None:
    plain, notifying = load_lines(project), load_lines(project, "notify: [{on: [finished], command: [x]}]")
    assert compute_fingerprint(make_record(plain)) == compute_fingerprint(make_record(notifying))


def test_program_that_cannot_be_started_is_found(tmp_path: Path) -> None:
    path = write_job(tmp_path, notify=[{"on": ["finished"], "command": ["./load.sh", "{run}"]}])
    [found] = validate_file(path).errors
    assert found.message == f"notify.0.command.0: ./load.sh does not exist in {tmp_path}"
    script = tmp_path / "load.sh"
    script.write_text("#!/bin/sh\n")
    [found] = validate_file(path).errors
    assert found.message.endswith("make it executable with `chmod +x ./load.sh`")
    script.chmod(0o755)
    assert validate_file(path).errors == []
