"""Find the origin of the record of a row: the run, the attempt, its cost, and the request."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from runner.lifecycle.deliver.row_results import RowResult
from runner.pricing.rates import Rate
from runner.requests.custom_id import make_custom_id
from runner.results.outcome import Outcome
from runner.results.usage import parse_usage
from runner.runs.context import RunContext
from runner.sinks.registry import column_expressions
from runner.spec.spec import Spec
from runner.store.run_folder import FileSlices
from runner.templates.expressions import PROVENANCE_FIELDS

_UNPAID = ("expired", "canceled", "rejected")


Compute = Callable[[RowResult, Outcome], Any]


def find_used_fields(spec: Spec) -> list[str]:
    """Return the fields of provenance that a column of a sink may use, by the words in its expression."""
    texts = [text for one in spec.sinks for text in column_expressions(one).values()]
    return [name for name in PROVENANCE_FIELDS if any(name in text for text in texts)]


DIGEST_FIELD = "prompt_sha256"
"""The field that needs the request of a row."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """The origin of the records of a run. `digest_request` is that of `make_request_digest`."""

    run_id: str
    rate: Rate | None
    digest_request: Callable[[int], str | None]

    def list_fields(self, spec: Spec) -> dict[str, Compute]:
        """Return how to compute each field of PROVENANCE_FIELDS that a sink uses: most sinks use none."""
        compute: dict[str, Compute] = {
            "run": lambda *_: self.run_id,
            "round": self._find_round,
            "attempts": lambda *row: self._find_round(*row) or 0,
            "cost": self._find_cost,
            DIGEST_FIELD: lambda found, _: self.digest_request(found.number),
            "finished_at": self._find_end,
        }
        return {name: compute[name] for name in find_used_fields(spec)}

    def _find_round(self, found: RowResult, _: Outcome) -> int | None:
        """Return the round of the latest attempt: a row that is sent again was in each round before."""
        return None if found.batch is None else found.batch.round

    def _find_cost(self, found: RowResult, outcome: Outcome) -> float | None:
        """Return what the latest answer to a row has cost this run in US dollars; None if that is not known."""
        batch = found.batch
        if batch is None or found.custom_id != make_custom_id(self.run_id, batch.round, batch.batch, found.number):
            # It was taken over from an earlier run, or from an earlier row with the same request.
            return 0.0
        if outcome.outcome in _UNPAID:
            return 0.0
        rate, usage = self.rate, parse_usage(outcome.usage)
        if rate is None or usage.unreadable:
            return None
        cost = rate.synchronous_cost(usage)
        # Rounding keeps a column readable: 0.0000192 and not 0.000019200000000000003.
        return round(rate.apply_batch_discount(cost, usage) if batch.send_mode == "batch" else cost, 12)

    def _find_end(self, found: RowResult, _: Outcome) -> str | None:
        """Return when the batch of a row ended, by the API's clock."""
        if found.batch is None or found.batch.ended_at is None:
            return None
        return datetime.fromtimestamp(found.batch.ended_at, UTC).isoformat(timespec="seconds")


def make_request_digest(context: RunContext, files: FileSlices) -> Callable[[int], str | None]:
    """Return the function that digests the params of a row, with attached files by their digests.

    It returns their SHA-256, or None if the row was not sent.
    """
    store, run = context.store, context.run
    rows = store.row_index.make_finder(run, files)

    def digest_request(number: int) -> str | None:
        place = rows.find_request(number)
        if place is None:
            return None
        round, batch, offset, length = place
        return hashlib.sha256(files.read(store.folder(run).body(round, batch), offset, length)).hexdigest()

    return digest_request
