"""Find out why the result of a row differs between two runs."""

from pathlib import Path
from typing import Any, NamedTuple

from runner.requests.params import build_params_without_prompt
from runner.runs.snapshot import SpecSnapshot
from runner.spec.record import spec_from_record

CAUSES = ("data", "prompt", "model", "params", "schema", "file", "output", "again")
"""Causes of a difference, of which a row can have several.

`data`: its fields differ. `prompt`, `model`, `params`, `schema`: that part of all requests has changed. `file`: a
file that it attaches. `output`: the request is the same, and is judged by other rules. `again`: the same request
got another answer, or nothing is known to have changed.
"""


class ChangedParts(NamedTuple):
    """The parts of all requests that differ between two runs.

    `is_judged_differently` is true if the rules for answers differ, and `attaches_files` if requests attach files.
    """

    sent: tuple[str, ...] = ()
    is_judged_differently: bool = False
    attaches_files: bool = False


def find_changed_parts(old: SpecSnapshot, new: SpecSnapshot) -> ChangedParts:
    """Compare what two runs were started with."""
    before, after = old.record, new.record
    tests = {
        "prompt": old.templates != new.templates or _differ(before, after, "prompt", "vars"),
        "model": before["params"].get("model") != after["params"].get("model"),
        "params": _without_model(before) != _without_model(after) or _differ(before, after, "betas"),
        # The other schema with the same params: it counts only as far as it is sent.
        "schema": _sent_params({**before, "params": after["params"]}) != _sent_params(after),
    }
    sent = tuple(name for name, has_changed in tests.items() if has_changed)
    blocks = spec_from_record(after, path=Path(), root=Path()).prompt.blocks()
    attaches_files = any(block.type != "text" for block in blocks)
    return ChangedParts(sent, _differ(before, after, "output", "output_schema"), attaches_files)


def _differ(old: dict[str, Any], new: dict[str, Any], *names: str) -> bool:
    return any(old.get(name) != new.get(name) for name in names)


def _without_model(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record["params"].items() if name != "model"}


def _sent_params(record: dict[str, Any]) -> dict[str, Any]:
    return build_params_without_prompt(spec_from_record(record, path=Path(), root=Path()))


def find_causes(parts: ChangedParts, *, is_same_row: bool, is_same_request: bool | None) -> tuple[str, ...]:
    """Return the causes of a difference; `is_same_request` is None if a request is not known."""
    if is_same_request:
        return ("output",) if parts.is_judged_differently else ("again",)
    causes = (*(() if is_same_row else ("data",)), *parts.sent)
    if causes:
        return causes
    if is_same_request is False and parts.attaches_files:
        return ("file",)
    # Another version of the runner may write the same request in other bytes.
    return ("output",) if parts.is_judged_differently else ("again",)
