"""What is sealed of a record of an audit topic: hashes of facts, each of which can be shown without the others. Pure.

The facts of a decision are texts: first what was decided, then one for each member that was given it, was refused it or
had its copy erased. Each holds a salt of its own, so who is shown some of them can guess none of the others; the rest
are in the order of their hashes and filled up with empty ones, so their number and place say next to nothing. What
is sealed is `<offset> <SHA-256 over the facts' SHA-256s>`: whoever is shown all hashes and a fact can check it with
`sha256sum`.

A record of any other kind has one fact, which names it by its hash.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, cast

from tocsin.consumers.errors import NoteInvalid
from tocsin.schemas.bus import BusRecord
from tocsin.schemas.catalog import schema
from tocsin.schemas.codec import content_of
from tocsin.schemas.records import Decision

FACTS_MIN: Final = 8
"""A decision has a power of two of facts, and no fewer."""
SALT_BYTES: Final = 16
RECORD_BYTES_MAX: Final = 2_200_000
"""A decision of a thousand recipients: larger than what strangers may write."""

_DECISION: Final = schema("decision")
_APART: Final = ("given", "refused", "erased", "salt")
_ENTRY: Final = re.compile(rb"(0|[1-9][0-9]{0,18}) ([0-9a-f]{64})\n")


def facts_of(record: BusRecord) -> list[str]:
    """The facts of a record of an audit topic; the first one is about the record as a whole."""
    return facts_of_decision(record, decision_of(record.value))


def facts_of_decision(record: BusRecord, decision: Decision | None) -> list[str]:
    """The facts of a record whose value `decision_of` says is `decision`: decoding is much of the work."""
    first, others = _facts(record, decision)
    return [first, *sorted(others, key=fact_hash)]


def _facts(record: BusRecord, decision: Decision | None) -> tuple[str, list[str]]:
    """The first fact, and the others, not in their order yet."""
    place = {"topic": record.topic, "offset": record.offset, "appended_at": record.appended_ms}
    if decision is None:
        return _text({**place, "sha256": hashlib.sha256(record.value or b"").hexdigest()}), []
    said = [*_about_members(decision)]
    count = max(FACTS_MIN, 1 << len(said).bit_length())
    salts = _salts(decision["salt"], count)
    whole = {name: _shown(content) for name, content in decision.items() if name not in _APART}
    first = _text({**place, "decision": whole, "salt": salts[0]})
    said += [""] * (count - 1 - len(said))
    return first, [*map('{{{}"salt":"{}"}}'.format, said, salts[1:])]


def decision_of(value: bytes | None) -> Decision | None:
    """The decision that a record's value is; None for a record of any other kind."""
    return cast("Decision | None", content_of(value, _DECISION, bytes_max=RECORD_BYTES_MAX))


def _about_members(decision: Decision) -> Iterator[str]:
    """The beginning of each fact about a member, a comma at its end. By hand, as this is most of the work."""
    for given in decision["given"]:
        yield f'"given":{_quoted(given["member"])},"rule":{_quoted(given["rule"])},'
    for refused in decision["refused"]:
        yield f'"reason":{_quoted(refused["reason"])},"refused":{_quoted(refused["member"])},'
    for member in decision["erased"]:
        yield f'"erased":{_quoted(member)},'


def _salts(salt: bytes, count: int) -> list[str]:
    """Salts of which none tells another: pieces of the output of an extendable function (FIPS 202)."""
    stream = hashlib.shake_256(salt).hexdigest(count * SALT_BYTES)
    return [stream[at : at + 2 * SALT_BYTES] for at in range(0, len(stream), 2 * SALT_BYTES)]


def _shown(content: object) -> object:
    return content.hex() if isinstance(content, bytes) else content


_quoted: Final = json.encoder.encode_basestring_ascii
_encoder: Final = json.JSONEncoder(separators=(",", ":"), sort_keys=True)


def _text(fact: Mapping[str, Any]) -> str:
    return _encoder.encode(fact)


# -- what is sealed --------------------------------------------------------------------------------------------------


def fact_hash(fact: str) -> bytes:
    """SHA-256 of a fact's text, 32 bytes."""
    return hashlib.sha256(fact.encode()).digest()


def entry_of(offset: int, hashes: Iterable[bytes]) -> bytes:
    """The log's entry for the record at `offset`, whose facts have these hashes, in order."""
    return f"{offset} {hashlib.sha256(b''.join(hashes)).hexdigest()}\n".encode()


def seal_of(record: BusRecord) -> bytes:
    """The log's entry for `record`."""
    return seal_of_decision(record, decision_of(record.value))


def seal_of_decision(record: BusRecord, decision: Decision | None) -> bytes:
    """The log's entry for a record whose value `decision_of` says is `decision`."""
    first, others = _facts(record, decision)
    return entry_of(record.offset, [fact_hash(first), *sorted(map(fact_hash, others))])


def sealed_offset(entry: bytes) -> int:
    """The offset of the record that an entry of the log is of.

    Raises:
        NoteInvalid: it is no such entry.
    """
    parts = _ENTRY.fullmatch(entry)
    if parts is None:
        raise NoteInvalid("an entry that is not the seal of a record: an offset and a SHA-256")
    return int(parts[1])


def fact_about(facts: Sequence[str], member: str) -> str | None:
    """The fact that says what became of `member`: that it was given it, was refused it, or that its copy was erased."""
    for fact in facts[1:]:
        said: Mapping[str, str] = json.loads(fact)
        if member in (said.get("given"), said.get("refused"), said.get("erased")):
            return fact
    return None
