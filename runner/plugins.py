"""Names for packages that add types of sources and sinks.

A source is a function of an `Inputs` that yields (path, line, fields) for each row. A sink is a context manager
of a `Destination` and its columns; it yields a function that writes the values of one row. Their keyword
parameters are the settings in a spec. `SourceType` and `SinkType` state more about a type, for example the extra
that it needs.
"""

from runner.io_types.annotations import DatabaseUrl, InputPath, NonEmpty, SeekablePath, keywords
from runner.io_types.limits import TextLimit
from runner.io_types.types import SinkType, SourceType
from runner.sinks.destination import Destination
from runner.sources.input_files import Inputs

__all__ = [
    "DatabaseUrl",
    "Destination",
    "InputPath",
    "Inputs",
    "NonEmpty",
    "SeekablePath",
    "SinkType",
    "SourceType",
    "TextLimit",
    "keywords",
]
