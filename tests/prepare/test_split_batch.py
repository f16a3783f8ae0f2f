"""A batch over a limit of the API is split."""

from collections.abc import Callable
from pathlib import Path

import pytest

from runner import Summary
from runner.errors import StateError
from tests.support.projects import EACH_ONCE, ROWS, write_job
from tests.support.simulator import answered, paid


@pytest.mark.parametrize("fault", ["max-requests:3", "max-bytes:2000", "max-queue:9", "too-large:1", "refuse:1"])
def test_batch_over_an_api_limit_is_split(tmp_path: Path, run_job: Callable[..., Summary], fault: str) -> None:
    assert run_job(faults=[fault]).outcomes == {"succeeded": ROWS}
    assert paid(tmp_path / "api") == EACH_ONCE


def edit_letter(root: Path) -> None:
    """Change a letter in the text of a prompt on disk, which stays valid JSON."""
    for body in root.glob(".runner/runs/*/bodies/*.json"):
        body.write_bytes(body.read_bytes().replace(b"text number 3", b"test number 3"))


def test_text_that_was_damaged_is_not_split_and_sent(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    def damage(moment: str) -> None:
        if moment == "create":
            edit_letter(tmp_path)

    with pytest.raises(StateError, match="was changed after it was written"):
        run_job(on=damage, faults=["max-requests:3"])
    assert paid(tmp_path / "api").keys().isdisjoint({("1", row) for row in range(1, 9)})


def test_text_that_was_damaged_is_not_sent_synchronously(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, mode="sync")

    def damage(moment: str) -> None:
        if moment == "list":
            edit_letter(tmp_path)

    with pytest.raises(StateError, match="was changed after it was written"):
        run_job(on=damage)
    assert not [text for text in answered(tmp_path / "api") if "number 3" in text]
