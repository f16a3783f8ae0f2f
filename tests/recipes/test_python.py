"""Recipes in Python: what exit codes become, and what they use of `runner`. The tools need not be installed."""

import ast
import inspect
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import runner
from tests.support import ROOT
from tests.support.projects import write_job
from tests.support.simulator import end_batches, simulator

RECIPES = ROOT / "specs" / "recipes"
IMPORTING = ("dagster_asset.py", "prefect_flow.py")


class AirflowFailException(Exception):
    """Stands for that of Airflow."""


def load_function(path: Path, name: str, **names: Any) -> Callable[[], Any]:
    """A function of a module, without the parts that need the tool."""
    tree = ast.parse(path.read_text("utf-8"))
    tools = ("airflow.sdk", "airflow.sdk.exceptions")
    kept = [
        node
        for node in tree.body
        if (
            isinstance(node, ast.Import | ast.ImportFrom | ast.Assign) and getattr(node, "module", "") not in tools
        )
        or getattr(node, "name", "") == name
    ]
    exec(compile(ast.Module(kept, []), str(path), "exec"), names)  # noqa: S102 - the text of the recipe itself
    found: Callable[[], Any] = names[name]
    return found


def test_airflow_waits_for_code_4_and_goes_on_after_0_and_3(
    tmp_path: Path, with_runner: Callable[[Mapping[str, str]], dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_job(tmp_path).rename(tmp_path / "classify.yaml")
    monkeypatch.setenv("RUNNER_PROJECT", str(tmp_path))

    def ask(mix: Callable[[str], str]) -> bool:
        with simulator(tmp_path / "api", seconds=600, mix=mix) as environ:
            for name, value in with_runner(environ).items():
                monkeypatch.setenv(name, value)
            monkeypatch.setenv("RUNNER", str(tmp_path / "bin" / "runner"))
            done = load_function(RECIPES / "airflow_dag.py", "go_on", AirflowFailException=AirflowFailException)()
        end_batches(tmp_path / "api")
        return bool(done)

    assert [ask(lambda _: "succeeded") for _ in range(2)] == [False, True]
    (tmp_path / "rows.csv").write_text("id,text\nnew,a new text\n")
    assert [ask(lambda _: "refused") for _ in range(2)] == [False, True]
    shown = subprocess.run(
        [tmp_path / "bin" / "runner", "status", "classify.yaml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "1 refused" in shown.stdout
    (tmp_path / "classify.yaml").write_text("version: 1\n")
    with pytest.raises(AirflowFailException):
        ask(lambda _: "succeeded")


@pytest.mark.parametrize("name", IMPORTING)
def test_the_recipe_uses_what_the_package_has(name: str) -> None:
    tree = list(ast.walk(ast.parse((RECIPES / name).read_text("utf-8"))))
    imported = {
        one.name
        for node in tree
        if isinstance(node, ast.ImportFrom) and node.module == "runner"
        for one in node.names
    }
    calls = [node for node in tree if isinstance(node, ast.Call) and ast.unparse(node.func) == "run"]
    used = {node.attr for node in tree if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "result"}
    assert imported <= set(runner.__all__)
    assert {one.arg for call in calls for one in call.keywords} <= set(inspect.signature(runner.run).parameters)
    assert len(calls) == 1 and used and used <= set(dir(runner.Result))
