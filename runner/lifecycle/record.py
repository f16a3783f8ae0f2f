"""What a run was started with: written once, compared and read back ever after."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

import msgspec

from runner.errors import StateError
from runner.prompt import Templates
from runner.sources import InputFile, digest
from runner.spec import Spec, fingerprint
from runner.store import Run, Store


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a run was started with: `spec.json` of its folder.

    `record` is the spec's (see `Spec.record`), `templates` the files of prompts/, `limit` the most rows, and
    `types` JSON schemas of the columns of the source that it knows the types of.
    """

    record: dict[str, Any]
    templates: dict[str, str]
    limit: int | None
    inputs: list[InputFile]
    types: dict[str, Any] = field(default_factory=dict)

    def fingerprint(self) -> str:
        """The digest of all that was written by a person; input files are compared by themselves."""
        return fingerprint({"record": self.record, "templates": self.templates, "limit": self.limit})


def recorded(store: Store, run: Run) -> Recorded:
    """Read back what a run was started with. Raises StateError."""
    try:
        written = store.folder(run).spec.read_bytes()
        found = msgspec.json.decode(written, type=Recorded)
        is_same = hashlib.sha256(written).hexdigest() == run.spec_sha256 or run.spec_sha256 is None
        if not is_same or found.fingerprint() != run.fingerprint or found.record["name"] != run.spec:
            raise ValueError("it is not what was written")
        return found
    except (OSError, ValueError) as error:
        raise StateError(
            f"the record of run {run.id} is damaged: {store.folder(run).spec}: "
            f"{getattr(error, 'strerror', error)}; restore it, or let `runner purge {run.id}` forget the run if "
            "it has ended"
        ) from error


def record(spec: Spec, templates: Templates, limit: int | None) -> Recorded:
    """What a run of a spec is started with, before its inputs are read."""
    return Recorded(spec.record(), templates.files(), limit, [])


def origin(spec: Spec, start: Recorded) -> str:
    """A digest of what a run is made of: what its id tells of it. With a limit the input is not read for it."""
    is_limited = start.limit is not None or spec.source.limit is not None
    inputs = "" if is_limited or spec.source.is_query else digest(spec.root, spec.source.path)
    return hashlib.sha256(f"{start.fingerprint()} {inputs}".encode()).hexdigest()
