"""A program `runner` on the PATH, as recipes call it."""

import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.connection import Client, Listener
from pathlib import Path

import pytest

from tests.support.processes import command

# Has its command run by the test, in a process that need not import the SDK again.
PROGRAM = """\
#!{python}
import os, sys
from multiprocessing.connection import Client

with Client({address!r}) as test:
    test.send((os.getcwd(), dict(os.environ), sys.argv[1:]))
    code, stdout, stderr = test.recv()
sys.stdout.write(stdout)
sys.stderr.write(stderr)
sys.exit(code)
"""


def _run_commands(listener: Listener) -> None:
    """Run one command after the other, until None is sent."""
    while True:
        with listener.accept() as program:
            if (received := program.recv()) is None:
                return
            folder, environ, words = received
            ended = command(Path(folder), environ, *words)
            program.send((ended.returncode, ended.stdout, ended.stderr))


@pytest.fixture
def with_runner(tmp_path: Path) -> Iterator[Callable[[Mapping[str, str]], dict[str, str]]]:
    """A function that puts the runner of this folder first on the PATH of an environment."""
    folder = tmp_path / "bin"
    folder.mkdir()
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    with Listener() as listener:
        program = folder / "runner"
        program.write_text(PROGRAM.format(python=sys.executable, address=listener.address))
        program.chmod(0o755)
        thread = threading.Thread(target=_run_commands, args=(listener,))
        thread.start()
        yield lambda environ: {**environ, "PATH": path}
        with Client(listener.address) as end:
            end.send(None)
        thread.join()
