"""The recipe for Docker, where there may be no Docker: its instructions, carried out in a folder."""

import os
import re
import shutil
from pathlib import Path

from tests.proofs.recipes.cases import RECIPES, write_project
from tests.proofs.recipes.environments import Environment, run
from tests.support import ROOT

DOCKERFILE = (RECIPES / "docker" / "Dockerfile").read_text("utf-8")
READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,bind,ro / && exec "$@"'
"""A script for a mount namespace: it makes all but a folder read-only, and starts a command."""


def copy_context(folder: Path) -> Path:
    """The committed files that `.dockerignore` lets in."""
    ignored = (RECIPES / "docker" / "Dockerfile.dockerignore").read_text("utf-8").splitlines()
    wanted = {line[1:] for line in ignored if line.startswith("!")}
    for name in run(["git", "ls-files"], cwd=ROOT).splitlines():
        if Path(name).parts[0] in wanted:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


def build(tool: Environment, folder: Path) -> Path:
    """Carry out the instruction RUN with the Python of an environment; return the folder of the programs."""
    [command] = re.findall(r"^RUN (.*?[^\\])$", DOCKERFILE, re.MULTILINE | re.DOTALL)
    [extras] = re.findall(r"^ARG EXTRAS=(.*)$", DOCKERFILE, re.MULTILINE)
    for place in ("/wheels", "/opt/runner"):
        command = command.replace(place, f"{folder}{place}")
    environ = {**os.environ, "PATH": f"{tool.folder}/bin:{os.environ['PATH']}", "EXTRAS": extras}
    run(["sh", "-ec", command], cwd=copy_context(folder / "source"), environ=environ)
    return folder / "opt" / "runner" / "bin"


def run_docker(tool: Environment, runner: Environment, folder: Path) -> str:
    """Build, and run the program of the image as its user, where only the project can be written."""
    programs = build(tool, folder)
    assert not list(programs.glob("pip*"))
    [(user, group)] = re.findall(r"^USER (\d+):(\d+)$", DOCKERFILE, re.MULTILINE)
    job = folder / "job"
    (job / "tmp").mkdir(parents=True)
    write_project(runner, job)
    folder.chmod(0o755)
    for path in (job, *job.rglob("*")):
        os.chown(path, int(user), int(group))
    environ = {"PATH": f"{programs}:{os.defpath}", "TMPDIR": str(job / "tmp"), "PYTHONDONTWRITEBYTECODE": "1"}
    who = ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", "runner"]
    alone = ["unshare", "--mount", "sh", "-c", READ_ONLY, str(job), *who]
    version = run([*alone, "--version"], cwd=job, environ=environ).strip()
    run([*alone, "run", "classify.yaml", "--simulate", "-q"], cwd=job, environ=environ)
    return f"`runner --version` prints {version}; a simulated run as user {user}, read-only except for the project"
