"""The commands without a run: schema, simulate, and completion."""

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import ROOT
from tests.support.processes import command, end, start
from tests.support.projects import SPEC, write_job
from tests.support.simulator import accepted, environ_without_key
from tests.support.terminals import Terminal


def test_schema_command_prints_the_spec_schema(tmp_path: Path) -> None:
    printed = command(tmp_path, environ_without_key(), "schema").stdout
    assert printed == (ROOT / "runner" / "spec" / "schema.json").read_text()


@contextmanager
def simulate(root: Path, *words: str) -> Iterator[dict[str, str]]:
    """Serve a simulated API with a command, which must end well; yield the environment of the runner."""
    process = start(root, environ_without_key(), "simulate", "--seconds", "0", *words)
    while not (url := (root / "stdout").read_text() if (root / "stdout").exists() else ""):
        time.sleep(0.05)
    yield {**os.environ, "ANTHROPIC_BASE_URL": url.strip(), "ANTHROPIC_API_KEY": "one"}
    os.kill(process.pid, signal.SIGTERM)
    assert end(root, process).returncode == 0


def test_simulate_serves_until_stopped(tmp_path: Path) -> None:
    write_job(tmp_path)
    (tmp_path / "client").mkdir()
    with simulate(tmp_path) as environ:
        assert command(tmp_path / "client", environ, "run", "../job.yaml", "--yes").returncode == 0


def test_simulate_gives_keys_their_own_organizations(tmp_path: Path) -> None:
    write_job(tmp_path, batch={**SPEC["batch"], "max_requests": 10})
    (tmp_path / "client").mkdir()
    accounts = {"OTHER_KEY": "two", "RUNNER_ACCOUNTS": "a=ANTHROPIC_API_KEY,b=OTHER_KEY"}
    with simulate(tmp_path, "--organization", "one", "--organization", "two") as environ:
        ended = command(tmp_path / "client", {**environ, **accounts}, "run", "../job.yaml", "--yes")
    assert (ended.returncode, "share one queue" in ended.stderr) == (0, False), ended.stderr
    assert all(accepted(tmp_path / "simulated/server" / key) for key in ("one", "two"))


def test_key_that_names_no_folder_has_no_organization(tmp_path: Path) -> None:
    ended = command(tmp_path, environ_without_key(), "simulate", "--organization", "../one")
    assert (ended.returncode, "letters, digits, _ and -, not '../one'" in ended.stderr) == (2, True)


SHELLS = {
    "bash": (["bash", "--norc", "-i"], 'PS1="> "; eval "$(runner completion bash)"'),
    "zsh": (["zsh", "-f", "-i"], 'PROMPT="> "; autoload compinit; compinit -u; eval "$(runner completion zsh)"'),
    "fish": (["fish", "--no-config"], "runner completion fish | source"),
}
TYPED = [
    ("runner run jo\t", "runner run jobs/"),
    ("de\t", "runner run jobs/deep.yaml"),
    ("\x15runner validate my\t", "runner validate my\\ job.yaml"),
    ("\x15runner run jobs/ --select state:f\t", "runner run jobs/ --select state:failed"),
    ("\x15runner explain missing\t", "runner explain missing-beta"),
]


@pytest.mark.parametrize("shell", SHELLS)
def test_tab_completes_what_is_typed_in_a_shell(tmp_path: Path, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    for name in ("jobs/deep.yaml", "my job.yaml", "rows.csv", "bin/runner"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"#!{sys.executable}\nfrom runner.__main__ import main\n\nmain()\n")
    (tmp_path / "bin/runner").chmod(0o755)
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environ = {**environ_without_key(), "PATH": path, "HOME": str(tmp_path)}
    words, set_up = SHELLS[shell]
    with Terminal(tmp_path, environ, columns=120) as terminal:
        terminal.start_program(*words)
        terminal.type(f"{set_up}; echo rea''dy\n")
        terminal.wait_for("ready")
        for keys, seen in TYPED:
            terminal.type(keys)
            terminal.wait_for(seen)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(tmp_path: Path, shell: str) -> None:
    assert "_RUNNER_COMPLETE" in command(tmp_path, environ_without_key(), "completion", shell).stdout
