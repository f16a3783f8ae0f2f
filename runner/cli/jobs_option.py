"""The option `--jobs`, whose default is a setting of the machine or the project."""

import re
from pathlib import Path
from typing import Any

import click

from runner.errors import UsageError

_MISTAKE = "neither a number from 1 to 999 nor auto nor dask://HOST:PORT"


def _parse_jobs(written: str) -> int | str | None:
    """Return the number of processes that is meant, `auto`, or the URL of a cluster; None for a mistake."""
    if re.fullmatch(r"auto|dask://[^/@\s]+:[0-9]{1,5}", written):
        return written
    return int(written) if re.fullmatch(r"[1-9][0-9]{0,2}", written) else None


class Jobs(click.ParamType[int | str]):
    """Option type: a number of processes, `auto`, or the URL of a Dask cluster."""

    name = "number of processes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        """Return the number of processes, `auto`, or the URL."""
        if (jobs := _parse_jobs(str(value))) is None:
            self.fail(f"{value!r} is {_MISTAKE}", param, ctx)
        return jobs


JOBS_OPTION = click.option(
    "--jobs",
    type=Jobs(),
    metavar="N|auto|dask://HOST:PORT",
    help=(
        "Processes, or a Dask cluster, for the work on rows, files and answers (default: RUNNER_JOBS, `jobs` of "
        "runner.toml, or 1)."
    ),
)


def choose_jobs(given: int | str | None, root: Path) -> int | str:
    """Return what `--jobs` says, or what the settings of a project say."""
    from runner.store.place import read_settings

    if given is not None:
        return given
    if (setting := read_settings(root).get("jobs")) is None:
        return 1
    if (jobs := _parse_jobs(setting.value)) is None:
        raise UsageError(f"{setting.origin} is {setting.value!r}: {_MISTAKE}")
    return jobs
