"""The committed names of parameters are those of the installed SDK."""

import os
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import msgspec
from anthropic import __version__
from anthropic.types import message_create_params
from anthropic.types.anthropic_beta_param import AnthropicBetaParam
from anthropic.types.beta import message_create_params as beta_message_create_params
from typing_extensions import get_type_hints, is_typeddict

from runner.rules.names.sdk_params import KeyNames, SdkParams
from tests.support import ROOT

PATH = ROOT / "runner" / "rules" / "names" / "sdk_params.json"
_STABLE = message_create_params.MessageCreateParamsNonStreaming
_BETA = beta_message_create_params.MessageCreateParamsNonStreaming
_FROM_PROMPT = ("messages", "system")


def _list_typed_dicts(hint: Any) -> Iterator[Any]:
    """Yield the typed dictionaries that a hint accepts, also as items of a list."""
    if is_typeddict(hint):
        yield hint
    elif get_origin(hint) not in (Literal, dict):
        for part in get_args(hint):
            yield from _list_typed_dicts(part)


def _type_name(variant: Any) -> str:
    """The value of `type` that selects this variant, or nothing if it has no `type`."""
    hint = get_type_hints(variant).get("type")
    names = [name for part in (hint, *get_args(hint)) if get_origin(part) is Literal for name in get_args(part)]
    return str(names[0]) if names else ""


def _list_variants(kind: Any) -> dict[str, dict[str, list[str]]]:
    """The keys of each variant of each parameter that is a mapping or a list of mappings."""
    found: dict[str, dict[str, list[str]]] = {}
    for name, hint in get_type_hints(kind).items():
        if name not in _FROM_PROMPT and (variants := list(_list_typed_dicts(hint))):
            found[name] = {_type_name(one): sorted(get_type_hints(one)) for one in variants}
    return found


def read_sdk_params() -> SdkParams:
    """Read the names that the SDK knows. What only its beta types have is listed apart."""
    stable, beta = set(get_type_hints(_STABLE)), set(get_type_hints(_BETA))
    few, many = _list_variants(_STABLE), _list_variants(_BETA)
    inner: dict[str, dict[str, KeyNames]] = {}
    for name in sorted({*few, *many}):
        kinds = {*few.get(name, {}), *many.get(name, {})}
        inner[name] = {}
        for kind in sorted(kinds):
            plain, all_keys = few.get(name, {}).get(kind, []), many.get(name, {}).get(kind, [])
            inner[name][kind] = KeyNames(stable=plain, beta=sorted({*all_keys} - {*plain}))
    [betas] = [get_args(part) for part in get_args(AnthropicBetaParam) if get_origin(part) is Literal]
    names = KeyNames(stable=sorted(stable - {*_FROM_PROMPT}), beta=sorted(beta - stable))
    return SdkParams(sdk=__version__, params=names, inner=inner, betas=list(betas))


def test_names_of_parameters_are_those_of_the_installed_sdk() -> None:
    """To renew the file after an update of the SDK: `UPDATE_TEXTS=1 pytest tests/rules/test_sdk_params.py`."""
    text = msgspec.json.format(msgspec.json.encode(read_sdk_params()), indent=1).decode() + "\n"
    if os.environ.get("UPDATE_TEXTS"):
        PATH.write_text(text, "utf-8")
    assert PATH.read_text("utf-8") == text
