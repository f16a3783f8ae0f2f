"""Choose the two runs to compare, by what the user named."""

from collections.abc import Sequence
from itertools import groupby

from runner.errors import UsageError
from runner.runs.find import RunInfo, find_runs

_NAME_BOTH = "name both runs, as in `runner diff OLD NEW`; a pilot counts only if it is named"


def choose_runs(targets: Sequence[str]) -> tuple[RunInfo, RunInfo]:
    """Return the old and the new run that one or two targets name. Raises UsageError if one is missing.

    A run alone means the last finished run before it, too; a spec alone its last two finished runs; and a spec
    beside another target its last finished run. Pilots count only if they are named, and real runs come before
    simulated ones.
    """
    if len(targets) == 2:
        return _choose_one(targets[0]), _choose_one(targets[1])
    [target] = targets
    found = find_runs(target)
    if not _is_named(target, found):
        return _choose_last_two(target, found)
    new = found[0]
    own = [run for run in find_runs() if run.summary.spec == new.summary.spec]
    older = own[[run.summary.run for run in own].index(new.summary.run) + 1 :]
    before = next((run for run in _list_finished(older) if run.is_simulated == new.is_simulated), None)
    if before is None:
        raise UsageError(f"no run of {new.summary.spec} was finished before {new.summary.run}: {_NAME_BOTH}")
    return before, new


def _choose_one(target: str) -> RunInfo:
    found = find_runs(target)
    if _is_named(target, found):
        return found[0]
    finished = sorted(_list_finished(found), key=lambda run: run.is_simulated)
    if not finished:
        raise UsageError(f"no run of {target} is finished: `runner status` lists all runs")
    return finished[0]


def _choose_last_two(target: str, found: Sequence[RunInfo]) -> tuple[RunInfo, RunInfo]:
    finished = sorted(_list_finished(found), key=lambda run: run.is_simulated)
    for _, alike in groupby(finished, key=lambda run: run.is_simulated):
        if len(newest := list(alike)[:2]) == 2:
            return newest[1], newest[0]
    raise UsageError(f"{target} does not have two finished runs to compare: {_NAME_BOTH}")


def _is_named(target: str, found: Sequence[RunInfo]) -> bool:
    """Return whether a target is the id of a run or its beginning, and not a spec with one run."""
    [first, *others] = found
    return not others and first.summary.spec != target and first.summary.run.startswith(target)


def _list_finished(runs: Sequence[RunInfo]) -> list[RunInfo]:
    return [run for run in runs if run.summary.state == "finished" and not run.is_pilot]
