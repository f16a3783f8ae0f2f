"""The body of an event: what webhooks and commands get as JSON, and services as text."""

import shlex
from datetime import UTC, datetime
from typing import Any

import msgspec

from runner.runs.summary import Summary
from runner.spec.spec import Spec

_MAX_MESSAGE = 1_000


def _find_command(spec: Spec, name: str, summary: Summary | None) -> str | None:
    """Return the command to run next; None if nothing is left to do, or if the spec has no file."""
    if name == "finished" or not spec.path.is_file():
        return None
    if name == "flawed" and summary is not None:
        return f"runner show {summary.run} --failed"
    words = ["runner", "reconcile" if name == "needs_person" else "run", str(spec.path)]
    return shlex.join(words)


def build_body(spec: Spec, name: str, message: str, summary: Summary | None, exit_code: int | None) -> str:
    """Return the body of an event; without a summary, no run of the spec had begun."""
    data: dict[str, Any] = {
        "spec": spec.name,
        "run": None if summary is None else summary.run,
        "message": message[:_MAX_MESSAGE],
        "exit_code": exit_code,
        "command": _find_command(spec, name, summary),
        "rows": None if summary is None else summary.rows,
        "outcomes": {} if summary is None else summary.outcomes,
        "cost": {} if summary is None else summary.cost,
        "sinks": [] if summary is None else summary.sinks,
        "is_pilot": summary is not None and summary.is_pilot,
        "is_simulated": False,
    }
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return msgspec.json.encode({"type": name, "timestamp": now, "data": data}).decode()


def format_text(body: str) -> tuple[str, str]:
    """Return the title and the text of a body, for people."""
    found = msgspec.json.decode(body)
    data = found["data"]
    run = f" (run {data['run']})" if data["run"] else ""
    lines = [data["message"]]
    if data["outcomes"]:
        lines.append(", ".join(f"{count:,} {outcome}" for outcome, count in data["outcomes"].items()))
    if data["cost"].get("actual") is not None:
        lines.append(f"cost: ${data['cost']['actual']:,.4f}")
    if data["command"]:
        lines.append(f"next: {data['command']}")
    return f"{data['spec']}: {found['type']}{run}", "\n".join(lines)
