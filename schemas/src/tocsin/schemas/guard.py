"""The content guard: no alert may carry what must not travel. Tokens and ids are exempt; every other string is checked.

0.2 to 1 % of random hex tokens hold a Luhn-valid card number, hence the exemption; their form is a rule of `semantics`.
The message names field and rule, never the content.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final, NamedTuple

from tocsin.schemas.catalog import schema
from tocsin.schemas.errors import Reason, Rejection
from tocsin.schemas.folding import visible

TEXT_LENGTH_MAX: Final = 280
BASE64_LENGTH_MAX: Final = 256

_RULES: Final = (
    # it would act on the terminal that shows it, or hide another rule's match
    ("control character", re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")),
    ("URL", re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)),
    ("URL", re.compile(r"www\.", re.IGNORECASE)),
    ("onion address", re.compile(r"\.onion(?![a-z0-9])", re.IGNORECASE)),
    ("e-mail address", re.compile(r"[^\s@]@[^\s@.]+\.[^\s@]")),
    ("data: URI", re.compile(r"data:[^\s,]*,", re.IGNORECASE)),
    ("base64 over 256 characters", re.compile(rf"[A-Za-z0-9+/_=-]{{{BASE64_LENGTH_MAX + 1}}}")),
)

# Digits with at most one separator between them. Luhn alone hits a tenth of all 15-digit ids, so a card number also
# begins with 2 to 6.
_DIGITS: Final = re.compile(r"[0-9](?:[ .-]?[0-9]){12,}")
_SEPARATOR: Final = re.compile(r"[ .-]")
_CARD: Final = re.compile(r"[2-6][0-9]{12,18}").fullmatch
_CARD_GROUP_LENGTH_MIN: Final = 3
_CARD_GROUPS_MAX: Final = 6

# Identifiers made by rule, not text that somebody wrote; verification compares the last two with directory and topic.
_EXEMPT: Final = re.compile(r".*_tokens?|alert_id|lineage_id|publisher|jurisdiction").fullmatch


def check_content(subject: str, record: Mapping[str, Any]) -> None:
    """Check every string of an alert but its tokens and ids.

    Raises:
        Rejection: CONTENT, with field and rule.
    """
    texts: list[str] = []
    fields: list[str] = []
    _gather(record, _plan(subject), texts, fields)
    if texts and not _is_plain(texts):
        for field, text in zip(fields, texts, strict=True):
            check_text(field, text)


def check_text(field: str, text: str) -> None:
    """Check one string.

    Raises:
        Rejection: CONTENT, with field and rule.
    """
    if len(text) > TEXT_LENGTH_MAX:
        raise Rejection(Reason.CONTENT, f"{field}: longer than {TEXT_LENGTH_MAX} characters")
    # what a reader sees: full-width digits are digits, and what has no width separates nothing
    for seen in {text} if text.isascii() else {text, visible(text)}:
        for rule, pattern in _RULES:
            if pattern.search(seen):
                raise Rejection(Reason.CONTENT, f"{field}: {rule}")
        if _has_card(seen):
            raise Rejection(Reason.CONTENT, f"{field}: card number")


def _is_plain(texts: list[str]) -> bool:
    """Whether no rule can match any of `texts`, seen from all of them at once: true for nearly every alert."""
    joined = "|".join(texts)
    return (
        joined.isascii()
        and joined.isprintable()
        and ":" not in joined
        and "@" not in joined
        and len(max(texts, key=len)) <= BASE64_LENGTH_MAX
        and not ("." in joined and _has_dotted(joined.lower()))
        and not _DIGITS.search(joined)
    )


def _has_dotted(lower: str) -> bool:
    return "www." in lower or ".onion" in lower


def _has_card(text: str) -> bool:
    for run in _DIGITS.findall(text):
        groups = _SEPARATOR.split(run)
        if any(_is_card("".join(part)) for part in _card_parts(groups)):
            return True
    return False


def _card_parts(groups: list[str]) -> Iterator[list[str]]:
    """All of a run of digit groups; and within it, groups as cards are written: an expiry date may follow."""
    yield groups
    for start in range(len(groups)):
        for end in range(start + 1, start + 1 + _CARD_GROUPS_MAX):
            part = groups[start:end]
            if min(map(len, part)) >= _CARD_GROUP_LENGTH_MIN:
                yield part


def _is_card(digits: str) -> bool:
    return bool(_CARD(digits)) and _luhn(digits)


def _luhn(digits: str) -> bool:
    total = sum(int(digit) for digit in digits[-1::-2])
    return (total + sum(sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])) % 10 == 0


class _Plan(NamedTuple):
    """Where a record has strings to check, read off its schema once. Each entry: name, and path or plan."""

    texts: tuple[tuple[str, str], ...]
    text_lists: tuple[tuple[str, str], ...]
    records: tuple[tuple[str, _Plan], ...]
    record_lists: tuple[tuple[str, _Plan], ...]


def _gather(record: Mapping[str, Any], plan: _Plan, texts: list[str], fields: list[str]) -> None:
    for name, field in plan.texts:
        if record[name]:
            texts.append(record[name])
            fields.append(field)
    for name, field in plan.text_lists:
        texts += record[name]
        fields += [field] * len(record[name])
    for name, inner in plan.records:
        if record[name] is not None:
            _gather(record[name], inner, texts, fields)
    for name, inner in plan.record_lists:
        for item in record[name]:
            _gather(item, inner, texts, fields)


@cache
def _plan(subject: str) -> _Plan:
    return _plan_record(schema(subject).parsed, "", {})


def _plan_record(node: Any, path: str, named: dict[str, Any]) -> _Plan:
    texts: list[tuple[str, str]] = []
    text_lists: list[tuple[str, str]] = []
    records: list[tuple[str, _Plan]] = []
    record_lists: list[tuple[str, _Plan]] = []
    for field in node["fields"]:
        name, kind = field["name"], _kind(field["type"], named)
        is_list = kind["type"] == "array"
        kind = _kind(kind["items"], named) if is_list else kind
        if kind["type"] == "record":
            inner = _plan_record(kind, f"{path}{name}.", named)
            if any(inner):
                (record_lists if is_list else records).append((name, inner))
        elif kind["type"] == "string" and not _EXEMPT(name):
            (text_lists if is_list else texts).append((name, path + name))
    return _Plan(tuple(texts), tuple(text_lists), tuple(records), tuple(record_lists))


def _kind(node: Any, named: dict[str, Any]) -> dict[str, Any]:
    """A type as {"type": ...}: an optional one is what it is when it is there, a name is what it names."""
    if isinstance(node, list):
        return _kind(node[1], named)
    found: dict[str, Any] = named.get(node, {"type": node}) if isinstance(node, str) else node
    if "name" in found:
        named[found["name"]] = found
    return found
