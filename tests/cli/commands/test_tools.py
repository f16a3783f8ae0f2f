"""The commands without a run: schema, simulate, and completion."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support import ROOT
from tests.support.processes import command, end, start
from tests.support.projects import write_job
from tests.support.simulator import environ_without_key


def test_schema_command_prints_the_spec_schema(tmp_path: Path) -> None:
    printed = command(tmp_path, environ_without_key(), "schema").stdout
    assert printed == (ROOT / "runner" / "spec" / "schema.json").read_text()


def test_simulate_serves_until_stopped(tmp_path: Path) -> None:
    write_job(tmp_path)
    process = start(tmp_path, environ_without_key(), "simulate", "--seconds", "0")
    while not (url := (tmp_path / "stdout").read_text() if (tmp_path / "stdout").exists() else ""):
        time.sleep(0.05)
    environ = {**os.environ, "ANTHROPIC_BASE_URL": url.strip(), "ANTHROPIC_API_KEY": "k"}
    words = [sys.executable, "-m", "runner", "run", "job.yaml", "--yes"]
    assert subprocess.run(words, cwd=tmp_path, env=environ, capture_output=True, check=False).returncode == 0
    os.kill(process.pid, signal.SIGTERM)
    assert end(tmp_path, process).returncode == 0


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(tmp_path: Path, shell: str) -> None:
    assert "_RUNNER_COMPLETE" in command(tmp_path, environ_without_key(), "completion", shell).stdout
