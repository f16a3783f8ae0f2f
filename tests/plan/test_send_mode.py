"""The mode `auto` decides by size, deadline, and params."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner import Summary, load_spec, plan
from runner.lifecycle.validate.checks import validate_spec
from tests.support.projects import SPEC, write_job
from tests.support.simulator import answered

AUTO: list[tuple[int, dict[str, Any], str, str]] = [
    (60, {}, "batch", "for half the price"),
    (20, {}, "sync", "the batch discount is negligible"),
    (60, {"deadline": "30m"}, "sync", "most batches take up to 1 hour"),
    (60, {"deadline": "6h"}, "batch", "for half the price"),
    (60, {"deadline": "6h", "on_deadline": "wait"}, "sync", "can take up to 24 hours"),
]


@pytest.mark.parametrize(("rows", "changes", "mode", "why"), AUTO)
def test_auto_mode_depends_on_size_and_deadline(
    tmp_path: Path, run_job: Callable[..., Summary], rows: int, changes: dict[str, Any], mode: str, why: str
) -> None:
    write_job(tmp_path, rows=rows, mode="auto", **changes)
    plans: list[Any] = []

    def consent(plan: Any) -> bool:
        plans.append(plan)
        return True

    assert run_job(consent=consent).outcomes == {"succeeded": rows}
    assert (plans[0].mode, why in plans[0].mode_reason) == (mode, True), plans[0].mode_reason
    assert (len(answered(tmp_path / "api")) == rows) == (mode == "sync")


def test_auto_mode_sends_client_tools_synchronously(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    tools = [{"name": "look_up", "input_schema": {"type": "object"}}]
    params = {**SPEC["params"], "tools": tools}
    write_job(tmp_path, rows=60, mode="auto", params=params, allow=["client-tools"])
    run_job(consent=True)
    assert len(answered(tmp_path / "api")) == 60


@pytest.mark.parametrize(
    ("params", "mode"),
    [
        ({"model": "claude-opus-5", "max_tokens": 200_000}, "batch"),
        ({"model": "claude-haiku-5-5", "max_tokens": 9, "speed": "fast"}, "sync"),
    ],
)
def test_auto_mode_fits_the_params(tmp_path: Path, params: dict[str, Any], mode: str) -> None:
    betas = ["output-300k-2026-03-24"]
    spec = load_spec(write_job(tmp_path, rows=20, mode="auto", params=params, betas=betas))
    made = plan(spec, offline=True)
    assert (made.mode, [one.rule for one in made.findings]) == (mode, [])
    assert validate_spec(spec).findings == []
