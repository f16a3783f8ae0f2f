"""Removal of secrets from URLs: passwords, and query parameters that may hold one."""

import re

# Greedy, because a password may contain any character: hiding too much does no harm.
_URL_PASSWORD = re.compile(r"(://[^:/?]*):.*@", re.DOTALL)


_SECRET_PARAMETER = re.compile(
    r"([?&;][^=&;]*(?:pass|pwd|secret|token|sig|key|credential|odbc)[^=&;]*=)[^&;]*", re.IGNORECASE
)


def redact_passwords(url: str) -> str:
    """Return a URL, or a text that contains one, without its passwords and secret parameters."""
    if "://" not in url:
        return url
    return _SECRET_PARAMETER.sub(r"\1…", _URL_PASSWORD.sub(r"\1@", url))
