"""Statement descriptors (ISO 8583 DE 43 name): normalisation `dn1` and the classes of a match.

A merchant writes its name in many ways, aggregators put their own before it, and schemes cut it at 20, 22 or 25
characters. `normalise` finds what stays the same; `match_class` says how sure a match is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Final, Literal

from rapidfuzz.distance import OSA

from tocsin.schemas.dn1 import tables
from tocsin.schemas.errors import IdentifierInvalid
from tocsin.schemas.folding import fold, visible

NORM_VERSION: Final = "dn1"

KEY_LENGTH_MIN: Final = 5
"""A shorter key is weak: it never matches on its own."""
TRUNCATED_KEY_LENGTH_MIN: Final = 10
FUZZY_KEY_LENGTH_MIN: Final = 10
SKELETON_LENGTH_MIN: Final = 6
REFERENCE_DIGITS_MIN: Final = 3

_GENERIC_LENGTH_MAX: Final = 40
_LABEL_LENGTH_MIN: Final = 3
_FORM_PART_LENGTH_MAX: Final = 2
_ASTERISKS_MAX: Final = 4

# 7 to 15 digits (E.164), with the usual separators
_PHONE: Final = re.compile(r"(?<![A-Z0-9.])\+?\(?\d(?:[ ()./-]{0,2}\d){6,14}(?![A-Z0-9])")
_SCHEME: Final = re.compile(r"\bHTTPS?:/{0,2}")
_DOMAIN: Final = re.compile(r"(?<![A-Z0-9.-])((?:[A-Z0-9-]{1,63}\.){1,8}[A-Z]{2,24})(?![A-Z0-9-]|\.[A-Z0-9])")
_WORD: Final = re.compile(r"[A-Z0-9.&']+")
_NOT_KEY: Final = re.compile(r"[^A-Z0-9]+")
_DOUBLED: Final = re.compile(r"([A-Z])\1+")
_LEET: Final = str.maketrans("0134578", "OIEASTB")

Side = Literal["whole", "left", "right"]
Flag = Literal["at_cap", "short", "digits", "generic"]
_WEAK: Final[frozenset[Flag]] = frozenset({"short", "digits", "generic"})


class MatchClass(StrEnum):
    """How two descriptors match, strongest first."""

    EXACT = "EXACT"
    NORMALISED = "NORMALISED"
    TRUNCATED = "TRUNCATED"
    SKELETON = "SKELETON"
    FUZZY = "FUZZY"
    NONE = "NONE"


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A normalised descriptor.

    `aggregator` stood left of the first `*`; `side` is where the merchant's name was found. `phone` is digits only,
    `domain` in lower case: both are links of their own, in no canonical form yet. `flags`: `at_cap` when the raw text
    is as long as a scheme's cut; `short`, `digits` and `generic` make the key weak.
    """

    raw: str
    key: str
    skeleton: str
    aggregator: str | None
    side: Side
    phone: str | None
    domain: str | None
    flags: tuple[Flag, ...]

    @property
    def is_weak(self) -> bool:
        """Whether the key must never match on its own."""
        return not _WEAK.isdisjoint(self.flags)


def normalise(raw: str) -> Descriptor:
    """The parts of the descriptor `raw`; its `key` may be empty, and is weak then.

    Raises:
        IdentifierInvalid: longer than any descriptor.
    """
    if len(raw) > tables().length_max:
        raise IdentifierInvalid(f"descriptor: longer than {tables().length_max} characters")
    aggregator, side, merchant = _split(fold(raw))
    phone, without_phone = _lift_phone(merchant)
    domain, name = _lift_domain(without_phone)
    key = "".join(_without_tail(_words(name) or _words(merchant)))
    return Descriptor(raw, key, _skeleton(key), aggregator, side, phone, domain, tuple(_flags(raw, key)))


def match_class(one: Descriptor, other: Descriptor) -> MatchClass:
    """How two descriptors match. A weak key matches nothing, not even itself."""
    if one.is_weak or other.is_weak:
        return MatchClass.NONE
    if one.key == other.key:
        return MatchClass.EXACT if one.raw.strip() == other.raw.strip() else MatchClass.NORMALISED
    shorter, longer = sorted((one, other), key=lambda descriptor: len(descriptor.key))
    if _is_truncated(shorter, longer):
        return MatchClass.TRUNCATED
    if one.skeleton == other.skeleton and len(one.skeleton) >= SKELETON_LENGTH_MIN:
        return MatchClass.SKELETON
    if len(shorter.key) >= FUZZY_KEY_LENGTH_MIN and OSA.distance(one.key, other.key, score_cutoff=1) <= 1:
        return MatchClass.FUZZY
    return MatchClass.NONE


def cut_keys(raw: str) -> tuple[str, ...]:
    """The keys under which `raw` is met when cut to what fits behind a common prefix, sorted; without its own key.

    A publisher makes a token of each (`cut_tokens`): a reader who holds only tokens cannot compare prefixes.
    """
    whole = normalise(raw)
    merchant = _split(fold(raw))[2]
    cuts = (normalise(cut) for text in {merchant, whole.key} for cut in _cuts(text))
    return tuple(sorted({cut.key for cut in cuts if cut.key != whole.key and _is_truncated(cut, whole)}))


def _cuts(text: str) -> Iterator[str]:
    for prefix in tables().cut_prefixes:
        for cap in tables().caps:
            yield (prefix + text)[:cap]


def _is_truncated(shorter: Descriptor, longer: Descriptor) -> bool:
    return (
        "at_cap" in shorter.flags
        and not shorter.is_weak
        and not longer.is_weak
        and len(shorter.key) >= TRUNCATED_KEY_LENGTH_MIN
        and longer.key.startswith(shorter.key)
    )


def _split(text: str) -> tuple[str | None, Side, str]:
    """Aggregator, side and the merchant's part. An unknown left side is the merchant, its right side dynamic."""
    aggregator: str | None = None
    side: Side = "whole"
    for _ in range(_ASTERISKS_MAX):
        left, asterisk, right = text.partition("*")
        if not asterisk:
            break
        known = _aggregators().get(_NOT_KEY.sub("", left))
        if not _words(right) or (known is None and _words(left)):
            return aggregator, side if aggregator else "left", left
        aggregator, side, text = aggregator or known, "right", right
    return aggregator, side, text


def _lift_phone(text: str) -> tuple[str | None, str]:
    found = _PHONE.search(text)
    return (re.sub(r"\D", "", found.group()) if found else None), _PHONE.sub(" ", text)


def _lift_domain(text: str) -> tuple[str | None, str]:
    """The first domain, and the text with every domain replaced by its registrable label."""
    found: list[str] = []

    def label_of(match: re.Match[str]) -> str:
        host = match.group(1).removeprefix("WWW.")
        label = _registrable_label(host)
        if label is None:
            return match.group()
        found.append(host.lower())
        return f" {label} "

    name = _DOMAIN.sub(label_of, _SCHEME.sub(" ", text))
    return (found[0] if found else None), name


def _registrable_label(host: str) -> str | None:
    """The label before the public suffix, by this version's own short list: keys must not change with a newer one."""
    labels = host.split(".")
    known = tables()
    if labels[-1] not in known.generic_tlds | known.country_tlds:
        return None
    suffix = 1
    if len(labels) > 2 and labels[-1] in known.country_tlds and labels[-2] in known.second_level:  # noqa: PLR2004  # name.co.uk
        suffix = 2
    label = labels[-suffix - 1] if len(labels) > suffix else ""
    return label if len(_NOT_KEY.sub("", label)) >= _LABEL_LENGTH_MIN else None


def _words(text: str) -> list[str]:
    words = (_NOT_KEY.sub("", word) for word in _WORD.findall(text))
    return [word for word in words if word]


def _without_tail(words: list[str]) -> list[str]:
    """Without order references, legal forms and words like BILLING at the end; one word always stays."""
    while len(words) > 1 and (drop := _tail_length(words)):
        words = words[:-drop]
    return words


def _tail_length(words: list[str]) -> int:
    last = words[-1]
    digits = sum(char.isdigit() for char in last)
    if digits >= REFERENCE_DIGITS_MIN or last in tables().tail_words or last in tables().legal_forms:
        return 1
    for length in range(min(4, len(words) - 1), 1, -1):  # S A R L, SP Z O O
        parts = words[-length:]
        if max(map(len, parts)) <= _FORM_PART_LENGTH_MAX and "".join(parts) in tables().legal_forms:
            return length
    return 0


def _skeleton(key: str) -> str:
    return _DOUBLED.sub(r"\1", key.translate(_LEET))


def _flags(raw: str, key: str) -> Iterator[Flag]:
    if _is_at_cap(visible(raw).lstrip()):
        yield "at_cap"
    if len(key) < KEY_LENGTH_MIN:
        yield "short"
    if key.isdigit():
        yield "digits"
    if key in _aggregators() or (len(key) <= _GENERIC_LENGTH_MAX and _generic().fullmatch(key)):
        yield "generic"


def _is_at_cap(text: str) -> bool:
    """As long as a cut, counting the one space that a cut between two words leaves; more spaces are padding."""
    spaces = len(text) - len(text.rstrip())
    return len(text) - spaces in tables().caps or (spaces == 1 and len(text) in tables().caps)


@cache
def _aggregators() -> dict[str, str]:
    return {left: name for name, lefts in tables().aggregators.items() for left in lefts}


@cache
def _generic() -> re.Pattern[str]:
    return re.compile(f"(?:{'|'.join(sorted(tables().generic_words, reverse=True))})+")
