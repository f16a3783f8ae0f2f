"""The order of things: prepare, submit, reconcile, poll, collect, deliver."""

from runner.lifecycle.execute import SIMULATED, Offer, check, render, run
from runner.lifecycle.inspect import Found, cancel, runs
from runner.lifecycle.job import Report, Summary, plural

__all__ = [
    "SIMULATED",
    "Found",
    "Offer",
    "Report",
    "Summary",
    "cancel",
    "check",
    "plural",
    "render",
    "run",
    "runs",
]
