"""What a shell offers for an argument: spec files, run ids and the names of specs."""

from collections.abc import Iterator
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
