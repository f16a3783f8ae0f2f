"""The result of a run: its summary, and its rows, which are read from the state as they are asked for."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from runner.errors import UsageError
from runner.files.extras import missing_package_message
from runner.lifecycle.diff.diff import DEFAULT_EXAMPLES, Diff, diff_runs
from runner.lifecycle.maintain.show import RowChoice, show_rows
from runner.runs.find import RunInfo
from runner.runs.summary import Summary
from runner.tabular.arrow_rows import build_arrow_table


@dataclass(frozen=True, slots=True)
class Records:
    """Records of rows of a run, in input order; they are read again each time, and never all in memory."""

    run_info: RunInfo
    choice: RowChoice
    count: int

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield each record. Raises UsageError if the run was purged, StateError if its files are damaged."""
        for record in show_rows(self.run_info, self.choice):
            yield {name: _decode(value) for name, value in record.items()}


def _decode(value: Any) -> Any:
    return msgspec.json.decode(value) if isinstance(value, msgspec.Raw) else value


class Result(Summary):
    """The summary of a run, and its rows.

    Iterate over it for a record of each row that has an outcome, in input order: a mapping with `key`, `row`,
    `outcome`, `reason`, `output`, `error`, `usage`, `stop_reason`, `model`, `custom_id` and `batch_id`.
    """

    __slots__ = ("_output_root",)
    _output_root: Path

    @classmethod
    def of(cls, summary: Summary, output_root: Path) -> "Result":
        """Return the result for a summary; the state of the run is below `output_root`."""
        result = cls(**{field.name: getattr(summary, field.name) for field in fields(summary)})
        object.__setattr__(result, "_output_root", output_root)
        return result

    def _records(self, choice: RowChoice, count: int) -> Records:
        return Records(RunInfo(self, self._output_root, self.is_simulated, 0.0), choice, count)

    def __len__(self) -> int:
        return sum(self.outcomes.values())

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield the record of each row that has an outcome."""
        return iter(self._records(RowChoice(), len(self)))

    @property
    def failed(self) -> Records:
        """The records of the rows that did not succeed."""
        return self._records(RowChoice(failed=True), len(self) - self.outcomes.get("succeeded", 0))

    def diff(self, old: "Result", *, examples: int = DEFAULT_EXAMPLES) -> Diff:
        """Return how the rows differ from those of an older result, by key, with a few examples.

        Raises UsageError if the rows of a run were purged, or have keys in one run only.
        """
        return diff_runs(old.failed.run_info, self.failed.run_info, examples=examples)

    def to_arrow(self) -> Any:
        """Return a pyarrow.Table: the columns of the rows, `outcome`, `reason`, and the fields of the outputs.

        A field whose name is taken is `output.<name>`; an output that is no mapping is the column `output`. Raises
        UsageError if pyarrow is not installed.
        """
        if missing := missing_package_message("data", packages=["pyarrow"]):
            raise UsageError(missing)
        return build_arrow_table(_flatten(record) for record in self)

    def to_pandas(self) -> Any:
        """Return `to_arrow` as a pandas.DataFrame. Raises UsageError if pandas or pyarrow is not installed."""
        if find_spec("pandas") is None:
            raise UsageError("pandas is not installed: pip install pandas")
        return self.to_arrow().to_pandas()


def _flatten(record: dict[str, Any]) -> dict[str, Any]:
    row, output = record["row"], record["output"]
    flat = {**row, "outcome": record["outcome"], "reason": record["reason"]}
    named = output if isinstance(output, dict) else {"output": output}
    return flat | {f"output.{name}" if name in flat else name: value for name, value in named.items()}
