"""Inputs and results of rules."""

from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any, NamedTuple

from runner.errors import Problem
from runner.pricing.models import Model, find_model
from runner.spec.spec import Spec


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

    @property
    def problem(self) -> Problem:
        """The finding as a problem that stops a run."""
        return Problem(self.path, f"{self.message} [{self.rule}]", self.line, self.column)

    def __str__(self) -> str:
        return str(Problem(self.path, f"{self.severity}: {self.message} [{self.rule}]", self.line, self.column))


@dataclass(frozen=True, slots=True)
class PlanFacts:
    """Facts about a run that only a plan knows: how it is sent, and its size.

    `new` counts the requests that it sends. `prompt_tokens` is the length of the longest prompt, and
    `prefix_tokens` of the prefix that all prompts share. `is_counted` is true if the API counted these tokens.
    `expected_cost` is in US dollars. `missed_deadline` says that the run misses its deadline and what would meet
    it, if that is so.
    """

    mode: str
    rows: int
    new: int
    prompt_tokens: float
    prefix_tokens: float
    expected_cost: float | None
    is_counted: bool
    missed_deadline: str | None = None


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
