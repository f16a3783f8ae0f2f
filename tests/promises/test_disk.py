"""A disk that is full or may not be written: one clear line, and afterwards the run ends as an undisturbed one."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.support.outputs import errors, outputs
from tests.support.processes import RUN, Ended, command, confined, no_privileges, no_room, nothing
from tests.support.projects import EACH_ONCE, write_job
from tests.support.simulator import paid, simulator

pytestmark = pytest.mark.slow

NOTE = {
    "type": "object",
    "properties": {"note": {"type": "string", "pattern": "^[a-z]{6000}$"}},
    "required": ["note"],
    "additionalProperties": False,
}
SINKS = [
    {"type": "jsonl", "path": "out/all.jsonl"},
    {"type": "csv", "path": "out/notes.csv", "columns": {"id": "key", "note": "output.note"}},
]
COMMANDS = (
    ("status",),
    ("doctor",),
    ("cancel", "job.yaml"),
    ("reconcile", "job.yaml"),
    ("recover", "job.yaml"),
    RUN,
    ("run", "job.yaml", "--simulate"),
)


def write_large_job(root: Path) -> None:
    """A job whose files are larger than what SQLite needs to open a database at all."""
    write_job(root, output={"schema": NOTE}, sinks=SINKS)
    (root / "prompts" / "unused.j2").write_text("unused " * 20_000)
    rows = [f"r{number},{f'text number {number} ' * 400}\n" for number in range(1, 21)]
    (root / "rows.csv").write_text("id,text\n" + "".join(rows))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("undisturbed")
    write_large_job(root)
    with simulator(root / "api") as environ:
        assert command(root, environ, *RUN).returncode == 0
    return outputs(root)


def is_clear(ended: Ended, *codes: int) -> bool:
    """Check that a command ended with one of these codes and printed one line about each error."""
    lines = [line for line in errors(ended.stderr) if " job: " not in line]
    said = [line for line in lines if not line.startswith(("  ", "job: "))]
    places = [line.partition(": ")[0] for line in said]
    is_named = all(line.startswith(("error: ", "job.yaml:")) for line in said)
    return ended.returncode in codes and bool(said) and is_named and len(set(places)) == len(said)


def rerun_is_whole(root: Path, environ: dict[str, str], undisturbed: dict[str, str]) -> bool:
    """Check that the same command without faults ends like an undisturbed run."""
    again = command(root, environ, *RUN)
    assert again.returncode == 0, again.stderr
    return paid(root / "api") == EACH_ONCE and outputs(root) == undisturbed


def squeeze(root: Path, undisturbed: dict[str, str], first: Callable[[], None], *, may_succeed: bool) -> None:
    write_large_job(root)
    with simulator(root / "api") as environ:
        ended = confined(root, environ, *RUN, first=first)
        assert is_clear(ended, 2, 8) or (may_succeed and ended.returncode == 0), ended
        assert (ended.returncode == 2) == ("cannot write" in ended.stderr), ended
        assert rerun_is_whole(root, environ, undisturbed)


SIZES = (0, 1, 200, 4096, 32_767, 32_768, 37_000, 41_000, 45_500, 50_000, 70_000, 82_400, 95_000, 105_000, 115_000,
         120_000, 128_000, 136_000, 145_000, 155_000, 165_000, 180_000, 200_000, 235_000, 250_000)  # fmt: skip


@pytest.mark.parametrize("size", SIZES)
def test_run_resumes_after_a_file_size_limit(tmp_path: Path, undisturbed: dict[str, str], size: int) -> None:
    squeeze(tmp_path, undisturbed, partial(no_room, size), may_succeed=size > 200_000)


WRITTEN = (".rows.jsonl.tmp", "1-1.json", "1-3.json", ".spec.json.tmp", ".1-1.sent.tmp", ".1-3.sent.tmp",
           ".1-1.jsonl.tmp", ".1-3.jsonl.tmp", ".all.jsonl.tmp", ".notes.csv.tmp")  # fmt: skip


@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.parametrize("size", [0, 5000])
def test_disk_that_fills_up_loses_nothing(
    tmp_path: Path, undisturbed: dict[str, str], name: str, size: int
) -> None:
    squeeze(tmp_path, undisturbed, partial(no_room, size, name), may_succeed=False)


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Callable[[str], None]]:
    """Mount a file system of its own at `.runner`, or mount it again with other options."""
    mounter, unmounter = shutil.which("mount"), shutil.which("umount")
    if mounter is None or unmounter is None:
        pytest.skip("there is no mount command")
    folder = tmp_path / ".runner"
    folder.mkdir()
    mounted = False

    def mount(options: str) -> None:
        nonlocal mounted
        words = [mounter, "-t", "tmpfs", "-o", f"remount,{options}" if mounted else options, "none", str(folder)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"mounting is not permitted: {done.stderr.strip()}")
        mounted = True

    yield mount
    if mounted:
        subprocess.run([unmounter, str(folder)], check=True)


@pytest.mark.parametrize("kilobytes", [4, 12, 40, 64, 90, 280, 400, 430, 500, 560, 600])
def test_run_on_a_full_volume_resumes_once_there_is_space(
    tmp_path: Path, undisturbed: dict[str, str], volume: Callable[[str], None], kilobytes: int
) -> None:
    write_large_job(tmp_path)
    volume(f"size={kilobytes}k")
    with simulator(tmp_path / "api") as environ:
        assert is_clear(command(tmp_path, environ, *RUN), 8)
        for words in (("status",), ("doctor",)):
            assert "Traceback" not in command(tmp_path, environ, *words).stderr
        volume("size=10m")
        assert rerun_is_whole(tmp_path, environ, undisturbed)


def test_read_only_state_stops_every_command(
    tmp_path: Path, undisturbed: dict[str, str], volume: Callable[[str], None]
) -> None:
    write_large_job(tmp_path)
    volume("size=10m")
    with simulator(tmp_path / "api") as environ:
        assert command(tmp_path, environ, *RUN, "--no-wait").returncode == 4
        volume("ro")
        for words in COMMANDS[:-1]:
            assert is_clear(command(tmp_path, environ, *words), 8)
        volume("rw")
        assert rerun_is_whole(tmp_path, environ, undisturbed)


@pytest.mark.parametrize("name", ["state.db", "lock", "runs"])
def test_inaccessible_state_stops_every_command(tmp_path: Path, undisturbed: dict[str, str], name: str) -> None:
    write_large_job(tmp_path)
    path = tmp_path / ".runner" / name
    with simulator(tmp_path / "api") as environ:
        assert command(tmp_path, environ, *RUN, "--no-wait").returncode == 4
        mode = path.stat().st_mode
        path.chmod(0)
        # A cancellation needs no file of the run, and is carried out.
        for words in (words for words in COMMANDS[:-1] if words[0] != "cancel" or name != "runs"):
            ended = confined(tmp_path, environ, *words, first=no_privileges)
            assert is_clear(ended, 8) or words != RUN, ended
            assert ended.returncode in (0, 2, 4, 8) and "Traceback" not in ended.stderr, (words, ended)
        path.chmod(mode)
        assert rerun_is_whole(tmp_path, environ, undisturbed)


def test_read_only_project_is_reported_before_sending(tmp_path: Path, undisturbed: dict[str, str]) -> None:
    write_large_job(tmp_path)
    with simulator(tmp_path / "api") as environ:
        tmp_path.chmod(0o500)
        for words in COMMANDS:
            ended = confined(tmp_path, environ, *words, first=no_privileges)
            assert ended.returncode in (0, 2, 8) and "Traceback" not in ended.stderr, (words, ended)
            assert ended.returncode != 0 or words[0] != "run"
        assert paid(tmp_path / "api") == {}
        tmp_path.chmod(0o700)
        assert rerun_is_whole(tmp_path, environ, undisturbed)


@pytest.mark.parametrize("mode", [0o500, 0o000])
def test_unwritable_output_folder_is_reported_before_sending(
    tmp_path: Path, undisturbed: dict[str, str], mode: int
) -> None:
    write_large_job(tmp_path)
    folder = tmp_path / "out"
    folder.mkdir(mode=mode)
    with simulator(tmp_path / "api") as environ:
        ended = confined(tmp_path, environ, *RUN, first=no_privileges)
        assert (ended.returncode, ended.stderr.count(f"{folder}")) == (2, 2)
        assert ended.stderr.startswith("job.yaml:1:")
        assert paid(tmp_path / "api") == {}
        folder.chmod(0o700)
        assert rerun_is_whole(tmp_path, environ, undisturbed)


def test_output_folder_made_read_only_midway_loses_nothing(tmp_path: Path, undisturbed: dict[str, str]) -> None:
    write_large_job(tmp_path)
    folder = tmp_path / "out"
    folder.mkdir()

    def on(name: str) -> None:
        if name == "results":
            folder.chmod(0o500)

    with simulator(tmp_path / "api", on=on) as environ:
        ended = confined(tmp_path, environ, *RUN, first=no_privileges)
        assert is_clear(ended, 2) and f"cannot write {folder}/all.jsonl: Permission denied" in ended.stderr
        folder.chmod(0o700)
        assert list(folder.iterdir()) == []
        assert rerun_is_whole(tmp_path, environ, undisturbed)


@pytest.mark.parametrize("then", ["nothing", "a file"])
def test_output_folder_deleted_midway_loses_nothing(
    tmp_path: Path, undisturbed: dict[str, str], then: str
) -> None:
    write_large_job(tmp_path)
    folder = tmp_path / "out"
    folder.mkdir()

    def on(name: str) -> None:
        if name == "results" and folder.is_dir():
            folder.rmdir()
            if then == "a file":
                folder.write_text("")

    with simulator(tmp_path / "api", on=on) as environ:
        ended = command(tmp_path, environ, *RUN)
        if then == "a file":
            assert is_clear(ended, 2) and f"cannot write {folder}/all.jsonl" in ended.stderr
            folder.unlink()
        else:
            assert ended.returncode == 0
        assert rerun_is_whole(tmp_path, environ, undisturbed)


has_full_device = pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")


@has_full_device
def test_output_never_replaces_a_device(tmp_path: Path) -> None:
    places = {"full": tmp_path / "link", "pipe": tmp_path / "pipe"}
    places["full"].symlink_to("/dev/full")
    os.mkfifo(places["pipe"])
    write_job(tmp_path, sinks=[{"type": "jsonl", "path": str(path)} for path in places.values()])
    with simulator(tmp_path / "api") as environ:
        ended = command(tmp_path, environ, *RUN)
    said = [
        f"{path} is not a regular file" in line
        for path, line in zip(places.values(), errors(ended.stderr), strict=True)
    ]
    assert (ended.returncode, said) == (2, [True, True])
    assert places["full"].is_char_device() and places["pipe"].is_fifo()
    assert paid(tmp_path / "api") == {}


@has_full_device
@pytest.mark.parametrize(
    "words", [RUN, (*RUN, "--json"), ("status",), ("doctor",), ("render", "job.yaml"), ("schema",), ("--help",)]
)
def test_full_stdout_device_is_reported_in_one_line(tmp_path: Path, words: tuple[str, ...]) -> None:
    write_job(tmp_path)
    with simulator(tmp_path / "api") as environ:
        if words[0] == "status":
            assert command(tmp_path, environ, *RUN).returncode == 0
        ended = confined(tmp_path, environ, *words, first=nothing, stdout="/dev/full")
        assert is_clear(ended, 1), ended
        assert ended.stderr.endswith("error: cannot write: No space left on device\n")
        assert command(tmp_path, environ, *RUN).returncode == 0
        assert paid(tmp_path / "api") == EACH_ONCE
