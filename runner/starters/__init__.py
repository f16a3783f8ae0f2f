"""Starters: new specs and projects. In: a data file and a sentence, or the name of a template. Out: files.

No model is called. Start with `own_data.write_starter` and `template.copy_template`.
"""
