"""The commands that take a spec and send nothing: validate, render and plan."""

import json
import os
from pathlib import Path

from tests.support.processes import command
from tests.support.projects import write_job
from tests.support.simulator import environ_without_key


def test_validate_says_valid_or_prints_every_mistake(tmp_path: Path) -> None:
    write_job(tmp_path)
    (tmp_path / "bad.yaml").write_text((tmp_path / "job.yaml").read_text().replace('"params"', '"parms"'))
    done = command(tmp_path, environ_without_key(), "validate", "job.yaml", "bad.yaml")
    assert (done.returncode, done.stdout) == (2, "job.yaml: valid\n")
    assert "unknown key 'parms' in the spec: did you mean 'params'?" in done.stderr


def test_validate_reports_an_unknown_column_in_a_template(tmp_path: Path) -> None:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "user.j2").write_text("Hello\n{{ txet }}")
    write_job(tmp_path, prompt={"user": "user.j2"})
    done = command(tmp_path, environ_without_key(), "validate", "job.yaml")
    assert (done.returncode, done.stderr) == (
        2,
        "prompts/user.j2:2:4: 'txet' is undefined: did you mean 'text'?\n  |\n2 | {{ txet }}\n  |    ^^^^\n",
    )


def test_render_prints_requests_and_sends_nothing(tmp_path: Path) -> None:
    write_job(tmp_path)
    done = command(tmp_path, environ_without_key(), "render", "job.yaml", "--limit", "3")
    requests = [json.loads(line) for line in done.stdout.splitlines()]
    assert [request["params"]["messages"][0]["content"] for request in requests] == [
        f"text number {n}" for n in (1, 2, 3)
    ]
    assert not (tmp_path / ".runner").exists()


def test_validate_reports_an_unwritable_sink(tmp_path: Path) -> None:
    sinks = [{"type": "jsonl", "path": "rows.csv/out.jsonl"}, {"type": "csv", "path": "s3://bucket/o.csv"}]
    path = write_job(tmp_path, sinks=sinks)
    ended = command(tmp_path, os.environ, "validate", str(path))
    assert ended.returncode == 2
    assert "rows.csv is not a writable folder" in ended.stderr
    assert "Install s3fs to access S3" in ended.stderr
