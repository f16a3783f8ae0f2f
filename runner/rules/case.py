"""What rules are given, and what they give back."""

from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any, NamedTuple

from runner.cost import Model, known_model
from runner.errors import Problem
from runner.spec import Spec


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule says of a place in a spec; `severity` is error or warning, lines and columns count from 1."""

    rule: str
    severity: str
    path: str
    line: int
    column: int
    message: str

    @property
    def problem(self) -> Problem:
        """The finding as one of the mistakes that stop a run."""
        return Problem(self.path, f"{self.message} [{self.rule}]", self.line, self.column)

    def __str__(self) -> str:
        return str(Problem(self.path, f"{self.severity}: {self.message} [{self.rule}]", self.line, self.column))


@dataclass(frozen=True, slots=True)
class Facts:
    """What a plan knows of a run: how it is sent, and its size; `new` counts the requests that it sends.

    `prompt_tokens` is the longest prompt, `prefix_tokens` what all prompts begin with; `is_counted` if the API did
    count them. `expected_cost` is in US dollars.
    """

    mode: str
    rows: int
    new: int
    prompt_tokens: float
    prefix_tokens: float
    expected_cost: float | None
    is_counted: bool


class Mistake(NamedTuple):
    """A mistake in the value at a dotted path, of the rule's severity unless it has one of its own."""

    at: str
    message: str
    severity: str | None = None


@dataclass(frozen=True)
class Case:
    """A spec under examination."""

    spec: Spec
    facts: Facts | None
    keys: tuple[str, ...]
    today: date

    @property
    def params(self) -> dict[str, Any]:
        """The params of the spec."""
        return self.spec.params

    @cached_property
    def model(self) -> Model | None:
        """What is known of the spec's model."""
        return known_model(str(self.params["model"]))

    @property
    def is_batched(self) -> bool:
        """Whether it is known that requests are sent in batches."""
        return self._mode == "batch"

    @property
    def is_sync(self) -> bool:
        """Whether it is known that requests are sent synchronously."""
        return self._mode == "sync"

    @property
    def _mode(self) -> str:
        return self.facts.mode if self.facts is not None else self.spec.mode

    def refuses(self, what: str) -> bool:
        """Whether the model answers something with a 400."""
        return self.model is not None and what in self.model.refuses
