"""Variables from .env files: `--env-file`, and `.env` beside a spec or in its project; none overrides another."""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from runner.cli.echo import echo_text
from runner.errors import UsageError

R = TypeVar("R")

_KEYS, _AWS_KEYS = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"), ("ANTHROPIC_AWS_API_KEY",)
# They decide where credentials are sent, or who can read them on their way; and the keys that they can be for.
# Other credentials of AWS and Google Cloud are in no such file, and a configuration can name programs to run.
_REDIRECTING = {
    (_BASE_URL := r"ANTHROPIC_(BASE_URL|CUSTOM_HEADERS)|\w+_PROXY|SSL_CERT_(FILE|DIR)"): _KEYS,
    r"ANTHROPIC_AWS_BASE_URL": _AWS_KEYS,
    r"ANTHROPIC_GOOGLE_CLOUD_BASE_URL|GOOGLE_(APPLICATION_CREDENTIALS|EXTERNAL_ACCOUNT\w*)|GCE_METADATA_\w+": (),
    r"CLOUDSDK_(CONFIG|CONTEXT_AWARE_\w+)|GOOGLE_API_CERTIFICATE_CONFIG": (),
    r"AWS_(ENDPOINT_URL\w*|CONFIG_FILE|SHARED_CREDENTIALS_FILE|DATA_PATH)|(AWS|REQUESTS|CURL)_CA_BUNDLE": (),
    r"AWS_(WEB_IDENTITY_TOKEN_FILE|CONTAINER_\w+|EC2_METADATA_SERVICE_\w+)": (),
    # They let other code into the processes that are started.
    r"(LD|DYLD)_\w+|PYTHON\w+": (),
}
# A file may name a collector, unless the environment has headers, which can hold a key, that would go there.
_COLLECTOR = r"OTEL_EXPORTER_OTLP_\w*(ENDPOINT|CERTIFICATE)"
_COLLECTOR_KEYS = tuple(f"OTEL_EXPORTER_OTLP_{signal}HEADERS" for signal in ("", "TRACES_", "METRICS_"))
_ORIGINS = "runner.cli.env_files"


def _find_env_files(targets: Iterator[Path]) -> list[Path]:
    """Return each `.env` beside a spec and in its project; without a spec, that of the project around us."""
    from runner.spec.spec_files import find_project_root

    specs = [path if path.is_file() else path / "spec" for path in targets if path.exists()]
    folders = [folder for spec in specs for folder in (spec.absolute().parent, find_project_root(spec))]
    folders = folders or [find_project_root(Path.cwd() / "spec")]
    return [path for folder in dict.fromkeys(folders) if (path := folder / ".env").is_file()]


def _read(path: Path) -> dict[str, str]:
    """Return the variables of a file that are not set. Raises UsageError if it cannot be read."""
    # Imported only if there is such a file.
    from dotenv import dotenv_values

    try:
        values = dotenv_values(path)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot read: {getattr(error, 'strerror', None) or 'not UTF-8 text'}") from error
    for name, value in values.items():
        if "\0" in f"{name}{value}" or "=" in name:
            raise UsageError(f"{path}: {name!r} cannot be a variable: its name has =, or it has a NUL character")
    return {name: value for name, value in values.items() if value is not None and name not in os.environ}


def _warn_of_redirects(path: Path, names: list[str]) -> None:
    echo_text(
        f"warning: {path} sets {', '.join(names)}, but not the key in use: ignored, since it would send your key "
        f"elsewhere (`--env-file {os.path.relpath(path)}` uses it)",
        err=True,
    )


def _find_account_keys(path: Path, values: dict[str, str]) -> list[str]:
    """Return the variables that hold keys of accounts, once the variables of a file are set."""
    from runner.spec.spec_files import find_project_root
    from runner.store.accounts import read_accounts
    from runner.store.settings import ACCOUNTS, parse_accounts, variable_of

    name = variable_of(ACCOUNTS)
    if name in values:
        return list(parse_accounts(values[name], f"{path}: {name}").values())
    accounts = read_accounts(find_project_root(path))
    return [] if accounts is None else list(accounts.variables.values())


def _find_redirects(path: Path, values: dict[str, str]) -> list[str]:
    """Return the variables of a file that would send a key elsewhere which is not of the same file."""
    own = {
        pattern: any(values.get(key) for key in keys) and not any(os.environ.get(key) for key in keys)
        for pattern, keys in _REDIRECTING.items()
    }
    # Whoever wrote the project names the accounts; batches from before there were any need the key of then.
    if accounts := _find_account_keys(path, values):
        are_all_own = all(values.get(key) for key in accounts)
        own[_BASE_URL] = are_all_own and not any(os.environ.get(key) for key in (*accounts, *_KEYS))
    own[_COLLECTOR] = not any(os.environ.get(key) for key in _COLLECTOR_KEYS)
    strange = [re.compile(pattern, re.IGNORECASE) for pattern, is_own in own.items() if not is_own]
    return [name for name in values if any(pattern.fullmatch(name) for pattern in strange)]


def load_env_files(named: Path | None, targets: Iterator[Path]) -> dict[str, Path]:
    """Set the variables of the named file and of each `.env` file unless they are set; return their origins.

    A `.env` file that was not named can belong to a stranger's project: it may redirect only its own key.
    """
    origins: dict[str, Path] = {}
    for path in ([] if named is None else [named]) + _find_env_files(targets):
        values = _read(path)
        if path != named and (redirects := _find_redirects(path, values)):
            _warn_of_redirects(path, redirects)
            values = {name: value for name, value in values.items() if name not in redirects}
        os.environ.update(values)
        origins.update(dict.fromkeys(values, path))
    return origins


def _list_targets(options: Mapping[str, Any]) -> Iterator[Path]:
    for name in ("specs", "spec", "targets", "target"):
        given = options.get(name) or ()
        yield from (Path(one) for one in ([given] if isinstance(given, str | Path) else given))


def reads_env_files(command: Callable[..., R]) -> Callable[..., R]:
    """Give a command the option `--env-file`, and set the variables of .env files before it runs."""

    @click.option(
        "--env-file",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="Set variables from this file, as from .env beside the spec; never those that are set.",
    )
    @wraps(command)
    def run(*args: Any, env_file: Path | None, **options: Any) -> R:
        origins = load_env_files(env_file, _list_targets(options))
        click.get_current_context().meta[_ORIGINS] = origins
        return command(*args, **options)

    return run


def describe_key() -> str:
    """Return where the credentials come from: the environment, a file, a profile, or nowhere."""
    from runner.api.connect import may_have_credentials
    from runner.spec.spec_files import find_project_root
    from runner.store.accounts import read_accounts

    origins: dict[str, Path] = click.get_current_context().meta.get(_ORIGINS, {})
    if (accounts := read_accounts(find_project_root(Path.cwd() / "spec"))) is not None:
        shown = ", ".join(f"{name} ({variable})" for name, variable in accounts.variables.items())
        return f"accounts: {shown}, from {accounts.origin}"
    for name in (*_KEYS, *_AWS_KEYS):
        if os.environ.get(name):
            return f"key: {name} from {origins.get(name, 'the environment')}"
    if may_have_credentials():
        return "key: none set; the SDK may find a profile"
    return "key: none; set ANTHROPIC_API_KEY, or write it into .env beside the spec"
