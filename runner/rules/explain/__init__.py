"""Explanations of rules: what each finds, why, the source of its fact, an example and the remedy.

In: the id of a rule. Out: an Explanation. Read `explain`; the texts are in `explanations.yaml`.
"""
