"""Choose how to send a run, and estimate how long it will take."""

from runner.pricing.models import find_model, load_catalogue
from runner.rules.param_rules import find_sync_only_param, is_client_tool, list_tools
from runner.spec.spec import Spec
from runner.text import pluralize

_FEW_REQUESTS = 50


_HOUR_SECONDS = 3_600.0


# Rough latency of a synchronous request, in seconds: until its first token, and for each further token.
_FIRST_TOKEN_SECONDS, _TOKEN_SECONDS = 1.5, 1 / 70


def estimate_sync_seconds(spec: Spec, requests: int, output_tokens: float) -> float:
    """Estimate how many seconds synchronous requests take if each response has `output_tokens` tokens."""
    return requests * (_FIRST_TOKEN_SECONDS + output_tokens * _TOKEN_SECONDS) / spec.sync.concurrency


def choose_send_mode(spec: Spec, new_requests: int, seconds: float) -> tuple[str, str]:
    """Return how to send requests, `batch` or `sync`, and why; no reason if the spec sets the mode.

    `seconds` is how long `new_requests` requests would take synchronously.
    """
    if spec.mode != "auto":
        return spec.mode, ""
    if (name := find_sync_only_param(spec.params)) is not None:
        return "sync", f"because batches do not accept params.{name}"
    model = find_model(str(spec.params["model"]))
    if model is not None and model.max_output is not None and spec.params["max_tokens"] > model.max_output:
        return "batch", f"because only batches allow more than {model.max_output:,} output tokens"
    tools = [tool for tool in list_tools(spec.params) if is_client_tool(tool)]
    if any(tool.get("name") != spec.output.tool for tool in tools):
        return (
            "sync",
            "because each response can end with a client tool call, and a batch would delay the next turn",
        )
    if spec.deadline is not None and spec.deadline < _HOUR_SECONDS:
        return "sync", "because most batches take up to 1 hour, and the deadline is sooner"
    if spec.deadline is not None and spec.on_deadline == "wait" and spec.deadline < 24 * _HOUR_SECONDS > seconds:
        return "sync", "because a batch can take up to 24 hours, and the deadline is sooner"
    if new_requests < _FEW_REQUESTS:
        return (
            "sync",
            (
                f"because {pluralize(new_requests, 'request')} take about {_describe_span(seconds)}, "
                "and the batch discount is negligible"
            ),
        )
    return "batch", "for half the price, because no deadline requires sooner results"


def _describe_span(seconds: float) -> str:
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= 1.5 * size:
            return pluralize(round(seconds / size), unit)
    return pluralize(max(1, round(seconds)), "second")


def describe_duration(spec: Spec, mode: str, new_requests: int, seconds: float) -> str:
    """Describe how long a run with this number of new requests will take."""
    if not new_requests:
        return "nothing to send"
    if mode == "sync":
        return f"about {_describe_span(seconds)}, {spec.sync.concurrency} requests at a time"
    waves = -(-new_requests // load_catalogue().enqueued)
    text = "most batches end within 1 hour, all within 24 hours"
    if waves > 1:
        text += (
            f"; the Start tier processes {load_catalogue().enqueued:,} requests at a time, so "
            f"this takes {waves} waves"
        )
    if spec.deadline is not None:
        text += f"; deadline in {_describe_span(spec.deadline)}, then `on_deadline: {spec.on_deadline}`"
    return text
