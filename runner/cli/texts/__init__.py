"""Texts for people: plans, summaries, tables. Nothing here prints."""
