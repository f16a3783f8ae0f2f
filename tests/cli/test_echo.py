"""Nothing from rows, answers or servers reaches a terminal as a command."""

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

from runner.cli.echo import escape_controls
from runner.simulator.responses import ErrorResponse
from tests.support import ROOT
from tests.support.processes import RUN, command
from tests.support.projects import write_job
from tests.support.simulator import simulator

NASTY = "\x1b[2J\x9b31m\u202egnp\x07\x7f\r"
UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def fail(stage: str, wanted: str, error: ErrorResponse) -> None:
    if stage == wanted:
        raise error


@pytest.mark.parametrize("stage", ["list", "create", "retrieve", "results"])
def test_messages_of_the_api_are_printed_escaped(tmp_path: Path, stage: str) -> None:
    write_job(tmp_path)
    error = ErrorResponse(403, f"no {NASTY} [/red] [bold]")
    with simulator(tmp_path / "api", on=lambda name: fail(name, stage, error)) as environ:
        done = command(tmp_path, environ, *RUN)
    shown = done.stdout + done.stderr
    assert (UNSAFE.search(shown), "\\u001b[2J" in shown, "[/red] [bold]" in shown) == (None, True, True)


def test_rows_columns_and_outputs_are_printed_escaped(tmp_path: Path) -> None:
    write_job(tmp_path)
    (tmp_path / "rows.csv").write_text(
        f"id,te{NASTY.strip()}xt,text\n1,{NASTY.strip()},{NASTY.strip()}\n", "utf-8"
    )
    for words in (["plan", "job.yaml", "--offline"], ["render", "job.yaml"], ["validate", "job.yaml"]):
        done = command(tmp_path, {}, *words)
        assert UNSAFE.search(done.stdout + done.stderr) is None


def test_json_output_stays_json(tmp_path: Path) -> None:
    write_job(tmp_path, name="job", sinks=[{"type": "jsonl", "path": "out/\x85\u202e.jsonl"}])
    with simulator(tmp_path / "api") as environ:
        done = command(tmp_path, environ, *RUN, "--json")
    sinks: list[dict[str, Any]] = json.loads(done.stdout)["sinks"]
    assert (UNSAFE.search(done.stdout), sinks[0]["path"][-8:]) == (None, "\x85\u202e.jsonl")


@pytest.mark.parametrize("text", ["\ud800", "\x00", "\u2028", "\u200f"])
def test_unsafe_characters_are_escaped_as_in_json(text: str) -> None:
    assert json.loads(f'"{escape_controls(text)}"') == text


def test_only_one_module_of_the_cli_prints() -> None:
    calls = {
        f"{path.name}: {ast.unparse(node.func)}"
        for path in (ROOT / "runner/cli").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("click.echo", "print", "click.secho")
    }
    assert calls == {"echo.py: click.echo"}
