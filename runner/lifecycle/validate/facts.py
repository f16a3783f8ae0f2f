"""Estimate the facts that rules need about a run without a plan: its rows, its prompts and its cost."""

from collections.abc import Sequence
from dataclasses import dataclass

from runner.errors import InputError
from runner.lifecycle.validate.sample import Sample
from runner.pricing.models import find_model, load_catalogue
from runner.pricing.rates import rate_for_spec
from runner.requests.encode import EncodedRequest
from runner.requests.shared_prefix import measure_shared_prefix
from runner.rules.finding import PlanFacts
from runner.runs.project import find_state
from runner.spec.spec import Spec
from runner.templates.templates import Templates

_BYTES_PER_TOKEN, _OUTPUT_SHARE = 3.1, 0.25


@dataclass(frozen=True, slots=True)
class _Prompts:
    """The estimated tokens of some prompts."""

    longest: float
    mean: float


def estimate_facts(
    spec: Spec, sample: Sample, templates: Templates, requests: Sequence[EncodedRequest]
) -> PlanFacts | None:
    """Return the facts about a run of a spec, estimated from the requests of its first rows; None without any."""
    sizes = [len(one.params.sent) + one.size_adjustment for one in requests if one.problem is None]
    if not sizes:
        return None
    model = find_model(str(spec.params["model"]))
    ratio = 1 / (model.bytes_per_token if model is not None else _BYTES_PER_TOKEN)
    prompts = _Prompts(max(sizes) * ratio, sum(sizes) / len(sizes) * ratio)
    rows = len(sample.rows) if sample.count is None else sample.count
    return PlanFacts(
        mode=spec.mode,
        rows=None if sample.is_cut_short else rows,
        new=rows,
        prompt_tokens=prompts.longest,
        prefix_tokens=_measure_prefix(templates) * ratio,
        expected_cost=_estimate_cost(spec, sample.count, prompts.mean),
        is_counted=False,
    )


def _measure_prefix(templates: Templates) -> int:
    try:
        return measure_shared_prefix(templates).bytes
    except InputError:
        return 0


def _estimate_cost(spec: Spec, count: int | None, prompt: float) -> float | None:
    """Return the expected cost of a first run of all rows, or None if it cannot be known."""
    rate = rate_for_spec(spec)
    has_earlier_answers = spec.reuse and find_state(spec.root).exists
    if rate is None or count is None or has_earlier_answers or spec.mode == "auto":
        return None
    one = rate.expected_cost(prompt, spec.params["max_tokens"] * _OUTPUT_SHARE)
    return count * one * (load_catalogue().batch if spec.mode == "batch" else 1.0)
