"""Figures for the decision to send: tokens, cost and time.

In: a prepared run. Out: a Plan. Nothing is sent, except free counts of tokens.
Read `plan` first, then `estimate` (tokens and dollars), `send_mode` (batch or sync), `preview` (`runner plan`).
"""
