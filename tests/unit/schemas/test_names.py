"""Names of members, jurisdictions and topics, and the fixed ids of schemas."""

from __future__ import annotations

import hashlib
import json
from itertools import product

import pytest

from tocsin.schemas import names
from tocsin.schemas.catalog import ALL, schema, schema_by_id
from tocsin.schemas.errors import NameInvalid, Reason, Rejection, UnknownSchema
from tocsin.schemas.names import RESERVED_IDS, AlertTopic, AlertType, Tlp, jurisdiction, member_id


@pytest.mark.parametrize(("kind", "tlp"), list(product(AlertType, Tlp)))
def test_topics_there_and_back(kind: AlertType, tlp: Tlp) -> None:
    """Every topic's name is parsed into its parts, and is in the alphabet that Kafka allows."""
    topic = AlertTopic("de", kind, tlp)
    assert AlertTopic.parse(topic.name) == topic
    assert set(topic.name) <= set("abcdefghijklmnopqrstuvwxyz-.")


def test_a_topic_as_text() -> None:
    """The four words in their order; amber-strict is a leaf of its own."""
    name = "alerts.gb.site-taken-down.amber-strict"
    assert AlertTopic("gb", AlertType.SITE_TAKEN_DOWN, Tlp.AMBER_STRICT).name == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "alerts",
        "alerts.de.merchant-terminated",
        "alerts.de.merchant-terminated.amber.x",
        "alert.de.merchant-terminated.amber",
        "alerts.DE.merchant-terminated.amber",
        "alerts.deu.merchant-terminated.amber",
        "alerts.de.merchant.amber",
        "alerts.de.merchant-terminated.red",
        "alerts.de.merchant-terminated.amber_strict",
        "alerts.de.merchant-terminated.AMBER",
        "alerts.de.merchant-terminated.amber\n",
    ],
)
def test_what_is_no_alert_topic(name: str) -> None:
    """A name that is not exactly one that we make is refused."""
    with pytest.raises(NameInvalid):
        AlertTopic.parse(name)


@pytest.mark.parametrize(
    "text", ["b", "x" * 41, "Bank", "bank.fr", "bank_fr", "bänk", "bank\n", "", *sorted(RESERVED_IDS)]
)
def test_what_is_no_member(text: str) -> None:
    """Wrong letters, wrong lengths and the exchange's own logins are no member ids."""
    with pytest.raises(NameInvalid):
        member_id(text)


def test_members_and_jurisdictions() -> None:
    """The shortest and the longest id pass; a jurisdiction is two lower-case letters."""
    assert [member_id(text) for text in ("ab", "x" * 40, "bank-fr-2")] == ["ab", "x" * 40, "bank-fr-2"]
    assert [jurisdiction(text) for text in ("de", "eu")] == ["de", "eu"]
    for text in ("DE", "d", "deu", "d1", "de\n"):
        with pytest.raises(NameInvalid):
            jurisdiction(text)


def test_tlp_from_open_to_closed() -> None:
    """Each label covers itself and every more open one."""
    assert [len(tlp.and_below()) for tlp in Tlp] == [1, 2, 3, 4]
    assert Tlp.AMBER.and_below() == (Tlp.CLEAR, Tlp.GREEN, Tlp.AMBER)


def test_topics_of_one_owner() -> None:
    """The other topics are a word and their owner."""
    assert names.inbox_topic("bank-fr") == "inbox.bank-fr"
    assert names.outbox_topic("bank-fr") == "outbox.bank-fr"
    assert names.ledger_topic("de") == "ledger.de"
    assert names.audit_topic("de") == "audit.de"


def test_fixed_ids() -> None:
    """Ids are the same in every coalition and release; a published one never moves."""
    assert {one.id: f"{one.subject}.v{one.version}" for one in ALL} == {
        101: "merchant-terminated.v1",
        102: "descriptor-reused.v1",
        103: "site-taken-down.v1",
        201: "notice.v1",
        202: "decision.v1",
        203: "ledger-entry.v1",
        204: "subscription.v1",
        205: "receipt.v1",
        206: "directory.v1",
        207: "ledger-mark.v1",
        208: "ledger-position.v1",
        209: "acknowledgement.v1",
        210: "ledger-inbox.v1",
        211: "dispute.v1",
        212: "hold.v1",
        213: "release.v1",
        214: "policy-change.v1",
        215: "acl-snapshot.v1",
        216: "sight.v1",
        217: "cosignature.v1",
        218: "access.v1",
    }


def test_catalogue() -> None:
    """A schema is found by id, by subject and by version; its digest is that of the text that is served."""
    for one in ALL:
        assert schema_by_id(one.id) is schema(one.subject) is schema(one.subject, one.version) is one
        assert hashlib.sha256(one.text.encode()).hexdigest() == one.sha256
        assert json.loads(one.text)["namespace"] == "tocsin.v1"
    with pytest.raises(UnknownSchema, match="not in this release"):
        schema_by_id(9)
    for subject, version in (("x", None), ("receipt", 2)):
        with pytest.raises(UnknownSchema, match="not in this release"):
            schema(subject, version)


def test_the_header_is_one() -> None:
    """The three alerts carry the same header, letter for letter."""
    headers = [json.loads(schema(kind.value).text)["fields"][0] for kind in AlertType]
    assert headers[0] == headers[1] == headers[2]


def test_a_rejection_says_reason_and_detail() -> None:
    """The text is the reason's word and where it applies; the signer is kept apart."""
    refusal = Rejection(Reason.INVALID, "header.revision: 1 or more", signer="bank-fr")
    assert str(refusal) == "invalid: header.revision: 1 or more"
    assert refusal.signer == "bank-fr"
    assert str(Rejection(Reason.UNSIGNED)) == "unsigned"
