"""Watch-lists: identifiers in clear that become tokens before anything leaves the member.

A line is `<kind>:<value>`: `descriptor:ACME*SHOP`, `mid:<acquirer>:<MID>`, `domain:example.com`. Empty lines and lines
that begin with `#` are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from tocsin.schemas import identifiers as ids
from tocsin.schemas.descriptors import SKELETON_LENGTH_MIN, cut_keys, normalise
from tocsin.schemas.errors import IdentifierInvalid
from tocsin.schemas.tokens import TokenKey, TokenKind, live_tokens


def merchant(value: str) -> str:
    """The canonical form of `acquirer:MID`."""
    acquirer, _, mid = value.partition(":")
    return ids.merchant_id(acquirer, mid)


def descriptor_key(value: str) -> str:
    """The key of a descriptor. Raises IdentifierInvalid when it has none."""
    key = normalise(value).key
    if not key:
        raise IdentifierInvalid("descriptor: no letters or digits")
    return key


FORMS: Final[Mapping[TokenKind, Callable[[str], str]]] = {
    TokenKind.DESCRIPTOR: descriptor_key,
    TokenKind.DESCRIPTOR_SKELETON: lambda raw: normalise(raw).skeleton,
    TokenKind.DBA: descriptor_key,
    TokenKind.IBAN: ids.iban,
    TokenKind.EMAIL: ids.email,
    TokenKind.DOMAIN: ids.domain,
    TokenKind.SLD_LABEL: ids.sld_label,
    TokenKind.URL: ids.url,
    TokenKind.MERCHANT: merchant,
}
"""The canonical form of a value in clear, by kind, where the value alone says it."""

_WATCHED: Final = {**FORMS, TokenKind.PHONE: ids.phone}


def watch_tokens(lines: Iterable[str], keys: Sequence[TokenKey]) -> frozenset[str]:
    """The tokens of a watch-list under each of `keys`, which are all that are live.

    A descriptor has those of its skeleton and of its cut forms, too: alerts may know it by these only.

    Raises:
        IdentifierInvalid: a line has no canonical form, or a descriptor is so short or general that it would match
            strangers. The message names the line's number, never the value.
    """
    found: set[str] = set()
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if text and not text.startswith("#"):
            try:
                found.update(token for kind, form in _forms(text) for token in live_tokens(keys, kind, form))
            except IdentifierInvalid as error:
                raise IdentifierInvalid(f"line {number}: {error}") from None
    return frozenset(found)


def _forms(text: str) -> Iterator[tuple[TokenKind, str]]:
    word, colon, value = text.partition(":")
    kind = next((one for one in _WATCHED if one.value == word), None)
    if kind is None or not colon:
        raise IdentifierInvalid(f"<kind>:<value>, the kind one of {', '.join(sorted(_WATCHED))}")
    if kind is TokenKind.DESCRIPTOR:
        yield from _descriptor_forms(value)
    else:
        yield kind, _WATCHED[kind](value)


def _descriptor_forms(raw: str) -> Iterator[tuple[TokenKind, str]]:
    found = normalise(raw)
    if found.is_weak:
        raise IdentifierInvalid("descriptor: too short or too general to be watched for")
    for key in (found.key, *cut_keys(raw)):
        yield TokenKind.DESCRIPTOR, key
    if len(found.skeleton) >= SKELETON_LENGTH_MIN:
        yield TokenKind.DESCRIPTOR_SKELETON, found.skeleton
