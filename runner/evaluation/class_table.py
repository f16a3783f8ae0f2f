"""The table of expected and actual classes, for as long as there are few of them: memory stays flat."""

from collections import Counter

from runner.evaluation.metrics import Confusion

MAX_CLASSES = 50
MAX_NAME_CHARS = 100
"""A longer value is a text, and no class."""


class ClassTable:
    """Counts rows by expected and actual class; once there are too many classes, it holds nothing.

    A class is shown as it was first written: `casefold` takes `Bug` and `bug` for one.
    """

    def __init__(self) -> None:
        self._shown: dict[str, str] = {}
        self._rows = Counter[tuple[str, str | None]]()
        self.is_full = False

    def add(self, expected: tuple[str, str], actual: tuple[str, str] | None) -> None:
        """Count a row by its classes, each with the text that is shown for it; None without an answer."""
        if self.is_full:
            return
        for key, shown in filter(None, (expected, actual)):
            self._shown.setdefault(key, shown)
            self.is_full |= len(shown) > MAX_NAME_CHARS
        self.is_full |= len(self._shown) > MAX_CLASSES
        if self.is_full:
            self._shown.clear()
            self._rows.clear()
        else:
            self._rows[expected[0], None if actual is None else actual[0]] += 1

    def confusion(self) -> Confusion:
        """Return the number of rows by the shown names of their classes."""
        shown = self._shown
        return {
            (shown[expected], None if actual is None else shown[actual]): rows
            for (expected, actual), rows in self._rows.items()
        }
