"""The parameter names that the SDK knows, from a generated file: importing the SDK takes seconds."""

from functools import cache
from importlib.resources import files

import msgspec


class KeyNames(msgspec.Struct, frozen=True):
    """The keys of one mapping: those that anyone may send, and those that need a beta feature."""

    stable: list[str]
    beta: list[str]

    @property
    def all(self) -> list[str]:
        """All keys."""
        return [*self.stable, *self.beta]


class SdkParams(msgspec.Struct, frozen=True):
    """The content of `sdk_params.json`.

    `sdk` is the version that it was generated from. `inner` has the keys inside a parameter, by its name and by
    the value of `type` (empty if it has none). `betas` are the names of beta features.
    """

    sdk: str
    params: KeyNames
    inner: dict[str, dict[str, KeyNames]]
    betas: list[str]


@cache
def load_sdk_params() -> SdkParams:
    """Return the names that the SDK knows."""
    return msgspec.json.decode(
        files("runner.rules.names").joinpath("sdk_params.json").read_bytes(), type=SdkParams
    )
