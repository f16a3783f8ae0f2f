"""The files of one run: names only, so that every module finds them in the same place."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class RunFolder:
    """`runs/<run>/` of the state folder."""

    path: Path

    @property
    def spec(self) -> Path:
        """The recorded spec, templates and inputs, as JSON."""
        return self.path / "spec.json"

    @property
    def rows(self) -> Path:
        """The rows as read: `{"key": ..., "row": {...}}`, one per line, in order."""
        return self.path / "rows.jsonl"

    @property
    def bodies(self) -> Path:
        """The folder of the exact bytes to POST, `<round>-<batch>.json`."""
        return self.path / "bodies"

    def body(self, round: int, batch: int) -> Path:
        """The body of one batch."""
        return self.bodies / f"{round}-{batch}.json"

    def results(self, round: int, batch: int) -> Path:
        """The exact bytes that came back for one batch; 0, 0 holds the rows that could not be sent."""
        return self.path / "results" / f"{round}-{batch}.jsonl"

    def create(self) -> None:
        """Make the empty folders."""
        for folder in (self.path, self.bodies, self.path / "results"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
