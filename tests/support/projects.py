"""Small projects to run: specs, rows, and their plans."""

import json
import sqlite3
from collections.abc import Callable, Collection
from contextlib import closing
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from runner import Plan, Summary, load_spec, plan
from runner.errors import InputError, Problem
from runner.lifecycle.run import follow_and_deliver, prepare_run
from runner.lifecycle.run_options import RunOptions
from runner.lifecycle.validate.checked_spec import check_spec
from runner.runs.events import ProgressCallback, ignore_progress
from runner.runs.project import open_accounts
from runner.spec.schema_errors import schema_text
from runner.spec.spec import Spec
from runner.store.index.batch_index import Outcome
from runner.store.index.index_files import REQUEST, write_index
from runner.store.open_store import open_store
from runner.store.place import StatePlace

SCHEMA = {
    "type": "object",
    "properties": {"label": {"enum": ["good", "bad"]}, "score": {"type": "integer"}},
    "required": ["label", "score"],
    "additionalProperties": False,
}
SPEC: dict[str, Any] = {
    "version": 1,
    "name": "job",
    "source": {"type": "csv", "path": "rows.csv", "key": "id"},
    "prompt": {"system": "Label the text.", "user": "{{ text }}"},
    "params": {"model": "claude-haiku-5-5", "max_tokens": 100},
    "output": {"schema": SCHEMA},
    "sinks": [
        {"type": "jsonl", "path": "out/all.jsonl"},
        {"type": "csv", "path": "out/labels.csv", "columns": {"id": "key", "label": "output.label"}},
    ],
    "batch": {"max_requests": 8, "poll_seconds": 0.1, "grace_seconds": 0.5, "on_unknown": "resubmit"},
}
UNLABELED_SINKS = [{"type": "jsonl", "path": "out/all.jsonl"}, {"type": "csv", "path": "out/labels.csv"}]
"""Sinks for outputs without the field `label`."""
ROWS, BATCHES = 20, 3
EACH_ONCE = {("1", row): 1 for row in range(1, ROWS + 1)}


def write_job(root: Path, *, rows: int = 20, **changes: Any) -> Path:
    """Write a project with a spec (JSON is YAML) and its rows; return the spec's path."""
    (root / "prompts").mkdir(parents=True, exist_ok=True)
    lines = [f"r{number},text number {number}\n" for number in range(1, rows + 1)]
    (root / "rows.csv").write_text("id,text\n" + "".join(lines))
    path = root / "job.yaml"
    schema = changes.get("output", SPEC["output"]).get("schema")
    has_label = isinstance(schema, dict) and "label" in schema.get("properties", {})
    sinks = SPEC["sinks"] if has_label else UNLABELED_SINKS
    path.write_text(json.dumps({**SPEC, "sinks": sinks, **changes}))
    return path


RUN_CHAIN = ("run", "third.yaml", "second.yaml", "first.yaml", "--yes")


def write_chain(root: Path, **changes: Any) -> None:
    """Three specs: the second reads the outputs of the first, the third those of the second."""
    write_job(root, name="first", **changes)
    (root / "job.yaml").rename(root / "first.yaml")
    user = {
        "second": "{{ key }} was {{ output.label }} of {{ input.text }}",
        "third": "{{ key }}: {{ input.key }}",
    }
    for name, before in (("second", "first"), ("third", "second")):
        spec = {
            **SPEC,
            "name": name,
            "source": {"type": "run", "spec": f"{before}.yaml", "key": "key"},
            "prompt": {"user": user[name]},
            "sinks": [{"type": "jsonl", "path": f"out/{name}.jsonl"}],
        }
        (root / f"{name}.yaml").write_text(json.dumps(spec))


def run_shared(
    root: Path, files_url: str, *, report: ProgressCallback = ignore_progress, **options: Any
) -> Summary:
    """Run the job of a folder, the files of whose runs are in an object store."""
    spec, chosen, stop = load_spec(root / "job.yaml"), RunOptions(**options), Event()
    checked = check_spec(spec, simulate=False, resume=False, finish_pending=True)
    place = StatePlace(root / ".runner", files=files_url)
    with open_store(place) as store, open_accounts(place.folder, spec.api, simulate=False) as accounts:
        ready = prepare_run(checked, store, lambda _: accounts, chosen, report=report, stop=stop)
        ready.start(True, stop)  # noqa: FBT003 - the only way to give it
        return follow_and_deliver(ready, chosen, stop)


# No value is valid against it, so the simulator refuses each request.
IMPOSSIBLE_SCHEMA = {"type": "object", "properties": {}, "required": ["a"], "additionalProperties": False}


def plan_of_edited_job(root: Path, **changes: Any) -> Plan:
    """The plan of the job after it was written again with these changes."""
    made: Plan = plan(load_spec(write_job(root, **changes)), offline=True)
    return made


SPEC_SCHEMA: dict[str, Any] = json.loads(schema_text())
MINIMAL_SPEC = """\
version: 1
name: good
source: {type: csv, path: data/in.csv}
prompt: {user: hi}
params: {model: m, max_tokens: 5}
sinks: [{type: jsonl, path: out.jsonl}]
"""


def load_lines(root: Path, *lines: str, base: str = MINIMAL_SPEC, vars: dict[str, str] | None = None) -> Spec:
    path = root / "specs" / "s.yaml"
    path.write_text(base + "".join(f"{line}\n" for line in lines), "utf-8")
    return load_spec(path, vars=vars)


def load_problems(
    root: Path, *lines: str, base: str = MINIMAL_SPEC, vars: dict[str, str] | None = None
) -> list[Problem]:
    with pytest.raises(InputError) as caught:
        load_lines(root, *lines, base=base, vars=vars)
    return list(caught.value.problems)


def forget_queue(root: Path) -> None:
    """Let the state of a project not know any more that the API's queue was full."""
    with closing(sqlite3.connect(root / ".runner/state.db")) as database, database:
        database.execute("DELETE FROM queue")


def change_results(root: Path, change: Callable[[Outcome], Outcome | None]) -> None:
    """Record other outcomes, or none, for the rows of all collected batches of the newest run of a project."""
    with open_store(root / ".runner") as store:
        run = store.runs()[0]
        for batch in store.batches(run):
            if batch.result_index is not None:
                now = [one for one in map(change, store.row_index.outcomes_of(batch)) if one is not None]
                index, retries = store.row_index.write_results(batch, now), sum(one.retry for one in now)
                store.transition(batch, batch.state, result_index=index, retries=retries)


def lose_requests(root: Path, rows: Collection[int]) -> None:
    """Record the batches of the newest run of a project without these rows."""
    with open_store(root / ".runner") as store:
        run = store.runs()[0]
        for batch in store.batches(run):
            left = [REQUEST.pack(*one) for one in store.row_index.requests(batch) if one[0] not in rows]
            index = write_index(store.folder(run), f"{batch.round}-{batch.batch}.requests", left)
            store.transition(batch, batch.state, request_index=index)
