"""Rows without a `folder` reach no hidden files, and none of the runner's own."""

import json
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest

from runner import Summary
from tests.support.projects import write_job
from tests.support.prompts import PATH_BLOCK, blocks_problem, sent_blocks

CONTENT = "ANTHROPIC_API_KEY=sk-ant-1234"


def write_secret(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(CONTENT)


@pytest.mark.parametrize(
    "path",
    [
        ".env",
        "./.env",
        "docs/../.env",
        ".git/config",
        "docs/.secret/a.txt",
        "docs/.a.txt",
        ".runner/runs/1/rows.jsonl",
        "...",
        "..env",
        "\u200b.env",
        "\ufeff.env",
        ".\u200dgit/config",
        "docs/\u2024env",
        "\uff0egit/config",
        "\u0301.env",
        "docs\\.env",
    ],
)
def test_row_without_a_folder_reaches_no_hidden_file(tmp_path: Path, path: str) -> None:
    (tmp_path / "docs").mkdir()
    write_secret(tmp_path / path)
    problem = blocks_problem(tmp_path, PATH_BLOCK, path=path)
    assert f"{path} leads to the hidden " in problem
    assert problem.endswith("if rows may attach it, set `folder` to the folder that holds it")


@pytest.mark.parametrize("path", ["simulated/out/a.txt", "docs/../simulated/out/a.txt"])
def test_row_without_a_folder_reaches_no_simulated_output(tmp_path: Path, path: str) -> None:
    (tmp_path / "docs").mkdir()
    write_secret(tmp_path / "simulated" / "out" / "a.txt")
    assert "leads to simulated/, which belongs to the runner" in blocks_problem(tmp_path, PATH_BLOCK, path=path)
    block = {**PATH_BLOCK, "folder": "simulated/out"}
    assert sent_blocks(tmp_path, block, path="a.txt")[0]["source"]["data"] == CONTENT


@pytest.mark.parametrize("target", [".env", ".git/config", ".runner/state.txt", "simulated/a.txt"])
@pytest.mark.parametrize("is_folder", [False, True])
def test_link_to_a_hidden_file_is_refused(tmp_path: Path, target: str, is_folder: bool) -> None:
    write_secret(tmp_path / target)
    if is_folder:
        (tmp_path / "way").symlink_to((tmp_path / target).parent, target_is_directory=True)
        path = f"way/{Path(target).name}"
    else:
        (tmp_path / "plain.txt").symlink_to(tmp_path / target)
        path = "plain.txt"
    assert "leads to " in blocks_problem(tmp_path, PATH_BLOCK, path=path)


def test_hidden_link_to_a_plain_file_is_refused(tmp_path: Path) -> None:
    write_secret(tmp_path / "keys.txt")
    (tmp_path / ".env").symlink_to(tmp_path / "keys.txt")
    assert "leads to the hidden .env" in blocks_problem(tmp_path, PATH_BLOCK, path=".env")


def test_folder_other_than_by_letter_case_is_refused(tmp_path: Path) -> None:
    write_secret(tmp_path / "simulated" / "a.txt")
    # A link stands for the second name that a folder has where letter case does not count.
    (tmp_path / "SIMULATED").symlink_to(tmp_path / "simulated", target_is_directory=True)
    assert "belongs to the runner" in blocks_problem(tmp_path, PATH_BLOCK, path="SIMULATED/a.txt")


def test_folder_allows_its_hidden_files(tmp_path: Path) -> None:
    write_secret(tmp_path / ".cache" / "a.txt")
    write_secret(tmp_path / "docs" / ".b.txt")
    for folder, path in ((".cache", "a.txt"), ("docs", ".b.txt")):
        block = {**PATH_BLOCK, "folder": folder}
        assert sent_blocks(tmp_path, block, path=path)[0]["source"]["data"] == CONTENT


def test_files_of_a_hidden_source_folder_are_attached(tmp_path: Path) -> None:
    for folder in (".cache", "simulated"):
        write_secret(tmp_path / folder / "a.txt")
        source = {"type": "files", "path": f"{folder}/*.txt"}
        assert sent_blocks(tmp_path, PATH_BLOCK, source=source, path=f"{folder}/a.txt")
    write_secret(tmp_path / "simulated" / ".env")
    assert "the hidden .env" in blocks_problem(tmp_path, PATH_BLOCK, source=source, path="simulated/.env")


def test_project_below_a_hidden_folder_attaches_files(tmp_path: Path) -> None:
    write_secret(tmp_path / ".work" / "project" / "a.txt")
    assert sent_blocks(tmp_path / ".work" / "project", PATH_BLOCK, path="a.txt")


def test_hidden_file_below_the_url_of_a_source_is_refused(tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    for name in (".env", "%2eenv"):
        memory.pipe(f"/scans/{name}", CONTENT.encode())
    source = {"type": "files", "path": "memory:///scans/*.txt"}
    for name in (".env", "%2eenv", "%252eenv"):
        problem = blocks_problem(tmp_path, PATH_BLOCK, source=source, path=f"memory:///scans/{name}")
        assert "leads to the hidden .env" in problem
    block = {**PATH_BLOCK, "folder": "memory:///scans"}
    assert sent_blocks(tmp_path, block, path=".env")[0]["source"]["data"] == CONTENT
    memory.rm("/scans", recursive=True)


def test_row_that_names_a_hidden_file_is_rejected(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, rows=2, prompt={"user": [PATH_BLOCK]}, source={"type": "csv", "path": "paths.csv"})
    (tmp_path / "paths.csv").write_text("path\n.env\na.txt\n")
    write_secret(tmp_path / ".env")
    (tmp_path / "a.txt").write_text("a text")
    assert run_job().exit_code == 3
    first, second = map(json.loads, (tmp_path / "out" / "all.jsonl").read_text().splitlines())
    assert (first["outcome"], second["outcome"]) == ("rejected", "succeeded")
    assert ".env leads to the hidden .env: if rows may attach it, set `folder`" in first["error"]["message"]
    assert not [path for path in tmp_path.rglob("bodies/*") if CONTENT in path.read_text()]
