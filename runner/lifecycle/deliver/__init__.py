"""From results to outputs.

In: an ended batch. Out: outcomes in the store, then every sink written in input order.
Read `collect` (one batch: download, check, record), then `deliver` (one pass over all rows).
"""
