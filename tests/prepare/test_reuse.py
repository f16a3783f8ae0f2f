"""An edited check or schema that is never sent judges paid answers again, and sends only rows that still fail."""

import hashlib
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from runner import Summary
from tests.support.outputs import records
from tests.support.processes import RUN, command
from tests.support.projects import SCHEMA, SPEC, plan_of_edited_job, write_job
from tests.support.simulator import environ_without_key, paid, simulator

ONCE = {"attempts": 1}
NEVER: dict[str, str] = {"check": "score is string", "message": "the score is no text"}
GOOD = {"check": "label == 'good'", "message": "bad"}


def sent(root: Path) -> int:
    return sum(paid(root / "api").values())


def with_checks(*checks: dict[str, Any]) -> dict[str, Any]:
    return {"schema": SCHEMA, "checks": list(checks)} if checks else {"schema": SCHEMA}


def reasons(root: Path, **changes: Any) -> dict[str, int]:
    return {why: share["rows"] for why, share in plan_of_edited_job(root, **changes).reasons.items()}


def test_corrected_check_sends_nothing(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, retry=ONCE, output=with_checks(NEVER))
    assert run_job().outcomes == {"invalid": 20}
    write_job(tmp_path, retry=ONCE, output=with_checks({**NEVER, "check": "score is number"}))
    assert (run_job(consent=False).outcomes, sent(tmp_path)) == ({"succeeded": 20}, 20)
    assert {one["outcome"] for one in records(tmp_path / "out/all.jsonl")} == {"succeeded"}


def test_only_rows_that_still_fail_are_sent(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, retry=ONCE, output=with_checks(NEVER))
    run_job()
    labels = [one["output"]["label"] for one in records(tmp_path / "out/all.jsonl")]
    failing = labels.count("bad")
    assert 0 < failing < 20
    edited: dict[str, Any] = {"retry": ONCE, "output": with_checks(GOOD)}
    assert reasons(tmp_path, **edited) == {"invalid": failing}
    shown = command(tmp_path, environ_without_key(), "plan", "job.yaml").stdout
    assert "because the answer they have is not valid" in shown
    run_job()
    assert sent(tmp_path) == 20 + failing


def test_schema_that_is_not_sent_judges_again(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    strict = {**SCHEMA, "required": ["label", "score", "more"]}
    tool = {"name": "record", "input_schema": SCHEMA}
    own: dict[str, Any] = {"params": {**SPEC["params"], "tools": [tool]}, "retry": ONCE}
    write_job(tmp_path, output={"tool": "record", "schema": strict}, **own)
    assert run_job().outcomes == {"invalid": 20}
    write_job(tmp_path, output={"tool": "record", "schema": SCHEMA}, **own)
    assert (run_job().outcomes, sent(tmp_path)) == ({"succeeded": 20}, 20)
    write_job(tmp_path, output={"tool": "record"}, **own)
    assert (run_job().outcomes, sent(tmp_path)) == ({"succeeded": 20}, 20)


def test_sent_schema_sends_all_requests(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    run_job()
    wider = {**SCHEMA, "properties": {"label": {"type": "string"}, "score": {"type": "integer"}}}
    assert reasons(tmp_path, output={"schema": wider}) == {"schema": 20}
    shown = command(tmp_path, environ_without_key(), "plan", "job.yaml").stdout
    assert "`runner retry` keeps the answers that the new schema accepts" in shown


def test_row_without_an_answer_is_new_because_of_that(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, retry=ONCE)
    run_job(mix=lambda id: "errored" if id.endswith(("-4", "-9")) else "succeeded")
    assert reasons(tmp_path, output=with_checks({**NEVER, "check": "score is number"})) == {"again": 2}


def test_an_older_answer_counts_if_the_newest_is_invalid(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    run_job()
    write_job(tmp_path, retry=ONCE, output=with_checks(NEVER))
    assert run_job(mix=lambda _: "invalid").outcomes == {"invalid": 20}
    write_job(tmp_path)
    assert (run_job().outcomes, sent(tmp_path)) == ({"succeeded": 20}, 40)


def test_invalid_answer_of_equal_rows_is_judged_for_each(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, retry=ONCE, output=with_checks(NEVER))
    (tmp_path / "rows.csv").write_text("id,text\n" + "".join(f"r{number},same\n" for number in range(10)))
    run_job()
    write_job(tmp_path, retry=ONCE)
    (tmp_path / "rows.csv").write_text("id,text\n" + "".join(f"r{number},same\n" for number in range(10)))
    assert (run_job().outcomes, sent(tmp_path)) == ({"succeeded": 10}, 10)


def test_order_of_params_does_not_send_rows_again(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    params = {"model": "claude-haiku-5-5", "max_tokens": 100, "metadata": {"user_id": "a"}}
    write_job(tmp_path, params=params, retry=ONCE)
    run_job()
    turned = dict(reversed(params.items()))
    assert reasons(tmp_path, params=turned, rows=22, retry=ONCE) == {"data": 2}
    write_job(tmp_path, params=turned, rows=22, retry=ONCE)
    run_job()
    assert sent(tmp_path) == 22


def test_retry_keeps_the_order_of_params(tmp_path: Path) -> None:
    params = SPEC["params"]
    write_job(tmp_path, params=params, retry=ONCE)
    with simulator(tmp_path / "api", mix=lambda id: "errored" if id.endswith("-3") else "succeeded") as environ:
        assert command(tmp_path, environ, *RUN).returncode == 3
    turned = dict(reversed(params.items()))
    with simulator(tmp_path / "api") as environ:
        write_job(tmp_path, params=turned, retry=ONCE)
        assert command(tmp_path, environ, "retry", "job.yaml", "--yes").returncode == 0
        write_job(tmp_path, params=turned, retry=ONCE, rows=21)
        assert command(tmp_path, environ, *RUN).returncode == 0
    assert sent(tmp_path) == 22


def test_order_of_params_of_another_spec_is_no_matter(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    run_job()
    write_job(tmp_path, name="other", prompt={"user": "Other: {{ text }}"})
    turn_params_of(tmp_path, run_job().run)
    assert reasons(tmp_path, rows=21) == {"data": 1}
    turned = dict(reversed(SPEC["params"].items()))
    assert reasons(tmp_path, rows=21, params=turned) == {"data": 1}


def turn_params_of(root: Path, run: str) -> None:
    """Make a run one of an older version, which sent params in the order as they were written."""
    path = root / ".runner/runs" / run / "spec.json"
    snapshot = json.loads(path.read_text())
    snapshot["record"]["params"] = dict(reversed(snapshot["record"]["params"].items()))
    written = json.dumps(snapshot).encode()
    path.write_bytes(written)
    with closing(sqlite3.connect(root / ".runner/state.db")) as state, state:
        state.execute("UPDATE run SET spec_sha256 = ? WHERE id = ?", (hashlib.sha256(written).hexdigest(), run))


def test_order_in_a_schema_of_a_tool_sends_rows_again(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    def tools(schema: dict[str, Any]) -> dict[str, Any]:
        return {**SPEC["params"], "tools": [{"name": "record", "input_schema": schema}]}

    write_job(tmp_path, output={"tool": "record"}, params=tools(SCHEMA), retry=ONCE)
    run_job()
    properties: Any = SCHEMA["properties"]
    turned = {**SCHEMA, "properties": dict(reversed(properties.items()))}
    edited = reasons(tmp_path, output={"tool": "record"}, params=tools(turned), rows=21, retry=ONCE)
    assert sum(edited.values()) == 21
