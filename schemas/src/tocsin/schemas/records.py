"""The exchange's own records as `codec.decode` returns them and `codec.encode` takes them.

Times are milliseconds since 1970, digests 32 bytes. Field for field the `.avsc` files, which a test compares; that the
values of `reason`, `status` of a lineage, `types`, `tlps` ... are words of this contract is their writer's promise.
"""

from __future__ import annotations

from typing import Literal, TypedDict


class Notice(TypedDict):
    """What the exchange itself tells a member. `detail` names field and rule, never content."""

    notice_id: str
    kind: Literal["REJECTED", "WITHDRAWN", "LINE_TEST", "DISPUTED"]
    member: str
    jurisdiction: str
    issued_at: int
    topic: str | None
    offset: int | None
    sha256: bytes | None
    lineage_id: str | None
    publisher: str | None
    reason: str | None
    detail: str | None


class Sight(TypedDict):
    """What the exchange tells a member of its own sight: which alert topics of one jurisdiction it may be given."""

    notice_id: str
    member: str
    jurisdiction: str
    issued_at: int
    topics: list[str]


class GivenTo(TypedDict):
    """A recipient and the ACL that allows it."""

    member: str
    rule: str


class RefusedTo(TypedDict):
    """A member that asked, or was owed, and may not be told."""

    member: str
    reason: str


class Decision(TypedDict):
    """The audit record of one alert, or of a later change of who may have it. `seq` rises by one in a lane."""

    seq: int
    kind: Literal["ALERT", "GAINED", "WITHHELD", "EXPIRED", "DISPUTED", "HELD", "LIFTED"]
    outcome: Literal["ACCEPTED", "REJECTED", "DUPLICATE"]
    reason: str | None
    detail: str | None
    decided_at: int
    topic: str
    topic_id: str
    partition: int
    offset: int
    appended_at: int | None
    sha256: bytes
    key_id: str | None
    publisher: str | None
    lineage_id: str | None
    alert_id: str | None
    revision: int | None
    status: str | None
    given: list[GivenTo]
    refused: list[RefusedTo]
    erased: list[str]
    acl_digest: bytes
    acl_read_at: int
    directory_version: int
    worker: str
    salt: bytes


class RecordHeader(TypedDict):
    """One Kafka header."""

    key: str
    value: bytes


class Given(TypedDict):
    """The members given one revision by one decision; `rules` are parallel to `members`."""

    seq: int
    revision: int
    members: list[str]
    rules: list[str]


class LedgerEntry(TypedDict):
    """One lineage with its current bytes, or one notice that is owed."""

    kind: Literal["ALERT", "NOTICE"]
    inbox_key: str
    revision: int
    status: str
    topic: str
    partition: int
    offset: int
    sha256: bytes
    expires_at: int
    forget_at: int
    signer: str
    test: bool
    value: bytes
    headers: list[RecordHeader]
    given: list[Given]


class Behind(TypedDict):
    """A member whose inbox refuses, and the decision up to which it has been paid."""

    member: str
    paid: int


class LedgerMark(TypedDict):
    """How far debts are paid, by decision number, for all but those behind; when the line was last tested.

    `seq` is the number of the last decision.
    """

    paid: int
    behind: list[Behind]
    tested_at: int
    seq: int


class LedgerPosition(TypedDict):
    """The next offset of an alert topic to decide."""

    topic_id: str
    topic: str
    next_offset: int


class LedgerInbox(TypedDict):
    """The inbox topic that a lane writes to; what was decided up to `since`, and paid, is not in it."""

    topic_id: str
    since: int


class Subscription(TypedDict):
    """What a member asks for: all of its parts must hold, an empty one is any. `reasons` are SCHEME:code."""

    member: str
    subscription_id: str
    everything: bool
    types: list[str]
    jurisdictions: list[str]
    tlps: list[str]
    reasons: list[str]
    countries: list[str]
    rails: list[str]
    mccs: list[str]
    tokens: list[str]
    host_asns: list[int]
    tlds: list[str]
    own: bool
    updated_at: int


class ReceiptOrigin(TypedDict):
    """Where copies say that they come from, and the ACL that they name."""

    topic: str
    rule: str


class ReceiptCopy(TypedDict):
    """One copy of an alert, as it lies in the inbox; `origin` is a place in `origins`."""

    offset: int
    origin: int
    source_offset: int
    sha256: bytes


class ReceiptErasure(TypedDict):
    """One tombstone, as it lies in the inbox."""

    offset: int
    key: str


class Receipt(TypedDict):
    """A member's word on what came into a range of its inbox."""

    member: str
    topic: str
    group: str
    series: str
    first_offset: int
    last_offset: int
    count: int
    root: bytes
    origins: list[ReceiptOrigin]
    copies: list[ReceiptCopy]
    erasures: list[ReceiptErasure]
    last_appended_at: int
    began_at: int
    issued_at: int


class Acknowledgement(TypedDict):
    """A member's word that it was told of a withdrawal, by the notice `notice_id`, and is done with it."""

    member: str
    publisher: str
    lineage_id: str
    notice_id: str
    issued_at: int


class Dispute(TypedDict):
    """A member's word that what it was given is wrong."""

    member: str
    publisher: str
    lineage_id: str
    dispute_id: str
    reason: str
    issued_at: int


class HoldSince(TypedDict):
    """The first offset of an alert topic that is on hold."""

    topic: str
    offset: int


class Hold(TypedDict):
    """The secretariat's word that what one publisher has told is on hold."""

    member: str
    hold_id: str
    kind: str
    publisher: str
    lineage_id: str | None
    since: list[HoldSince]
    reference: str
    lifted: bool
    issued_at: int


class Release(TypedDict):
    """The secretariat's word that a member may be given more live alerts at once than the bound."""

    member: str
    recipient: str
    jurisdiction: str
    live_alerts_max: int
    valid_to: int
    issued_at: int


class Cosignature(TypedDict):
    """A member's word that a head of a sealed log continues all that it was shown before."""

    member: str
    origin: str
    checkpoint: bytes
    key: str
    signature: str
    issued_at: int


class PolicyStep(TypedDict):
    """One thing that is changed, and why."""

    action: Literal["CREATE", "CHANGE", "DELETE"]
    what: Literal["POLICY", "SIGHT", "DIRECT", "TOPIC", "USER", "ACL", "DIRECTORY"]
    name: str
    reasons: list[str]
    outcome: str | None


class PolicyApproval(TypedDict):
    """One person's signed word for a plan."""

    approver: str
    public: bytes
    signature: bytes


class PolicyApprover(TypedDict):
    """Whose word a plan that widens sight needs."""

    name: str
    public: bytes


class PolicyChange(TypedDict):
    """One part of one change of the sharing policy: what was done, by whom and why."""

    change_id: str
    kind: Literal["BEGUN", "DONE", "FAILED", "BREAK_GLASS", "SUSPENDED", "RESUMED", "WITHDRAWN"]
    part: int
    parts: int
    at: int
    by: str
    why: str | None
    member: str | None
    topic: str | None
    until: int | None
    policy_sha256: str | None
    cluster_id: str | None
    acls_sha256: str | None
    changes: list[PolicyStep]
    approvals: list[PolicyApproval]
    widening: int
    approvers: list[PolicyApprover]


class AclSnapshotRow(TypedDict):
    """One ACL, in Kafka's own words."""

    resource_type: str
    name: str
    pattern: str
    principal: str
    host: str
    operation: str
    permission: str


class AclSnapshot(TypedDict):
    """The ACLs on topics that decisions name by digest: all, or a difference to those of another."""

    digest: bytes
    part: int
    parts: int
    read_at: int
    base: bytes | None
    added: list[AclSnapshotRow]
    removed: list[AclSnapshotRow]
    worker: str


class MemberRow(TypedDict):
    """An organisation, as the directory lists it."""

    member: str
    role: str
    jurisdiction: str
    status: Literal["ACTIVE", "SUSPENDED", "WITHDRAWN"]


class TrustedOffset(TypedDict):
    """The last offset of a topic that a revoked key may have signed."""

    topic: str
    offset: int


class KeyRow(TypedDict):
    """A public key (Ed25519, 32 bytes) and when it counts."""

    key_id: str
    member: str
    public: bytes
    valid_from: int
    valid_to: int
    status: Literal["ACTIVE", "REVOKED"]
    trusted: list[TrustedOffset]


class DirectoryDocument(TypedDict):
    """Members and their public keys, signed by the root keys."""

    coalition: str
    version: int
    issued_at: int
    expires_at: int
    members: list[MemberRow]
    keys: list[KeyRow]
