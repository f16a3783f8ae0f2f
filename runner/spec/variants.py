"""Make each variant of a spec out of its file: the same rows with other params or prompts, and its own outputs."""

import re
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from typing import Any

from runner.errors import InputError, Problem
from runner.spec.marked_places import FILE_SINKS, insert_mark
from runner.spec.schema_errors import suggest_similar
from runner.spec.spec import Sink, Spec
from runner.spec.variant_names import join_name
from runner.spec.yaml.document import Document, Path

SETTING = r"^((params|prompt)\.[^.]+(\.[^.]+)*|output\.enforce|betas)$"
"""The dotted paths of the settings that a variant can replace, as in schema.json."""


def choose_variant(
    document: Document, wanted: str | None, path: str
) -> tuple[Document, tuple[str, ...], list[tuple[Path, Problem]]]:
    """Return the document of a variant, by default the first, the names of all, and the mistakes in its settings.

    There are no names if the document has no variants. Raises InputError if it does not have the wanted one.
    """
    written = document.value.get("variants") if isinstance(document.value, dict) else None
    named = written if isinstance(written, dict) else {}
    if wanted is not None and wanted not in named:
        line, column = document.positions.get(("variants",), (0, 0))
        message = f"variants: there is no variant {wanted!r}: {suggest_similar(wanted, named)}"
        raise InputError([Problem(path, message, line, column)])
    if not named:
        return document, (), []
    name = wanted or next(iter(named))
    changed, mistakes = _Override(document, ("variants", name), path), list(_find_twins(document, named, path))
    settings = named[name]
    for setting, value in settings.items() if isinstance(settings, dict) else ():
        # What cannot be replaced is reported where it is written, by the JSON schema of a spec.
        if not re.search(SETTING, setting):
            continue
        if (problem := changed.set(setting, value)) is not None:
            mistakes.append((("variants", name, setting), problem))
    return changed.document, tuple(named), mistakes


def _find_twins(document: Document, named: dict[str, Any], path: str) -> Iterator[tuple[Path, Problem]]:
    """Yield the mistakes of variants that are the same as an earlier one."""
    names = list(named)
    for index, name in enumerate(names):
        twin = next((one for one in names[:index] if (named[one] or {}) == (named[name] or {})), None)
        if twin is not None:
            at: Path = ("variants", name)
            message = f"variants.{name}: it is the same as {twin}: change a setting, or remove it"
            yield at, Problem(path, message, *document.positions[at])


class _Override:
    """A copy of a document in which settings are replaced by those of a variant, with their places."""

    def __init__(self, document: Document, at: Path, path: str) -> None:
        self._at, self._path = at, path
        own = {"positions": dict(document.positions), "keys": dict(document.keys)}
        self.document = replace(document, value=deepcopy(document.value), **own)

    def set(self, setting: str, value: Any) -> Problem | None:
        """Replace the value at a dotted path; null removes it. Return the mistake if there is no such place."""
        *before, last = setting.split(".")
        origin: Path = (*self._at, setting)
        steps: Path = ()
        parent: Any = self.document.value
        for index, written in enumerate(before, 1):
            step = _to_step(parent, written)
            steps = (*steps, step)
            if isinstance(parent, dict) and step not in parent and not [*before, last][index].isdecimal():
                parent[step] = {}
                for places in (self.document.positions, self.document.keys):
                    places[steps] = places[origin]
            if not _has_place(parent, step):
                return self._describe_missing(setting, origin)
            parent = parent[step]
        step = _to_step(parent, last)
        if not isinstance(parent, dict) and not _has_place(parent, step):
            return self._describe_missing(setting, origin)
        self._move_places((*steps, step), origin)
        if value is not None:
            parent[step] = value
        elif isinstance(parent, dict):
            parent.pop(step, None)
        return None

    def _move_places(self, steps: Path, origin: Path) -> None:
        """Let the place of a setting be the one where the variant writes it."""
        for places in (self.document.positions, self.document.keys):
            for old in [at for at in places if at[: len(steps)] == steps]:
                del places[old]
            for at in [at for at in places if at[: len(origin)] == origin]:
                places[steps + at[len(origin) :]] = places[at]

    def _describe_missing(self, setting: str, origin: Path) -> Problem:
        message = f"{'.'.join(map(str, self._at))}: there is nothing at {setting} that could be replaced"
        return Problem(self._path, message, *self.document.positions[origin])


def _to_step(parent: Any, written: str) -> str | int:
    """Return a step of a dotted path: the index of an item in a list, else a key."""
    return int(written) if isinstance(parent, list) and written.isdecimal() else written


def _has_place(parent: Any, step: str | int) -> bool:
    if isinstance(parent, dict):
        return step in parent
    return isinstance(parent, list) and isinstance(step, int) and step < len(parent)


def make_variant(spec: Spec, variant: str, variants: tuple[str, ...]) -> tuple[Spec, list[Problem]]:
    """Return a variant of a spec, with outputs beside those of the others, and the mistakes in its sinks."""
    problems = list[Problem]()
    sinks = tuple(_make_sinks(spec, variant, problems))
    if spec.is_sound("source") and spec.source.path == "-" and len(variants) > 1:
        message = "source.path: standard input can be read only once, and variants read it once each: use a file"
        problems.append(spec.problem("source.path", message))
    manifest, report = (None if one is None else insert_mark(one, variant) for one in (spec.manifest, spec.report))
    named = replace(spec, name=join_name(spec.name, variant), variants=variants)
    return replace(named, sinks=sinks, manifest=manifest, report=report), problems


def _make_sinks(spec: Spec, variant: str, problems: list[Problem]) -> Iterator[Sink]:
    for index, sink in enumerate(spec.sinks):
        places = [name for name in ("path", "url") if name in sink.options]
        if sink.type in FILE_SINKS and places:
            options = dict(sink.options)
            options.update((name, insert_mark(str(sink.options[name]), variant)) for name in places)
            yield replace(sink, options=options)
        elif sink.type == "sql":
            yield replace(sink, options={**sink.options, "table": f"{sink.options['table']}_{variant}"})
        else:
            if spec.is_sound(f"sinks.{index}"):
                message = (
                    f"sinks.{index}.type: {sink.type} cannot write an output for each variant: use another sink"
                )
                problems.append(spec.problem(f"sinks.{index}.type", message))
            yield sink
