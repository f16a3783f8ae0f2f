"""How a run is best sent, and how long that takes: rough, and said in words."""

from runner.cost import catalogue, known_model
from runner.lifecycle.job import plural
from runner.rules import for_sync_only, is_client_tool, tools_of
from runner.spec import Spec

_FEW = 50
_HOUR = 3_600.0
# What a synchronous request takes, in seconds, roughly: until its first token, and for each further one.
_FIRST_TOKEN, _TOKEN = 1.5, 1 / 70


def synchronous_seconds(spec: Spec, requests: int, output: float) -> float:
    """How long requests take synchronously whose answers have `output` tokens, in seconds."""
    return requests * (_FIRST_TOKEN + output * _TOKEN) / spec.sync.concurrency


def choose(spec: Spec, new: int, seconds: float) -> tuple[str, str]:
    """How requests are sent, and why."""
    if spec.mode != "auto":
        return spec.mode, ""
    if (name := for_sync_only(spec.params)) is not None:
        return "sync", f"since a batch refuses params.{name}"
    model = known_model(str(spec.params["model"]))
    if model is not None and model.max_output is not None and spec.params["max_tokens"] > model.max_output:
        return "batch", f"since only batches make more than {model.max_output:,} tokens of output"
    tools = [tool for tool in tools_of(spec.params) if is_client_tool(tool)]
    if any(tool.get("name") != spec.output.tool for tool in tools):
        return (
            "sync",
            "since each answer ends at a call of a client tool, and a batch would wait for the next turn",
        )
    if spec.deadline is not None and spec.deadline < _HOUR:
        return "sync", "since the deadline is within the hour that most batches take"
    if spec.deadline is not None and spec.on_deadline == "wait" and spec.deadline < 24 * _HOUR > seconds:
        return "sync", "since a batch can take 24 hours, and the deadline is sooner"
    if new < _FEW:
        return (
            "sync",
            f"since {plural(new, 'request')} are done in about {_span(seconds)}, and half of little is little",
        )
    return "batch", "for half the price, and nothing says that it has to be sooner"


def _span(seconds: float) -> str:
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= 1.5 * size:
            return plural(round(seconds / size), unit)
    return plural(max(1, round(seconds)), "second")


def outlook(spec: Spec, mode: str, new: int, seconds: float) -> str:
    """How long a run takes that sends so many new requests, in words."""
    if not new:
        return "nothing is sent"
    if mode == "sync":
        return f"about {_span(seconds)}, {spec.sync.concurrency} requests at a time"
    waves = -(-new // catalogue().enqueued)
    text = "most batches end within an hour, each within 24"
    if waves > 1:
        text += (
            f"; a Start tier processes {catalogue().enqueued:,} requests at a time, so this takes {waves} turns"
        )
    if spec.deadline is not None:
        text += f"; deadline in {_span(spec.deadline)}, then {spec.on_deadline}"
    return text
