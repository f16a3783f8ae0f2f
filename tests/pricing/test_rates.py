"""Bills computed by hand from the published prices, and the maximum cost of a request."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from runner import load_spec
from runner.pricing.rates import Rate, format_cap, rate_for_spec, round_up_cost
from runner.results.usage import Usage, parse_usage
from tests.support.projects import write_job


def rate(root: Path, model: str, **changes: Any) -> Rate:
    params = {"model": model, "max_tokens": 100, **changes.pop("params", {})}
    found = rate_for_spec(load_spec(write_job(root, params=params, **changes)))
    assert found is not None
    return found


def batch_cost(prices: Rate, usage: Usage) -> float:
    return prices.apply_batch_discount(prices.synchronous_cost(usage), usage)


def written(long: int, short: int) -> dict[str, Any]:
    return {
        "cache_creation_input_tokens": long + short,
        "cache_creation": {"ephemeral_1h_input_tokens": long, "ephemeral_5m_input_tokens": short},
    }


# model, usage, US dollars in a batch, US dollars synchronously: each term is tokens x price per million.
BILLS = [
    # 1,000,000 x 0.10 + 200,000 x 0.50, though 1,000,000 is above the tier: so 0.50 and 2.50
    ("claude-haiku-5-5", {"input_tokens": 1_000_000, "output_tokens": 200_000}, 0.50, 1.00),
    # 100,000 is not above it: 0.01 + 1,000 x 0.50 = 0.0105
    ("claude-haiku-5-5", {"input_tokens": 100_000, "output_tokens": 1_000}, 0.00525, 0.0105),
    # 100,001 is: 0.0500005 + 0.0025
    ("claude-haiku-5-5", {"input_tokens": 100_001, "output_tokens": 1_000}, 0.02625025, 0.0525005),
    # All cached, 100,000 is not above it either: 100,000 x 0.01
    (
        "claude-haiku-5-5",
        {"input_tokens": 0, "cache_read_input_tokens": 100_000, "output_tokens": 0},
        0.0005,
        0.001,
    ),
    # The whole prompt counts: 1,000 x 0.50 + 90,000 x 0.05 + 9,001 x 0.625, + 10 x 2.50
    (
        "claude-haiku-5-5",
        {"input_tokens": 1_000, "cache_read_input_tokens": 90_000, "output_tokens": 10, **written(0, 9_001)},
        0.005325313,
        0.010650625,
    ),
    # 50 x 0.10 + 4,096 x 0.20 + 20 x 0.50, all x 1.1
    (
        "claude-haiku-5-5",
        {"input_tokens": 50, "output_tokens": 20, "inference_geo": "us", **written(4_096, 0)},
        0.00045881,
        0.00091762,
    ),
    # 10,000 x 2 + 2,000 x 10
    ("claude-sonnet-5-5", {"input_tokens": 10_000, "output_tokens": 2_000}, 0.02, 0.04),
    # 500 x 2 + 8,000 x 0.10 (the read price since October) + 100 x 10
    (
        "claude-sonnet-5-5",
        {"input_tokens": 500, "cache_read_input_tokens": 8_000, "output_tokens": 100},
        0.0014,
        0.0028,
    ),
    # 100 x 4 + 2,000 x 5 + 3,000 x 8 + 50 x 20
    ("claude-opus-5-5", {"input_tokens": 100, "output_tokens": 50, **written(3_000, 2_000)}, 0.0177, 0.0354),
    # Three searches at a cent each are not discounted: (1,000 x 5 + 100 x 25) = 0.0075
    (
        "claude-opus-5",
        {"input_tokens": 1_000, "output_tokens": 100, "server_tool_use": {"web_search_requests": 3}},
        0.03375,
        0.0375,
    ),
    # The dated id is the same model: 1,000 x 1 + 1,000 x 5
    ("claude-haiku-4-5-20251001", {"input_tokens": 1_000, "output_tokens": 1_000}, 0.003, 0.006),
    # Without a breakdown what was written lives five minutes: 10 x 3 + 1,000 x 3.75 + 5 x 15
    (
        "claude-sonnet-4-6",
        {"input_tokens": 10, "cache_creation_input_tokens": 1_000, "output_tokens": 5},
        0.0019275,
        0.003855,
    ),
    # 100 x 8 + 20,000 x 0.20 + 1,000 x 40
    (
        "claude-fable-5-2",
        {"input_tokens": 100, "cache_read_input_tokens": 20_000, "output_tokens": 1_000},
        0.0224,
        0.0448,
    ),
    # Stays in the US, with a search: (1,000 x 3 + 1,000 x 15) x 1.1 = 0.0198, and a cent
    (
        "claude-sonnet-4-6",
        {
            "input_tokens": 1_000,
            "output_tokens": 1_000,
            "inference_geo": "us",
            "server_tool_use": {"web_search_requests": 1},
        },
        0.0199,
        0.0298,
    ),
    ("claude-mythos-5-1", {"input_tokens": 0, "output_tokens": 0}, 0.0, 0.0),
]


@pytest.mark.parametrize(("model", "usage", "batched", "synchronous"), BILLS)
def test_bill_follows_the_price_list(
    tmp_path: Path, model: str, usage: dict[str, Any], batched: float, synchronous: float
) -> None:
    found = parse_usage(msgspec.Raw(msgspec.json.encode(usage)))
    prices = rate(tmp_path, model)
    assert batch_cost(prices, found) == pytest.approx(batched, abs=5e-10)
    assert prices.synchronous_cost(found) == pytest.approx(synchronous, abs=5e-10)


def test_own_prices_override_published_prices_and_tiers(tmp_path: Path) -> None:
    own = {"input": 0.08, "output": 0.4}
    usage = parse_usage(msgspec.Raw(b'{"input_tokens": 500000, "output_tokens": 100000}'))
    assert rate(tmp_path, "claude-haiku-5-5", prices=own).synchronous_cost(usage) == pytest.approx(0.08)
    assert batch_cost(rate(tmp_path, "claude-of-tomorrow", prices=own), usage) == pytest.approx(0.04)


@pytest.mark.parametrize("cache", [None, "5m", "1h"])
def test_answer_never_costs_more_than_the_max_cost(tmp_path: Path, cache: str | None) -> None:
    prompt = {"system": "Label it.", "user": "{{ text }}", **({"cache": cache} if cache else {})}
    prices = rate(tmp_path, "claude-haiku-5-5", prompt=prompt)
    for size in (10, 5_000, 99_000, 200_000):
        uncached = {"input_tokens": size, "output_tokens": 100}
        long, short = (size, 0) if cache == "1h" else (0, size)
        cached = {"input_tokens": 0, "output_tokens": 100, **written(long, short)}
        for usage in (uncached, cached) if cache else (uncached,):
            found = parse_usage(msgspec.Raw(msgspec.json.encode(usage)))
            assert batch_cost(prices, found) <= prices.cost_upper_bound([size], is_batched=True)
            assert prices.synchronous_cost(found) <= prices.cost_upper_bound([size], is_batched=False)


def test_amount_is_never_rounded_down() -> None:
    assert [round_up_cost(dollars) for dollars in (0.0, 0.00001, 0.1234, 2.00005)] == [0.0, 0.0001, 0.1234, 2.0001]


def test_max_cost_is_the_sum_over_requests(tmp_path: Path) -> None:
    prices = rate(tmp_path, "claude-haiku-5-5")
    assert prices.long_context is not None
    weights = [number * 37 % (2 * prices.long_context.tokens) for number in range(25_000)]
    each = sum(prices.cost_upper_bound([weight], is_batched=True) for weight in weights)
    assert prices.cost_upper_bound(iter(weights), is_batched=True) == pytest.approx(each, rel=1e-12)
    assert prices.cost_upper_bound([], is_batched=False) == 0
    below, beyond = (prices.long_context.tokens - prices.hidden_tokens + more for more in (0, 1))
    assert prices.cost_upper_bound([beyond], is_batched=False) > 1.5 * prices.cost_upper_bound(
        [below], is_batched=False
    )


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (1e-06, "$0.000001"),
        (5.0, "$5"),
        (0.012, "$0.012"),
        (25, "$25"),
        (100.0, "$100"),
        (1234567.5, "$1,234,567.5"),
    ],
)
def test_cap_is_shown_with_all_its_decimals(amount: float, shown: str) -> None:
    assert format_cap(amount) == shown
