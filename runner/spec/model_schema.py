"""The JSON schema of a pydantic model, or of another Python type, that a spec names as `module:Model`."""

import importlib
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_REFERENCE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


def is_model_reference(written: str) -> bool:
    """Return whether a schema is written as `module:Model`, and not as the path of a file."""
    return _REFERENCE.fullmatch(written) is not None


def load_model_schema(reference: str, root: Path) -> dict[str, Any]:
    """Return the JSON schema of a type; its module is found from `root`, the project, too.

    The type can be a pydantic model, a dataclass, a TypedDict, or any other that pydantic knows. Raises ValueError
    if its module cannot be imported, or if it has no schema.
    """
    from pydantic import TypeAdapter
    from pydantic.errors import PydanticInvalidForJsonSchema, PydanticSchemaGenerationError, PydanticUserError

    module, _, names = reference.partition(":")
    with _importing_from(root):
        try:
            found: Any = importlib.import_module(module)
        # The module is the user's own code, which may raise anything.
        except Exception as error:
            what = " ".join(str(error).split())
            raise ValueError(f"cannot import {module}: {type(error).__name__}: {what}") from error
    try:
        for name in names.split("."):
            found = getattr(found, name)
        return TypeAdapter(found).json_schema()
    except AttributeError as error:
        raise ValueError(f"{module} has no {names}") from error
    except (PydanticSchemaGenerationError, PydanticInvalidForJsonSchema, PydanticUserError) as error:
        raise ValueError(f"{names} has no JSON schema: {str(error).splitlines()[0]}") from error


@contextmanager
def _importing_from(root: Path) -> Iterator[None]:
    sys.path.insert(0, str(root))
    try:
        yield
    finally:
        sys.path.remove(str(root))
