"""Lifecycle of a run: prepare, submit, reconcile, poll, collect, deliver."""
