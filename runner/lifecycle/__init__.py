"""The order of things.

`run` is the table of contents: validate, select the run, prepare, plan, ask for consent, follow, deliver.
Each phase is a folder: `prepare` (rows to bodies on disk), `plan` (cost and consent), `send` (bodies to the API),
`follow` (the loop over batches), `deliver` (results to outputs). `diff` compares two runs, `judge` answers with
labels, and `maintain` holds the commands for repair.
"""
