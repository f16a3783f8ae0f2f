"""Record the events of a run, so that no kill can lose them; nothing is sent here."""

import secrets
import time
from collections import Counter
from collections.abc import Callable

from runner.errors import RunnerError
from runner.notify.body import build_body
from runner.notify.events import EVENTS, find_event, is_wanted
from runner.notify.receiver_names import name_receiver
from runner.runs.context import RunContext
from runner.runs.project import is_simulated_state
from runner.runs.summary import summarize_run
from runner.spec.spec import Spec
from runner.store.records import Run
from runner.store.store import Store

_DAY = 86_400.0

Say = Callable[[str], None]


def record_event(
    store: Store, spec: Spec, run: Run | None, name: str, mark: str, message: str, *, say: Say,
    exit_code: int | None = None,
) -> bool:  # fmt: skip
    """Record an event if a receiver wants it, and return whether it did.

    Of a simulated run, only `say` who would be told. The caller knows that the event is new, and its transaction
    holds the change that the event says.
    """
    wanting = [one for one in spec.notify if is_wanted(one, name, mark)]
    if not wanting:
        return False
    if is_simulated_state(store.path):
        counts = Counter(map(name_receiver, wanting))
        names = ", ".join(one if count == 1 else f"{one} ({count} receivers)" for one, count in counts.items())
        say(f"simulated: nobody is told that {EVENTS[name]}; a real run would tell {names}")
        return False
    summary = None if run is None else summarize_run(store, run)
    body = build_body(spec, name, message, summary, exit_code)
    store.event_log.add(spec.name, run, name, mark, id=f"msg_{secrets.token_hex(16)}", body=body)
    return True


def say_to(context: RunContext) -> Say:
    """Return a function that reports a line about notifications as an event of a run."""
    return lambda line: context.report("notified", line)


def record_finish(context: RunContext) -> None:
    """Record that a run is finished, inside the transaction that says so; a pilot is not the job."""
    run, spec, store = context.run, context.spec, context.store
    if run.is_pilot or not spec.notify:
        return
    code = summarize_run(store, run).exit_code
    line = f"run {run.id} is finished"
    record_event(store, spec, run, "finished", "", line, say=say_to(context), exit_code=code)
    if code:
        flaws = "rows failed, or a score is below its min_accuracy"
        record_event(store, spec, run, "flawed", "", f"{line}: {flaws}", say=say_to(context), exit_code=code)


def _measure(store: Store, run: Run) -> str:
    """Return a mark that changes whenever a run goes on."""
    counts = store.run_batches(run).count_by_state()
    done = sum(store.counts.read(run).values())
    return f"{done} rows, " + ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))


def record_end(store: Store, spec: Spec, error: RunnerError | None, *, say: Say) -> None:
    """Record how a command ended that followed a spec, unless its run is finished or the same was told before.

    `paused` comes once per run. The others come again once the run has gone on, or after a day.
    """
    runs = store.runs(spec.name)
    run = next((one for one in runs if one.state == "running"), None)
    name = find_event(error) if error is not None else "paused"
    if name is None or (run is None and error is None):
        return
    if run is None:
        # Nothing has begun that the next command could go on with.
        name, mark = "failed", f"after run {runs[0].id if runs else 'none'}"
    else:
        mark = "" if name == "paused" else _measure(store, run)
    code = 4 if error is None else error.exit_code
    mark = f"{code}: {mark}" if mark else mark
    message = f"run {run.id if run else ''} is unfinished: run the same command again"
    message = message if error is None else str(error)
    with store.transaction():
        since = 0.0 if name == "paused" else time.time() - _DAY
        if not store.event_log.has_event(spec.name, run, name, mark, since=since):
            record_event(store, spec, run, name, mark, message, say=say, exit_code=code)


def record_alarm(context: RunContext, name: str, mark: str, message: str) -> bool:
    """Record something about a run that goes on, once for each mark; return whether it is new."""
    store, run = context.store, context.run
    with store.transaction():
        if store.event_log.has_event(context.spec.name, run, name, mark):
            return False
        return record_event(store, context.spec, run, name, mark, message, say=say_to(context))
