"""Traces and metrics in the terms of OpenTelemetry, for a collector that the environment names.

In: API calls, steps of batches and runs, which the code reports to `trace.py`. Out: spans and metrics, sent by
`collector.py` in threads of the SDK. Never a prompt, an answer, a key or a value of a row: figures, ids, and the
names and labels of specs. Read `trace.py` first: without a collector it imports nothing and does nothing.
"""
