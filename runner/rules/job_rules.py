"""Rules about deadlines, batch sizes, keys, sinks and cost caps."""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath

from runner.errors import InputError
from runner.files.remote import is_url
from runner.pricing.rates import format_dollars, rate_for_spec
from runner.rules.finding import RuleContext, Violation
from runner.rules.param_rules import is_client_tool, list_tools
from runner.spec.redact import redact_passwords
from runner.spec.spec import Spec
from runner.templates.expressions import parse_filtered_path
from runner.templates.load import load_templates
from runner.text import pluralize

_DAY, _HOUR = 86_400, 3_600


_FEW_ROWS = 5


_RESERVED_FOLDERS = {"prompts": "a template in prompts/", ".runner": "the state in .runner/"}


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


def deadline(case: RuleContext) -> Iterator[Violation]:
    """Report a deadline under 24 hours that a batch may miss because of `on_deadline: wait`."""
    spec = case.spec
    if case.is_batched and spec.deadline is not None and spec.deadline < _DAY and spec.on_deadline == "wait":
        message = (
            "a batch may take 24 hours (platform.claude.com, batch processing, 2026-08), and `on_deadline: "
            "wait` lets it miss the deadline: set `on_deadline: sync` or `mode: sync`"
        )
        yield Violation("deadline", message)


def interactive_deadline(case: RuleContext) -> Iterator[Violation]:
    """Report a deadline that is too short for batches."""
    if (
        case.is_batched
        and case.spec.mode != "auto"
        and case.spec.deadline is not None
        and case.spec.deadline < _HOUR / 2
    ):
        message = "a deadline under 30 minutes is too short: most batches take up to 1 hour; set `mode: sync`"
        yield Violation("deadline", message)


def deadline_missed(case: RuleContext) -> Iterator[Violation]:
    """Report a deadline that the run is expected to miss, as an error if the deadline is hard."""
    if case.facts is not None and case.facts.missed_deadline is not None:
        yield Violation("deadline", case.facts.missed_deadline, "error" if case.spec.is_deadline_hard else None)


def few_rows(case: RuleContext) -> Iterator[Violation]:
    """Report a batch of so few rows that the discount is not worth the wait."""
    rows = None if case.facts is None or not case.facts.new else case.facts.rows
    if rows is not None and case.is_batched and rows < _FEW_ROWS:
        message = (
            f"a batch of {pluralize(rows, 'row')} saves almost nothing and can take a day: set "
            "`mode: sync` or `auto`"
        )
        yield Violation("source", message)


def constant_prompt(case: RuleContext) -> Iterator[Violation]:
    """Report a prompt that uses nothing of its row: all rows would be one request."""
    try:
        templates = load_templates(case.spec)
    except InputError:
        return  # Its own mistakes are reported where the templates are checked.
    if not templates.use_row():
        message = (
            "the prompt uses nothing of its row, so all rows are the same request: name a column, such as "
            "{{ row.text }}, or add `# runner: allow constant-prompt`"
        )
        yield Violation("prompt", message)


def label_in_prompt(case: RuleContext) -> Iterator[Violation]:
    """Report a prompt that uses the label with which its answer is compared."""
    paths = {
        f"evaluate.{index}.expected": path
        for index, one in enumerate(case.spec.evaluate)
        if (path := parse_filtered_path(one.expected)) is not None and path[0] == "row" and len(path) > 1
    }
    try:
        templates = load_templates(case.spec)
    except InputError:
        return  # Its own mistakes are reported where the templates are checked.
    for setting, (_, *path) in paths.items():
        if (found := templates.find_reader(path)) is not None:
            place = templates.problem(*found, "")
            label = ".".join(map(str, path))
            where = f"{place.path}:{place.line}" if place.line else "the prompt"
            message = f"{where} uses {label}, the right answer, so the model sees it: remove it from the prompt"
            yield Violation(setting, message)


def key_is_personal_data(case: RuleContext) -> Iterator[Violation]:
    """Report a key that identifies a person: it is in every output, in logs and in the state."""
    name = case.spec.source.key
    if name is None:
        return
    what = f"{name!r}, by its name" if _PERSONAL_NAME.search(name) else None
    for kind, pattern in _PERSONAL_VALUES.items():
        if what is None and any(pattern.fullmatch(key) for key in case.keys):
            what = f"{name!r} contains {kind}"
    if what is not None:
        message = (
            f"the key looks like personal data ({what}): it appears in every output and message. The API does "
            "not see it; use a neutral id if other people do"
        )
        yield Violation("source.key", message)


def sink_overwrites_input(case: RuleContext) -> Iterator[Violation]:
    """Report outputs that would overwrite an input, a template, the spec, the state or each other."""
    spec = case.spec
    source = _resolve_path(spec.root, spec.source.path)
    root = Path(os.path.realpath(spec.root))
    owners = {
        source: "source.path",
        os.path.realpath(spec.path): "the spec itself",
        str(root): "the project's folder",
    }
    if spec.schema_path is not None:
        owners[_resolve_path(spec.root, spec.schema_path)] = "output.schema"
    for setting, path, target in _list_targets(spec):
        owner = "source.path" if PurePath(target).match(source) else owners.get(target)
        owner = owner or next(
            (name for at, name in _RESERVED_FOLDERS.items() if Path(target).is_relative_to(root / at)), None
        )
        # A manifest or report in the place of a sink is found where places are checked.
        is_found = not setting.startswith("sinks.") and str(owner).startswith("sinks.")
        if owner is not None and not is_found:
            yield Violation(setting, f"{path} would overwrite {owner}")
        owners[target] = setting.removesuffix(".path")
    yield from _find_replaced(spec, owners)


def _find_replaced(spec: Spec, owners: Mapping[str, str]) -> Iterator[Violation]:
    """Yield folders of parts that hold an input or another output: such a folder is replaced as a whole."""
    for index, sink in enumerate(spec.sinks):
        if not sink.has_parts:
            continue
        path = str(sink.options["path"])
        folder = PurePath(_resolve_path(spec.root, path))
        part = folder / f"part-00000.{sink.type}"
        held = (owner for place, owner in owners.items() if folder in PurePath(place).parents or part.match(place))
        if (owner := next(held, None)) is not None:
            yield Violation(f"sinks.{index}.path", f"{path} is a folder of parts, and would replace {owner} in it")


def _list_targets(spec: Spec) -> Iterator[tuple[str, str, str]]:
    """Yield (setting, path as written, absolute path) of each file that a run writes."""
    for index, sink in enumerate(spec.sinks):
        path = redact_passwords(str(sink.options.get("path") or sink.options.get("url")))
        target = _resolve_path(spec.root, path)
        # Two sinks may share a database if their tables differ.
        yield f"sinks.{index}.path", path, f"{target} {sink.options['table']}" if sink.type == "sql" else target
    for setting, file in (("manifest", spec.manifest), ("report", spec.report)):
        if file is not None and spec.is_sound(setting) and not is_url(file):
            yield setting, file, _resolve_path(spec.root, file)


def _resolve_path(root: Path, path: str) -> str:
    """Return the absolute path, with all links resolved; a URL is unchanged."""
    return path if is_url(path) else os.path.realpath(root / path)


def cap_without_price(case: RuleContext) -> Iterator[Violation]:
    """Report a cap that cannot be enforced because the price of a request is unknown."""
    if case.spec.limits.max_cost is not None and rate_for_spec(case.spec) is None:
        message = (
            f"the price of {case.params['model']} is unknown, so a cap cannot be enforced: set `prices`, or "
            "remove the cap"
        )
        yield Violation("limits.max_cost", message)
    for name in ("speed", "fallbacks"):
        if case.spec.limits.max_cost is not None and case.params.get(name) not in (None, "standard"):
            message = (
                f"params.{name} changes the price of requests, so a cap cannot be enforced: remove it, or the cap"
            )
            yield Violation("limits.max_cost", message)


def cap_with_server_tools(case: RuleContext) -> Iterator[Violation]:
    """Report a cap that cannot be enforced because a server tool can make a prompt arbitrarily long."""
    are_bounded = all(is_client_tool(tool) for tool in list_tools(case.params))
    if case.spec.limits.max_cost is not None and not are_bounded:
        message = (
            "server tools can make a prompt arbitrarily long, so a cap cannot be enforced: remove the cap or the "
            "tools"
        )
        yield Violation("limits.max_cost", message)


def cap_with_unknown_files(case: RuleContext) -> Iterator[Violation]:
    """Report a cap that cannot be enforced because the length of a document is unknown."""
    unknown = [block for block in case.spec.prompt.blocks() if block.type == "document"]
    if case.spec.limits.max_cost is not None and any(block.given in ("url", "file_id") for block in unknown):
        message = (
            "the length of a document given by `url` or `file_id` is unknown, so a cap cannot be enforced: remove "
            "the cap, or give the documents by `path`"
        )
        yield Violation("limits.max_cost", message)


def cap_below_estimate(case: RuleContext) -> Iterator[Violation]:
    """Report a cap that will most likely stop the run."""
    cap, cost = case.spec.limits.max_cost, case.facts.expected_cost if case.facts is not None else None
    budget = cap if case.facts is None or case.facts.budget is None else case.facts.budget
    if cap is not None and cost is not None and budget is not None and cost > budget:
        shown = f"${cost:,.2f}" if cost >= 1 else format_dollars(cost)
        left = "" if budget == cap else f", and {format_dollars(max(budget, 0.0))} is left of the cap"
        message = (
            f"the expected cost is {shown}{left}: the run will pause with exit code 7 when it reaches the cap"
        )
        yield Violation("limits.max_cost", message)
