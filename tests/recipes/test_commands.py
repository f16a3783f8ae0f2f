"""Every command line of a recipe is one of the CLI."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml

from runner.cli import main
from tests.support import ROOT

RECIPES = ROOT / "specs" / "recipes"


def in_readme(text: str) -> Iterator[str]:
    """The commands of code blocks and code spans."""
    for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        yield from re.findall(r"^runner (.*)$", block, re.MULTILINE)
    yield from re.findall(r"(?<!`)`runner ([^`>]+)(?: > [^`]+)?`(?!`)", text)


def in_workflow(text: str) -> Iterator[str]:
    for step in yaml.safe_load(text)["jobs"]["run"]["steps"]:
        yield from re.findall(r"^ *runner (.*?)(?: \|\| .*)?$", step.get("run", ""), re.MULTILINE)


def in_dag(text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.List) and ast.unparse(node.elts[0]) == "RUNNER":
            yield " ".join(ast.unparse(one).strip("'") for one in node.elts[1:])


def in_cron_job(text: str) -> Iterator[str]:
    *_, job = yaml.safe_load_all(text)
    for container in job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]:
        yield shlex.join(container["args"])


def in_unit(text: str) -> Iterator[str]:
    yield from re.findall(r"^ExecStart=\S+/runner (.*)$", text, re.MULTILINE)


def in_dockerfile(text: str) -> Iterator[str]:
    yield from re.findall(r"^# .*docker run .* runner (.*)$", text, re.MULTILINE)


FINDERS = {
    "README.md": in_readme,
    "github_actions.yml": in_workflow,
    "airflow_dag.py": in_dag,
    "kubernetes.yaml": in_cron_job,
    "systemd/runner.service": in_unit,
    "docker/Dockerfile": in_dockerfile,
}
WITHOUT_COMMANDS = {
    "dagster_asset.py",
    "docker/Dockerfile.dockerignore",
    "prefect_flow.py",
    "schemastore.json",
    "systemd/runner.timer",
}


def parse(line: str) -> None:
    """Parse a command line, and run nothing. Raises ClickException."""
    context = main.make_context("runner", shlex.split(line))
    name, command, words = main.resolve_command(context, shlex.split(line))
    assert command is not None
    command.make_context(name, words, parent=context)


@pytest.mark.parametrize("name", FINDERS)
def test_commands_of_a_recipe_are_those_of_the_cli(name: str) -> None:
    found = list(FINDERS[name]((RECIPES / name).read_text("utf-8")))
    for line in found:
        parse(line)
    assert found


def test_a_command_that_does_not_exist_is_found() -> None:
    for line in ("runs classify.yaml", "run classify.yaml --no-waiting"):
        with pytest.raises(click.ClickException):
            parse(line)


def test_every_file_is_searched_for_commands() -> None:
    files = {path.relative_to(RECIPES) for path in RECIPES.rglob("*") if path.is_file()}
    names = {str(path) for path in files if path.parts[0] != "dbt" and path.suffix != ".pyc"}
    assert names == {*FINDERS, *WITHOUT_COMMANDS}


def test_the_index_names_every_recipe() -> None:
    links = set(re.findall(r"\]\(([^)#]+)\)", (RECIPES / "README.md").read_text("utf-8")))
    shown = {Path(link).parts[0] for link in links if not link.startswith("..")}
    assert shown == {path.name for path in RECIPES.iterdir() if path.name not in ("README.md", "__pycache__")}
