"""From a prepared batch to the API, at most once.

In: a prepared batch. Out: the same batch submitted or answered, or an error that says what is certain.
Read `submit` first: the intent is durable before the first byte leaves. `cost_cap` reserves the cost before,
`recovered` handles batches that an earlier process may have sent, `refusal` isolates a rejected request.
`deadline` hurries late batches, and `late_batches` says if that is worth its time and cost.
"""
