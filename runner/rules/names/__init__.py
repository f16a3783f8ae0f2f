"""Rules about the names of parameters and beta features, which the SDK's own types list.

In: the params of a spec. Out: violations, as from any rule. Read `name_rules` first. `sdk_params.json` is
generated from the installed SDK by `UPDATE_TEXTS=1 pytest tests/rules/test_sdk_params.py`.
"""
