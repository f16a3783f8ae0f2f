"""Help pages are complete, their examples can be typed, and shells complete specs, runs and names."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from runner.cli import main
from runner.cli.texts.help import COMMAND_GROUPS, EXAMPLES, OPTION_GROUPS
from tests.support.processes import RUN_SIMULATED, command
from tests.support.projects import write_job
from tests.support.simulator import environ_without_key


def page(*words: str, columns: int = 80) -> str:
    return CliRunner(env={"COLUMNS": str(columns)}).invoke(main, [*words, "--help"], prog_name="runner").stdout


def test_commands_are_listed_in_the_order_of_use() -> None:
    listed = [line.split()[0] for line in page().splitlines() if line.startswith("  ") and "  " in line.strip()]
    names = [name for group in COMMAND_GROUPS.values() for name in group if name in main.commands]
    assert [name for name in listed if name in main.commands] == names
    assert set(names) == set(main.commands)


@pytest.mark.parametrize("name", main.commands)
def test_help_page_ends_with_examples_and_exit_codes(name: str) -> None:
    text = page(name)
    assert text.index("Examples:") < text.index("Exit codes:\n  0")
    assert "..." not in text.partition("\n")[2].replace("SPECS...", "")


EXAMPLE_LINES = [(name, line) for name, lines in EXAMPLES.items() for line, _ in lines if name in main.commands]


@pytest.mark.parametrize(("name", "line"), EXAMPLE_LINES)
def test_every_example_can_be_parsed(name: str, line: str) -> None:
    words = shlex.split(line.partition(" > ")[0])
    if name == "completion":
        words = ["completion", next(shell for shell in ("bash", "zsh", "fish") if shell in line)]
    # Commands keep the help option of their first context.
    context = click.Context(main, info_name="runner", **main.context_settings)
    made = main.commands[name].make_context(name, words[1:], parent=context, resilient_parsing=True)
    assert (words[0], made.args) == (name, [])


def test_option_groups_name_options_of_run() -> None:
    known = {param.name for command in main.commands.values() for param in command.params}
    later = {"max_wait", "pending", "env_files", "quiet", "log_format"}
    assert {name for names in OPTION_GROUPS.values() for name in names} - known <= later


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with one finished run, and a folder that has the command `runner`."""
    write_job(tmp_path, name="tickets")
    (tmp_path / "jobs").mkdir()
    assert command(tmp_path, environ_without_key(), *RUN_SIMULATED).returncode == 0
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "runner").write_text(f"#!{sys.executable}\nfrom runner.__main__ import main\n\nmain()\n")
    (tmp_path / "bin" / "runner").chmod(0o755)
    return tmp_path


SHELLS = {
    "bash": 'eval "$(runner completion bash)"; COMP_WORDS=(runner {words}); COMP_CWORD={last}; '
    'COMP_LINE="runner {words}"; COMP_POINT=${{#COMP_LINE}}; _runner_completion runner "{word}" ""; '
    'printf "%s\\n" "${{COMPREPLY[@]}}"',
    "zsh": 'autoload -U compinit; compinit -u; eval "$(runner completion zsh)"; '
    'COMP_WORDS="runner {words}" COMP_CWORD={last} _RUNNER_COMPLETE=zsh_complete runner',
    "fish": 'runner completion fish | source; complete -C "runner {words}"',
}


def complete(project: Path, shell: str, words: str) -> list[str]:
    """The words that a shell offers for the last one of a command line."""
    parts = words.split(" ")
    script = SHELLS[shell].format(words=words, last=len(parts), word=parts[-1])
    path = f"{project / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environ = {**environ_without_key(), "PATH": path, "HOME": str(project)}
    done = subprocess.run(
        [shell, "-c", script], cwd=project, env=environ, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_offers_specs_runs_and_names(project: Path, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    run = json.loads(command(project, environ_without_key(), "status", "--json").stdout)["run"]
    assert {"job.yaml", "jobs/"} <= set(complete(project, shell, "run j"))
    assert run in complete(project, shell, f"status {run[:3]}")
    assert "tickets" in complete(project, shell, "show tick")
    assert "tickets" in complete(project, shell, "retry ")
    assert "rows.csv" not in complete(project, shell, "plan r")


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_offers_rules_outcomes_and_conditions(project: Path, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    write_job(project, name="tickets", tags=["daily"])
    assert "missing-beta" in complete(project, shell, "explain missing-")
    assert "truncated" in complete(project, shell, "retry --outcome tr")
    assert "pending" in complete(project, shell, "show --outcome p")
    assert "state:failed" in complete(project, shell, "run --select st")
    assert "tag:daily" in complete(project, shell, "run job.yaml --select ta")
