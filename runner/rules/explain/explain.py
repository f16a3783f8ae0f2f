"""Look up the explanation of a rule, or of another id that findings have."""

from functools import cache
from importlib.resources import files
from typing import NamedTuple

import msgspec

from runner.errors import UsageError
from runner.rules.finding import CHECKS
from runner.rules.run import OLD_RULE_IDS, OTHER_FINDINGS, RULES
from runner.spec.schema_errors import suggest_similar
from runner.spec.yaml.document import parse_yaml


class _Text(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    why: str
    source: str
    remedy: str
    example: str


class Explanation(NamedTuple):
    """The explanation of a rule: its finding, the reason, the source of the fact, an example and the remedy."""

    rule: str
    severity: str
    what: str
    why: str
    source: str
    example: str
    remedy: str


@cache
def _load_texts() -> dict[str, _Text]:
    data = files("runner.rules.explain").joinpath("explanations.yaml").read_bytes()
    return msgspec.convert(parse_yaml(data, path="explanations.yaml", environ={}).value, dict[str, _Text])


def list_finding_ids() -> list[str]:
    """Return the ids of all findings: rules first, then those that no rule makes, then checks."""
    return [*RULES, *OTHER_FINDINGS, *CHECKS]


def explain_rule(name: str) -> Explanation:
    """Return the explanation of a rule, or of the id of another finding. Raises UsageError for an unknown one."""
    rule, others = OLD_RULE_IDS.get(name, name), {**OTHER_FINDINGS, **CHECKS}
    if rule in others:
        severity, what = others[rule]
    elif rule in RULES:
        severity, function = RULES[rule]
        what = (function.__doc__ or "").partition("\n")[0]
    else:
        raise UsageError(f"there is no rule {name!r}: {suggest_similar(name, list_finding_ids())}")
    text = _load_texts()[rule]
    return Explanation(rule, severity, what, text.why, text.source, text.example.rstrip(), text.remedy)
