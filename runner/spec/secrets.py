"""URLs without what is secret in them: passwords, and parameters that are as good as one."""

import re

# Greedy, since a password may hold any sign: what is hidden too much does no harm.
_USER = re.compile(r"(://[^:/?]*):.*@", re.DOTALL)
_PARAMETER = re.compile(
    r"([?&;][^=&;]*(?:pass|pwd|secret|token|sig|key|credential|odbc)[^=&;]*=)[^&;]*", re.IGNORECASE
)


def without_password(url: str) -> str:
    """A URL, or a text with one, without the passwords in it."""
    if "://" not in url:
        return url
    return _PARAMETER.sub(r"\1…", _USER.sub(r"\1@", url))
