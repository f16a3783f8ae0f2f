"""The list of models and their prices."""

import re
from pathlib import Path
from time import strftime, strptime
from typing import get_args

import pytest
from anthropic._data import DEPRECATED_MODELS
from anthropic.types.model import Model as ModelParam

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


def test_every_model_of_the_sdk_is_listed_and_not_retired() -> None:
    names = [name for part in get_args(ModelParam) for name in get_args(part)]
    found = {name: find_model(name) for name in names}
    assert len(names) > 20
    assert [name for name, model in found.items() if model is None or model.retired] == []
    assert not {name for model in load_catalogue().models if model.retired for name in model.ids} & set(names)


def test_models_end_on_the_days_that_the_sdk_names() -> None:
    ends = {
        name: strftime("%Y-%m-%d", strptime(re.sub(r"(\d)[a-z]+", r"\1", day), "%B %d, %Y"))
        for name, day in DEPRECATED_MODELS.items()
    }
    listed = {name: model.retires for model in load_catalogue().models if model.retires for name in model.ids}
    assert listed == ends


def test_no_id_belongs_to_two_models() -> None:
    ids = [name for model in load_catalogue().models for name in model.ids]
    assert len(ids) == len(set(ids))
