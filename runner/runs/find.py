"""Find real and simulated runs by id, the beginning of an id, spec path or spec name."""

import shlex
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from glob import has_magic
from pathlib import Path
from typing import NamedTuple

from runner.errors import InputError, UsageError
from runner.runs.project import SIMULATED_FOLDER, describe_state, find_state, find_state_root
from runner.runs.snapshot import read_snapshot
from runner.runs.summary import Summary, summarize_run
from runner.spec.spec_files import SPEC_SUFFIXES, find_project_root, find_spec_files
from runner.spec.variant_names import split_name
from runner.store.lock import is_in_use
from runner.store.open_store import open_store
from runner.store.place import StatePlace
from runner.store.records import Run
from runner.store.shared.lease import find_holder
from runner.store.store import Store

_MIN_BEGINNING = 3
_MAX_SHOWN = 10


@dataclass(frozen=True, slots=True)
class RunInfo:
    """A run, and the folder that holds its state.

    `ended_at` is in Unix seconds; while the run is unfinished, it is the time when the run began.
    """

    summary: Summary
    output_root: Path
    is_simulated: bool
    ended_at: float
    is_pilot: bool = False
    is_purged: bool = False


class _StoredRun(NamedTuple):
    run: Run
    store: Store
    output_root: Path
    is_simulated: bool

    @property
    def job(self) -> str:
        return split_name(self.run.spec)[0]

    def describe(self) -> str:
        note = " (simulated)" if self.is_simulated else ""
        return f"{self.run.id}  {self.run.spec}, {self.run.state}{note}"

    def to_info(self) -> RunInfo:
        run = self.run
        ended_at = run.finished_at or run.created_at
        summary, is_purged = summarize_run(self.store, run), run.purged_at is not None
        return RunInfo(summary, self.output_root, self.is_simulated, ended_at, run.is_pilot, is_purged)


def find_current_state() -> StatePlace:
    """Return where the runs of the project around the working folder are."""
    return find_state(find_project_root(Path.cwd() / "spec"))


def find_runs(target: str | None = None) -> list[RunInfo]:
    """Return the runs of the project around the working folder, newest first.

    With `target`, only the run with this id or with the only id that begins so, or the runs of the spec with this
    path or name. An exact match takes precedence over a beginning. Raises UsageError if no run matches, or if
    several ids begin so.
    """
    with ExitStack() as stack:
        return [run.to_info() for run in _find_stored(stack, target)]


def find_runs_of(root: Path, name: str) -> list[RunInfo]:
    """Return the runs of the spec of this name in a project, newest first."""
    with ExitStack() as stack:
        return [one.to_info() for one in _open_runs(stack, root) if one.run.spec == name]


class NewestRuns(NamedTuple):
    """The newest run of each target, and the paths of specs in a folder or glob that have no run yet."""

    runs: list[RunInfo]
    without: list[Path]


def find_newest_runs(targets: Sequence[str]) -> NewestRuns:
    """Return the newest run of each target, or of each variant of it, each run once.

    A target is a run or a spec as in `find_runs`, or a folder or glob, which means the specs that it names. An
    exact name takes precedence over a folder. Raises UsageError if no run matches a run or spec, and InputError
    for a folder or glob without specs, or for a spec whose name cannot be read.
    """
    newest: dict[str, RunInfo] = {}
    without: list[Path] = []
    for target in targets:
        paths: Sequence[Path | None] = _list_specs(target) or [None]
        for path in paths:
            with ExitStack() as stack:
                found = _find_stored(stack, target) if path is None else _list_runs(stack, str(path))
                if path is not None and not found:
                    without.append(path)
                for one in _choose_newest(found):
                    newest.setdefault(one.run.id, one.to_info())
    return NewestRuns(list(newest.values()), without)


def _choose_newest(found: Sequence[_StoredRun]) -> list[_StoredRun]:
    """Return the newest of the runs of a spec, or of each of its variants if the newest is one."""
    if not found or split_name(found[0].run.spec)[1] is None:
        return list(found[:1])
    newest: dict[str, _StoredRun] = {}
    for one in found:
        if one.run.spec != one.job:
            newest.setdefault(one.run.spec, one)
    return list(newest.values())


def _list_specs(target: str) -> list[Path] | None:
    """Return the specs that a folder or glob names, or None if the target is something else."""
    is_group = Path(target).is_dir() or (has_magic(target) and not Path(target).exists())
    if not is_group:
        return None
    with ExitStack() as stack:
        known = _open_runs(stack, find_project_root(Path.cwd() / "spec"))
        is_name = any(target in (one.run.id, one.run.spec, one.job) for one in known)
    return None if is_name else find_spec_files([target])


def _find_stored(stack: ExitStack, target: str | None) -> list[_StoredRun]:
    """Return the runs of `find_runs`, with their open stores."""
    if target is not None and target.endswith(SPEC_SUFFIXES) and Path(target).exists():
        return _runs_of_spec(stack, target)
    root = find_project_root(Path.cwd() / "spec")
    known = _open_runs(stack, root)
    found = known if target is None else _match_runs(known, target)
    if target is not None and not found:
        is_path = target.endswith(SPEC_SUFFIXES) or Path(target).is_file()
        found = _runs_of_spec(stack, target) if is_path else []
    if target is not None and not found:
        raise UsageError(_no_match_message(target, root, known))
    return found


def _open_runs(stack: ExitStack, root: Path) -> list[_StoredRun]:
    """Return the real and simulated runs of a project, newest first, with their open stores."""
    found = []
    for base in (root, root / SIMULATED_FOLDER):
        if (place := find_state(base)).exists:
            store = stack.enter_context(open_store(place, lock=False))
            found += [_StoredRun(run, store, base, base != root) for run in store.runs()]
    return sorted(found, key=lambda one: -one.run.created_at)


def _list_runs(stack: ExitStack, path: str) -> list[_StoredRun]:
    """Return the runs of a spec file, newest first. Raises InputError if the name of the spec cannot be read."""
    # Only a spec that is named needs YAML.
    from runner.spec.load import read_spec

    spec, problems = read_spec(path)
    if spec is None or not spec.is_sound("name"):
        raise InputError(problems)
    return [one for one in _open_runs(stack, spec.root) if one.job == spec.job]


def _runs_of_spec(stack: ExitStack, path: str) -> list[_StoredRun]:
    """Return the runs of a spec file.

    Raises UsageError if there is no run, and InputError if the name of the spec cannot be read.
    """
    found = _list_runs(stack, path)
    if not found:
        where = describe_state(find_project_root(Path(path)))
        raise UsageError(f"{path} has no run yet in {where}: `runner run {shlex.quote(path)}` starts one")
    return found


def _match_runs(known: Sequence[_StoredRun], target: str) -> list[_StoredRun]:
    exact = [one for one in known if one.run.id == target] or [one for one in known if one.run.spec == target]
    exact = exact or [one for one in known if one.job == target]
    if exact:
        return exact
    chosen = match_run_id(target, {one.run.id: one.describe() for one in known})
    return [one for one in known if one.run.id == chosen]


def match_run_id(written: str, descriptions: dict[str, str]) -> str | None:
    """Return the run id that is `written`, or the only one that begins so; None if there is none.

    `descriptions` holds a line about each known run, newest first. A beginning needs at least 3 characters. Raises
    UsageError that lists the candidates if there are several.
    """
    if written in descriptions:
        return written
    found = [run_id for run_id in descriptions if run_id.startswith(written)]
    if len(written) < _MIN_BEGINNING or not found:
        return None
    if len(found) > 1:
        shown = [f"  {descriptions[run_id]}" for run_id in found[:_MAX_SHOWN]]
        left = [f"  and {len(found) - _MAX_SHOWN:,} older"] if len(found) > _MAX_SHOWN else []
        head = f"{written!r} is the beginning of {len(found):,} run ids: give more characters of one of them"
        raise UsageError("\n".join([head, *shown, *left]))
    return found[0]


def _no_match_message(target: str, root: Path, known: Iterable[_StoredRun]) -> str:
    names = {one.run.spec for one in known}
    if not names:
        return f"no run matches {target!r}: there are no runs yet in {describe_state(root)}"
    near = get_close_matches(target, names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else "it is no run id, beginning of an id, spec name or spec file;"
    return f"no run matches {target!r} in {describe_state(root)}: {hint} `runner status` lists all runs"


def find_run(target: str, *states: str) -> RunInfo:
    """Return the newest run that matches `target` (see `find_runs`).

    Real runs take precedence over simulated ones. With `states`, only runs in one of these states are considered.
    Raises UsageError if no run matches.
    """
    found = find_runs(target)
    fitting = [run for run in found if not states or run.summary.state in states]
    chosen = next(iter(sorted(fitting, key=lambda run: run.is_simulated)), None)
    if chosen is None:
        newest, wanted = found[0].summary, " or ".join(filter(None, [", ".join(states[:-1]), states[-1]]))
        raise UsageError(
            f"no run of {target} is {wanted}: the newest, {newest.run}, is {newest.state}; "
            "`runner status` lists all runs"
        )
    return chosen


@contextmanager
def open_run(run_info: RunInfo, *, lock: bool = True) -> Iterator[tuple[Store, Run]]:
    """Open the store that holds a run, by default with its lock; yield the store and the run."""
    with open_store(find_state(run_info.output_root), lock=lock) as store:
        if lock:
            store.hold(run_info.summary.spec)
        yield store, next(run for run in store.runs() if run.id == run_info.summary.run)


def find_runner(run_info: RunInfo) -> str | None:
    """Return who works on a run or may do so, or None if nobody does."""
    place = find_state(run_info.output_root)
    if place.is_shared:
        return find_holder(place, run_info.summary.spec)
    return "another process" if is_in_use(place.folder) else None


def check_no_input(path: Path, runs: Iterable[RunInfo]) -> None:
    """Raise UsageError if a file to write is the spec of one of these runs, or was read by it."""
    for info in runs:
        with open_run(info, lock=False) as (store, run):
            root = find_state_root(store.path)
            read = [] if run.state in ("preparing", "prepared") else read_snapshot(store, run).inputs
            for name in (run.spec_path, *(file.path for file in read)):
                if any(path.resolve() == (base / name).resolve() for base in (root, Path())):
                    raise UsageError(f"{path} is an input of run {run.id}: name another file")


def find_spec_path(run_info: RunInfo) -> Path:
    """Return the path of the spec that a run was started with. Raises UsageError if it is not there."""
    with open_run(run_info, lock=False) as (_, run):
        root = run_info.output_root.parent if run_info.is_simulated else run_info.output_root
        for path in (Path(run.spec_path), root / run.spec_path):
            if path.exists():
                return path
    raise UsageError(f"the spec of run {run.id}, {run.spec_path}, is not found: name its file instead of the run")
