"""The files of recipes are what Kubernetes, systemd, Docker, pre-commit and SchemaStore take."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner import errors
from tests.support import ROOT
from tests.support.projects import write_job
from tests.support.simulator import end_batches, simulator

RECIPES = ROOT / "specs" / "recipes"
RESOURCES = list(yaml.safe_load_all((RECIPES / "kubernetes.yaml").read_text("utf-8")))
UNIT = (RECIPES / "systemd" / "runner.service").read_text("utf-8")
DOCKERFILE = RECIPES / "docker" / "Dockerfile"
[HOOK] = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text("utf-8"))
HADOLINT = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


def setting(name: str) -> str:
    """The value of a setting of the unit."""
    [value] = re.findall(rf"^{name}=(.*)$", UNIT, re.MULTILINE)
    return str(value)


@pytest.mark.parametrize("version", ["1.31", "1.32"])
@pytest.mark.parametrize("resource", RESOURCES, ids=lambda one: one["kind"])
def test_kubernetes_takes_the_resource(resource: dict[str, Any], version: str) -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    kubernetes_validate.validate(resource, version, strict=True)


def test_a_pod_is_replaced_only_for_errors_that_pass() -> None:
    job = RESOURCES[1]["spec"]["jobTemplate"]["spec"]
    [codes] = [rule["onExitCodes"] for rule in job["podFailurePolicy"]["rules"] if "onExitCodes" in rule]
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    known = {kind.exit_code for kind in kinds if issubclass(kind, errors.RunnerError)}
    assert set(codes["values"]) == known - {1, 4, 6, 130}
    assert {codes["containerName"]} == {one["name"] for one in job["template"]["spec"]["containers"]}


def test_the_container_has_no_rights_and_uses_its_volumes() -> None:
    pod = RESOURCES[1]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    volumes = {one["name"] for one in pod["volumes"]}
    for container in (*pod["initContainers"], *pod["containers"]):
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert {one["name"] for one in container["volumeMounts"]} == volumes
    assert pod["securityContext"]["runAsUser"] > 0


def test_a_state_in_the_image_never_replaces_that_of_the_volume(tmp_path: Path) -> None:
    [init] = RESOURCES[1]["spec"]["jobTemplate"]["spec"]["template"]["spec"]["initContainers"]
    for name in ("job", "project/prompts", "project/.runner"):
        (tmp_path / name).mkdir(parents=True)
    words = [
        word.replace("/project", f"{tmp_path}/project").replace("/job", f"{tmp_path}/job")
        for word in init["command"]
    ]
    assert subprocess.run(words, check=False).returncode == 1
    (tmp_path / "project" / ".runner").rmdir()
    assert subprocess.run(words, check=False).returncode == 0
    assert [path.name for path in (tmp_path / "job").iterdir()] == ["prompts"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    for path in (RECIPES / "systemd").iterdir():
        # It looks for the program.
        (tmp_path / path.name).write_text(path.read_text("utf-8").replace("/opt/runner/bin/runner", "/bin/true"))
    words = ["systemd-analyze", "verify", "--man=no", *map(str, sorted(tmp_path.iterdir()))]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_the_unit_fails_for_failed_rows_but_not_for_waiting(
    tmp_path: Path, with_runner: Callable[[Mapping[str, str]], dict[str, str]]
) -> None:
    write_job(tmp_path)
    path, *words = shlex.split(setting("ExecStart").replace("classify.yaml", "job.yaml"))
    succeeds = {0, *map(int, setting("SuccessExitStatus").split())}

    def tick(row: str) -> int:
        mix: Callable[[str], str] = lambda one: "refused" if one.endswith(row) else "succeeded"  # noqa: E731
        with simulator(tmp_path / "api", seconds=600, mix=mix) as environ:
            program = [Path(path).name, *words]
            code = subprocess.run(program, cwd=tmp_path, env=with_runner(environ), check=False).returncode
        end_batches(tmp_path / "api")
        return code

    codes = [tick("none"), tick("none")]
    shutil.rmtree(tmp_path / ".runner")
    codes += [tick("-3"), tick("-3")]
    assert codes == [4, 0, 4, 3]
    assert [code in succeeds for code in codes] == [True, True, True, False]


@pytest.mark.skipif(HADOLINT is None, reason="hadolint is of the extra lint")
def test_hadolint_finds_nothing() -> None:
    words = [str(HADOLINT), str(DOCKERFILE)]
    assert subprocess.run(words, capture_output=True, text=True, check=False).stdout == ""


def test_the_last_stage_only_copies_and_has_a_numeric_user() -> None:
    last = DOCKERFILE.read_text("utf-8").split("\nFROM ")[-1]
    assert re.findall(r"^(?:RUN|ADD|COPY) .*$", last, re.MULTILINE) == [
        "COPY --from=build /opt/runner /opt/runner"
    ]
    assert re.search(r"^USER [1-9]\d+:[1-9]\d+$", last, re.MULTILINE)


def test_the_image_is_built_from_what_the_wheel_needs() -> None:
    ignored = (DOCKERFILE.parent / "Dockerfile.dockerignore").read_text("utf-8").splitlines()
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    needed = {
        "pyproject.toml",
        "README.md",
        "runner",
        *re.findall(r'^"(\w+)[^"]*" = "runner/', project, re.MULTILINE),
    }
    assert {line[1:] for line in ignored if line.startswith("!")} == needed


@pytest.mark.parametrize(
    ("path", "is_checked"),
    [
        ("specs/a.yaml", True),
        ("specs/a.yml", True),
        ("specs/schemas/a.yaml", False),
        ("specs/a.json", False),
        ("other/specs/a.yaml", False),
    ],
)
def test_the_hook_checks_the_files_that_a_folder_means(path: str, is_checked: bool) -> None:
    assert bool(re.search(HOOK["files"], path)) == is_checked


def test_the_hook_fails_if_one_of_its_files_is_wrong(
    tmp_path: Path, with_runner: Callable[[Mapping[str, str]], dict[str, str]]
) -> None:
    write_job(tmp_path)
    (tmp_path / "wrong.yaml").write_text("version: 1\nname: wrong\n")
    codes = [
        subprocess.run(
            [*shlex.split(HOOK["entry"]), *files], cwd=tmp_path, env=with_runner({}), check=False
        ).returncode
        for files in (["job.yaml"], ["job.yaml", "wrong.yaml"])
    ]
    assert codes == [0, 2]


def test_the_entry_of_the_catalog_is_complete() -> None:
    entry = json.loads((RECIPES / "schemastore.json").read_text("utf-8"))
    assert set(entry) == {"name", "description", "fileMatch", "url"}
    # The catalog refuses patterns that match the files of others.
    assert all(re.fullmatch(r"\*\.runner\.ya?ml", pattern) for pattern in entry["fileMatch"])
    assert (ROOT / entry["url"].partition("/main/")[2]).is_file()
