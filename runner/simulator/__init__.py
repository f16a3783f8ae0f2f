"""The same API on loopback, for trials and tests: no key, no cost, no network.

In: HTTP requests and a list of faults. Out: what the API would answer.
Read `server` first, then `batches`. `faults` lists every fault that can be injected.
"""
