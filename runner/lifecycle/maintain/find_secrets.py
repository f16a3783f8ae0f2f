"""Find what others must not see in a state folder: files that they can read, and API keys."""

import re
import stat
from collections.abc import Iterator
from pathlib import Path

# The shape of an API key; the state must not contain any.
_API_KEY = re.compile(rb"sk-ant-[A-Za-z0-9_-]{20,}")
_BLOCK_BYTES = 1 << 20


def check_permissions(folder: Path) -> Iterator[str]:
    """Yield files and folders that other users can read.

    Checked first, because opening the state makes its folder private.
    """
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink() and stat.S_IMODE(path.stat().st_mode) & 0o077:
            yield f"{path} can be read by other users: run `chmod go= {path}`"


def find_api_keys(folder: Path) -> Iterator[str]:
    """Yield files that contain what looks like an API key."""
    for path in folder.rglob("*"):
        if path.is_file() and "simulator" not in path.parts and _holds_key(path):
            yield f"{path} contains what looks like an API key: replace the key unless it comes from your rows"


def _holds_key(path: Path) -> bool:
    rest = b""
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            if _API_KEY.search(rest + block):
                return True
            rest = block[-100:]
    return False
