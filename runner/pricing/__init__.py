"""Costs of requests and facts about models, from `models.yaml`.

In: a spec, and tokens or bytes. Out: US dollars, limits and features of a model.
Read `models` for the facts, `rates` for the arithmetic.
"""
