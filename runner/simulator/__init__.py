"""The Message Batches API on loopback, for trials and tests: no key, no cost, nothing leaves the machine."""

from runner.simulator.server import Answer, Drop, serve

__all__ = ["Answer", "Drop", "serve"]
