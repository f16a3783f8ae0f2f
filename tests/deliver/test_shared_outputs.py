"""A spec does not replace the outputs of another one in silence."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner import Summary
from tests.support.processes import RUN, command
from tests.support.projects import plan_of_edited_job, write_job
from tests.support.simulator import simulator

SINKS: dict[str, dict[str, Any]] = {
    "it": {"type": "csv", "path": "out/labels.csv"},
    "files with equal names": {"type": "files", "path": "out/f", "name": "key"},
    "rows with equal keys": {"type": "sql", "path": "out/t.db", "table": "t", "columns": {"key": "key"}},
}


def warnings(root: Path, **changes: Any) -> list[str]:
    """The warnings of a plan about outputs of other specs."""
    found = plan_of_edited_job(root, rows=2, **changes).findings
    return [str(one) for one in found if one.rule == "shared-output"]


@pytest.mark.parametrize("what", SINKS)
def test_output_of_another_spec_is_replaced_with_a_warning(
    tmp_path: Path, run_job: Callable[..., Summary], what: str
) -> None:
    write_job(tmp_path, rows=2, name="first", sinks=[SINKS[what]])
    first = run_job()
    assert warnings(tmp_path, name="first", sinks=[SINKS[what]]) == []
    (found,) = warnings(tmp_path, name="second", sinks=[SINKS[what]])
    assert found.startswith(str(tmp_path / "job.yaml"))
    assert f"was last written by the spec 'first' (run {first.run}): this run replaces {what}, so give" in found
    with simulator(tmp_path / "api") as environ:
        ended = command(tmp_path, environ, *RUN)
    assert (ended.returncode, (ended.stdout + ended.stderr).count("was last written by the spec 'first'")) == (
        0,
        1,
    )
    assert warnings(tmp_path, name="second", sinks=[SINKS[what]], allow=["shared-output"]) == []
    # Now it is an output of the second spec, and replacing it again is no surprise.
    assert warnings(tmp_path, name="second", sinks=[SINKS[what]]) == []
    assert warnings(tmp_path, name="first", sinks=[SINKS[what]])


def test_output_that_is_gone_is_not_mentioned(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, rows=2, name="first", sinks=[SINKS["it"]])
    run_job()
    (tmp_path / "out" / "labels.csv").unlink()
    assert warnings(tmp_path, name="second", sinks=[SINKS["it"]]) == []


def test_other_table_of_a_database_is_not_shared(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    sink = SINKS["rows with equal keys"]
    write_job(tmp_path, rows=2, name="first", sinks=[sink])
    run_job()
    assert warnings(tmp_path, name="second", sinks=[{**sink, "table": "other"}]) == []
