"""Declarative jobs on Anthropic's Message Batches API: a YAML spec in, validated outputs out.

>>> from runner import load_spec, run
>>> result = run(load_spec("specs/invoices.yaml"), simulate=True)
>>> result.outcomes
{'succeeded': 40}
>>> [record["key"] for record in result.failed]
[]

Every error is a `RunnerError`, and its message includes the remedy; `runner.errors` draws the tree.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from runner.errors import (
    AcceptanceUnknown,
    AccessError,
    ApiError,
    CanaryFailed,
    CostCapReached,
    FileChanged,
    InputError,
    Interrupted,
    ManualDecisionRequired,
    NotAccepted,
    NotFound,
    PilotMissed,
    Problem,
    QueueFull,
    RequestRejected,
    ResultsIncomplete,
    ResultsLost,
    RetriesStopped,
    RunnerError,
    StateError,
    StateLocked,
    Unavailable,
    UsageError,
)

if TYPE_CHECKING:
    from runner.evaluation.score import Score
    from runner.library.result import Result
    from runner.library.run import pilot, plan, run
    from runner.lifecycle.maintain.run_pilot import PilotResult
    from runner.lifecycle.plan.plan import Plan
    from runner.runs.events import RunEvent
    from runner.runs.summary import Summary
    from runner.spec.load import load_spec
    from runner.spec.spec import Spec

__all__ = [
    "AcceptanceUnknown", "AccessError", "ApiError", "CanaryFailed", "CostCapReached", "FileChanged",
    "InputError", "Interrupted", "ManualDecisionRequired", "NotAccepted", "NotFound", "PilotMissed", "PilotResult",
    "Plan", "Problem",
    "QueueFull", "RequestRejected", "Result", "ResultsIncomplete", "ResultsLost", "RetriesStopped", "RunEvent",
    "RunnerError", "Score", "Spec", "StateError", "StateLocked", "Summary", "Unavailable", "UsageError",
    "load_spec", "pilot", "plan", "run",
]  # fmt: skip

# Imported on first use, because `--help` must not wait for modules that only a run needs.
_MODULES = {
    "PilotResult": "runner.lifecycle.maintain.run_pilot",
    "Plan": "runner.lifecycle.plan.plan",
    "Result": "runner.library.result",
    "RunEvent": "runner.runs.events",
    "Score": "runner.evaluation.score",
    "Spec": "runner.spec.spec",
    "Summary": "runner.runs.summary",
    "load_spec": "runner.spec.load",
    "pilot": "runner.library.run",
    "plan": "runner.library.run",
    "run": "runner.library.run",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'runner' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
