"""Choose how to send a run by time and cost, and describe how long it will take."""

from runner.lifecycle.plan.speed import describe_span
from runner.lifecycle.plan.ways import Way, Workload, chosen_way
from runner.pricing.models import find_model, load_catalogue
from runner.requests.pack import MAX_SYNC_BYTES
from runner.rules.param_rules import find_sync_only_param, is_client_tool, list_tools
from runner.runs.context import RunContext
from runner.runs.project import find_accounts
from runner.text import pluralize

_FEW_REQUESTS, _NEGLIGIBLE_DOLLARS = 50, 1.0


def find_forced_mode(work: Workload) -> tuple[str, str] | None:
    """Return the only mode that the params and sizes allow and why, or None if they allow both.

    Client tools work in both modes, but `auto` sends them synchronously.
    """
    spec = work.spec
    if (name := find_sync_only_param(spec.params)) is not None:
        return "sync", f"because batches do not accept params.{name}"
    model = find_model(str(spec.params["model"]))
    if model is not None and model.max_output is not None and spec.params["max_tokens"] > model.max_output:
        return "batch", f"because only batches allow more than {model.max_output:,} output tokens"
    if work.largest_bytes > MAX_SYNC_BYTES:
        return "batch", "because only batches take requests of more than 32 MB"
    tools = [tool for tool in list_tools(spec.params) if is_client_tool(tool)]
    if any(tool.get("name") != spec.output.tool for tool in tools):
        return (
            "sync",
            "because each response can end with a client tool call, and a batch would delay the next turn",
        )
    return None


def choose_send_mode(work: Workload, ways: tuple[Way, ...]) -> tuple[str, str]:
    """Return how to send requests, `batch` or `sync`, and why; no reason if the spec sets the mode."""
    spec = work.spec
    if spec.mode != "auto":
        return spec.mode, ""
    if (forced := find_forced_mode(work)) is not None:
        return forced
    sync, batch = ways[0], chosen_way(work, "batch", ways)
    saving = None if sync.cost is None or batch.cost is None else sync.cost - batch.cost
    is_small = work.requests < _FEW_REQUESTS and (saving is None or saving < _NEGLIGIBLE_DOLLARS)
    if is_small and sync.seconds <= batch.seconds and sync.meets_deadline is not False:
        return (
            "sync",
            (
                f"because {pluralize(work.requests, 'request')} {'takes' if work.requests == 1 else 'take'} about "
                f"{describe_span(sync.seconds)}, and the batch discount is negligible"
            ),
        )
    if spec.deadline is None:
        return "batch", "for half the price, because no deadline requires sooner results"
    return _choose_by_deadline(work, sync, batch)


def _choose_by_deadline(work: Workload, sync: Way, batch: Way) -> tuple[str, str]:
    """Return the cheapest way that meets the deadline or, if none does, the fastest that fits under the cap."""
    if batch.meets_deadline:
        return "batch", f"for half the price, because {_describe_batch_speed(work)}, before the deadline"
    if sync.meets_deadline:
        return "sync", f"because {_describe_batch_speed(work)}, and the deadline is sooner"
    times = {"sync": sync.seconds, "batch": work.late_batch_seconds}
    ways = {"sync": sync, "batch": batch}
    is_paused = {mode: not work.is_affordable(way.name, way.cost) for mode, way in ways.items()}
    fastest = min(times, key=lambda mode: (is_paused[mode], times[mode], ways[mode].cost or 0.0))
    what = "fastest way" if work.spec.limits.max_cost is None else "fastest way that fits under limits.max_cost"
    return fastest, f"because it is the {what}, although it misses the deadline"


def _describe_batch_speed(work: Workload) -> str:
    if work.is_held_back:
        return f"batches take about {describe_span(work.late_batch_seconds)} under `limits.max_cost`"
    if work.speed.measured_batches:
        return f"batches take about {describe_span(work.batch_seconds)} here"
    if work.late_batch_seconds > work.batch_seconds:
        return "a batch can take up to 24 hours"
    return "most batches take up to 1 hour"


def _describe_waves(work: Workload) -> str:
    """Describe why batches are sent one after another; an empty text if all are sent at once."""
    if work.is_held_back:
        waves, total = work.count_waves(work.batch_way), describe_span(work.batch_seconds)
        return f"; `limits.max_cost` holds batches back, so this takes about {waves:,} waves, or {total}"
    if work.queue_waves > 1:
        at_once = f"; the Start tier processes {load_catalogue().enqueued:,} requests at a time"
        return f"{at_once}, so this takes {work.queue_waves} waves"
    return ""


def describe_duration(work: Workload, mode: str) -> str:
    """Describe how long a run will take, and what that is based on."""
    spec, speed = work.spec, work.speed
    if not work.requests:
        return "nothing to send"
    if mode == "sync":
        based = (
            f", as measured on {pluralize(speed.measured_requests, 'request')} here"
            if speed.measured_requests
            else ""
        )
        return f"about {describe_span(work.sync_seconds)}, {spec.sync.concurrency} requests at a time{based}"
    all_or_each = "each" if work.is_held_back else "all"
    text = f"most batches end within 1 hour, {all_or_each} within 24 hours"
    if speed.measured_batches:
        text = (
            f"about {describe_span(work.batch_seconds)}, as measured on "
            f"{pluralize(speed.measured_batches, 'batch')} here; {all_or_each} end within 24 hours"
        )
    text += _describe_waves(work)
    if spec.deadline is not None:
        text += f"; deadline in {describe_span(spec.deadline)}, then `on_deadline: {spec.on_deadline}`"
    return text


def list_accounts(context: RunContext, mode: str, cache: str | None) -> tuple[str, ...]:
    """Return the accounts that a run sends with: the first one, if nothing that it needs is in the others."""
    spec, run = context.spec, context.run
    found = None if context.is_simulated else find_accounts(spec.root, spec.api)
    if found is None:
        return ()
    has_uploads = any(block.upload for block in spec.prompt.blocks())
    is_first_only = mode == "sync" or cache is not None or has_uploads or run.is_pilot
    return tuple(found.variables)[: 1 if is_first_only else None]
