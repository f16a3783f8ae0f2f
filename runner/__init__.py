"""Declarative jobs on Anthropic's Message Batches API: a YAML spec in, validated outputs out.

>>> from runner import load_spec, run
>>> summary = run(load_spec("specs/invoices.yaml"), simulate=True)
>>> summary.outcomes
{'succeeded': 40}

Every error is a `runner.errors.RunnerError`, and its message includes the remedy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runner.lifecycle.plan.plan import Plan
    from runner.lifecycle.plan.preview import plan
    from runner.lifecycle.run import run
    from runner.runs.summary import Summary
    from runner.spec.load import load_spec
    from runner.spec.spec import Spec

__all__ = ["Plan", "Spec", "Summary", "load_spec", "plan", "run"]

# Imported on first use, because `--help` must not wait for modules that only a run needs.
_MODULES = {
    "Plan": "runner.lifecycle.plan.plan",
    "Spec": "runner.spec.spec",
    "Summary": "runner.runs.summary",
    "load_spec": "runner.spec.load",
    "plan": "runner.lifecycle.plan.preview",
    "run": "runner.lifecycle.run",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'runner' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
