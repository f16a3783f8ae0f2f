"""Write rows to the groups of sinks, one after the other: the record of each, and what is counted of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from runner.evaluation.evaluator import Answer, Evaluator
from runner.lifecycle.deliver.failures import FailureGroups
from runner.lifecycle.deliver.provenance import Compute
from runner.lifecycle.deliver.row_results import RowJudge, RowResult, StoredRow, build_record
from runner.lifecycle.deliver.sink_group import SinkGroup
from runner.results.outcome import Outcome
from runner.spec.spec import Spec

_MISSING = Outcome(
    "", "missing", error={"type": "missing", "message": "the API returned no result for this request"}
)


@dataclass(slots=True)
class Counts:
    """Counts of rows: failures by reason, and rows that an older version judged in another way.

    `corrected` holds (row, outcome) of these.
    """

    failures: FailureGroups = field(default_factory=FailureGroups)
    corrected: list[tuple[int, str]] = field(default_factory=list)

    def add(self, later: "Counts") -> None:
        """Add what was counted of the rows after these."""
        self.failures.add_all(later.failures)
        self.corrected += later.corrected


@dataclass(frozen=True, slots=True)
class RowWriter:
    """Writes rows to the `groups`. `provenance` is how to compute further fields of their records.

    `row` and `usage` in the record stay raw JSON unless `is_decoded`.
    """

    judge: RowJudge
    groups: Sequence[SinkGroup]
    evaluator: Evaluator
    provenance: Mapping[str, Compute]
    variant: str | None
    is_decoded: bool

    def write(self, stored: StoredRow, counts: Counts) -> None:
        """Write one row, and count it. Raises StateError if the files of the run are damaged."""
        found = self.judge.judge(stored)
        outcome = found.outcome or _MISSING
        record = self._build_record(found, outcome)
        if outcome.outcome != (found.recorded or "missing"):
            counts.corrected.append((found.number, outcome.outcome))
        counts.failures.add(found.key, record["reason"], outcome)
        for group in self.groups:
            group.write(record)

    def _build_record(self, found: RowResult, outcome: Outcome) -> dict[str, Any]:
        record = build_record(found, outcome)
        record["variant"], record["citations"] = self.variant, outcome.citations
        record |= {name: compute(found, outcome) for name, compute in self.provenance.items()}
        fields = msgspec.json.decode(found.fields) if self.is_decoded or self.evaluator else {}
        answer = Answer(found.key, fields, outcome.output, is_valid=outcome.outcome == "succeeded")
        record["wrong"] = self.evaluator.add_row(answer)
        if self.is_decoded:
            record["row"] = fields
            usage = record["usage"]
            record["usage"] = msgspec.json.decode(usage) if usage is not None else None
        return record


def needs_decoding(spec: Spec) -> bool:
    """Return whether a sink of a spec asks for a part of the row or the usage, or writes no JSON."""
    return any(sink.columns or sink.type not in ("csv", "jsonl") for sink in spec.sinks)
