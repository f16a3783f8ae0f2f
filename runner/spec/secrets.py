"""Removal of secrets from URLs: passwords, and query parameters that may hold one."""

import re

# Greedy, because a password may contain any character: hiding too much does no harm.
_USER = re.compile(r"(://[^:/?]*):.*@", re.DOTALL)
_PARAMETER = re.compile(
    r"([?&;][^=&;]*(?:pass|pwd|secret|token|sig|key|credential|odbc)[^=&;]*=)[^&;]*", re.IGNORECASE
)


def without_password(url: str) -> str:
    """Return a URL, or a text that contains one, without its passwords and secret parameters."""
    if "://" not in url:
        return url
    return _PARAMETER.sub(r"\1…", _USER.sub(r"\1@", url))
