"""What somebody may have meant: the nearest of the words that there are. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Final

_LISTED_MAX: Final = 16
_NEAR: Final = 0.7


def remedy(word: object, known: Iterable[str], otherwise: str = "correct it") -> str:
    """What to do about `word`, which is none of `known`: `did you mean 'registrar'?`, or what there is to choose."""
    choices = sorted(known)
    by_plain = {_plain(one): one for one in choices}
    found = get_close_matches(_plain(str(word)), by_plain, n=1, cutoff=_NEAR)
    if found:
        return f"did you mean {by_plain[found[0]]!r}?"
    if 0 < len(choices) <= _LISTED_MAX and otherwise == "correct it":
        return f"write one of {', '.join(choices)}"
    return otherwise


def respelled(word: str, fits: Callable[[str], bool]) -> str:
    """What to do about `word`, which does not fit: write it in small letters with '-' between, if it does so."""
    other = re.sub(r"[^a-z0-9]+", "-", word.lower()).strip("-")
    return f"did you mean {other!r}?" if other != word and fits(other) else "correct it"


def said(value: object) -> str:
    """A value as a message cites it; never a whole block."""
    if isinstance(value, dict):
        return "a block of keys"
    if isinstance(value, (list, tuple)):
        return "a list"
    return "nothing" if value is None else repr(value)


def _plain(word: str) -> str:
    return re.sub(r"[^a-z0-9]", "", word.lower())
