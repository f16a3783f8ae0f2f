"""Choose the specs of a command: load them, select some by tag or by the state of their newest run, order them."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from runner.errors import InputError, Problem, UsageError
from runner.spec.load import load_spec, read_spec
from runner.spec.spec import Spec
from runner.spec.spec_files import find_spec_files
from runner.store.store import Store

if TYPE_CHECKING:
    from runner.runs.summary import Summary

StateTest = Callable[["Summary | None"], bool]
"""A function that tells if a spec is selected, by the summary of its newest run, or None without a run."""


LoadSpec = Callable[..., Spec]
"""Loads the spec of a path, or its `variant`; `vars` override its own."""


SELECTABLE_STATES: dict[str, StateTest] = {
    "failed": lambda newest: newest is not None and newest.exit_code != 0,
    "unfinished": lambda newest: newest is not None and newest.state != "finished",
    "new": lambda newest: newest is None,
}
"""The states in `--select state:NAME`. A failed run is unfinished, has failed rows, or misses a `min_accuracy`."""


_NAMED = ("tag", "variant")


class _Condition(NamedTuple):
    kind: str
    name: str


def choose_specs(
    written: Sequence[str],
    *,
    vars: Mapping[str, str],
    select: Sequence[str] = (),
    simulate: bool = False,
    load: LoadSpec = load_spec,
) -> list[Spec]:
    """Return the specs that paths, folders and globs name, as far as they are selected, in the order to run them.

    `load` loads one spec; it may report more mistakes than `load_spec`.
    Raises InputError with the mistakes of all specs, and UsageError for an invalid selection.
    """
    specs = load_specs(find_spec_files(written), vars=vars, load=load)
    check_unique_names(specs)
    return sort_by_dependency(select_specs(specs, select, simulate=simulate))


def select_specs(specs: Sequence[Spec], select: Sequence[str], *, simulate: bool = False) -> list[Spec]:
    """Return the specs that meet all conditions of one text of `select`; all of them if it is empty.

    Conditions are separated by commas: tag:NAME, or state:NAME by the newest run of the spec, which is simulated
    with `simulate`. Raises UsageError for an invalid condition, or a tag that no spec has.
    """
    choices = [_parse_conditions(text) for text in select]
    known = {
        "tag": {tag for spec in specs for tag in spec.tags},
        "variant": {name for spec in specs for name in spec.variants},
    }
    for kind, name in (one for choice in choices for one in choice):
        if kind in known and name not in known[kind]:
            own = known[kind]
            those = f"their {kind}s are {', '.join(sorted(own))}" if own else f"none of them has `{kind}s`"
            raise UsageError(f"none of these specs has the {kind} {name!r}: {those}")
    return [spec for spec in specs if not choices or _is_selected(spec, choices, simulate=simulate)]


def load_specs(
    paths: Sequence[str | os.PathLike[str]], *, vars: Mapping[str, str], load: LoadSpec = load_spec
) -> list[Spec]:
    """Load specs, and all variants of those that have some. Raises InputError with the mistakes of all of them."""
    specs: list[Spec] = []
    problems: list[Problem] = []
    for path in paths:
        try:
            first = load(path, vars=vars)
        except InputError as error:
            problems += error.problems
            continue
        specs.append(first)
        for variant in first.variants[1:]:
            try:
                specs.append(load(path, vars=vars, variant=variant))
            except InputError as error:
                problems += error.problems
    if problems:
        raise InputError(list(dict.fromkeys(problems)))
    return specs


def check_unique_names(specs: Sequence[Spec]) -> None:
    """Raise InputError if two specs of a project have the same name: their runs could not be told apart."""
    first: dict[tuple[str, str], Spec] = {}
    problems = []
    for spec in specs:
        other = first.setdefault((os.path.realpath(spec.root), spec.name), spec)
        if other is not spec:
            problems.append(_describe_twin(spec, other))
    if problems:
        raise InputError(problems)


def check_only_owner(spec: Spec, store: Store) -> None:
    """Raise InputError if the newest run of a spec belongs to another file, which still has the same name."""
    newest = next(iter(store.runs(spec.name)), None)
    paths = [] if newest is None else [Path(newest.spec_path), spec.root / newest.spec_path]
    path = next((one for one in paths if one.exists()), None)
    if path is None or not spec.path.exists() or path.samefile(spec.path):
        return
    other, _ = read_spec(path)
    if other is not None and other.is_sound("name") and other.job == spec.job:
        raise InputError([_describe_twin(spec, other)])


def _describe_twin(spec: Spec, other: Spec) -> Problem:
    message = (
        f"name: {other.path} has the name {spec.job!r} too, so their runs cannot be told apart: rename one of them"
    )
    return spec.problem("name", message)


def _parse_conditions(text: str) -> list[_Condition]:
    """Return the conditions of one --select. Raises UsageError."""
    found = [_Condition(*one.strip().partition(":")[::2]) for one in text.split(",")]
    for kind, name in found:
        is_known = name in SELECTABLE_STATES if kind == "state" else kind in _NAMED and name
        if not is_known:
            kinds = ", ".join(
                [*(f"{kind}:NAME" for kind in _NAMED), *(f"state:{one}" for one in SELECTABLE_STATES)]
            )
            raise UsageError(f"{text!r} selects nothing: expected {kinds}, or several with commas")
    return found


def _is_selected(spec: Spec, choices: Sequence[Sequence[_Condition]], *, simulate: bool) -> bool:
    newest = None
    if any(one.kind == "state" for choice in choices for one in choice):
        newest = _find_newest_run(spec, simulate=simulate)
    return any(all(_meets(spec, newest, one) for one in choice) for choice in choices)


def _meets(spec: Spec, newest: "Summary | None", condition: _Condition) -> bool:
    if condition.kind == "variant":
        return condition.name == spec.variant
    return condition.name in spec.tags if condition.kind == "tag" else SELECTABLE_STATES[condition.name](newest)


def _find_newest_run(spec: Spec, *, simulate: bool) -> "Summary | None":
    """Return the summary of the newest run of a spec that was started, or None."""
    # Only a selection by state looks at runs.
    from runner.runs.project import find_output_root, find_state
    from runner.runs.summary import summarize_run
    from runner.store.open_store import open_store

    place = find_state(find_output_root(spec, simulate=simulate))
    if not place.exists:
        return None
    with open_store(place, lock=False) as store:
        started = (run for run in store.runs(spec.name) if run.state in ("running", "finished"))
        newest = next(started, None)
        return None if newest is None else summarize_run(store, newest)


def find_upstream(spec: Spec, others: Sequence[Spec]) -> Spec | None:
    """Return the spec among `others` whose outputs a spec reads, or None."""
    if spec.source.type != "run":
        return None
    options = spec.source.options
    wanted = os.path.realpath(spec.root / options.get("spec", "")), options.get("variant")
    return next((other for other in others if (os.path.realpath(other.path), other.variant) == wanted), None)


def sort_by_dependency(specs: Sequence[Spec]) -> list[Spec]:
    """Return the specs in their given order, but each after the one whose outputs it reads, if given."""
    done: dict[str, Spec] = {}

    def visit(spec: Spec) -> Iterator[Spec]:
        before = find_upstream(spec, specs)
        if before is not None and before.place not in done:
            yield from visit(before)
        yield spec

    for spec in specs:
        if spec.place not in done:
            done.update({one.place: one for one in visit(spec)})
    return list(done.values())
