"""The option `--jobs`, whose default is a setting of the machine or the project."""

from pathlib import Path
from typing import Any

import click


class Jobs(click.ParamType[int | str]):
    """Option type: a number of processes, `auto`, or the URL of a Dask cluster."""

    name = "number of processes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        """Return the number of processes, `auto`, or the URL."""
        from runner.store.settings import JOBS_RULE, parse_jobs

        if (jobs := parse_jobs(str(value))) is None:
            self.fail(f"{value!r} {JOBS_RULE}", param, ctx)
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
    from runner.store.settings import read_jobs, read_settings

    if given is not None:
        return given
    setting = read_settings(root).get("jobs")
    return 1 if setting is None else read_jobs(setting)
