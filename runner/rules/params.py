"""Parameters that the API refuses, in a batch or of a model, or that come to nothing."""

from collections.abc import Iterator, Mapping
from typing import Any

from runner.rules.case import Case, Mistake

_BATCH = "platform.claude.com, batch processing, 2026-08"
_MIGRATION = "platform.claude.com, migration to API version 2026-10-21"
_NOTES = "platform.claude.com, release notes, 2026-09"
_BETA_300K = "output-300k-2026-03-24"
_REFUSED = (
    "speed", "store", "previous_thread_event_id", "thread", "cache_hint", "context_hint", "fallbacks",
)  # fmt: skip
_CLIENT_TOOLS = ("bash_", "text_editor_", "computer_", "memory_")
_SAMPLING = ("temperature", "top_p", "top_k")


def refused_in_batch(case: Case) -> Iterator[Mistake]:
    """Parameters with which every request of a batch ends as errored."""
    if case.params.get("stream"):
        yield Mistake("params.stream", f"answers cannot be streamed here, nor in a batch ({_BATCH}): remove it")
    if not case.is_batched:
        return
    for name in _REFUSED:
        if case.params.get(name) is not None:
            message = f"a batch refuses {name} in each of its requests ({_BATCH}): remove it, or set `mode: sync`"
            yield Mistake(f"params.{name}", message)
    if case.params.get("research_preview_2026_02") == "active":
        yield Mistake("params.research_preview_2026_02", f"a batch refuses this preview ({_BATCH}): remove it")
    policy = case.params.get("billing_policy")
    if isinstance(policy, dict) and policy.get("bill_to") == "user_profile":
        message = "a batch cannot be billed to a user profile (SDK 2.12, message_create_params): remove it"
        yield Mistake("params.billing_policy", message)


def ignored_in_batch(case: Case) -> Iterator[Mistake]:
    """Parameters that a batch takes, and does nothing with."""
    if case.is_batched and "fallback_credit_token" in case.params:
        message = "a batch ignores it (platform.claude.com, fallback credit, 2026-08): remove it"
        yield Mistake("params.fallback_credit_token", message)


def sampling(case: Case) -> Iterator[Mistake]:
    """Sampling parameters, which are gone from the API."""
    for name in _SAMPLING:
        if name in case.params:
            message = (
                f"the API refuses {name}, even at its default ({_MIGRATION}): remove it, and say in the prompt "
                "how free an answer may be"
            )
            yield Mistake(f"params.{name}", message)


def forced_tool_choice(case: Case) -> Iterator[Mistake]:
    """A tool that has to be called, of a model that wants to choose."""
    choice = case.params.get("tool_choice")
    kind = choice.get("type") if isinstance(choice, dict) else None
    if kind in ("any", "tool") and case.refuses("forced_tool_choice"):
        message = (
            f"{case.params['model']} refuses tool_choice {kind} ({_NOTES}): use auto and ask for the tool in the "
            "prompt, or output.schema"
        )
        is_doubtful = case.model is not None and "forced_tool_choice" in case.model.doubtful
        yield Mistake("params.tool_choice", message, "warning" if is_doubtful else None)


def thinking(case: Case) -> Iterator[Mistake]:
    """Settings of thinking that a model refuses."""
    given = case.params.get("thinking")
    kind = given.get("type") if isinstance(given, dict) else None
    if kind == "disabled" and case.refuses("disabled_thinking"):
        remedy = (
            "use type between_tools" if "sonnet" in str(case.params["model"]) else "it always thinks, remove it"
        )
        yield Mistake("params.thinking", f"{case.params['model']} refuses type disabled ({_NOTES}): {remedy}")
    if isinstance(given, dict) and "budget_tokens" in given and case.refuses("budget_tokens"):
        message = f"{case.params['model']} refuses budget_tokens ({_NOTES}): use output_config.effort"
        yield Mistake("params.thinking", message)


def thinking_budget(case: Case) -> Iterator[Mistake]:
    """A thinking budget that leaves nothing for the answer."""
    given = case.params.get("thinking")
    budget = given.get("budget_tokens") if isinstance(given, dict) else None
    is_interleaved = any(beta.startswith("interleaved-thinking") for beta in case.spec.betas)
    if isinstance(budget, int) and case.params["max_tokens"] <= budget and not is_interleaved:
        message = f"max_tokens holds the thinking too: it must be more than thinking.budget_tokens, {budget:,}"
        yield Mistake("params.max_tokens", message)


def prefill(case: Case) -> Iterator[Mistake]:
    """A last turn of the assistant, which newer models do not go on from."""
    turns = list(case.spec.prompt.turns())
    at, last = turns[-1]
    if last.role == "assistant" and case.refuses("prefill"):
        message = (
            f"{case.params['model']} refuses a conversation that ends with the assistant (platform.claude.com, "
            "API errors, 2026-08): end with a user turn; output.schema makes answers begin as they should"
        )
        yield Mistake(at, message)


def max_tokens(case: Case) -> Iterator[Mistake]:
    """More output than a model can make."""
    if case.model is None or case.model.max_output is None:
        return
    most = case.model.max_output_beta or case.model.max_output
    if case.params["max_tokens"] > most:
        message = (
            f"{case.model.id} answers with {most:,} tokens at the most (platform.claude.com, models): lower it"
        )
        yield Mistake("params.max_tokens", message)


def output_300k(case: Case) -> Iterator[Mistake]:
    """Long output without its beta feature, or where it does not exist."""
    model = case.model
    if model is None or model.max_output is None or model.max_output_beta is None:
        return
    if not model.max_output < case.params["max_tokens"] <= model.max_output_beta:
        return
    if case.is_sync:
        message = f"more than {model.max_output:,} tokens are for batches only ({_BATCH}): lower it"
        yield Mistake("params.max_tokens", message)
    elif _BETA_300K not in case.spec.betas:
        message = f"more than {model.max_output:,} tokens need `betas: [{_BETA_300K}]` ({_BATCH})"
        yield Mistake("params.max_tokens", message)


def context_window(case: Case) -> Iterator[Mistake]:
    """Prompts that are longer than what a model can read."""
    if case.facts is None or case.model is None or case.model.context is None:
        return
    prompt, context = case.facts.prompt_tokens, case.model.context
    if prompt > context:
        about = "" if case.facts.is_counted else "about "
        message = (
            f"the longest prompt has {about}{prompt:,.0f} tokens, and {case.model.id} reads {context:,}: "
            "shorten it, or split the row"
        )
        # Without a count it may be a fifth less.
        is_certain = case.facts.is_counted or prompt > 1.5 * context
        yield Mistake("prompt", message, None if is_certain else "warning")


def inference_geo(case: Case) -> Iterator[Mistake]:
    """Data residency of a model that does not offer it."""
    if case.params.get("inference_geo") is not None and case.refuses("inference_geo"):
        message = (
            f"{case.params['model']} refuses inference_geo, which models from 4.6 on take (platform.claude.com, "
            "pricing, 2026-08): remove it, or take a newer model"
        )
        yield Mistake("params.inference_geo", message)


def tools_of(params: Mapping[str, Any]) -> list[Any]:
    """The tools of a request, whatever was written."""
    found = [params.get(name) for name in ("tools", "mcp_servers")]
    return [tool for tools in found if isinstance(tools, list) for tool in tools]


def is_client_tool(tool: Any) -> bool:
    """Whether a tool is one that the caller has to run: one of its own, or one that Anthropic defines."""
    if not isinstance(tool, dict):
        return False
    kind = str(tool.get("type", "custom"))
    return "input_schema" in tool or kind == "custom" or kind.startswith(_CLIENT_TOOLS)


def for_sync_only(params: Mapping[str, Any]) -> str | None:
    """A parameter that a batch refuses, and the Messages API takes."""
    return next((name for name in _REFUSED if params.get(name) is not None), None)


def client_tools(case: Case) -> Iterator[Mistake]:
    """Tools whose calls nobody answers."""
    names = [str(tool.get("name")) for tool in tools_of(case.params) if is_client_tool(tool)]
    names = [name for name in names if name != case.spec.output.tool]
    if names:
        message = (
            f"an answer ends at the call of {', '.join(names)}, and nobody runs the tool: the call is the "
            "output. Say so with `# runner: allow client-tools` if that is meant"
        )
        yield Mistake("params.tools", message)
