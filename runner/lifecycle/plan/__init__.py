"""Figures for the decision to send: tokens, cost and time.

In: a prepared run. Out: a Plan. Nothing is sent, except free counts of tokens.
Read `plan` first, then `estimate` (tokens and dollars), `speed` and `ways` (time), `send_mode` (batch or sync),
`missed_deadline` (what would meet it), `preview` (`runner plan`).
"""
