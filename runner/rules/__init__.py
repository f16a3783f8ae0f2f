"""Rules that find requests the API would reject, and wasted costs, before anything is sent.

A rule is a function from a Case to the mistakes that it finds. Errors stop a run. Warnings do not, and
`# runner: allow rule-id` in the spec, or `allow: [rule-id]`, silences them. The facts come from the API's
documentation, and each message names its page.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import date

from runner.rules.case import Case, Facts, Finding, Mistake
from runner.rules.jobs import (
    cap_below_estimate,
    cap_with_server_tools,
    cap_with_unknown_files,
    cap_without_price,
    deadline,
    few_rows,
    overwritten,
    personal_key,
    someone_waits,
)
from runner.rules.models import deprecated_model, retired_model, unknown_model
from runner.rules.params import (
    client_tools,
    context_window,
    for_sync_only,
    forced_tool_choice,
    ignored_in_batch,
    inference_geo,
    is_client_tool,
    max_tokens,
    output_300k,
    prefill,
    refused_in_batch,
    sampling,
    thinking,
    thinking_budget,
    tools_of,
)
from runner.rules.prompts import cache_5m, cache_minimum
from runner.rules.schemas import output_schema
from runner.spec.check import suggest
from runner.spec.spec import Spec

__all__ = ["RULES", "Facts", "Finding", "examine", "for_sync_only", "is_client_tool", "tools_of"]

ERROR, WARNING = "error", "warning"

RULES: dict[str, tuple[str, Callable[[Case], Iterator[Mistake]]]] = {
    "refused-in-batch": (ERROR, refused_in_batch),
    "ignored-in-batch": (WARNING, ignored_in_batch),
    "sampling": (ERROR, sampling),
    "forced-tool-choice": (ERROR, forced_tool_choice),
    "thinking": (ERROR, thinking),
    "thinking-budget": (ERROR, thinking_budget),
    "prefill": (ERROR, prefill),
    "max-tokens": (ERROR, max_tokens),
    "output-300k": (ERROR, output_300k),
    "context-window": (ERROR, context_window),
    "inference-geo": (ERROR, inference_geo),
    "client-tools": (WARNING, client_tools),
    "unknown-model": (WARNING, unknown_model),
    "deprecated-model": (WARNING, deprecated_model),
    "retired-model": (ERROR, retired_model),
    "output-schema": (ERROR, output_schema),
    "cache-minimum": (WARNING, cache_minimum),
    "cache-5m": (WARNING, cache_5m),
    "deadline": (WARNING, deadline),
    "someone-waits": (WARNING, someone_waits),
    "few-rows": (WARNING, few_rows),
    "personal-key": (WARNING, personal_key),
    "overwritten": (ERROR, overwritten),
    "cap-without-price": (ERROR, cap_without_price),
    "cap-with-server-tools": (ERROR, cap_with_server_tools),
    "cap-with-unknown-files": (ERROR, cap_with_unknown_files),
    "cap-below-estimate": (WARNING, cap_below_estimate),
}
"""All rules by id, each with the severity of its findings and its function."""


def examine(
    spec: Spec, facts: Facts | None = None, *, keys: Sequence[str | int] = (), today: date | None = None
) -> list[Finding]:
    """Return the findings in a spec, in the order of its lines, without allowed warnings.

    `facts` come from a plan; without them, the rules that need them find nothing. `keys` are the first keys of the
    source. `today` is the day on which a model counts as retired or not.
    """
    case = Case(spec, facts, tuple(map(str, keys)), today or date.today())
    found = [_unknown(spec, name) for name in spec.allow if name not in RULES]
    for name, (severity, rule) in RULES.items():
        for mistake in rule(case):
            problem = spec.problem(mistake.at, mistake.message)
            level = mistake.severity or severity
            lines = (problem.line, spec.key_lines.get(mistake.at, 0))
            is_allowed = name in spec.allow or any(name in spec.allow_at.get(line, ()) for line in lines)
            if level == ERROR or not is_allowed:
                found.append(Finding(name, level, problem.path, problem.line, problem.column, mistake.message))
    return sorted(found, key=lambda finding: (finding.line, finding.column, finding.rule))


def _unknown(spec: Spec, name: str) -> Finding:
    problem = spec.problem("allow", f"there is no rule {name!r}: {suggest(name, RULES)}")
    return Finding("unknown-rule", ERROR, problem.path, problem.line, problem.column, problem.message)
