"""A batch over a limit of the API is split."""

from collections.abc import Callable
from pathlib import Path

import pytest

from runner import Summary
from tests.support.projects import EACH_ONCE, ROWS
from tests.support.simulator import paid


@pytest.mark.parametrize("fault", ["max-requests:3", "max-bytes:2000", "max-queue:9", "too-large:1", "refuse:1"])
def test_batch_over_an_api_limit_is_split(tmp_path: Path, run_job: Callable[..., Summary], fault: str) -> None:
    assert run_job(faults=[fault]).outcomes == {"succeeded": ROWS}
    assert paid(tmp_path / "api") == EACH_ONCE
