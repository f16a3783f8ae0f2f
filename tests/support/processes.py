"""Real processes of the command, which can be killed or confined."""

import ctypes
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from runner.cli import main
from tests.support import DATA, ROOT

RUN = ("run", "job.yaml", "--yes")

# A busy machine is ten times slower than one at rest.
_PATIENCE_SECONDS = 600
# Whoever starts a process looks which others have ended, and only one thread can read an exit code.
_ASKING = threading.Lock()


# Real processes that need not import the SDK and the runner each: two seconds, a thousand times.
_PROCESSES = multiprocessing.get_context("forkserver")
_PRELOADED = [
    "anthropic",
    "tests.support.processes",
    "runner.cli.progress",
    "runner.cli.texts.summary",
    "runner.lifecycle.run",
    "runner.simulator.server",
    "runner.api.watched_network",
    "filelock",
    "rich.progress",
]
_PROCESSES.set_forkserver_preload(_PRELOADED)


def preload(*modules: str) -> None:
    """Spare the processes that are started the import of more modules; none may have been started before."""
    _PROCESSES.set_forkserver_preload([*_PRELOADED, *modules])


@dataclass(frozen=True)
class Ended:
    """A command that has ended; the code is negative if a signal ended it."""

    returncode: int
    stdout: str
    stderr: str


def _main(root: Path, environ: dict[str, str], words: tuple[str, ...], before: Callable[[], None]) -> None:
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(root / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    before()
    _command(root, environ, words)


def _command(root: Path, environ: dict[str, str], words: tuple[str, ...]) -> None:
    os.chdir(root)
    os.environ.clear()
    os.environ.update(environ)
    sys.argv = ["runner", *words]
    warnings.simplefilter("error")
    main(words)


def nothing() -> None:
    """Do nothing: the default preparation of a process."""


def killed_at_rename(name: str) -> None:
    """Have this process killed just before it renames a file to a name."""

    def watch(event: str, args: tuple[object, ...]) -> None:
        if event == "os.rename" and Path(str(args[1])).name == name:
            kill(os.getpid())

    sys.addaudithook(watch)


def suspended_at_body(name: str) -> None:
    """Suspend this process when it opens a body to send it: its intent is on disk, and no byte has left."""
    stopped: list[str] = []

    def watch(event: str, args: tuple[object, ...]) -> None:
        if event != "open" or stopped or args[1] != "r":
            return
        path = Path(str(args[0]))
        if path.name == name and path.with_suffix(".sent").exists():
            stopped.append(name)
            os.kill(os.getpid(), signal.SIGSTOP)

    sys.addaudithook(watch)


def start_suspended(root: Path, environ: Mapping[str, str], name: str) -> Any:
    """Start a run of the job in the folder `worker`, and wait until it is suspended at a body."""
    (root / "worker").mkdir()
    words = ("run", "../job.yaml", "--yes")
    process = start(root / "worker", environ, *words, before=partial(suspended_at_body, name))
    state, until = "", time.monotonic() + 60
    while state != "T":
        assert time.monotonic() < until, "the process was not suspended"
        time.sleep(0.02)
        state = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]
    return process


def start(root: Path, environ: Mapping[str, str], *words: str, before: Callable[[], None] = nothing) -> Any:
    """Start the command in a project; its process calls `before` first, which must be importable."""
    for name in ("stdout", "stderr"):
        (root / name).write_text("")
    return _start(_main, (root, dict(environ), words, before))


def _start(target: Callable[..., None], arguments: tuple[Any, ...]) -> Any:
    process = _PROCESSES.Process(target=target, args=arguments)
    with _ASKING:
        process.start()
    return process


def _wait(process: Any) -> int:
    """Wait for a process to end; return its exit code, which is negative if a signal ended it."""
    wait([process.sentinel], _PATIENCE_SECONDS)
    with _ASKING:
        code: int | None = process.exitcode
    assert code is not None, "the command hangs"
    return code


def _read_pipe(path: Path) -> None:
    """Make a named pipe the standard input of this process."""
    os.dup2(os.open(path, os.O_RDONLY), 0)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - as long as the process lives


def piped_command(root: Path, environ: Mapping[str, str], text: str, *words: str) -> Ended:
    """Run the command in a project with a pipe as its standard input."""
    pipe = root / "stdin"
    os.mkfifo(pipe)
    process = start(root, environ, *words, before=partial(_read_pipe, pipe))
    with suppress(BrokenPipeError):  # it need not read all
        pipe.write_text(text)
    pipe.unlink()
    return end(root, process)


def end(root: Path, process: Any) -> Ended:
    """Wait for a command to end."""
    return Ended(_wait(process), (root / "stdout").read_text(), (root / "stderr").read_text())


def command(root: Path, environ: Mapping[str, str], *words: str, before: Callable[[], None] = nothing) -> Ended:
    """Run the command in a project to its end."""
    return end(root, start(root, environ, *words, before=before))


def confined(
    root: Path, environ: Mapping[str, str], *words: str, first: Callable[[], None], stdout: str | None = None
) -> Ended:
    """Run the command after `first` has taken something from its process.

    It writes to pipes, which no full disk touches; or to `stdout`, the path of a device.
    """
    (out, child_out), (err, child_err) = (_PROCESSES.Pipe(duplex=False) for _ in range(2))
    arguments = (root, dict(environ), words, first, child_out, child_err, stdout)
    process = _start(_confined, arguments)
    child_out.close()
    child_err.close()
    texts = [_rest(end) for end in (out, err)]
    return Ended(_wait(process), *texts)


def _confined(
    root: Path,
    environ: dict[str, str],
    words: tuple[str, ...],
    first: Callable[[], None],
    out: Connection,
    err: Connection,
    stdout: str | None,
) -> None:
    os.dup2(out.fileno() if stdout is None else os.open(stdout, os.O_WRONLY), 1)
    os.dup2(err.fileno(), 2)
    out.close()
    err.close()
    first()
    _command(root, environ, words)


def _rest(end: Connection) -> str:
    with end, os.fdopen(os.dup(end.fileno()), encoding="utf-8") as file:
        return file.read()


def no_room(size: int, name: str | None = None) -> None:
    """Let no file grow beyond `size` bytes, from now on or from when a file of this name is opened for writing."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    if name is None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    else:
        sys.addaudithook(lambda event, args: _fill_at(name, size, event, args))


def _fill_at(name: str, size: int, event: str, args: tuple[object, ...]) -> None:
    is_write = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)
    if is_write and isinstance(args[0], str | os.PathLike) and Path(args[0]).name == name:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def no_privileges() -> None:
    """Let modes bind the process even if it is root's."""
    libc = ctypes.CDLL(None, use_errno=True)
    version_3 = (ctypes.c_uint32 * 2)(0x20080522, 0)
    if os.geteuid() == 0 and libc.capset(version_3, (ctypes.c_uint32 * 6)()) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def kill(pid: int) -> None:
    """End a process by a signal that it cannot catch."""
    os.kill(pid, signal.SIGKILL)


RUN_SIMULATED = ("run", "job.yaml", "--simulate")


PLUGIN_SPEC = """\
version: 1
name: job
source: {type: numbers, count: 5, parity: odd}
prompt: {user: "{{ text }}"}
params: {model: claude-haiku-5-5, max_tokens: 100}
sinks: [{type: lines, path: out.txt, separator: "|", columns: {n: row.number, outcome: outcome}}]
"""


def install_example(target: Path) -> Path:
    """Install the example package into a folder, with pip."""
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--target"]
    words = [sys.executable, "-m", "pip", "install", *options, str(target), str(DATA / "plugin_example")]
    subprocess.run(words, check=True, capture_output=True)
    return target


def register(target: Path, package: str, group: str, name: str, value: str) -> Path:
    """Write the metadata of an installed package with one entry point; return the folder it is in."""
    folder = target / f"{package}-1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(f"[{group}]\n{name} = {value}\n")
    return target


def import_from(folder: Path) -> None:
    """Let this process import from a folder too."""
    sys.path.insert(1, str(folder))


def run_with(target: Path, folder: Path, text: str, *words: str) -> Ended:
    """Run a command of the runner on a spec, in a process that also imports from `target`."""
    (folder / "job.yaml").write_text(text)
    return command(folder, os.environ, *words, before=partial(import_from, target))


def install_module(target: Path, group: str, name: str, code: str) -> Path:
    """Install a package `mine` with one module, whose name `entry` is registered; return the folder it is in."""
    (register(target, "mine", group, name, "mine:entry") / "mine.py").write_text(code)
    return target


def outputs_by_zone(folder: Path, code: str) -> set[bytes]:
    """What Python code prints in a process of its own, in each of two time zones."""
    return {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=folder,
            env={**os.environ, "TZ": zone, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            check=True,
        ).stdout
        for zone in ("UTC", "Asia/Tokyo")
    }
