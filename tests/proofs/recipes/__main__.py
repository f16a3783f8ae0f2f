"""Run the recipes with their tools: `python -m tests.proofs.recipes [--folder FOLDER] [NAME…]`.

Makes a virtual environment for each tool, which needs a package index, and runs its recipe against the simulator.
With `--folder`, environments are kept there, and used again. Prints a table of versions and results.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.proofs.recipes import cases, docker
from tests.proofs.recipes.environments import Environment, build_wheel, make_environment


class Tool(NamedTuple):
    """A tool: what pip installs, and what is done with it. The first package is the one whose version counts."""

    packages: tuple[str, ...]
    prove: Callable[[Environment, Environment, Path], str]
    imports_runner: bool = False


TOOLS = {
    "airflow": Tool(("apache-airflow>=3.2,<4",), cases.run_airflow),
    "dagster": Tool(("dagster>=1.10,<2",), cases.run_dagster, imports_runner=True),
    "prefect": Tool(("prefect>=3,<4",), cases.run_prefect, imports_runner=True),
    # Newer ones download a parser from outside of the index.
    "dbt": Tool(("dbt-core>=1.9,<1.12", "dbt-postgres>=1.9,<2"), cases.run_dbt),
    "pre-commit": Tool(("pre-commit>=4,<5",), cases.run_pre_commit),
    "docker": Tool(("pip>=24",), docker.run_docker),  # like the image of Python that is built upon
}


def prove(name: str, environments: Path, wheel: Path, runner: Environment) -> str:
    """The row of a tool in the table."""
    tool = TOOLS[name]
    packages = [*tool.packages, *([f"{wheel}[data,sql,xlsx]"] if tool.imports_runner else [])]
    start = time.monotonic()
    environment = make_environment(environments / name, *packages)
    package = packages[0].partition(">")[0]
    version = environment.version(package)
    with tempfile.TemporaryDirectory(prefix=f"recipe-{name}-") as folder:
        result = tool.prove(environment, runner, Path(folder).resolve())
    return f"| {name} | {package} {version} | {result} | {time.monotonic() - start:.0f} s |"


def main() -> None:
    """Prove the tools that are named, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.proofs.recipes")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(TOOLS))
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="recipes-") as temporary:
        environments = (given.folder or Path(temporary)).resolve()
        environments.mkdir(parents=True, exist_ok=True)
        wheel = build_wheel(Path(temporary))
        runner = make_environment(environments / "runner", f"{wheel}[sql]")
        print("| tool | version | result | time |\n|---|---|---|---|")
        for name in given.names or TOOLS:
            print(prove(name, environments, wheel, runner), flush=True)


if __name__ == "__main__":
    main()
