"""From a spec to the bodies of a round on disk.

In: a Spec. Out: a prepared run: rows.jsonl, batch bodies, and a record of each in the store. Nothing is sent.
Read `prepare`. `reuse` takes results that earlier runs paid for; `next_round` prepares retries.
"""
