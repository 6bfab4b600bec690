"""Text folded to ASCII capitals, so that the same name written with other letters is the same text.

Look-alikes go first: stripping non-ASCII from a name that begins with a Cyrillic VE would only lose the letter.
"""

from __future__ import annotations

import unicodedata
from functools import cache

from tocsin.schemas.dn1 import tables


def visible(text: str) -> str:
    """`text` in NFKC without format and control characters; tabs and line breaks become spaces."""
    kept = (" " if char.isspace() else char for char in unicodedata.normalize("NFKC", text) if _is_visible(char))
    return "".join(kept)


def _is_visible(char: str) -> bool:
    return char.isspace() or unicodedata.category(char) not in ("Cc", "Cf", "Cs")


def fold(text: str) -> str:
    """`text` in ASCII capitals: Cyrillic, Greek and special Latin letters mapped, marks stripped, spaces squeezed.

    What has no ASCII form is left out if it is a letter or digit and becomes a space if not.
    """
    upper = unicodedata.normalize("NFD", visible(text).upper())
    mapped = "".join(char for char in upper if unicodedata.category(char) != "Mn").translate(_letters())
    return " ".join("".join(char if char.isascii() else _strip(char) for char in mapped).split())


def _strip(char: str) -> str:
    return "" if char.isalnum() else " "


@cache
def _letters() -> dict[int, str]:
    return str.maketrans(tables().letters)
