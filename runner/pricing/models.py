"""Facts about models: prices, limits and features, from `models.yaml`."""

from functools import cache
from importlib.resources import files

import msgspec

from runner.results.usage import Usage


class Price(msgspec.Struct, frozen=True):
    """US dollars per million tokens, at standard rates."""

    input: float
    output: float
    write_5m: float
    write_1h: float
    read: float

    def cost_of(self, usage: Usage) -> float:
        """Return the cost of tokens in millionths of a US dollar, at standard rates."""
        written = usage.cache_creation_input_tokens or 0
        long = (usage.cache_creation and usage.cache_creation.ephemeral_1h_input_tokens) or 0
        return (
            (usage.input_tokens or 0) * self.input
            + (usage.output_tokens or 0) * self.output
            + (usage.cache_read_input_tokens or 0) * self.read
            + max(written - long, 0) * self.write_5m
            + long * self.write_1h
        )


class LongContextPrice(msgspec.Struct, frozen=True):
    """The price of requests whose whole prompt exceeds `tokens` tokens."""

    tokens: int
    price: Price


class Model(msgspec.Struct, frozen=True):
    """Facts about one model. Limits are tokens; dates are ISO text.

    `refuses` names the features that it answers with a 400. `doubtful` names the ones reported only by third
    parties. `dated_id` and `aliases` are its other ids. It `always_thinks` if thinking cannot be turned off.
    """

    id: str
    source: str
    price: Price | None = None
    above: LongContextPrice | None = None
    context: int | None = None
    max_output: int | None = None
    max_output_beta: int | None = None
    cache_minimum: int | None = None
    bytes_per_token: float = 3.1
    refuses: tuple[str, ...] = ()
    doubtful: tuple[str, ...] = ()
    deprecated: str | None = None
    retires: str | None = None
    retired: bool = False
    dated_id: str | None = None
    aliases: tuple[str, ...] = ()
    always_thinks: bool = False

    @property
    def ids(self) -> tuple[str, ...]:
        """All ids that select this model."""
        return (self.id, *([self.dated_id] if self.dated_id else []), *self.aliases)


class AttachmentLimits(msgspec.Struct, frozen=True):
    """Limits on the attachments of a request, and upper bounds of their tokens.

    `side` is the longest side of an image in pixels. `side_of_many` is the same for requests with more than `many`
    images. `side_seen` is the longest side that a model sees. `image_bytes` limits an image in base64.
    """

    pages: int
    pages_of_small: int
    small_context: int
    side: int
    many: int
    side_of_many: int
    side_seen: int
    image_bytes: int
    page_tokens: int
    image_tokens: int
    unknown_pages: int


class Catalogue(msgspec.Struct, frozen=True):
    """The content of `models.yaml`."""

    dated: str
    batch: float
    us: float
    web_search: float
    cache_hits: dict[str, float]
    hidden_tokens: dict[str, int]
    enqueued: int
    attachments: AttachmentLimits
    models: tuple[Model, ...]


@cache
def load_catalogue() -> Catalogue:
    """Return the facts about all models and prices."""
    # The sums of `status` and `show` are in the state: they need no price, and no YAML.
    from runner.spec.yaml.document import parse_yaml

    document = parse_yaml(
        files("runner.pricing").joinpath("models.yaml").read_bytes(), path="models.yaml", environ={}
    )
    return msgspec.convert(document.value, Catalogue)


def find_model(name: str) -> Model | None:
    """Return the model with this id, dated or undated, or None."""
    return next((model for model in load_catalogue().models if name in model.ids), None)
