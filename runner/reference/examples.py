"""One example of YAML for each key of a spec, from `examples.yaml`."""

from importlib.resources import files
from typing import Any

from runner.spec.yaml.document import parse_yaml


def load_examples() -> dict[str, str]:
    """Return the examples by key, as YAML texts."""
    data = files("runner.reference").joinpath("examples.yaml").read_bytes()
    examples: dict[str, str] = parse_yaml(data, path="examples.yaml").value
    return examples


def parse_example(text: str) -> dict[str, Any]:
    """Return the values of an example."""
    value: dict[str, Any] = parse_yaml(text.encode(), path="examples.yaml").value
    return value
