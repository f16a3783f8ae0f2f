"""The same API on loopback, for trials and tests: no key, no cost, no network.

In: HTTP requests and a list of faults. Out: what the API would answer.
Read `routes` first, then `batches`. `fault_list` names every fault that can be injected.
"""
