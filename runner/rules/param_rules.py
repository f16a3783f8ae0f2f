"""Rules about parameters that the API rejects or ignores, in batches or for a model."""

from collections.abc import Iterator, Mapping
from typing import Any

from runner.rules.finding import RuleContext, Violation

_BATCH_PAGE = "platform.claude.com, batch processing, 2026-08"


_MIGRATION_PAGE = "platform.claude.com, migration to API version 2026-10-21"


RELEASE_NOTES_PAGE = "platform.claude.com, release notes, 2026-09"


_BETA_300K = "output-300k-2026-03-24"


REJECTED_PARAMS = (
    "speed", "store", "previous_thread_event_id", "thread", "cache_hint", "context_hint", "fallbacks",
)  # fmt: skip


_LEAST_BUDGET = 1024


_CLIENT_TOOLS = ("bash_", "text_editor_", "computer_", "memory_")


SAMPLING_PARAMS = ("temperature", "top_p", "top_k")


def refused_in_batch(case: RuleContext) -> Iterator[Violation]:
    """Report parameters that make every request of a batch end as errored."""
    if case.params.get("stream"):
        yield Violation(
            "params.stream", f"streaming is not supported, in a batch or otherwise ({_BATCH_PAGE}): remove it"
        )
    if not case.is_batched:
        return
    for name in REJECTED_PARAMS:
        if case.params.get(name) is not None:
            message = (
                f"in a batch, the API rejects every request that sets {name} ({_BATCH_PAGE}): remove it, or set "
                "`mode: sync`"
            )
            yield Violation(f"params.{name}", message)
    if case.params.get("research_preview_2026_02") == "active":
        yield Violation(
            "params.research_preview_2026_02",
            f"the API rejects this preview in a batch ({_BATCH_PAGE}): remove it",
        )
    policy = case.params.get("billing_policy")
    if isinstance(policy, dict) and policy.get("bill_to") == "user_profile":
        message = "a batch cannot be billed to a user profile (SDK 2.12, message_create_params): remove it"
        yield Violation("params.billing_policy", message)


def ignored_in_batch(case: RuleContext) -> Iterator[Violation]:
    """Report parameters that a batch accepts but ignores."""
    if case.is_batched and "fallback_credit_token" in case.params:
        message = (
            "a batch ignores fallback_credit_token (platform.claude.com, fallback credit, 2026-08): remove it"
        )
        yield Violation("params.fallback_credit_token", message)


def sampling(case: RuleContext) -> Iterator[Violation]:
    """Report sampling parameters, which the API no longer accepts."""
    for name in SAMPLING_PARAMS:
        if name in case.params:
            message = (
                f"the API rejects {name}, even at its default ({_MIGRATION_PAGE}): remove "
                "it, and use the prompt to "
                "control how much answers vary"
            )
            yield Violation(f"params.{name}", message)


def thinking(case: RuleContext) -> Iterator[Violation]:
    """Report thinking settings that the model does not support."""
    given = case.params.get("thinking")
    kind = given.get("type") if isinstance(given, dict) else None
    if kind == "disabled" and case.model_rejects("disabled_thinking"):
        remedy = (
            "use type between_tools"
            if "sonnet" in str(case.params["model"])
            else "remove it, because this model always thinks"
        )
        yield Violation(
            "params.thinking",
            f"{case.params['model']} does not support thinking type disabled ({RELEASE_NOTES_PAGE}): {remedy}",
        )
    if isinstance(given, dict) and "budget_tokens" in given and case.model_rejects("budget_tokens"):
        message = (
            f"{case.params['model']} does not support budget_tokens ({RELEASE_NOTES_PAGE}): "
            "use output_config.effort"
        )
        yield Violation("params.thinking", message)


def thinking_budget(case: RuleContext) -> Iterator[Violation]:
    """Report a thinking budget that is too small, or leaves no tokens for the answer."""
    given = case.params.get("thinking")
    budget = given.get("budget_tokens") if isinstance(given, dict) else None
    if isinstance(budget, int) and budget < _LEAST_BUDGET:
        message = (
            f"thinking.budget_tokens must be at least {_LEAST_BUDGET:,} (SDK 2.14, "
            "thinking_config_enabled_param): raise it, or remove `thinking`"
        )
        yield Violation("params.thinking.budget_tokens", message)
    is_interleaved = any(beta.startswith("interleaved-thinking") for beta in case.spec.betas)
    if isinstance(budget, int) and case.params["max_tokens"] <= budget and not is_interleaved:
        message = f"max_tokens includes thinking: it must be more than thinking.budget_tokens ({budget:,})"
        yield Violation("params.max_tokens", message)


def max_tokens(case: RuleContext) -> Iterator[Violation]:
    """Report a max_tokens that is more than the model can return."""
    if case.model is None or case.model.max_output is None:
        return
    most = case.model.max_output_beta or case.model.max_output
    if case.params["max_tokens"] > most:
        message = (
            f"{case.model.id} returns at most {most:,} tokens (platform.claude.com, models): lower max_tokens"
        )
        yield Violation("params.max_tokens", message)


def output_300k(case: RuleContext) -> Iterator[Violation]:
    """Report long output that is sent synchronously, or without its beta feature."""
    model = case.model
    if model is None or model.max_output is None or model.max_output_beta is None:
        return
    if not model.max_output < case.params["max_tokens"] <= model.max_output_beta:
        return
    if case.is_sync:
        message = (
            f"more than {model.max_output:,} output tokens are possible only in batches ({_BATCH_PAGE}): lower it"
        )
        yield Violation("params.max_tokens", message)
    elif _BETA_300K not in case.spec.betas:
        message = f"more than {model.max_output:,} output tokens require `betas: [{_BETA_300K}]` ({_BATCH_PAGE})"
        yield Violation("params.max_tokens", message)


def context_window(case: RuleContext) -> Iterator[Violation]:
    """Report prompts that do not fit into the context window of the model."""
    if case.facts is None or case.model is None or case.model.context is None:
        return
    prompt, context = case.facts.prompt_tokens, case.model.context
    if prompt > context:
        about = "" if case.facts.is_counted else "about "
        message = (
            f"the longest prompt has {about}{prompt:,.0f} tokens, but {case.model.id} accepts at most "
            f"{context:,}: shorten it, or split the row"
        )
        # Without a count, the prompt may be a fifth shorter.
        is_certain = case.facts.is_counted or prompt > 1.5 * context
        yield Violation("prompt", message, None if is_certain else "warning")


def inference_geo(case: RuleContext) -> Iterator[Violation]:
    """Report data residency that the model does not support."""
    if case.params.get("inference_geo") is not None and case.model_rejects("inference_geo"):
        message = (
            f"{case.params['model']} does not support inference_geo, which requires a model from 4.6 on "
            "(platform.claude.com, pricing, 2026-08): remove it, or use a newer model"
        )
        yield Violation("params.inference_geo", message)


def list_tools(params: Mapping[str, Any]) -> list[Any]:
    """Return the tools and MCP servers of a request, ignoring values that are not lists."""
    found = [params.get(name) for name in ("tools", "mcp_servers")]
    return [tool for tools in found if isinstance(tools, list) for tool in tools]


def is_client_tool(tool: Any) -> bool:
    """Return whether the caller has to run a tool: a custom one, or a client tool that Anthropic defines."""
    if not isinstance(tool, dict):
        return False
    kind = str(tool.get("type", "custom"))
    return "input_schema" in tool or kind == "custom" or kind.startswith(_CLIENT_TOOLS)


def find_sync_only_param(params: Mapping[str, Any]) -> str | None:
    """Return a parameter that the API rejects in a batch but accepts synchronously, or None."""
    return next((name for name in REJECTED_PARAMS if params.get(name) is not None), None)
