"""The rules by id, and the function that runs them.

Errors stop a run. Warnings do not, and `# runner: allow rule-id` or `allow: [rule-id]` in the spec silences them.
The error `constant-prompt` can be allowed in the same way.
The facts come from the API's documentation; each message names its page.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date

from runner.errors import Problem
from runner.rules.cache_rules import cache_5m, cache_minimum, cache_order
from runner.rules.finding import Finding, PlanFacts, RuleContext, Violation
from runner.rules.job_rules import (
    cap_below_estimate,
    cap_with_server_tools,
    cap_with_unknown_files,
    cap_without_price,
    constant_prompt,
    deadline,
    deadline_missed,
    few_rows,
    interactive_deadline,
    key_is_personal_data,
    label_in_prompt,
    sink_overwrites_input,
)
from runner.rules.model_rules import deprecated_model, retired_model, unknown_model
from runner.rules.names.name_rules import misplaced_param, missing_beta, unknown_beta, unknown_param
from runner.rules.param_rules import (
    context_window,
    ignored_in_batch,
    inference_geo,
    max_tokens,
    output_300k,
    refused_in_batch,
    sampling,
    thinking,
    thinking_budget,
)
from runner.rules.prompt_rules import blank_stop_sequence, citations_with_schema, prefill, prefill_ends_blank
from runner.rules.schema_rules import open_schema, output_schema, schema_keyword
from runner.rules.tool_rules import (
    client_tools,
    duplicate_tool,
    forced_tool_choice,
    tool_choice_without_tool,
    tool_input_schema,
)
from runner.spec.schema_errors import suggest_similar
from runner.spec.spec import Spec

ERROR, WARNING = "error", "warning"


RULES: dict[str, tuple[str, Callable[[RuleContext], Iterator[Violation]]]] = {
    "refused-in-batch": (ERROR, refused_in_batch),
    "ignored-in-batch": (WARNING, ignored_in_batch),
    "misplaced-param": (ERROR, misplaced_param),
    "unknown-param": (ERROR, unknown_param),
    "missing-beta": (WARNING, missing_beta),
    "unknown-beta": (WARNING, unknown_beta),
    "sampling": (ERROR, sampling),
    "forced-tool-choice": (ERROR, forced_tool_choice),
    "tool-choice-without-tool": (ERROR, tool_choice_without_tool),
    "duplicate-tool": (ERROR, duplicate_tool),
    "tool-input-schema": (ERROR, tool_input_schema),
    "thinking": (ERROR, thinking),
    "thinking-budget": (ERROR, thinking_budget),
    "prefill": (ERROR, prefill),
    "prefill-ends-blank": (ERROR, prefill_ends_blank),
    "blank-stop-sequence": (ERROR, blank_stop_sequence),
    "citations-with-schema": (ERROR, citations_with_schema),
    "max-tokens": (ERROR, max_tokens),
    "output-300k": (ERROR, output_300k),
    "context-window": (ERROR, context_window),
    "inference-geo": (ERROR, inference_geo),
    "client-tools": (WARNING, client_tools),
    "unknown-model": (WARNING, unknown_model),
    "deprecated-model": (WARNING, deprecated_model),
    "retired-model": (ERROR, retired_model),
    "output-schema": (ERROR, output_schema),
    "open-schema": (WARNING, open_schema),
    "schema-keyword": (WARNING, schema_keyword),
    "cache-minimum": (WARNING, cache_minimum),
    "cache-5m": (WARNING, cache_5m),
    "cache-order": (ERROR, cache_order),
    "deadline": (WARNING, deadline),
    "deadline-missed": (WARNING, deadline_missed),
    "interactive-deadline": (WARNING, interactive_deadline),
    "constant-prompt": (ERROR, constant_prompt),
    "label-in-prompt": (WARNING, label_in_prompt),
    "few-rows": (WARNING, few_rows),
    "key-is-personal-data": (WARNING, key_is_personal_data),
    "sink-overwrites-input": (ERROR, sink_overwrites_input),
    "cap-without-price": (ERROR, cap_without_price),
    "cap-with-server-tools": (ERROR, cap_with_server_tools),
    "cap-with-unknown-files": (ERROR, cap_with_unknown_files),
    "cap-below-estimate": (WARNING, cap_below_estimate),
}
"""All rules by id, each with the severity of its findings and its function."""

OTHER_FINDINGS = {
    "rejected-by-api": (ERROR, "Report a request that the API rejects when it counts its tokens."),
    "rejected": (WARNING, "Report a row that cannot be sent; the other rows are sent."),
    "shared-output": (WARNING, "Report an output that another spec of the project wrote last."),
    "unknown-rule": (ERROR, "Report an id under `allow` that is no rule."),
    "old-name": (WARNING, "Report a name of version 0.1 that has been replaced."),
}
"""Findings that no rule makes, by id: each with its severity, and what it reports."""

OLD_RULE_IDS = {
    "someone-waits": "interactive-deadline",
    "personal-key": "key-is-personal-data",
    "overwritten": "sink-overwrites-input",
}
"""Rule ids of version 0.1, which specs may use until version 0.3."""

_ALLOWED_ERRORS = ("constant-prompt",)
"""Errors that a spec may allow, because they can be on purpose."""

_OLD_NAME_END = "; version 0.3 no longer knows the old name"


def run_rules(
    spec: Spec, facts: PlanFacts | None = None, *, keys: Sequence[str | int] = (), today: date | None = None
) -> list[Finding]:
    """Return the findings in a spec, in the order of its lines, without allowed warnings.

    `facts` come from a plan; without them, the rules that need them find nothing. `keys` are the first keys of the
    source. `today` is the day on which a model counts as retired or not.
    """
    case = RuleContext(spec, facts, tuple(map(str, keys)), today or date.today())  # noqa: DTZ011 - the user's day
    found = [finding for finding in _check_names(spec) if not is_allowed(spec, finding)]
    for name, (severity, rule) in RULES.items():
        for mistake in rule(case):
            if not spec.is_sound(mistake.setting):
                continue
            problem = spec.problem(mistake.setting, mistake.message)
            finding = _make_finding(name, mistake.severity or severity, problem)
            if not is_allowed(spec, finding, _find_key_line(spec, mistake.setting)):
                found.append(finding)
    return sorted(found, key=lambda finding: (finding.line, finding.column, finding.rule))


def _find_key_line(spec: Spec, setting: str) -> int:
    """Return the line of the key of a setting; for a part of a schema in its own file, that of `output.schema`."""
    named = "output.schema" if setting in spec.schema_positions else setting
    return spec.key_lines.get(named, 0)


def is_allowed(spec: Spec, finding: Finding, key_line: int = 0) -> bool:
    """Return whether a spec silences a finding: under `allow`, or by a comment on its line or that of its key."""
    if finding.severity == ERROR and finding.rule not in _ALLOWED_ERRORS:
        return False
    # A schema in its own file has no comments.
    lines = (finding.line if finding.path == str(spec.path) else 0, key_line)
    names = [*spec.allow, *(name for line in lines for name in spec.allow_at.get(line, ()))]
    return finding.rule in _current_ids(names)


def _current_ids(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(OLD_RULE_IDS.get(name, name) for name in names)


def _check_names(spec: Spec) -> Iterator[Finding]:
    """Yield an error for each unknown rule under `allow`, and a warning for each name of an older version."""
    for name in spec.allow:
        if name not in RULES and name not in OLD_RULE_IDS and name not in OTHER_FINDINGS:
            message = f"there is no rule {name!r}: {suggest_similar(name, [*RULES, *OTHER_FINDINGS])}"
            yield _make_finding("unknown-rule", ERROR, spec.problem("allow", message))
    used = [(name, spec.problem("allow", "")) for name in spec.allow]
    used += [(name, Problem(str(spec.path), "", line)) for line, names in spec.allow_at.items() for name in names]
    for name, place in used:
        if name in OLD_RULE_IDS:
            message = f"the rule {name} is now called {OLD_RULE_IDS[name]}{_OLD_NAME_END}"
            yield _make_finding("old-name", WARNING, replace(place, message=message))
    if spec.batch.on_unknown == "ask":
        message = f"on_unknown: ask is now called on_unknown: stop{_OLD_NAME_END}"
        yield _make_finding("old-name", WARNING, spec.problem("batch.on_unknown", message))


def _make_finding(rule: str, severity: str, problem: Problem) -> Finding:
    return Finding(rule, severity, problem.path, problem.line, problem.column, problem.message)
