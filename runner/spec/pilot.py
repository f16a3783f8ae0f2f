"""The spec of a pilot: a sample of the rows of a job, with outputs of its own."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePosixPath

from runner.spec.spec import Pilot, Sink, Spec

_FILE_SINKS = ("csv", "jsonl", "parquet", "xlsx", "files")
_DOUBLE_SUFFIXES = (".gz", ".zst", ".bz2", ".xz")


def make_pilot_spec(spec: Spec, pilot: Pilot, *, is_sync: bool = False) -> Spec:
    """Return the spec of a pilot of a job; with `is_sync` its requests are sent at once."""
    mode = "sync" if is_sync else spec.mode
    own = replace(spec, source=replace(spec.source, pilot=pilot), pilot=None, canary=0, mode=mode)
    return with_pilot_sinks(own)


def with_pilot_sinks(spec: Spec) -> Spec:
    """Return a spec whose files are written beside those of the job, and whose tables are not written."""
    return replace(spec, sinks=tuple(_make_pilot_sinks(spec)))


def _make_pilot_sinks(spec: Spec) -> Iterator[Sink]:
    for sink in spec.sinks:
        for name in ("path", "url"):
            if sink.type in _FILE_SINKS and name in sink.options:
                place = _insert_mark(str(sink.options[name]))
                yield replace(sink, options={**sink.options, name: place})


def _insert_mark(place: str) -> str:
    """Return `out/labels.pilot.csv` for `out/labels.csv`."""
    folder, slash, name = place.rpartition("/")
    path = PurePosixPath(name)
    suffix = "".join(path.suffixes[-2:]) if path.suffix in _DOUBLE_SUFFIXES else path.suffix
    return f"{folder}{slash}{name.removesuffix(suffix)}.pilot{suffix}"
