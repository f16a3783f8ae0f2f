"""Rules about parameters that are unknown, belong elsewhere, or need a beta feature."""

import json
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Any

from runner.rules.finding import RuleContext, Violation
from runner.rules.names.sdk_params import load_sdk_params
from runner.rules.param_rules import REJECTED_PARAMS, SAMPLING_PARAMS
from runner.spec.repair.homes import TOP_LEVEL, find_home
from runner.spec.schema_errors import schema_text

_PLACES = {
    "betas": "list beta features under `betas` at the top level of the spec",
    "extra_headers": "set ANTHROPIC_CUSTOM_HEADERS in the environment, one `Name: value` a line; beta features "
    "belong under `betas` at the top level of the spec",
    "extra_body": "write its keys directly under params",
    "extra_query": "remove it: requests have no query",
    "timeout": "remove it: the runner sets its own time limits",
    "max_retries": "set `retry.attempts` at the top level of the spec",
    "custom_id": "remove it: the runner makes the custom_ids",
    "prompt": "write the prompt under `prompt` at the top level of the spec",
    "output_format": "set `output.schema` at the top level of the spec, which is sent as output_config.format",
    "response_format": "set `output.schema` at the top level of the spec, which is sent as output_config.format",
    "max_tokens_to_sample": "set params.max_tokens",
    "max_output_tokens": "set params.max_tokens",
    "max_completion_tokens": "set params.max_tokens",
    "stop": "set params.stop_sequences, a list",
    "reasoning_effort": "set params.output_config.effort",
}
"""Keys that are no parameters of a request, each with its place."""


_OTHER_RULES = (*REJECTED_PARAMS, *SAMPLING_PARAMS, "research_preview_2026_02")
"""Parameters of the API that the SDK's types do not have; other rules are about them."""


_BETA_OF_PARAM = {
    "mcp_servers": "mcp-client-",
    "context_management": "context-management-",
    "compaction": "compact-",
    "thread": "message-threads-",
    "fallbacks": "server-side-fallback-",
    "fallback_credit_token": "fallback-credit-",
    "billing_policy": "user-profiles-billing-",
    "output_config.task_budget": "task-budgets-",
    "thinking.block_binding": "thinking-binding-controls-",
    "tools.advisor_20260301": "advisor-tool-",
    "tools.mcp_toolset": "mcp-client-",
    "tools.bash_20241022": "computer-use-2024-10-22",
    "tools.text_editor_20241022": "computer-use-2024-10-22",
    "tools.computer_20241022": "computer-use-2024-10-22",
    "tools.computer_20250124": "computer-use-2025-01-24",
    "tools.computer_20251124": "computer-use-2025-11-24",
}
"""The beginnings of names of the beta features that parameters, keys of them and types of tools need."""


_ALTERNATIVES = {"context_management": ("compact-",)}
"""Other beta features that allow a parameter too."""


_CERTAIN = 0.8


def misplaced_param(case: RuleContext) -> Iterator[Violation]:
    """Report keys that the API rejects inside params, and say where they belong."""
    inner = load_sdk_params().inner
    for name in case.params:
        place = _PLACES.get(name)
        if place is None and name not in load_sdk_params().params.all and name not in _OTHER_RULES:
            outers = ("output_config", "thinking", "metadata")
            owners = [outer for outer in outers if _has_key(inner[outer].values(), name)]
            place = f"write it inside params.{owners[0]}" if owners else _find_section(name)
        if place is not None:
            message = f"{name} is not a parameter of a request, so the API rejects it ({_source()}): {place}"
            yield Violation(f"params.{name}", message)


def _find_section(name: str) -> str | None:
    """Return where in a spec a key belongs that is no parameter, or None."""
    home = find_home(json.loads(schema_text()), ("params",), name)
    if home is None:
        return None
    return "write it at the top level of the spec" if home == TOP_LEVEL else f"write it under `{home}`"


def _has_key(kinds: Iterable[Any], name: str) -> bool:
    return any(name in kind.all for kind in kinds) and name not in ("type", "format")


def unknown_param(case: RuleContext) -> Iterator[Violation]:
    """Report keys that the SDK's parameter types do not have, with the nearest name."""
    known = load_sdk_params().params.all
    elsewhere = {one.setting for one in misplaced_param(case)}
    for name, value in case.params.items():
        at = f"params.{name}"
        if name not in known and name not in _OTHER_RULES and at not in elsewhere:
            yield _report(at, name, [*known, *SAMPLING_PARAMS])
        elif name in load_sdk_params().inner:
            for place, part in _list_mappings(at, value):
                yield from _check_mapping(place, part, name)


def _list_mappings(at: str, value: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the mapping that a parameter is, or those in its list, each with its dotted path."""
    if isinstance(value, dict):
        yield at, value
    for index, part in enumerate(value if isinstance(value, list) else ()):
        if isinstance(part, dict):
            yield f"{at}.{index}", part


def _check_mapping(at: str, value: dict[str, Any], param: str) -> Iterator[Violation]:
    kinds = load_sdk_params().inner[param]
    kind = str(value.get("type") or ("custom" if "custom" in kinds else next(iter(kinds))))
    if "" in kinds or len(kinds) == 1:
        kind = next(iter(kinds))
    if kind not in kinds:
        yield _report(f"{at}.type", kind, kinds, what="type")
        return
    for name in value:
        if name not in kinds[kind].all:
            yield _report(f"{at}.{name}", name, kinds[kind].all)


def _report(at: str, name: str, known: Iterable[str], *, what: str = "key") -> Violation:
    """Report an unknown name: an error if it is a slip of a known one, because it may be newer than the SDK."""
    names = [one for one in known if one != "betas"]
    if near := get_close_matches(name, names, n=1, cutoff=_CERTAIN):
        message = f"unknown {what} {name!r}, which the API rejects ({_source()}): did you mean {near[0]!r}?"
        if near[0] in SAMPLING_PARAMS:
            message += " The API no longer accepts that either: remove it"
        return Violation(at, message)
    far = get_close_matches(name, names, n=1, cutoff=0.6)
    hint = f"did you mean {far[0]!r}?" if far else f"known are {', '.join(names)}."
    message = (
        f"the {what} {name!r} is not in the parameter types of {_source()}, so the API probably rejects it: "
        f"{hint} If it is newer than this SDK, add `# runner: allow unknown-param`"
    )
    return Violation(at, message, "warning")


def missing_beta(case: RuleContext) -> Iterator[Violation]:
    """Report parameters and tools that only the SDK's beta types have, without their beta feature."""
    sdk = load_sdk_params()
    for name, value in case.params.items():
        if name in sdk.params.beta and name != "betas":
            yield from _require_beta(case, f"params.{name}", name)
            continue
        for at, part in _list_mappings(f"params.{name}", value):
            kind = str(part.get("type") or "")
            keys = sdk.inner.get(name, {}).get(kind) or sdk.inner.get(name, {}).get("")
            if keys is None:
                continue
            if not keys.stable:
                yield from _require_beta(case, f"{at}.type", f"{name}.{kind}")
            for key in part if keys.stable else ():
                if key in keys.beta:
                    yield from _require_beta(case, f"{at}.{key}", f"{name}.{key}")


def _require_beta(case: RuleContext, at: str, name: str) -> Iterator[Violation]:
    prefix = _BETA_OF_PARAM.get(name)
    prefixes = (prefix, *_ALTERNATIVES.get(name, ())) if prefix else ("",)
    if any(beta.startswith(prefixes) for beta in case.spec.betas):
        return
    newest = max((one for one in load_sdk_params().betas if prefix and one.startswith(prefix)), default=None)
    remedy = f"add `betas: [{newest}]`" if newest else "add its feature under `betas`"
    message = (
        f"{name} is in the beta types of {_source()} only, so the API probably rejects it without a beta feature: "
        f"{remedy} at the top level of the spec"
    )
    yield Violation(at, message)


def unknown_beta(case: RuleContext) -> Iterator[Violation]:
    """Report beta features that the SDK does not know, because the API rejects every call with an unknown one."""
    known = load_sdk_params().betas
    for index, name in enumerate(case.spec.betas):
        if name not in known:
            near = get_close_matches(name, known, n=1, cutoff=0.6)
            hint = f"did you mean {near[0]!r}?" if near else "check its name."
            message = (
                f"{name} is not among the beta features of {_source()}, and the API rejects calls with an unknown "
                f"one: {hint} If it is newer than this SDK, add `# runner: allow unknown-beta`"
            )
            yield Violation(f"betas.{index}", message)


def _source() -> str:
    return f"SDK {load_sdk_params().sdk}"
