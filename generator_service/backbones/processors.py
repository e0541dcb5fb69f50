"""A network's attention processors are borrowed, and handed back."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any


@contextmanager
def borrow_processors(transformer: Any, stock: tuple[type, ...], borrowed: Mapping[str, Any]) -> Iterator[None]:
    """Inside, these processors, by their names, are in the places of stock ones; there may be none.

    Raises TypeError where others are there already, and ValueError where not every borrowed one would be asked with the
    whole sequence: on a transformer that diffusers has split over devices, or that leaves layers out by a step cache.
    """
    if not borrowed:
        yield
        return
    if getattr(transformer, "_parallel_config", None) is not None:
        raise ValueError(
            "Got a transformer that diffusers has split over devices, by ring or Ulysses: there guided attention would "
            "see some of the keys at a time, and it needs all of them (`Backbone.share` splits, and shows them)"
        )
    if getattr(transformer, "is_cache_enabled", False):
        raise ValueError("Got a transformer with a step cache, but guided attention needs every layer in every step")
    original = dict(transformer.attn_processors)
    for name in borrowed:
        if type(original[name]) not in stock:
            raise TypeError(f"Got a {type(original[name]).__name__} but expected a {stock[0].__name__}")
    transformer.set_attn_processor(original | dict(borrowed))
    try:
        yield
    finally:
        transformer.set_attn_processor(original)
