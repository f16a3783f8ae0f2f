"""Simulator of the Message Batches API on loopback, for trials and tests: no key, no cost, no network."""

from runner.simulator.faults import FAULTS, Answer, Drop, Faults
from runner.simulator.server import serve

__all__ = ["FAULTS", "Answer", "Drop", "Faults", "serve"]
