"""Bytes on disk and behind URLs.

In: paths and URLs. Out: streams, atomic and durable writes, media types. Nothing here knows what a run is.
Read `atomic` first: every file that must survive a crash is written by it.
"""
