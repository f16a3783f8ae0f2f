"""The option `--jobs`, whose default is a setting of the machine or the project."""

import os
import re
from pathlib import Path
from typing import Any

import click

from runner.errors import UsageError


def _count_jobs(written: str) -> int | None:
    """Return the number of processes that is meant, or None for a mistake."""
    if written == "auto":
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return int(written) if re.fullmatch(r"[1-9][0-9]{0,2}", written) else None


class JobCount(click.ParamType[int]):
    """Option type: a number of processes, or `auto` for one per processor."""

    name = "number of processes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number of processes."""
        if (count := _count_jobs(str(value))) is None:
            self.fail(f"{value!r} is neither a number from 1 to 999 nor auto", param, ctx)
        return count


JOBS_OPTION = click.option(
    "--jobs",
    type=JobCount(),
    metavar="N|auto",
    help="Processes that render rows and read attached files (default: RUNNER_JOBS, `jobs` of runner.toml, or 1).",
)


def choose_jobs(given: int | None, root: Path) -> int:
    """Return the number of `--jobs`, or the one that the settings of a project name."""
    from runner.store.place import read_settings

    if given is not None:
        return given
    if (setting := read_settings(root).get("jobs")) is None:
        return 1
    if (count := _count_jobs(setting.value)) is None:
        raise UsageError(f"{setting.origin} is {setting.value!r}: neither a number from 1 to 999 nor auto")
    return count
