"""The content guard: no alert may carry what must not travel. Tokens and ids are exempt; every other string is checked.

The message names field and rule, never the content.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final

from tocsin.schemas.catalog import schema
from tocsin.schemas.errors import Reason, Rejection

TEXT_LENGTH_MAX: Final = 280

# Luhn alone hits a tenth of all 15-digit ids, so a card number also begins with 2 to 6.
_CARD = re.compile(r"(?<!\d)[2-6](?:[ -]?\d){12,18}(?!\d)")
_RULES: Final = (
    ("URL", re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)),
    ("URL", re.compile(r"www\.", re.IGNORECASE)),
    ("onion address", re.compile(r"\.onion", re.IGNORECASE)),
    ("e-mail address", re.compile(r"[^\s@]+@[^\s@]+\.[^\s@]+")),
    ("data: URI", re.compile(r"data:[^\s]*,", re.IGNORECASE)),
    ("base64 over 256 characters", re.compile(r"[A-Za-z0-9+/_=-]{257,}")),
)
# one pass over all strings at once: only what this finds is looked at field by field
_SUSPECT = re.compile(r"://|www\.|\.onion|@|data:|[A-Za-z0-9+/_=-]{257}|[2-6](?:[ -]?\d){12}", re.IGNORECASE)

# Identifiers made by rule, not text that somebody wrote.
_EXEMPT: Final = re.compile(r"(_token|_tokens|_id|_key_id)$")
_EXEMPT_FIELDS: Final = frozenset({"publisher", "jurisdiction", "norm_version"})

Path = tuple[str, ...]


def check_content(subject: str, record: Mapping[str, Any]) -> None:
    """Check every string of an alert but its tokens and ids.

    Raises:
        Rejection: CONTENT, with field and rule.
    """
    found = [(path, text) for path in _text_paths(subject) for text in _at(record, path)]
    joined = "\n".join(text for _, text in found)
    if len(joined) <= TEXT_LENGTH_MAX and not _SUSPECT.search(joined):
        return
    for path, text in found:
        check_text(".".join(path), text)


def check_text(field: str, text: str) -> None:
    """Check one string.

    Raises:
        Rejection: CONTENT, with field and rule.
    """
    if len(text) > TEXT_LENGTH_MAX:
        raise Rejection(Reason.CONTENT, f"{field}: longer than {TEXT_LENGTH_MAX} characters")
    for rule, pattern in _RULES:
        if pattern.search(text):
            raise Rejection(Reason.CONTENT, f"{field}: {rule}")
    if any(_luhn(match.group()) for match in _CARD.finditer(text)):
        raise Rejection(Reason.CONTENT, f"{field}: card number")


def _luhn(text: str) -> bool:
    digits = [int(char) for char in reversed(text) if char.isdigit()]
    return sum(d if at % 2 == 0 else (2 * d - 9 if d > 4 else 2 * d) for at, d in enumerate(digits)) % 10 == 0  # noqa: PLR2004  # Luhn


def _at(node: Any, path: Path) -> Iterator[str]:
    """The strings at `path`, through arrays."""
    if isinstance(node, list | tuple):
        for item in node:
            yield from _at(item, path)
    elif not path:
        if isinstance(node, str):
            yield node
    elif node is not None:
        yield from _at(node[path[0]], path[1:])


@cache
def _text_paths(subject: str) -> tuple[Path, ...]:
    """Where an alert of `subject` has strings to check, read off its schema once."""
    return tuple(_walk(schema(subject).parsed, (), {}))


def _walk(node: Any, path: Path, named: dict[str, Any]) -> Iterator[Path]:  # noqa: C901  # one branch a kind of Avro type
    if isinstance(node, list):
        for option in node:
            yield from _walk(option, path, named)
    elif isinstance(node, str):
        if node == "string":
            yield path
        elif node in named:
            yield from _walk(named[node], path, named)
    elif node["type"] == "record":
        named[node["name"]] = node
        for field in node["fields"]:
            if not (_EXEMPT.search(field["name"]) or field["name"] in _EXEMPT_FIELDS):
                yield from _walk(field["type"], (*path, field["name"]), named)
    elif node["type"] == "array":
        yield from _walk(node["items"], path, named)
    elif node["type"] != "enum":
        yield from _walk(node["type"], path, named)
