"""A repository in which the workflow for GitHub Actions runs: real steps, and artifacts in a folder."""

import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from runner.simulator.batches import OutcomePicker
from tests.support import ROOT
from tests.support.projects import SPEC, write_job
from tests.support.simulator import end_batches, simulator

WORKFLOW = yaml.safe_load((ROOT / "specs" / "recipes" / "github_actions.yml").read_text("utf-8"))
STEPS = {step["name"]: step for step in WORKFLOW["jobs"]["run"]["steps"] if "name" in step}
GH = """\
#!{python}
import json, os, subprocess, sys
from pathlib import Path

words, folder = sys.argv[1:], Path(os.environ["ARTIFACTS"])
artifacts = json.loads((folder / "list.json").read_text())
if words[:3] == ["api", "--method", "DELETE"]:
    id = int(words[3].rpartition("/")[2])
    (folder / "list.json").write_text(json.dumps([one for one in artifacts if one["id"] != id]))
elif words[1].endswith("/zip"):
    sys.stdout.buffer.write((folder / words[1].split("/")[-2]).read_bytes())
else:
    name = words[1].partition("name=")[2].partition("&")[0]
    named = [one for one in artifacts if one["name"] == name]
    answer = {{"private": os.environ["PRIVATE"] == "yes", "artifacts": named}}
    subprocess.run(["jq", "-r", words[3]], input=json.dumps(answer), text=True, check=True)
"""


@dataclass
class Repository:
    """A repository with a job, its artifacts, and one checkout after another.

    `with_runner` puts the runner on the PATH of an environment. `batch` are settings of the job.
    """

    root: Path
    with_runner: Callable[[Mapping[str, str]], dict[str, str]]
    is_private: bool = True
    checkouts: int = 0
    environ: dict[str, str] = field(default_factory=dict)
    batch: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.root / "list.json").write_text("[]")
        program = self.root / "bin" / "gh"
        program.write_text(GH.format(python=sys.executable))
        program.chmod(0o755)

    def checkout(self) -> Path:
        self.checkouts += 1
        folder = self.root / f"checkout-{self.checkouts}"
        write_job(folder, rows=8, batch={**SPEC["batch"], **self.batch})
        return folder

    def step(self, folder: Path, name: str, **environ: str) -> tuple[int, dict[str, str], str]:
        """The exit code, the outputs and the log of a step."""
        written = folder / "step_output"
        written.write_text("")
        own = {
            "SPEC": "job.yaml",
            "STATE_FOLDER": WORKFLOW["env"]["STATE_FOLDER"],
            "GITHUB_OUTPUT": str(written),
            "GITHUB_REPOSITORY": "me/mine",
            "ARTIFACTS": str(self.root),
            "PRIVATE": "yes" if self.is_private else "no",
        }
        words = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", STEPS[name]["run"]]
        ended = subprocess.run(
            words, cwd=folder, env={**self.environ, **own, **environ}, capture_output=True, text=True, check=False
        )
        outputs = dict(line.split("=", 1) for line in written.read_text().splitlines())
        return ended.returncode, outputs, ended.stdout + ended.stderr

    def upload(self, name: str, path: Path) -> None:
        kept = json.loads((self.root / "list.json").read_text())
        id = 1 + max((one["id"] for one in kept), default=0)
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.write(path, path.name)
        (self.root / str(id)).write_bytes(packed.getvalue())
        made = f"2026-11-28T00:{id // 60:02}:{id % 60:02}Z"
        kept.append({"id": id, "name": name, "created_at": made, "expired": False})
        (self.root / "list.json").write_text(json.dumps(kept))

    def run(
        self,
        choice: str,
        *,
        mix: OutcomePicker = lambda _: "succeeded",
        faults: Sequence[str] = (),
        dies: bool = False,
        seconds: float = 600,
        batches_end: bool = True,
    ) -> tuple[int, str]:
        """The exit code and log of the job; its last steps are not run if its machine `dies`.

        Batches end after some `seconds`, by default not during the job, and before the next one if `batches_end`.
        """
        with simulator(self.root / "api", seconds=seconds, mix=mix, faults=faults) as environ:
            self.environ = self.with_runner(environ)
            ended = self._run(choice, dies=dies)
        if batches_end:
            end_batches(self.root / "api")
        return ended

    def _run(self, choice: str, *, dies: bool) -> tuple[int, str]:
        folder = self.checkout()
        code, fetched, log = self.step(folder, "Fetch the state", CHOICE=choice)
        if code:
            return code, log
        (folder / "started.txt").write_text("now")
        self.upload("runner-started", folder / "started.txt")
        code, _, log = self.step(folder, "Do what can be done now", CHOICE=choice)
        if not dies and self.step(folder, "Pack the state")[0] == 0:
            self.upload("runner-state", folder / "state.tar")
            if "id" in fetched:
                self.step(folder, "Delete the older state", ID=fetched["id"])
        return code, log

    def states(self) -> int:
        """The number of states that are kept."""
        return sum(one["name"] == "runner-state" for one in json.loads((self.root / "list.json").read_text()))
