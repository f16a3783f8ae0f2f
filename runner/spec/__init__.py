"""Load a YAML file as a checked, frozen Spec, or report all of its mistakes with their places."""

from runner.spec.check import schema_text, suggest
from runner.spec.document import parse
from runner.spec.load import fingerprint, from_record, load_spec, project_root, resumed
from runner.spec.secrets import without_password
from runner.spec.spec import (
    Batch,
    Block,
    Check,
    Content,
    Limits,
    Output,
    Prompt,
    Retry,
    Sink,
    Source,
    Spec,
    Sync,
    Turn,
    block_place,
)

__all__ = [
    "Batch",
    "Block",
    "Check",
    "Content",
    "Limits",
    "Output",
    "Prompt",
    "Retry",
    "Sink",
    "Source",
    "Spec",
    "Sync",
    "Turn",
    "block_place",
    "fingerprint",
    "from_record",
    "load_spec",
    "parse",
    "project_root",
    "resumed",
    "schema_text",
    "suggest",
    "without_password",
]
