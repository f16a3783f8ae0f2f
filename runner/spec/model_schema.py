"""The JSON schema of a pydantic model, or of another Python type, that a spec names as `module:Model`."""

import importlib
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

_REFERENCE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


def is_model_reference(written: str) -> bool:
    """Return whether a schema is written as `module:Model`, and not as the path of a file."""
    return _REFERENCE.fullmatch(written) is not None


def load_model_schema(reference: str, root: Path) -> dict[str, Any]:
    """Return the JSON schema of a type; its module is found from `root`, the project, too.

    The type can be a pydantic model, a dataclass, a TypedDict, or any other that pydantic knows. What its module
    prints goes to stderr. Raises ValueError if its module cannot be imported, or if it has no schema.
    """
    from pydantic import TypeAdapter

    module, _, names = reference.partition(":")
    with _importing_from(root), redirect_stdout(sys.stderr):
        # The module is the user's own code, which may raise anything, and exit.
        try:
            found: Any = importlib.import_module(module)
        except (Exception, SystemExit) as error:
            raise ValueError(f"cannot import {module}: {_describe(error)}") from error
        _check_origin(found, module.partition(".")[0], root)
        try:
            for name in names.split("."):
                found = getattr(found, name)
        except AttributeError as error:
            raise ValueError(f"{module} has no {names}") from error
        try:
            return TypeAdapter(found).json_schema()
        except (Exception, SystemExit) as error:
            raise ValueError(f"{names} has no JSON schema: {_describe(error)}") from error


def _describe(error: BaseException) -> str:
    """Return the kind of an error, and the first paragraph of its message, in one line."""
    what = " ".join(str(error).partition("\n\n")[0].split())
    return f"{type(error).__name__}: {what}"


def _check_origin(module: ModuleType, name: str, root: Path) -> None:
    """Raise ValueError if the project has a module of this name, and another one was imported."""
    own = [path for path in (root / f"{name}.py", root / name / "__init__.py") if path.is_file()]
    if own and not _is_own(module, name, root):
        raise ValueError(
            f"{name} is already the name of another module, {getattr(module, '__file__', None) or 'of Python'}: "
            f"rename {own[0]}, and write its new name"
        )


def _is_own(module: ModuleType, name: str, root: Path) -> bool:
    """Return whether a module belongs to the file or folder of this name in the project's own folder."""
    file = getattr(module, "__file__", None)
    places = [file] if file else list(getattr(module, "__path__", ()))
    folder = root.absolute()
    own = (folder / f"{name}.py", folder / name)
    return any(Path(place).absolute().is_relative_to(one) for place in places for one in own)


@contextmanager
def _importing_from(root: Path) -> Iterator[None]:
    """Import from a project too, and then forget its modules: other projects have modules of the same names."""
    before, path = dict(sys.modules), list(sys.path)
    sys.path.insert(0, str(root))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = path
        for name, module in list(sys.modules.items()):
            top = name.partition(".")[0]
            if top not in before and isinstance(module, ModuleType) and _is_own(module, top, root):
                del sys.modules[name]
