"""Read a spec as far as it is sound, with all its mistakes, and the files that it names."""

import glob
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

from runner.errors import InputError, Problem
from runner.files.data_types import is_data
from runner.files.regular import read_regular_file
from runner.spec.build import build_output, build_settings, build_source
from runner.spec.cross_field import check_cross_fields, find_home_paths
from runner.spec.given_spec import encode_given, finish_mapping, given_path, is_given, without_lines
from runner.spec.output_schema import find_params_mistakes, find_schema_positions, load_output_schema
from runner.spec.repair.document import RepairedDocument, format_path, repair_document
from runner.spec.spec import Spec
from runner.spec.spec_files import find_project_root
from runner.spec.variants import choose_variant, make_variant
from runner.spec.yaml.document import read_yaml

_MAX_SUGGESTED = 8

_ALLOW_COMMENT = re.compile(r"#\s*runner:\s*allow\s+([a-z0-9_-]+(?:[\s,]+[a-z0-9_-]+)*)")


def _find_allowed_rules(text: str) -> dict[int, tuple[str, ...]]:
    """Return the rules that comments allow, by line; a comment on its own line is for the next YAML line."""
    found: dict[int, tuple[str, ...]] = {}
    waiting: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        match = _ALLOW_COMMENT.search(line)
        names = tuple(re.split(r"[\s,]+", match[1])) if match else ()
        if line.lstrip().startswith("#"):
            waiting += names
        elif line.strip():
            found[number], waiting = (*waiting, *names), ()
    return {number: names for number, names in found.items() if names}


def _find_non_text_vars(vars: Mapping[str, str]) -> Iterator[str]:
    for name, value in vars.items():
        try:
            value.encode()
        except UnicodeEncodeError:
            yield name


def _suggest_spec(path: Path) -> str:
    """Return which specs there are in place of one that does not exist: the nearest, or all."""
    folders = dict.fromkeys([path.parent, Path(), Path("specs")])
    found = [one for folder in folders for one in sorted(folder.glob("*.yaml"))]
    known = [str(one) for one in found if not one.name.startswith(".")]
    near = get_close_matches(path.stem, [Path(one).stem for one in known], n=1, cutoff=0.6)
    if near:
        return f"did you mean {next(one for one in known if Path(one).stem == near[0])!r}?"
    more = f" and {len(known) - _MAX_SUGGESTED} more" if len(known) > _MAX_SUGGESTED else ""
    shown = ", ".join(known[:_MAX_SUGGESTED])
    return f"there are {shown}{more}" if known else "there are no .yaml files here or in specs/"


def _find_steps(repaired: RepairedDocument, at: str) -> tuple[str | int, ...]:
    return next(steps for steps in repaired.document.positions if format_path(steps) == at)


def _check_parts(repaired: RepairedDocument, path: Path, root: Path) -> dict[str, Any] | None:
    """Note what the JSON schema of a spec cannot express, and return the output schema, if there is one."""
    for at, message, meant in list(find_home_paths(repaired.value)):
        steps = _find_steps(repaired, at)
        remedy = message.partition(": write ")[2]
        repaired.note((), Problem(str(path), message, *repaired.document.positions[steps], f"write {remedy}"))
        repaired.set_value(steps, meant)
    for at, message in list(check_cross_fields(repaired.value, path, root)):
        steps = _find_steps(repaired, at)
        repaired.note(steps, Problem(str(path), message, *repaired.document.positions[steps]))
    repaired.note_problems(list(find_params_mistakes(repaired.document, str(path))))
    schema = None
    if "output.schema" not in repaired.broken:
        schema, found = load_output_schema(repaired.document, str(path), root)
        unusable: tuple[str, ...] = ("output", "schema") if schema is None else ()
        repaired.note_problems((unusable, problem) for problem in found)
    return {} if "output.schema" in repaired.broken else schema


def _find_upstream(repaired: RepairedDocument, path: Path, chain: tuple[Path, ...]) -> str | None:
    """Return the outputs file of the spec that a run source names, or None."""
    if repaired.value["source"]["type"] != "run":
        return None
    place = repaired.document.positions["source", "spec"]
    output, problems = _find_upstream_output(repaired.value["source"], path, str(path), place, chain)
    repaired.note_problems((("source",), problem) for problem in problems)
    return output


def _find_upstream_output(
    source: dict[str, Any], path: Path, shown: str, place: tuple[int, int], chain: tuple[Path, ...]
) -> tuple[str | None, list[Problem]]:
    """Return the outputs file of the spec that a run source names, or None, and the mistakes."""
    root, named, rows = find_project_root(path), source["spec"], source.get("rows", "succeeded")
    chain, other = (*chain, Path(os.path.realpath(path))), Path(os.path.realpath(root / named))
    if other in chain:
        names = " → ".join(one.name for one in (*chain, other))
        return None, [Problem(shown, f"source.spec: the specs refer to each other in a circle: {names}", *place)]
    wanted = source.get("variant")
    upstream, problems = read_spec(root / named, chain=chain, variant=wanted)
    if upstream is None or problems:
        return None, problems
    if upstream.variants and wanted is None:
        message = f"source.spec: {named} has variants: name one of them as `variant: {upstream.variants[0]}`"
        return None, [Problem(shown, message, *place)]
    if upstream.root != root:
        return None, [Problem(shown, f"source.spec: {named} belongs to another project, {upstream.root}", *place)]
    fitting = [sink for sink in upstream.sinks if sink.type == "jsonl" and sink.columns is None]
    fitting = [sink for sink in fitting if sink.rows in ("all", rows) and "://" not in sink.options["path"]]
    if not fitting:
        message = (
            f"source.spec: {named} needs a jsonl sink on this machine, without `columns`, "
            f"whose `rows` is all or {rows}"
        )
        return None, [Problem(shown, message, *place)]
    written = str(fitting[0].options["path"])
    return f"{glob.escape(written)}/part-*.jsonl" if fitting[0].has_parts else written, []


def _check_vars(value: dict[str, Any], vars: Mapping[str, str]) -> list[Problem]:
    """Return the mistakes of variables given on the command line."""
    unknown = set(vars) - set(value.get("vars", ()))
    problems = [Problem("--var", f"the spec has no variable {name!r} under `vars`") for name in sorted(unknown)]
    return problems + [
        Problem("--var", f"the value of {name} is not UTF-8 text") for name in sorted(_find_non_text_vars(vars))
    ]


def read_spec(
    path: str | os.PathLike[str],
    *,
    vars: Mapping[str, str] | None = None,
    variant: str | None = None,
    chain: tuple[Path, ...] = (),
    data: bytes | None = None,
) -> tuple[Spec | None, list[Problem]]:
    """Read a YAML spec, and the output schema or spec that it names, and return it with all its mistakes.

    The parts at fault are replaced by neutral ones and listed in `broken`. The spec is None if it cannot be read
    at all. `vars` override its own. If it has variants, it is the one that is named `variant`, by default the
    first. `chain` holds the specs that refer to this one. `data` is its text if it is not in a file.
    """
    path, shown, vars = Path(path), str(path), vars or {}
    try:
        if data is None and is_data(shown) and path.is_file():
            remedy = f"`runner init --from {shlex.quote(shown)}` writes a spec for it"
            return None, [Problem(shown, f"this is a data file, and no spec: {remedy}", remedy=remedy)]
        data = read_regular_file(path) if data is None else data
        document, mistakes = read_yaml(data, path=shown)
        document, variants, misplaced = choose_variant(document, variant, shown)
        repaired = repair_document(document, [*mistakes, *misplaced], vars=vars, path=shown)
    except OSError as error:
        remedy = _suggest_spec(path) if isinstance(error, FileNotFoundError) else ""
        message = f"cannot read the spec: {error.strerror}{remedy and f': {remedy}'}"
        return None, [Problem(shown, message, remedy=remedy)]
    except InputError as error:
        return None, list(error.problems)
    root = find_project_root(path)
    schema = _check_parts(repaired, path, root)
    output = _find_upstream(repaired, path, chain)
    repaired.note_problems(((), problem) for problem in _check_vars(repaired.value, vars))
    value, document = repaired.value, repaired.document
    spec = Spec(
        path=path,
        root=root,
        source=replace(build_source(value["source"]), output=output),
        vars={**value.get("vars", {}), **vars},
        output=build_output(value, schema),
        allow_at=_find_allowed_rules(data.decode("utf-8-sig")),
        key_lines={format_path(at): line for at, (line, _) in document.keys.items()},
        positions={format_path(at): place for at, place in document.positions.items()},
        broken=frozenset(repaired.broken),
        schema_positions=find_schema_positions(value.get("output", {}).get("schema"), root),
        **build_settings(value),
    )
    if variants:
        spec, unusable = make_variant(spec, variant or variants[0], variants)
        repaired.note_problems(((), problem) for problem in unusable)
    return spec, sorted(repaired.problems, key=lambda problem: (problem.path, problem.line, problem.column))


def load_spec(
    spec: str | os.PathLike[str] | Mapping[str, Any],
    *,
    vars: Mapping[str, str] | None = None,
    root: str | os.PathLike[str] | None = None,
    variant: str | None = None,
) -> Spec:
    """Read and check a spec, and the output schema or spec that it names; `vars` override its own.

    If it has variants, it is the one that is named `variant`, by default the first.
    A spec is the path of a YAML file, YAML text of several lines, or a mapping. Paths in a text or mapping are
    relative to the project of the folder `root`, by default the working folder. A mapping needs neither `version`
    nor `sinks`, and its `source` has the type `rows` if it names none. Raises InputError with every mistake and
    its line and column.
    """
    if isinstance(spec, Mapping) or is_given(spec):
        path, data = given_path(root), encode_given(cast(Mapping[str, Any] | str, spec))
    else:
        path, data = Path(spec), None
    loaded, problems = read_spec(path, vars=vars, variant=variant, data=data)
    if isinstance(spec, Mapping):
        problems = without_lines(problems, path)
    if loaded is None or problems:
        raise InputError(problems)
    return finish_mapping(loaded, spec) if isinstance(spec, Mapping) else loaded
