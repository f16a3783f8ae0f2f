"""The command that writes a first spec."""

import shlex
from pathlib import Path

from tests.support.processes import command
from tests.support.simulator import environ_without_key

DATA = "Ticket No,Wildlife Species\n1,fox\n2,badger\n"


def test_init_from_own_data_prints_commands_that_work(tmp_path: Path) -> None:
    (tmp_path / "sightings.csv").write_text(DATA)
    words = ("init", "--from", "sightings.csv", "--ask", "label each as bird or mammal")
    done = command(tmp_path, environ_without_key(), *words)
    assert (done.returncode, done.stderr.count("note: ")) == (0, 1)
    _, _, shown = done.stdout.partition("next:\n")
    commands = [shlex.split(line) for line in shown.splitlines() if not line.startswith("   ")]
    assert [words[:2] for words in commands] == [["runner", name] for name in ("validate", "run", "pilot", "run")]
    for _, *words_of_next in commands[:2]:
        assert command(tmp_path, environ_without_key(), *words_of_next).returncode == 0
    assert (tmp_path / "simulated" / "out" / "sightings.csv").read_text().startswith("Ticket No,label,failed\n1,")


def test_init_without_arguments_copies_the_smallest_template(tmp_path: Path) -> None:
    done = command(tmp_path, environ_without_key(), "init")
    assert "wrote classify.yaml" in done.stdout and "runner validate classify.yaml" in done.stdout
    done = command(tmp_path, environ_without_key(), "init")
    assert "left classify.yaml as it was" in done.stdout


def test_init_lists_templates(tmp_path: Path) -> None:
    listed = command(tmp_path, environ_without_key(), "init", "--list").stdout.splitlines()
    assert [line.split()[0] for line in listed][:2] == ["classify", "documents"]
    assert not list(tmp_path.glob("*.yaml"))


def test_init_refuses_options_that_contradict_each_other(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(DATA)
    for words in (("--ask", "x"), ("classify", "new", "--from", "t.csv")):
        assert command(tmp_path, environ_without_key(), "init", *words).returncode == 2
