"""Jobs that are not what a batch, a deadline, a cap or an output is for."""

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePath

from runner.cost import rate_of
from runner.remote import is_url
from runner.rules.case import Case, Mistake
from runner.rules.params import is_client_tool, tools_of
from runner.spec import without_password

_DAY, _HOUR = 86_400, 3_600
_FEW = 5
_FOLDERS = {"prompts": "a template in prompts/", ".runner": "the state in .runner/"}
_PERSONAL_NAME = re.compile(
    r"(^|_|\b)(e_?mail|mail|phone|mobile|ssn|social_security|passport|iban|credit_card|full_?name|birth_?date)s?($|_|\b)",
    re.IGNORECASE,
)
_PERSONAL_VALUES = {
    "an e-mail address": re.compile(r"[^@\s]+@[^@\s]+\.[A-Za-z]{2,}"),
    "a phone number": re.compile(r"\+\d[\d ()-]{7,}\d"),
    "a social security number": re.compile(r"\d{3}-\d{2}-\d{4}"),
    "an IBAN": re.compile(r"[A-Z]{2}\d{2}[A-Z0-9]{11,30}"),
}


def deadline(case: Case) -> Iterator[Mistake]:
    """A deadline that no batch can promise."""
    spec = case.spec
    if case.is_batched and spec.deadline is not None and spec.deadline < _DAY and spec.on_deadline == "wait":
        message = (
            "a batch may take 24 hours (platform.claude.com, batch processing, 2026-08), and `on_deadline: "
            "wait` lets it: use `on_deadline: sync`, or `mode: sync`"
        )
        yield Mistake("deadline", message)


def someone_waits(case: Case) -> Iterator[Mistake]:
    """Work for which somebody sits and waits."""
    if (
        case.is_batched
        and case.spec.mode != "auto"
        and case.spec.deadline is not None
        and case.spec.deadline < _HOUR / 2
    ):
        message = (
            "who cannot wait for half an hour is not served by batches, most of which take up to one: `mode: sync`"
        )
        yield Mistake("deadline", message)


def few_rows(case: Case) -> Iterator[Mistake]:
    """So few rows that the discount is not worth the wait."""
    if case.facts is not None and case.is_batched and case.facts.new and case.facts.rows < _FEW:
        message = (
            f"a batch of {case.facts.rows} rows saves next to nothing and can take a day: `mode: sync` or auto"
        )
        yield Mistake("source", message)


def personal_key(case: Case) -> Iterator[Mistake]:
    """A key that says who somebody is: it stands in every output, in logs and in the state."""
    name = case.spec.source.key
    if name is None:
        return
    what = f"{name!r} by its name" if _PERSONAL_NAME.search(name) else None
    for kind, pattern in _PERSONAL_VALUES.items():
        if what is None and any(pattern.fullmatch(key) for key in case.keys):
            what = f"{name!r} with {kind}"
    if what is not None:
        message = (
            f"the key is personal data ({what}): it stands in every output and message. The API does not see "
            "it; take a neutral id if others do"
        )
        yield Mistake("source.key", message)


def overwritten(case: Case) -> Iterator[Mistake]:
    """Sinks that would write over an input, a template, the spec or the state, or over each other."""
    spec = case.spec
    source = _real(spec.root, spec.source.path)
    root = Path(os.path.realpath(spec.root))
    taken = {
        source: "source.path",
        os.path.realpath(spec.path): "the spec itself",
        str(root): "the project's folder",
    }
    if spec.schema_path is not None:
        taken[_real(spec.root, spec.schema_path)] = "output.schema"
    for index, sink in enumerate(spec.sinks):
        path = without_password(str(sink.options.get("path") or sink.options.get("url")))
        place = path if is_url(path) else _real(spec.root, path)
        if sink.type == "sql":
            # A database has room for many tables.
            place += f" {sink.options['table']}"
        owner = "source.path" if PurePath(place).match(source) else taken.get(place)
        owner = owner or next(
            (name for at, name in _FOLDERS.items() if Path(place).is_relative_to(root / at)), None
        )
        if owner is not None:
            yield Mistake(f"sinks.{index}.path", f"{path} would overwrite {owner}")
        taken[place] = f"sinks.{index}"


def _real(root: Path, path: str) -> str:
    """Where a path leads, links followed."""
    return os.path.realpath(root / path)


def cap_without_price(case: Case) -> Iterator[Mistake]:
    """A cap that cannot be kept, since nobody knows what a request costs."""
    if case.spec.limits.max_cost is not None and rate_of(case.spec) is None:
        message = (
            f"the price of {case.params['model']} is unknown, so no cap can be kept: give `prices`, or remove it"
        )
        yield Mistake("limits.max_cost", message)
    for name in ("speed", "fallbacks"):
        if case.spec.limits.max_cost is not None and case.params.get(name) not in (None, "standard"):
            message = f"with params.{name} requests have other prices than their model's, so no cap can be kept"
            yield Mistake("limits.max_cost", message)


def cap_with_server_tools(case: Case) -> Iterator[Mistake]:
    """A cap that cannot be kept, since a tool may make a prompt as long as it likes."""
    are_bounded = all(is_client_tool(tool) for tool in tools_of(case.params))
    if case.spec.limits.max_cost is not None and not are_bounded:
        message = (
            "what server tools bring into a prompt has no limit, so no cap can be kept: remove it, or the tools"
        )
        yield Mistake("limits.max_cost", message)


def cap_with_unknown_files(case: Case) -> Iterator[Mistake]:
    """A cap that cannot be kept, since nobody here knows how long a document is."""
    unknown = [block for block in case.spec.prompt.blocks() if block.type == "document"]
    if case.spec.limits.max_cost is not None and any(block.given in ("url", "file_id") for block in unknown):
        message = (
            "how long a document by `url` or `file_id` is, only the API knows, so no cap can be kept: remove "
            "it, or give the documents by `path`"
        )
        yield Mistake("limits.max_cost", message)


def cap_below_estimate(case: Case) -> Iterator[Mistake]:
    """A cap that will most likely stop the run."""
    cap, cost = case.spec.limits.max_cost, case.facts.expected_cost if case.facts is not None else None
    if cap is not None and cost is not None and cost > cap:
        message = (
            f"the run is expected to cost ${cost:,.2f}: it will pause with exit code 7 when it reaches the cap"
        )
        yield Mistake("limits.max_cost", message)
