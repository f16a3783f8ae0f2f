"""The types of columns follow the references of an output schema."""

from typing import Any

import pytest

from runner.tabular.column_types import column_kind, resolve_refs

ROOT: dict[str, Any] = {
    "$defs": {"a/b": {"type": "integer"}, "n": {"$anchor": "day", "type": "string", "format": "date"}},
    "prefixItems": [{"type": "boolean"}],
}


@pytest.mark.parametrize(
    ("reference", "kind"),
    [
        ("#/$defs/a~1b", "integer"),
        ("#/$defs/a%2Fb", "integer"),
        ("#day", "date"),
        ("#/prefixItems/0", "boolean"),
        ("#/$defs/nothing", "json"),
        ("other.json", "json"),
    ],
)
def test_type_behind_a_reference_is_found(reference: str, kind: str) -> None:
    assert column_kind(resolve_refs({"$ref": reference}, ROOT)) == kind
