"""Damage of an unfinished run is noticed before anything else is sent or collected."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from runner import Summary
from runner.errors import StateError
from tests.support.projects import EACH_ONCE, ROWS
from tests.support.simulator import paid


def cut_short(folder: Path) -> None:
    os.truncate(folder / "rows.jsonl", (folder / "rows.jsonl").stat().st_size // 2)


def change_a_letter(folder: Path) -> None:
    path = folder / "rows.jsonl"
    path.write_bytes(path.read_bytes().replace(b"text number 7", b"text number 8"))


DAMAGE: dict[str, Callable[[Path], None]] = {
    "rows cut short": cut_short,
    "row changed": change_a_letter,
    "rows missing": lambda folder: (folder / "rows.jsonl").unlink(),
    "unsent body missing": lambda folder: (folder / "bodies/1-3.json").unlink(),
    "run folder missing": shutil.rmtree,
    "runs missing": lambda folder: shutil.rmtree(folder.parent),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damage_is_noticed_before_a_run_is_followed(
    tmp_path: Path, run_job: Callable[..., Summary], damage: Callable[[Path], None]
) -> None:
    run_job(wait=False, faults=["max-queue:16"])
    sent = paid(tmp_path / "api")
    shutil.copytree(tmp_path / ".runner", tmp_path / "backup")
    [folder] = (tmp_path / ".runner/runs").iterdir()
    damage(folder)
    stages: list[str] = []
    with pytest.raises(
        StateError, match=r"restore it from a backup, or move \.runner away and run `runner recover"
    ):
        run_job(on=stages.append)
    assert (stages, paid(tmp_path / "api")) == ([], sent)
    shutil.rmtree(tmp_path / ".runner")
    (tmp_path / "backup").rename(tmp_path / ".runner")
    assert run_job().outcomes == {"succeeded": ROWS}
    assert paid(tmp_path / "api") == EACH_ONCE
