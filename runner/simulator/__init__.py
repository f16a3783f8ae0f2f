"""Simulator of the Message Batches API on loopback, for trials and tests: no key, no cost, no network."""
