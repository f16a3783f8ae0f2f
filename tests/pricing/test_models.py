"""The list of models and their prices."""

from pathlib import Path

import pytest

from runner import load_spec
from runner.pricing.models import find_model, load_catalogue
from runner.pricing.rates import rate_for_spec
from tests.support.projects import write_job


def test_unknown_model_has_no_price(tmp_path: Path) -> None:
    params = {"model": "claude-of-tomorrow", "max_tokens": 9}
    assert rate_for_spec(load_spec(write_job(tmp_path, params=params))) is None


def test_every_model_has_a_source_and_consistent_prices() -> None:
    for model in load_catalogue().models:
        assert model.source
        for price in (model.price, model.above.price if model.above else None):
            if price is None:
                continue
            assert price.write_5m == pytest.approx(1.25 * price.input)
            assert price.write_1h == pytest.approx(2 * price.input)
            assert price.read <= price.input / 10
    assert find_model("claude-sonnet-4-5") == find_model("claude-sonnet-4-5-20250929")
