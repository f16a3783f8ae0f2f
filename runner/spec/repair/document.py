"""A document whose mistakes are noted and repaired, until the rest of the program can read it."""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

from runner.errors import InputError, Problem
from runner.spec.param_variables import fill_params
from runner.spec.schema_errors import Mistake, find_mistakes
from runner.spec.yaml.document import Document, Path

_MAX_ROUNDS = 8

# Nothing else of a source can be ignored without reading other rows.
_HARMLESS_SOURCE_KEYS = ("key", "limit", "sample", "seed")

_OPTIONAL_SETTINGS: dict[str | int, tuple[str, ...]] = {
    "sinks": ("rows", "columns", "types"),
    "evaluate": ("match", "within", "min_accuracy"),
    "notify": ("secret", "timeout", "at"),
}
"""Settings of the items of a list without which the rest of an item keeps its meaning."""

_NEUTRAL: dict[str, Any] = {
    "version": 1,
    "name": "unnamed",
    "source": {"type": "jsonl", "path": "-"},
    "prompt": {"user": "-"},
    "params": {"model": "unknown", "max_tokens": 20_000},
    "sinks": [{"type": "jsonl", "path": "unnamed.jsonl"}],
}
"""Values for the required parts of a spec, about which no check has anything to say."""


def format_path(path: Path) -> str:
    """Return the dotted form of a path."""
    return ".".join(map(str, path))


@dataclass
class RepairedDocument:
    """A document, its problems, and the dotted paths of its broken parts, whose values are neutral."""

    document: Document
    problems: list[Problem] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)

    @property
    def value(self) -> dict[str, Any]:
        """The document as plain values."""
        value: dict[str, Any] = self.document.value
        return value

    def note(self, at: Path, problem: Problem) -> None:
        """Note a problem of the value at a path, and replace the value; an empty path replaces nothing."""
        if problem not in self.problems:
            self.problems.append(problem)
        if at:
            self._replace(self._find_part(at))

    def set_value(self, at: Path, value: Any) -> None:
        """Replace the value at a path by the one that is meant."""
        _find_parent(self.value, at)[at[-1]] = value

    def note_problems(self, found: Iterable[tuple[Path, Problem]]) -> None:
        """Note several problems, each with the path of its value."""
        for at, problem in found:
            self.note(at, problem)

    def repair(self, mistakes: Iterable[Mistake]) -> None:
        """Note mistakes, and repair them: move misplaced keys, and replace all other values."""
        broken = set(self.broken)
        for mistake in mistakes:
            at, home = mistake.at, mistake.belongs
            # A key is also missing after its own mistake removed it.
            is_known = mistake.is_missing and any(format_path(at[:end]) in broken for end in range(1, len(at) + 1))
            if not is_known:
                self.note((), mistake.problem)
            if at and not (home is not None and self._move(at, home)):
                self._replace(at if mistake.is_unknown and at[0] != "source" else self._find_part(at))

    def _move(self, at: Path, home: Path) -> bool:
        """Move a value to another path, with its positions; return False if that is not possible."""
        target = _find_parent(self.value, home)
        parent = _find_parent(self.value, at)
        if target is None and len(home) == 2 and home[0] not in self.value:
            target = self.value[str(home[0])] = {}
            self.document.positions[home[:1]] = self.document.positions.get(at, (0, 0))
        if not isinstance(target, dict) or not isinstance(parent, dict):
            return False
        if home[-1] in target or at[-1] not in parent:
            return False
        target[str(home[-1])] = parent.pop(at[-1])
        for places in (self.document.positions, self.document.keys):
            for path in [path for path in places if path[: len(at)] == at]:
                places[home + path[len(at) :]] = places[path]
        return True

    def _find_part(self, at: Path) -> Path:
        """Return the path of the smallest part that can be replaced without changing the meaning of others."""
        if at[0] == "source":
            return at if len(at) == 2 and at[1] in _HARMLESS_SOURCE_KEYS else ("source",)
        if at[0] in _OPTIONAL_SETTINGS:
            is_small = len(at) > 2 and at[2] in _OPTIONAL_SETTINGS[at[0]]
            return at[:3] if is_small else at[:2]
        return at[:2]

    def _replace(self, at: Path) -> None:
        """Remove the value at a path, or replace it by a neutral one if a spec needs it."""
        self.broken.add(format_path(at))
        neutral, parent = _find_neutral(at), _find_parent(self.value, at)
        if parent is None:
            # A part of a value of the wrong type: the whole section is replaced.
            self._replace(at[:1])
        elif neutral is not None:
            parent[at[-1]] = deepcopy(neutral)
        elif isinstance(parent, dict):
            parent.pop(at[-1], None)
        else:
            self._replace(at[:-1])
        if at[0] == "output" and len(at) > 1 and not self.value.get("output", True):
            del self.value["output"]


def _find_parent(value: Any, at: Path) -> Any:
    """Return the mapping or list that holds the value at a path, or None."""
    for step in at[:-1]:
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        else:
            return None
    return value if isinstance(value, dict | list) else None


def _find_neutral(at: Path) -> Any:
    """Return the neutral value at a path, or None if the value may be absent."""
    if at == ("output", "schema"):
        return {}
    if at[0] == "notify" and len(at) == 2:
        return {"on": ["finished"], "command": ["true"]}
    if at[0] == "evaluate" and len(at) == 2:
        return {"name": f"unnamed_{at[1]}", "expected": "none", "actual": "none"}
    if at[0] == "sinks" and len(at) == 2:
        return {"type": "jsonl", "path": f"unnamed-{at[1]}.jsonl"}
    value: Any = _NEUTRAL
    for step in at:
        value = value.get(step) if isinstance(value, dict) else None
    return value


def repair_document(
    document: Document, mistakes: Iterable[tuple[Path, Problem]], *, vars: Mapping[str, str], path: str
) -> RepairedDocument:
    """Note all mistakes of a document against the JSON schema of a spec, and repair them.

    `mistakes` are those of its YAML, each with the path of its value. `vars` override its own in `params`, and
    `path` names the file. Raises InputError for a document that is no mapping.
    """
    repaired = RepairedDocument(replace(document, value=deepcopy(document.value)))
    if isinstance(document.value, dict):
        repaired.note_problems(mistakes)
        for _ in range(_MAX_ROUNDS):
            repaired.document, unfilled = fill_params(repaired.document, vars, path)
            repaired.note_problems(unfilled)
            found = find_mistakes(repaired.document, path=path)
            if not found:
                return repaired
            repaired.repair(found)
    problems = repaired.problems or [mistake.problem for mistake in find_mistakes(document, path=path)]
    raise InputError([*problems])
