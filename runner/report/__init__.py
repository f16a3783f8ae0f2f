"""From a run to one HTML file about it: what looks wrong, then the figures, then the rows.

In: a run and its records. Out: a page that needs no network, or a text in Markdown.
Read `write` (the steps), then `collect` (one pass over the rows), `judge` (what looks wrong) and `page`.
Nothing here changes a run or sends anything.
"""
