"""The kinds of jobs that are run on machines that vanish; each has a moment that the others do not have."""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.proofs.kills import BATCH, CACHED, FAULTS
from tests.support.outputs import outputs
from tests.support.simulator import answered, paid

ROWS, CONCURRENCY, PART = 80, 4, 6
_FAILS = re.compile(r".{13}-1-\d+-\d*[37]")
_BATCH = re.compile(r'"(\d+)-\d+-(\d+)"')
_RETRY = {"attempts": 8}
_SYNC: dict[str, Any] = {"sync": {"concurrency": CONCURRENCY}, "retry": _RETRY}


@dataclass(frozen=True)
class Kind:
    """A kind of job: what its spec has, and what the API does to it."""

    spec: Mapping[str, Any]
    faults: Sequence[str] = FAULTS
    limits: Sequence[str] = ()
    fails: re.Pattern[str] = field(default=re.compile("(?!)"))
    is_sync: bool = False

    def mix(self, custom_id: str) -> str:
        """Return the outcome of a request."""
        return "errored" if self.fails.fullmatch(custom_id) else "succeeded"


KINDS = {
    "plain": Kind({"batch": BATCH}),
    "retry round": Kind({"batch": BATCH, "retry": _RETRY}, fails=_FAILS),
    "canary": Kind({"batch": BATCH, "canary": 6, **_SYNC}, is_sync=True),
    "warm-up": Kind({**CACHED}),
    "split": Kind({"batch": BATCH}, limits=[f"max-requests:{PART}"]),
    "sync": Kind(
        {"mode": "sync", "canary": 1, **_SYNC}, faults=("message-529:5%", "message-429:5%"), is_sync=True
    ),
}


def _without(bill: Mapping[tuple[str, int], int], rows: Collection[int]) -> dict[tuple[str, int], int]:
    return {where: times for where, times in bill.items() if where[1] not in rows}


@dataclass(frozen=True)
class End:
    """The remains of a job: its outputs, and how often each row was paid, in batches and synchronously."""

    outputs: Mapping[str, str]
    batches: Counter[tuple[str, int]]
    messages: Counter[int]

    def compare(self, expected: "End", kills: int) -> list[str]:
        """Return what differs from the end of a job that nobody killed.

        A row that is sent synchronously may be sent once more, in a later round, if it was in flight at a kill.
        """
        sync = expected.messages.keys()
        times = self.messages + Counter(row for _, row in self.batches.elements() if row in sync)
        found = {
            "outputs": self.outputs != expected.outputs,
            "batches": _without(self.batches, sync) != _without(expected.batches, sync),
            "lost": times.keys() != sync,
            "paid again": sum((times - expected.messages).values()) > CONCURRENCY * kills,
        }
        return [name for name, differs in found.items() if differs]


def read_end(machine: Path, api: Path, kind: Kind) -> End:
    """Read what is left of a job, but the numbers of batches: it is chance which of them is split first.

    Synchronously it is chance which rows needed a second round.
    """
    found = {name: _BATCH.sub(r'"\1-\2"', text) for name, text in outputs(machine).items()}
    kept = {"labels.csv": found["labels.csv"]} if kind.is_sync else found
    return End(kept, paid(api), Counter(int(text.rpartition(" ")[2]) for text in answered(api)))
