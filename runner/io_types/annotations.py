"""Annotations for the settings of sources and sinks: plain types with keywords of JSON Schema.

A setting is a keyword parameter, such as `path: NonEmpty` or `size: Annotated[int, keywords(minimum=1)]`.
"""

from typing import Annotated, Any


def keywords(**values: Any) -> tuple[tuple[str, Any], ...]:
    """Return keywords of JSON Schema as metadata of `Annotated`; it is hashable, because annotations must be."""
    return tuple(values.items())


NOT_A_SETTING = keywords(readOnly=True)
"""Metadata of a parameter that the runner provides, and that a spec cannot set."""


NonEmpty = Annotated[str, keywords(minLength=1)]


Delimiter = Annotated[
    str,
    keywords(
        pattern='^[^"\r\n\0]$',
        patternErrorMessage="expected one character that is not a quote or a line break",
        description="Character between two fields.",
    ),
]


DatabaseUrl = Annotated[
    str,
    keywords(
        pattern="^[A-Za-z][A-Za-z0-9+_]*://.+$",
        patternErrorMessage="expected a database URL such as postgresql://user@host/name",
        examples=("postgresql://user:${env:PASSWORD}@host/name",),
    ),
]


InputPath = Annotated[
    str,
    keywords(
        minLength=1,
        description="Input file, relative to the project root, or a URL (`s3://`, `gs://`, `az://`, `https://`). "
        "A glob (`*`, `**`) reads all matches in name order. `.gz`, `.bz2`, `.xz` and `.zst` files are "
        "decompressed; `-` is standard input.",
    ),
]


SeekablePath = Annotated[
    str,
    keywords(
        minLength=1,
        description="Input file, relative to the project root, or a URL (`s3://`, `gs://`, `az://`, `https://`). "
        "A glob (`*`, `**`) reads all matches in name order.",
    ),
]
"""A path for libraries that seek in the file: neither standard input nor compressed by its suffix."""
