"""Messages about an object store: what failed, where its URL is written, and what to do."""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from runner.errors import describe_os_error

_GUIDE = "see `When machines come and go` in specs/README.md"
# What is said of errors that the same command would meet again, by what the store or its client says.
_REMEDIES = {
    re.compile("token request"): f"set its credentials ({_GUIDE}), or correct {{origin}}",
    re.compile("NoSuchBucket|ContainerNotFound|bucket does not exist"): "make it, or correct {origin}",
    re.compile(
        "AccessDenied|PermissionDenied|Unauthenticated|403 Forbidden|401 Unauthorized|InvalidAccessKeyId"
    ): f"allow it to these credentials ({_GUIDE}), or correct {{origin}}, and run the command again",
}
_LOCAL_REMEDIES = {
    re.compile(r"os error (1|13|17|20|30)\b|Permission"): "allow it with chmod or chown, or correct {origin}",
}
# Each takes the URL of a folder.
_DELETE_COMMANDS = {"s3": "aws s3 rm --recursive", "gs": "gcloud storage rm --recursive"}
# An error of S3 is a line about the request, then a document.
_CODE, _MESSAGE = re.compile("<Code>(.*?)</Code>"), re.compile("<Message>(.*?)</Message>")


def local_folder(url: str) -> Path:
    """Return the folder that a URL with `file://` names."""
    return Path(unquote(urlsplit(url).path))


def _is_local(url: str) -> bool:
    return url.startswith("file://")


def _describe(error: Exception) -> str:
    """Return what a store said, without the request, the retries and the internals of the client."""
    if isinstance(error, OSError) and error.strerror:
        return describe_os_error(error)
    text = str(error)
    code, message = _CODE.search(text), _MESSAGE.search(text)
    if code is not None and message is not None:
        return f"{code[1]}: {message[1]}"
    return text.partition("\n")[0].rpartition(" - ")[2][:200] or type(error).__name__


def describe_failure(url: str, origin: str, error: Exception) -> str:
    """Return the message about a failed request: correct something if the same command would fail again."""
    text = f"{type(error).__name__} {error}"
    rules = _LOCAL_REMEDIES if _is_local(url) else _REMEDIES
    found = next((remedy for pattern, remedy in rules.items() if pattern.search(text)), None)
    remedy = "nothing is lost: run the command again" if found is None else found.format(origin=origin)
    return f"{url} cannot be used: {_describe(error)}; {remedy}"


def describe_unusable_url(url: str, origin: str, error: Exception) -> str:
    """Return the message about a URL for which no client can be made."""
    credentials = "" if _is_local(url) else f", or its credentials ({_GUIDE})"
    return f"{url} cannot be used: {_describe(error)}; correct {origin}{credentials}"


def describe_undeleted(url: str, error: Mapping[str, str]) -> str:
    """Return the message about a version of a file that S3 keeps."""
    return f"{url}: a version of {error.get('Key')} cannot be deleted: {error.get('Code')}: {error.get('Message')}"


def describe_deletion(url: str) -> str:
    """Return how a person deletes the files below the URL of a folder."""
    if _is_local(url):
        return f"delete them with `rm -r {shlex.quote(str(local_folder(url)))}`"
    command = _DELETE_COMMANDS.get(url.partition("://")[0])
    return f"delete all below {url}" if command is None else f"delete them with `{command} {shlex.quote(url)}`"
