"""Names: members, jurisdictions and topics. One word per thing, one function per topic."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from tocsin.schemas.errors import NameInvalid

# Reserved for documentation (RFC 5737): no client connects from it, so READ from it is a right that only the fan-out
# can exercise, on the member's behalf.
DELIVERY_HOST = "192.0.2.1"

DIRECTORY_TOPIC = "directory"
CHECKPOINTS_TOPIC = "audit.checkpoints"
POLICY_AUDIT_TOPIC = "audit.policy"
ACL_AUDIT_TOPIC = "audit.acls"
ACCESS_AUDIT_TOPIC = "audit.access"

# Logins of the exchange itself, and words with which keys of ledgers and inboxes begin; never members.
RESERVED_IDS = frozenset(
    {
        *(
            "admin",
            "auditor",
            "broker",
            "canary",
            "drift",
            "exchange",
            "fanout",
            "policy",
            "sealer",
            "shipper",
            "tocsin",
        ),
        *("dispute", "held", "inbox", "line-test", "mark", "notice", "position", "sight", "withdrawn"),
    }
)

_MEMBER = re.compile(r"[a-z0-9-]{2,40}")
_JURISDICTION = re.compile(r"[a-z]{2}")


class AlertType(StrEnum):
    """The three alerts; the value is the topic's third word and the schema's subject."""

    MERCHANT_TERMINATED = "merchant-terminated"
    DESCRIPTOR_REUSED = "descriptor-reused"
    SITE_TAKEN_DOWN = "site-taken-down"


class Tlp(StrEnum):
    """TLP 2.0 labels that travel on the bus, from open to closed. RED is for named persons and is refused."""

    CLEAR = "CLEAR"
    GREEN = "GREEN"
    AMBER = "AMBER"
    AMBER_STRICT = "AMBER_STRICT"

    @property
    def leaf(self) -> str:
        """The topic's last word: `amber-strict`."""
        return self.value.lower().replace("_", "-")

    def and_below(self) -> tuple[Tlp, ...]:
        """This label and every more open one."""
        order = tuple(Tlp)
        return order[: order.index(self) + 1]

    @classmethod
    def from_leaf(cls, leaf: str) -> Tlp:
        """The label of a topic's last word. Raises ValueError."""
        found = cls(leaf.upper().replace("-", "_"))
        if found.leaf != leaf:
            raise ValueError(f"{leaf!r} is not {found.leaf!r}")  # a word, not a type
        return found


def member_id(text: str) -> str:
    """`text`, if it is a member id.

    Raises:
        NameInvalid: not `[a-z0-9-]{2,40}`, or reserved for a service of the exchange.
    """
    if not _MEMBER.fullmatch(text):
        raise NameInvalid(f"member id {text!r}: 2 to 40 of a-z, 0-9 and '-'")
    if text in RESERVED_IDS:
        raise NameInvalid(f"member id {text!r} is reserved for a service of the exchange; choose another")
    return text


def jurisdiction(text: str) -> str:
    """`text`, if it is two lower-case letters (ISO 3166-1 alpha-2, or `eu`).

    Raises:
        NameInvalid: anything else.
    """
    if not _JURISDICTION.fullmatch(text):
        raise NameInvalid(f"jurisdiction {text!r}: two lower-case letters, ISO 3166-1 alpha-2 or 'eu'")
    return text


def is_valid(rule: Callable[[str], object], text: str) -> bool:
    """Whether `text` passes a rule of this module: `member_id`, `jurisdiction`, `AlertTopic.parse`."""
    try:
        rule(text)
    except NameInvalid:
        return False
    return True


@dataclass(frozen=True)
class AlertTopic:
    """`alerts.<jurisdiction>.<type>.<tlp>`."""

    jurisdiction: str
    type: AlertType
    tlp: Tlp

    @cached_property
    def name(self) -> str:
        """The topic's name."""
        return f"alerts.{self.jurisdiction}.{self.type.value}.{self.tlp.leaf}"

    @classmethod
    def parse(cls, name: str) -> AlertTopic:
        """The parts of a topic's name.

        Raises:
            NameInvalid: not the name of an alert topic.
        """
        parts = name.split(".")
        if len(parts) != 4 or parts[0] != "alerts":  # noqa: PLR2004  # the four words of the pattern above
            raise NameInvalid(f"{name!r} is not alerts.<jurisdiction>.<type>.<tlp>")
        try:
            return cls(jurisdiction(parts[1]), AlertType(parts[2]), Tlp.from_leaf(parts[3]))
        except ValueError as error:
            raise NameInvalid(f"{name!r} is not alerts.<jurisdiction>.<type>.<tlp>: {error}") from error


def inbox_topic(member: str) -> str:
    """The topic that one member reads."""
    return f"inbox.{member}"


def outbox_topic(member: str) -> str:
    """The topic that one member writes to the exchange."""
    return f"outbox.{member}"


def ledger_topic(lane: str) -> str:
    """The ledger of a lane."""
    return f"ledger.{lane}"


def audit_topic(lane: str) -> str:
    """The decisions of a lane."""
    return f"audit.{lane}"
