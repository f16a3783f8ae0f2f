"""The spec of a pilot: a sample of the rows of a job, with outputs of its own."""

from collections.abc import Iterator
from dataclasses import replace

from runner.spec.marked_places import FILE_SINKS, insert_mark
from runner.spec.spec import Pilot, Sink, Spec


def make_pilot_spec(spec: Spec, pilot: Pilot, *, is_sync: bool = False) -> Spec:
    """Return the spec of a pilot of a job; with `is_sync` its requests are sent at once."""
    mode = "sync" if is_sync else spec.mode
    own = replace(spec, source=replace(spec.source, pilot=pilot), pilot=None, canary=0, mode=mode)
    return with_pilot_sinks(own)


def with_pilot_sinks(spec: Spec) -> Spec:
    """Return a spec whose files are written beside those of the job, and whose tables are not written."""
    manifest, report = (None if one is None else insert_mark(one, "pilot") for one in (spec.manifest, spec.report))
    return replace(spec, sinks=tuple(_make_pilot_sinks(spec)), manifest=manifest, report=report)


def _make_pilot_sinks(spec: Spec) -> Iterator[Sink]:
    for sink in spec.sinks:
        for name in ("path", "url"):
            if sink.type in FILE_SINKS and name in sink.options:
                place = insert_mark(str(sink.options[name]), "pilot")
                yield replace(sink, options={**sink.options, name: place})
