"""ISO 8583 DE 43, card acceptor name and location, taken apart. The layouts cannot be told apart by content."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple

from tocsin.schemas.errors import IdentifierInvalid


class Layout(StrEnum):
    """Whose layout a DE 43 has: widths of name, city and country, and whether a space stands between them."""

    VISA = "visa"
    MASTERCARD = "mastercard"
    ELAVON = "elavon"


_WIDTHS: Final = {Layout.VISA: (25, 13, 2), Layout.MASTERCARD: (22, 13, 3), Layout.ELAVON: (22, 13, 3)}
_SEPARATOR: Final = {Layout.VISA: "", Layout.MASTERCARD: " ", Layout.ELAVON: ""}


class NameAndLocation(NamedTuple):
    """The parts of a DE 43, outer spaces stripped. `country` is alpha-2 (Visa) or alpha-3, unchecked."""

    name: str
    city: str
    country: str


def de43(text: str, layout: Layout | str) -> NameAndLocation:
    """The parts of `text`.

    Raises:
        IdentifierInvalid: not as long as the layout, or no space where it has one.
        ValueError: no such layout.
    """
    widths, separator = _WIDTHS[Layout(layout)], _SEPARATOR[Layout(layout)]
    length = sum(widths) + 2 * len(separator)
    if len(text) != length:
        raise IdentifierInvalid(f"DE 43: the {layout} layout has {length} characters")
    parts: list[str] = []
    at = 0
    for width in widths:
        parts.append(text[at : at + width].strip())
        at += width
        if text[at : at + len(separator)] not in (separator, ""):
            raise IdentifierInvalid(f"DE 43: the {layout} layout has a space after column {at}")
        at += len(separator)
    return NameAndLocation(*parts)
