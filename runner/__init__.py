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
    from runner.lifecycle.execute import run
    from runner.lifecycle.job import Summary
    from runner.lifecycle.planning import Plan
    from runner.lifecycle.preview import plan
    from runner.spec.load import load_spec
    from runner.spec.spec import Spec

__all__ = ["Plan", "Spec", "Summary", "load_spec", "plan", "run"]

# Imported on first use, because `--help` must not wait for modules that only a run needs.
_MODULES = {
    "Plan": "runner.lifecycle.planning",
    "Spec": "runner.spec.spec",
    "Summary": "runner.lifecycle.job",
    "load_spec": "runner.spec.load",
    "plan": "runner.lifecycle.preview",
    "run": "runner.lifecycle.execute",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'runner' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
