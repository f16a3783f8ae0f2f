"""The first rows, sent ahead of all others: whether they came back as they should."""

from runner.errors import CanaryFailed
from runner.lifecycle.job import Job, plural
from runner.outcome import Outcome, Validate, read
from runner.store import Batch, pieces

_SHOWN = 3


def judge(job: Job, validate: Validate | None) -> None:
    """Raise CanaryFailed if the rows that were sent ahead did not succeed; they are all collected.

    What can pass by itself, an overloaded server for instance, is left to the next round, as long as another row
    succeeded. The run is abandoned then: its answers are there for the next one.
    """
    canaries = [batch for batch in job.store.batches(job.run) if batch.lane == "canary" and batch.round == 1]
    found = [one for batch in canaries for one in _outcomes(job, batch, validate)]
    bad = [(row, one) for row, one in found if one.outcome not in ("succeeded", "errored", "expired")]
    bad += [(row, one) for row, one in found if one.outcome == "errored" and not one.again]
    if found and not bad and not any(one.outcome == "succeeded" for _, one in found):
        bad = found
    if bad:
        job.run = job.store.update(job.run, state="abandoned")
        raise CanaryFailed(_message(job, len(found), bad))


def _outcomes(job: Job, batch: Batch, validate: Validate | None) -> list[tuple[int, Outcome]]:
    path = job.store.folder(job.run).results(batch.round, batch.batch)
    with pieces() as files:
        places = job.store.results_of(batch)
        return [(row, read(files.read(path, offset, length), validate)) for row, offset, length in places]


def _message(job: Job, count: int, bad: list[tuple[int, Outcome]]) -> str:
    lines = [
        f"  row {row} is {one.outcome}: {(one.error or {}).get('message', '')}"
        for row, one in sorted(bad)[:_SHOWN]
    ]
    if len(bad) > _SHOWN:
        lines.append(f"  and {len(bad) - _SHOWN} more")
    shown = "\n".join(lines)
    return (
        f"the canary failed: {len(bad)} of {plural(count, 'row')} sent ahead did not succeed, and nothing else of "
        f"run {job.run.id} was sent:\n{shown}\n"
        "Mend the prompt, the schema or the rows and run again (what succeeded is not paid again), or lower "
        "`canary`"
    )
