"""Attributes of spans and metrics: those of the conventions for generative AI, and `runner.*` for all else.

Names of the conventions are those of opentelemetry.io, semconv/gen-ai, 2026-11, which has none for batches.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from runner.results.usage import Usage
from runner.spec.spec import Spec
from runner.store.records import Batch, Run
from runner.store.run_batches import decode_column
from runner.telemetry.trace import RunFigures

Attributes = Mapping[str, str | bool | int | float]


def _known(attributes: Mapping[str, Any]) -> Attributes:
    """Return attributes without those that are not known."""
    return {name: value for name, value in attributes.items() if value is not None}


def describe_spec(spec: Spec, *, is_simulated: bool) -> Attributes:
    """Return what spans and metrics of a spec have in common."""
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": str(spec.params["model"]),
        "runner.spec": spec.name,
        "runner.simulated": is_simulated,
        **{f"runner.label.{name}": value for name, value in spec.labels.items()},
    }


def describe_run(run: Run) -> Attributes:
    """Return what is known of a run before it is followed. Its tokens are those of its batches."""
    return {
        "gen_ai.operation.name": "invoke_workflow",
        "gen_ai.workflow.name": run.spec,
        "runner.run.id": run.id,
        "runner.run.mode": run.mode,
        "runner.run.pilot": run.is_pilot,
    }


def describe_figures(figures: RunFigures) -> Attributes:
    """Return how far a run is, with all that earlier processes did of it."""
    outcomes = {f"runner.outcomes.{name}": count for name, count in figures.outcomes.items()}
    costs = {"runner.cost.actual": figures.cost["actual"], "runner.cost.estimated": figures.cost["estimated"]}
    return _known({"runner.run.state": figures.state, "runner.run.rows": figures.rows, **outcomes, **costs})


def _iso(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def describe_batch(batch: Batch) -> Attributes:
    """Return what is known of a batch; its times are those of the API, whoever has seen them."""
    counts = decode_column(batch.counts, dict[str, int])
    return _known(
        {
            "runner.batch.round": batch.round,
            "runner.batch.number": batch.batch,
            "runner.batch.id": batch.batch_id,
            "runner.batch.mode": batch.send_mode,
            "runner.batch.account": batch.account,
            "runner.batch.requests": batch.requests,
            "runner.batch.state": batch.state,
            "runner.batch.created_at": _iso(batch.created_at),
            "runner.batch.ended_at": _iso(batch.ended_at),
            "runner.cost.actual": batch.cost,
            **{f"runner.batch.counts.{name}": count for name, count in counts.items()},
        }
    )


def list_tokens(batch: Batch) -> dict[str, int]:
    """Return the tokens of a collected batch by the conventions, whose input includes what a cache holds."""
    usage = decode_column(batch.usage, Usage)
    written, read = int(usage.cache_creation_input_tokens or 0), int(usage.cache_read_input_tokens or 0)
    return {
        "input": int(usage.input_tokens or 0) + written + read,
        "output": int(usage.output_tokens or 0),
        "cache_creation.input": written,
        "cache_read.input": read,
    }


def describe_call(name: str, url: str, batch_id: str | None) -> Attributes:
    """Return what is known of an API call before it is made."""
    parts = urlsplit(url)
    return _known(
        {
            "gen_ai.operation.name": "chat" if name == "messages.create" else None,
            "gen_ai.provider.name": "anthropic",
            "server.address": parts.hostname,
            "server.port": parts.port or (80 if parts.scheme == "http" else 443),
            "runner.batch.id": batch_id,
        }
    )
