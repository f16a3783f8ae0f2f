"""A bit that flips on disk: the run ends as an undisturbed one or stops, and nothing is paid twice."""

import random
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from runner import load_spec, run
from runner.errors import RunnerError
from runner.simulator.responses import DropConnection
from runner.store.index.batch_index import Outcome
from tests.support.outputs import outputs
from tests.support.processes import RUN, command, end, kill, start
from tests.support.projects import EACH_ONCE, SPEC, change_results, lose_requests, write_job
from tests.support.simulator import paid, simulator

pytestmark = pytest.mark.slow

SMALL = {**SPEC["batch"], "max_requests": 4}
FLIPS = 12
"""Files that no checksum covers: a letter of a row or an answer can change unseen."""


@dataclass(frozen=True)
class Project:
    """A project as it was left, kept in `kept`; `root` is where it is restored to, and run."""

    root: Path
    kept: Path
    whole: dict[str, str]

    def restore(self) -> None:
        shutil.rmtree(self.root)
        shutil.copytree(self.kept, self.root)

    def files(self, kind: str) -> list[Path]:
        """The files of the state of one kind: those of this name, suffix or folder."""
        found = [path for path in sorted((self.root / ".runner").rglob("*")) if path.is_file()]
        return [
            path for path in found if kind in (path.name, path.suffix, path.parent.name) and path.stat().st_size
        ]

    def sql(self, statement: str) -> None:
        with closing(sqlite3.connect(self.root / ".runner" / "state.db")) as database, database:
            database.execute(statement)

    def goes_wrong(self, environ: pytest.MonkeyPatch) -> str | None:
        """Run once more; what must not happen, in words, or None."""
        with simulator(self.root / "api") as variables:
            for name in ("ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY"):
                environ.setenv(name, variables[name])
            try:
                code = run(load_spec(self.root / "job.yaml"), consent=True).exit_code
            except RunnerError as error:
                code = error.exit_code
            except Exception as error:  # noqa: BLE001 - a traceback is a failure here
                return f"a traceback: {error!r}"
        if not paid(self.root / "api").items() <= EACH_ONCE.items():
            return "paid twice"
        return "other outputs" if code == 0 and outputs(self.root) != self.whole else None


def interrupt(root: Path) -> None:
    """Kill a run: batch 1 is collected, 2 to 4 are submitted, 5 has no answer, 6 is not sent."""
    pid: list[int] = []
    seen: list[str] = []

    def on(name: str) -> None:
        seen.append(name)
        if name == "create" and seen.count(name) == 2:
            time.sleep(0.4)
        if name == "created" and seen.count(name) == 5:
            kill(pid[0])
            raise DropConnection

    with simulator(root / "api", on=on) as environ:
        process = start(root, environ, *RUN)
        pid.append(process.pid)
        assert end(root, process).returncode == -9


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Project]:
    """A run that ended, one that was killed, and that one with its write-ahead log carried over."""
    made = {}
    for name in ("ended", "killed"):
        root = tmp_path_factory.mktemp(name) / "project"
        write_job(root, batch=SMALL)
        if name == "killed":
            interrupt(root)
            assert (root / ".runner" / "state.db-wal").stat().st_size > 0
        else:
            with simulator(root / "api") as environ:
                assert command(root, environ, *RUN).returncode == 0
            whole = outputs(root)
        made[name] = Project(root, root.with_name("kept"), whole)
        shutil.copytree(root, made[name].kept)
    killed = made["killed"]
    made["carried over"] = Project(killed.root, killed.root.with_name("carried"), whole)
    killed.sql("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copytree(killed.root, made["carried over"].kept)
    return made


@pytest.fixture
def ended(projects: dict[str, Project]) -> Project:
    projects["ended"].restore()
    return projects["ended"]


@pytest.fixture
def killed(projects: dict[str, Project]) -> Project:
    projects["carried over"].restore()
    return projects["carried over"]


def flips(project: Project, kind: str) -> Iterator[str]:
    """Flip one bit after another, each in a project as it was left; yield which."""
    chance = random.Random(f"{project.kept.name} {kind}")
    for _ in range(FLIPS):
        project.restore()
        path = chance.choice(project.files(kind))
        data = bytearray(path.read_bytes())
        # Most of a database is empty space, in which a bit means nothing.
        place = chance.choice([index for index, byte in enumerate(data) if byte or kind == "state.db-wal"])
        bit = chance.randrange(8)
        data[place] ^= 1 << bit
        path.write_bytes(data)
        yield f"bit {bit} of byte {place} of {path.name}"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *(("ended", kind) for kind in ("rows.jsonl", "bodies", "results", ".sent")),
        *(("killed", kind) for kind in ("state.db", "rows.jsonl", "bodies", "results", ".sent")),
        ("ended", "spec.json"),
        ("ended", "state.db"),
        ("killed", "spec.json"),
        ("killed", "state.db-wal"),
        ("carried over", "state.db"),
    ],
)
def test_a_flipped_bit_pays_nothing_twice_and_shows_no_traceback(
    projects: dict[str, Project], monkeypatch: pytest.MonkeyPatch, name: str, kind: str
) -> None:
    project = projects[name]
    found = {flip: project.goes_wrong(monkeypatch) for flip in flips(project, kind)}
    assert {flip: wrong for flip, wrong in found.items() if wrong is not None} == {}


def edit(path: Path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new, 1))


@pytest.mark.parametrize(("old", "new"), [(b"Label the text.", b"Label the test."), (b'"bytes":', b'"bytes":1')])
def test_damaged_snapshot_does_not_start_a_new_run(
    ended: Project, monkeypatch: pytest.MonkeyPatch, old: bytes, new: bytes
) -> None:
    edit(ended.files("spec.json")[0], old, new)
    assert ended.goes_wrong(monkeypatch) is None


def test_snapshot_that_is_not_text_is_damage(ended: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    edit(ended.files("spec.json")[0], b"Label", b"La\xe2el")
    assert ended.goes_wrong(monkeypatch) is None


def test_a_schema_that_is_not_text_is_damage(ended: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    edit(ended.files("state.db")[0], b"INTEGER NOT NULL", b"INTEGER\xa0NOT NULL")
    assert ended.goes_wrong(monkeypatch) is None


@pytest.mark.parametrize("column", ["batch.usage", "batch.ignored_lines", "run.sinks", "batch.counts"])
def test_a_column_that_is_not_json_is_damage(
    ended: Project, killed: Project, monkeypatch: pytest.MonkeyPatch, column: str
) -> None:
    project = killed if column == "batch.counts" else ended
    table, _, name = column.partition(".")
    where = " WHERE state = 'submitted'" if project is killed else ""
    state = ", state = 'ended', ended_at = created_at" if project is killed else ""
    project.sql(f"UPDATE {table} SET {name} = '{{\"a\" 1}}'{state}{where}")  # noqa: S608
    assert project.goes_wrong(monkeypatch) is None


def test_row_that_its_batch_lost_is_damage(killed: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    lose_requests(killed.root, {6})
    assert killed.goes_wrong(monkeypatch) is None


def test_download_in_the_future_is_due_now(killed: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    killed.sql("UPDATE batch SET incomplete_at = 1e300, incomplete_since = 1e300")
    assert killed.goes_wrong(monkeypatch) is None


def test_partly_sent_run_is_never_discarded(killed: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    killed.sql("UPDATE run SET state = 'preparing'")
    assert killed.goes_wrong(monkeypatch) is None


@pytest.mark.parametrize("name", ["ended", "carried over"])
def test_damaged_spec_name_does_not_start_a_new_run(
    projects: dict[str, Project], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    projects[name].restore()
    projects[name].sql("UPDATE run SET spec = 'jnb'")
    assert projects[name].goes_wrong(monkeypatch) is None


def test_wrong_batch_count_during_recovery_is_damage(killed: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    killed.sql("UPDATE batch SET requests = requests + 8 WHERE state = 'submitting'")
    assert killed.goes_wrong(monkeypatch) is None


def test_an_intent_in_the_future_is_damage(killed: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    killed.sql("UPDATE batch SET intent_at = intent_at * 2 WHERE state = 'submitting'")
    assert killed.goes_wrong(monkeypatch) is None


@pytest.mark.parametrize(
    ("kind", "old", "new"),
    [
        ("rows.jsonl", b"text number 7", b"text number 5"),
        ("results", b'"stop_reason":"end_turn"', b'"stop_reasoN":"end_turn"'),
        ("results", b'\\"good\\"', b'\\"bad\\" '),
    ],
)
def test_changed_letter_of_a_row_or_answer_is_damage(
    ended: Project, monkeypatch: pytest.MonkeyPatch, kind: str, old: bytes, new: bytes
) -> None:
    path = next(path for path in ended.files(kind) if old in path.read_bytes())
    edit(path, old, new)
    assert ended.goes_wrong(monkeypatch) is None


def test_answer_is_delivered_only_to_its_own_row(ended: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    places: dict[int, tuple[int | None, int | None]] = {}

    def take_first_place(one: Outcome) -> Outcome:
        places[one.row] = one[3:]
        offset, length = places[1] if one.row == 2 else one[3:]
        return one._replace(offset=offset, length=length)

    change_results(ended.root, take_first_place)
    assert ended.goes_wrong(monkeypatch) is None


def test_unknown_database_version_is_damage(ended: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    for bit in (0, 1, 2, 8, 30):
        ended.restore()
        ended.sql(f"PRAGMA user_version = {2 ^ 1 << bit}")
        assert (bit, ended.goes_wrong(monkeypatch)) == (bit, None)


def test_negative_database_version_is_damage(ended: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    ended.sql(f"PRAGMA user_version = {2 - (1 << 31)}")
    assert ended.goes_wrong(monkeypatch) is None
    assert ended.files("state.db.-2147483646") == []
