"""The tables of descriptor normalisation `dn1`: data, versioned with the keys that are made from them."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from pydantic import BaseModel, ConfigDict


class Tables(BaseModel):
    """`data/dn1.json`. Changing any of it changes keys, so it is then no longer `dn1`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    about: str
    length_max: int
    """Longer text is no descriptor, in characters."""
    caps: frozenset[int]
    """Lengths at which schemes and processors cut the name of DE 43."""
    aggregators: dict[str, tuple[str, ...]]
    """Aggregator to what stands left of its `*`, letters and digits only."""
    cut_prefixes: tuple[str, ...]
    """What commonly stands before a merchant's name and so takes its room."""
    letters: dict[str, str]
    legal_forms: frozenset[str]
    tail_words: frozenset[str]
    generic_words: frozenset[str]
    generic_tlds: frozenset[str]
    country_tlds: frozenset[str]
    second_level: frozenset[str]


@cache
def tables() -> Tables:
    """The tables, read once."""
    return Tables.model_validate_json(files("tocsin.schemas").joinpath("data", "dn1.json").read_bytes())
