"""Completion of words in a shell: spec files, run ids, names of specs, rules, outcomes and conditions."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from runner.errors import RunnerError

_SUFFIXES = (".yaml", ".yml")


def _list_specs(beginning: str) -> Iterator[CompletionItem]:
    """Yield the spec files that begin so, and the folders that may hold some."""
    folder, slash, name = beginning.rpartition("/")
    base = Path(folder + slash or ".")
    for path in sorted(base.iterdir()) if base.is_dir() else ():
        if path.name.startswith(name) and (name.startswith(".") or not path.name.startswith(".")):
            if path.is_dir():
                yield CompletionItem(f"{folder}{slash}{path.name}/")
            elif path.suffix in _SUFFIXES:
                yield CompletionItem(f"{folder}{slash}{path.name}")


def _list_runs(beginning: str) -> Iterator[CompletionItem]:
    """Yield the ids of the runs of this project and the names of their specs, the newest first."""
    from runner.runs.find import find_runs

    try:
        found = find_runs()
    except (RunnerError, OSError):
        return
    helps = {run.summary.run: f"{run.summary.spec}, {run.summary.state}" for run in found}
    helps |= {run.summary.spec: "the newest run of this spec" for run in found}
    yield from (CompletionItem(name, help=text) for name, text in helps.items() if name.startswith(beginning))


class SpecType(click.Path):
    """Path of a spec."""

    def shell_complete(self, _: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Offer spec files and folders."""
        return list(_list_specs(incomplete))


class TargetType(click.ParamType[str]):
    """A run or a spec: a run id, the path of a spec, or its name."""

    name = "text"

    def convert(self, value: Any, _: click.Parameter | None, __: click.Context | None) -> str:
        """Return the text as it is."""
        return str(value)

    def shell_complete(self, _: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Offer run ids, the names of specs, and spec files."""
        return [*_list_runs(incomplete), *_list_specs(incomplete)]


TARGET = TargetType()


def offer_rules(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the ids of rules and other findings."""
    from runner.rules.explain.explain import list_finding_ids

    return [CompletionItem(name) for name in list_finding_ids() if name.startswith(incomplete)]


def offer_outcomes(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the outcomes that rows of a command can have."""
    from runner.lifecycle.maintain.show import PENDING
    from runner.results.outcome_names import OUTCOMES

    names = (*OUTCOMES, PENDING) if context.command.name == "show" else OUTCOMES[1:]
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def _list_tags(written: Iterable[str]) -> list[str]:
    """Return the tags of the specs that a command names, or none if one of them is invalid."""
    from runner.runs.choose_specs import load_specs
    from runner.spec.spec_files import find_spec_files

    try:
        specs = load_specs(find_spec_files(list(written)), vars={})
    except (RunnerError, OSError):
        return []
    return sorted({tag for spec in specs for tag in spec.tags})


def offer_conditions(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the conditions that select specs, after those that a comma ends."""
    from runner.runs.choose_specs import SELECTABLE_STATES

    before, comma, last = incomplete.rpartition(",")
    # Words before an option without its value are not assigned to their parameter.
    tags = _list_tags(context.params.get("specs") or context.args)
    known = [*(f"state:{state}" for state in SELECTABLE_STATES), *(f"tag:{tag}" for tag in tags)]
    return [CompletionItem(f"{before}{comma}{one}") for one in known if one.startswith(last)]
