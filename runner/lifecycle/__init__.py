"""Lifecycle of a run: prepare, submit, reconcile, poll, collect, deliver."""

from runner.lifecycle.chain import in_order
from runner.lifecycle.check import check, check_places, render
from runner.lifecycle.decide import Unknown, reconcile_run
from runner.lifecycle.doctor import Diagnosis, doctor
from runner.lifecycle.execute import SIMULATED, run
from runner.lifecycle.inspect import Found, cancel, runs
from runner.lifecycle.job import Report, Summary, plural
from runner.lifecycle.planning import Plan
from runner.lifecycle.preview import plan
from runner.lifecycle.purge import Purged, purge, purgeable
from runner.lifecycle.recover import recover

__all__ = [
    "SIMULATED",
    "Diagnosis",
    "Found",
    "Plan",
    "Purged",
    "Report",
    "Summary",
    "Unknown",
    "cancel",
    "check",
    "check_places",
    "doctor",
    "in_order",
    "plan",
    "plural",
    "purge",
    "purgeable",
    "reconcile_run",
    "recover",
    "render",
    "run",
    "runs",
]
