"""Choose how to send a run, and estimate how long it will take."""

from runner.cost import catalogue, known_model
from runner.lifecycle.job import plural
from runner.rules.params import for_sync_only, is_client_tool, tools_of
from runner.spec.spec import Spec

_FEW = 50
_HOUR = 3_600.0
# Rough latency of a synchronous request, in seconds: until its first token, and for each further token.
_FIRST_TOKEN, _TOKEN = 1.5, 1 / 70


def synchronous_seconds(spec: Spec, requests: int, output: float) -> float:
    """Estimate how many seconds synchronous requests take if each response has `output` tokens."""
    return requests * (_FIRST_TOKEN + output * _TOKEN) / spec.sync.concurrency


def choose(spec: Spec, new: int, seconds: float) -> tuple[str, str]:
    """Return how to send requests, `batch` or `sync`, and why; no reason if the spec sets the mode.

    `seconds` is how long `new` requests would take synchronously.
    """
    if spec.mode != "auto":
        return spec.mode, ""
    if (name := for_sync_only(spec.params)) is not None:
        return "sync", f"because batches do not accept params.{name}"
    model = known_model(str(spec.params["model"]))
    if model is not None and model.max_output is not None and spec.params["max_tokens"] > model.max_output:
        return "batch", f"because only batches allow more than {model.max_output:,} output tokens"
    tools = [tool for tool in tools_of(spec.params) if is_client_tool(tool)]
    if any(tool.get("name") != spec.output.tool for tool in tools):
        return (
            "sync",
            "because each response can end with a client tool call, and a batch would delay the next turn",
        )
    if spec.deadline is not None and spec.deadline < _HOUR:
        return "sync", "because most batches take up to 1 hour, and the deadline is sooner"
    if spec.deadline is not None and spec.on_deadline == "wait" and spec.deadline < 24 * _HOUR > seconds:
        return "sync", "because a batch can take up to 24 hours, and the deadline is sooner"
    if new < _FEW:
        return (
            "sync",
            f"because {plural(new, 'request')} take about {_span(seconds)}, and the batch discount is negligible",
        )
    return "batch", "for half the price, because no deadline requires sooner results"


def _span(seconds: float) -> str:
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= 1.5 * size:
            return plural(round(seconds / size), unit)
    return plural(max(1, round(seconds)), "second")


def outlook(spec: Spec, mode: str, new: int, seconds: float) -> str:
    """Describe how long a run with this number of new requests will take."""
    if not new:
        return "nothing to send"
    if mode == "sync":
        return f"about {_span(seconds)}, {spec.sync.concurrency} requests at a time"
    waves = -(-new // catalogue().enqueued)
    text = "most batches end within 1 hour, all within 24 hours"
    if waves > 1:
        text += (
            f"; the Start tier processes {catalogue().enqueued:,} requests at a time, so this takes {waves} waves"
        )
    if spec.deadline is not None:
        text += f"; deadline in {_span(spec.deadline)}, then `on_deadline: {spec.on_deadline}`"
    return text
