"""Inputs and results of rules."""

import re
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from typing import Any, NamedTuple

from runner.errors import Problem
from runner.pricing.models import Model, find_model
from runner.spec.spec import Spec

_SUGGESTION = re.compile(r"(did you mean '[^']*'\?|expected one of: .*|write row\[.*\]|(?<=: )write .*)$")

CHECKS = {
    "spec": ("error", "Report a mistake in the spec file: its YAML, or a key or value that specs do not have."),
    "source": ("error", "Report a source that cannot be read, and keys that are missing, empty or repeated."),
    "template": ("error", "Report a template that cannot be read or rendered, and names that rows do not have."),
    "output": ("error", "Report an output schema, check or expression that cannot be used."),
    "evaluate": ("error", "Report an evaluation whose expressions cannot be used."),
    "sink": ("error", "Report columns that cannot be computed, and outputs that cannot be written."),
    "extra": ("error", "Report a package that the spec needs and that is not installed."),
    "api": ("error", "Report what is missing to reach the platform that the spec names."),
    "state": ("error", "Report damage in `.runner/`, or an unfinished run that cannot go on; from `doctor`."),
    "next-run": ("info", "Report what the next run of a spec would do; from `doctor`."),
}
"""The checks of `validate` and `doctor` that are no rules, by the id of their findings: severity and meaning.

They cannot be allowed.
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding of a rule at a position in a spec.

    `severity` is error or warning. Lines and columns count from 1.
    """

    rule: str
    severity: str
    path: str
    line: int
    column: int
    message: str
    remedy: str = ""

    @classmethod
    def from_problem(cls, check: str, problem: Problem) -> "Finding":
        """Return a problem that a check found as a finding that stops a run."""
        suggested = _SUGGESTION.search(problem.message)
        remedy = problem.remedy or (suggested[0] if suggested else "")
        place = (problem.path, problem.line, problem.column)
        return cls(problem.rule or check, "error", *place, problem.message, remedy)

    @property
    def is_problem(self) -> bool:
        """True if a check found it, and no rule: it cannot be allowed."""
        return self.rule in CHECKS

    @property
    def problem(self) -> Problem:
        """The finding as a problem that stops a run."""
        name = "" if self.is_problem else f" [{self.rule}]"
        return Problem(self.path, f"{self.message}{name}", self.line, self.column, self.remedy, self.rule)

    @property
    def shown(self) -> Problem:
        """The finding as a problem to show, with its severity if a rule found it."""
        shown = self.problem
        return shown if self.is_problem else replace(shown, message=f"{self.severity}: {shown.message}")

    def __str__(self) -> str:
        return str(self.shown)


@dataclass(frozen=True, slots=True)
class PlanFacts:
    """Facts about a run that only a plan knows: how it is sent, and its size.

    `rows` is None if the source could not be read to its end. `new` counts the requests that it sends.
    `prompt_tokens` is the length of the longest prompt, and `prefix_tokens` of the prefix that all prompts share.
    `is_counted` is true if the API counted these tokens. `expected_cost` is in US dollars, and so is `budget`:
    what other runs have left of `limits.max_cost`, or None if that is not known. `missed_deadline` says that the
    run misses its deadline and what would meet it, if that is so.
    """

    mode: str
    rows: int | None
    new: int
    prompt_tokens: float
    prefix_tokens: float
    expected_cost: float | None
    is_counted: bool
    missed_deadline: str | None = None
    budget: float | None = None


class Violation(NamedTuple):
    """A mistake in the value at a dotted path. Its severity is the rule's, unless it has its own."""

    setting: str
    message: str
    severity: str | None = None


@dataclass(frozen=True)
class RuleContext:
    """A spec under examination."""

    spec: Spec
    facts: PlanFacts | None
    keys: tuple[str, ...]
    today: date

    @property
    def params(self) -> dict[str, Any]:
        """The params of the spec."""
        return self.spec.params

    @cached_property
    def model(self) -> Model | None:
        """The known facts about the spec's model, or None for an unknown model."""
        return find_model(str(self.params["model"]))

    @property
    def is_batched(self) -> bool:
        """True if it is known that requests are sent in batches."""
        return self._mode == "batch"

    @property
    def is_sync(self) -> bool:
        """True if it is known that requests are sent synchronously."""
        return self._mode == "sync"

    @property
    def _mode(self) -> str:
        return self.facts.mode if self.facts is not None else self.spec.mode

    def model_rejects(self, feature: str) -> bool:
        """Return whether the API is known to reject `feature` for this model, with status 400."""
        return self.model is not None and feature in self.model.refuses
