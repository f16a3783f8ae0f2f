"""Variables from .env files: where they are found, what they never do, and where a key comes from."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import RUN, command
from tests.support.projects import write_job
from tests.support.simulator import environ_without_key, simulator

SECRET = "sk-ant-api03-SECRET-" + "3" * 60


def write_env(path: Path, *lines: str) -> None:
    path.write_text("".join(f"{line}\n" for line in lines))


@pytest.mark.parametrize("words", [(), ("--env-file", "prod.env")], ids=["beside the spec", "named"])
def test_key_from_an_env_file_is_used_and_never_stored(tmp_path: Path, words: tuple[str, ...]) -> None:
    write_job(tmp_path)
    with simulator(tmp_path / "api") as environ:
        lines = (f"export ANTHROPIC_API_KEY='{SECRET}'", f"ANTHROPIC_BASE_URL={environ['ANTHROPIC_BASE_URL']}")
        write_env(tmp_path / ("prod.env" if words else ".env"), *lines)
        ended = command(tmp_path, environ_without_key(), *RUN, *words)
        doctor = command(tmp_path, environ_without_key(), "doctor", *words)
    assert (ended.returncode, doctor.returncode) == (0, 0)
    assert f"key: ANTHROPIC_API_KEY from {words[1] if words else tmp_path / '.env'}" in doctor.stdout
    assert SECRET not in ended.stdout + ended.stderr + doctor.stdout
    kept = [path for path in (tmp_path / ".runner").rglob("*") if path.is_file()]
    assert kept and not any(SECRET.encode() in path.read_bytes() for path in kept)


def test_env_file_of_the_project_serves_specs_in_folders(tmp_path: Path) -> None:
    write_job(tmp_path)
    (tmp_path / "jobs").mkdir()
    text = (tmp_path / "job.yaml").read_text().replace("Label the text.", "${env:GREETING} ${env:NAME}")
    (tmp_path / "jobs" / "job.yaml").write_text(text)
    write_env(tmp_path / ".env", "GREETING=hello", "NAME=project")
    write_env(tmp_path / "jobs" / ".env", "NAME=spec")
    done = command(tmp_path, environ_without_key(), "render", "jobs/job.yaml", "--limit", "1")
    assert '"system":"hello spec"' in done.stdout


def test_variable_that_is_set_is_never_overridden(tmp_path: Path) -> None:
    write_job(tmp_path, prompt={"user": "${env:GREETING} {{ text }}"})
    write_env(tmp_path / ".env", "GREETING=file")
    for environ, shown in (({"GREETING": "mine"}, "mine"), ({"GREETING": ""}, ""), ({}, "file")):
        done = command(tmp_path, {**environ_without_key(), **environ}, "render", "job.yaml", "--limit", "1")
        assert f'"content":"{shown} text number 1"' in done.stdout


@pytest.mark.parametrize("line", ["A=b\0c", "'A=B'=c"])
def test_line_that_sets_no_variable_is_named(tmp_path: Path, line: str) -> None:
    write_job(tmp_path)
    write_env(tmp_path / ".env", line)
    ended = command(tmp_path, environ_without_key(), "validate", "job.yaml")
    assert (ended.returncode, "cannot be a variable" in ended.stderr) == (2, True)


def test_named_file_comes_before_the_one_beside_the_spec(tmp_path: Path) -> None:
    write_job(tmp_path, prompt={"user": "${env:GREETING} {{ text }}"})
    write_env(tmp_path / ".env", "GREETING=beside")
    write_env(tmp_path / "other.env", "GREETING=named")
    words = ("render", "job.yaml", "--limit", "1", "--env-file", "other.env")
    assert '"content":"named text number 1"' in command(tmp_path, environ_without_key(), *words).stdout


def test_env_file_of_a_project_cannot_redirect_your_key(tmp_path: Path) -> None:
    write_job(tmp_path, prompt={"user": "${env:ANTHROPIC_BASE_URL} {{ text }}"})
    write_env(tmp_path / ".env", "ANTHROPIC_BASE_URL=http://127.0.0.1:1")
    done = command(tmp_path, {**environ_without_key(), "ANTHROPIC_API_KEY": "mine"}, "render", "job.yaml")
    assert "sets ANTHROPIC_BASE_URL, but not the key in use: ignored" in done.stderr
    assert "the environment variable ANTHROPIC_BASE_URL is not set" in done.stderr


@pytest.mark.parametrize("is_named_in_the_file", [True, False])
def test_env_file_does_not_redirect_keys_of_accounts(tmp_path: Path, is_named_in_the_file: bool) -> None:
    write_job(tmp_path)
    lines = ["ANTHROPIC_API_KEY=theirs", "ANTHROPIC_BASE_URL=http://127.0.0.1:1"]
    if is_named_in_the_file:
        lines.append("RUNNER_ACCOUNTS=one=MY_TOKEN")
    else:
        (tmp_path / "runner.toml").write_text('accounts = {one = "MY_TOKEN"}')
    write_env(tmp_path / ".env", *lines)
    done = command(tmp_path, {**environ_without_key(), "MY_TOKEN": "mine"}, "render", "job.yaml")
    assert "sets ANTHROPIC_BASE_URL, but not the key in use: ignored" in done.stderr


@pytest.mark.parametrize(
    ("others", "is_used"),
    [({}, True), ({"SECOND_KEY": "mine"}, False), ({"ANTHROPIC_API_KEY": "of batches from before"}, False)],
)
def test_env_file_redirects_accounts_if_all_are_its_own(
    tmp_path: Path, others: dict[str, str], is_used: bool
) -> None:
    write_job(tmp_path)
    (tmp_path / "runner.toml").write_text('accounts = {main = "MAIN_KEY", second = "SECOND_KEY"}')
    write_env(tmp_path / ".env", "MAIN_KEY=a", "SECOND_KEY=b", "ANTHROPIC_BASE_URL=http://127.0.0.1:1")
    done = command(tmp_path, {**environ_without_key(), **others}, "render", "job.yaml")
    assert ("sets ANTHROPIC_BASE_URL" not in done.stderr) == is_used, done.stderr


def test_env_file_redirects_no_accounts_it_sets_in_part(tmp_path: Path) -> None:
    write_job(tmp_path)
    (tmp_path / "runner.toml").write_text('accounts = {main = "ANTHROPIC_API_KEY", second = "SECOND_KEY"}')
    write_env(tmp_path / ".env", "ANTHROPIC_API_KEY=a", "ANTHROPIC_BASE_URL=http://127.0.0.1:1")
    done = command(tmp_path, environ_without_key(), "render", "job.yaml")
    assert "sets ANTHROPIC_BASE_URL, but not the key in use: ignored" in done.stderr


def test_another_key_in_an_env_file_does_not_redirect_yours(tmp_path: Path) -> None:
    write_job(tmp_path)
    write_env(tmp_path / ".env", "ANTHROPIC_AUTH_TOKEN=theirs", "ANTHROPIC_BASE_URL=http://127.0.0.1:1")
    done = command(tmp_path, {**environ_without_key(), "ANTHROPIC_API_KEY": "mine"}, "doctor")
    assert "sets ANTHROPIC_BASE_URL, but not the key in use: ignored" in done.stderr


@pytest.mark.parametrize(
    ("lines", "ignored"),
    [
        (["ANTHROPIC_API_KEY=theirs", "ANTHROPIC_GOOGLE_CLOUD_BASE_URL=u"], "ANTHROPIC_GOOGLE_CLOUD_BASE_URL"),
        (["ANTHROPIC_API_KEY=theirs", "ANTHROPIC_AWS_BASE_URL=u"], "ANTHROPIC_AWS_BASE_URL"),
        (
            ["AWS_CONFIG_FILE=f", "AWS_ENDPOINT_URL_STS=u", "AWS_PROFILE=p"],
            "AWS_CONFIG_FILE, AWS_ENDPOINT_URL_STS",
        ),
        (["GOOGLE_APPLICATION_CREDENTIALS=f", "GOOGLE_CLOUD_PROJECT=p"], "GOOGLE_APPLICATION_CREDENTIALS"),
        (["CLOUDSDK_CONFIG=f", "CLOUDSDK_CORE_PROJECT=p"], "CLOUDSDK_CONFIG"),
        (["AWS_WEB_IDENTITY_TOKEN_FILE=f", "AWS_REGION=r"], "AWS_WEB_IDENTITY_TOKEN_FILE"),
        (["AWS_CONTAINER_CREDENTIALS_FULL_URI=u"], "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
        (["LD_PRELOAD=f", "PYTHONSTARTUP=f", "LDAP=x"], "LD_PRELOAD, PYTHONSTARTUP"),
        (["ANTHROPIC_AWS_API_KEY=theirs", "ANTHROPIC_AWS_BASE_URL=u"], None),
    ],
)
def test_credentials_of_a_platform_are_not_redirected(
    tmp_path: Path, lines: list[str], ignored: str | None
) -> None:
    write_job(tmp_path)
    write_env(tmp_path / ".env", *lines)
    done = command(tmp_path, environ_without_key(), "doctor")
    assert (f"sets {ignored}, but not the key in use: ignored" in done.stderr) == (ignored is not None), done


@pytest.mark.parametrize("key", [{}, {"OTEL_EXPORTER_OTLP_HEADERS": "authorization=mine"}])
def test_key_of_a_collector_is_not_redirected(tmp_path: Path, key: dict[str, str]) -> None:
    write_job(tmp_path)
    write_env(tmp_path / ".env", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://127.0.0.1:1", "OTEL_SERVICE_NAME=n")
    done = command(tmp_path, {**environ_without_key(), **key}, "doctor")
    assert ("sets OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, but not the key" in done.stderr) == bool(key), done.stderr


def test_doctor_says_that_there_is_no_key(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()  # a virtual environment of that name
    environ = {**environ_without_key(), "HOME": str(tmp_path)}
    assert "key: none; set ANTHROPIC_API_KEY, or write it" in command(tmp_path, environ, "doctor").stdout
    done = command(tmp_path, {**environ, "ANTHROPIC_API_KEY": "mine"}, "doctor")
    assert "key: ANTHROPIC_API_KEY from the environment" in done.stdout


def test_env_file_that_is_no_text_is_a_usage_error(tmp_path: Path) -> None:
    write_job(tmp_path)
    (tmp_path / ".env").write_bytes(b"A=\xff\xfe")
    done = command(tmp_path, environ_without_key(), "validate", "job.yaml")
    assert done.returncode == 2 and ".env: cannot read: not UTF-8 text" in done.stderr


def test_dotenv_is_imported_only_if_there_is_a_file(tmp_path: Path) -> None:
    write_job(tmp_path)
    code = "import sys; from runner.cli import main; main(['validate','job.yaml'], standalone_mode=False)"
    code = f"try:\n {code}\nexcept SystemExit:\n print('dotenv' in sys.modules)"
    for expected in ("False", "True"):
        words = [sys.executable, "-c", code]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert done.stdout.split()[-1] == expected
        write_env(tmp_path / ".env", "A=1")
