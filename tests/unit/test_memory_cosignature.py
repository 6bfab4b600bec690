"""A cosigned head in a member's outbox, on the exchange in memory: who may have written it, and what it must be."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.unit.consumers.audit.trees import Tree
from tests.unit.test_memory_acknowledgement import Stage
from tocsin.consumers.audit.cosigned import Cosigned, witness_name
from tocsin.consumers.audit.note import Cosigner, Note, Signer
from tocsin.consumers.outbox_records import COSIGNATURE, Outboxes, cosignature_record, open_record
from tocsin.schemas.bus import BusRecord
from tocsin.schemas.catalog import schema
from tocsin.schemas.codec import encode
from tocsin.schemas.errors import Reason, Rejection
from tocsin.schemas.names import outbox_topic
from tocsin.schemas.signing import SigningKey, sign_headers

LOG = Signer("test.tocsin/audit.se", SigningKey.generate("sealer"))
WITNESS = Cosigner(witness_name("test", "isp-se"), SigningKey.generate("isp-se"))
NOTE = Tree.of(9).signed(LOG, 9)
OTHER_NOTE = Tree.of(8).signed(LOG, 8)


def _cosigned(cosigner: Cosigner = WITNESS) -> Cosigned:
    return Cosigned("isp-se", NOTE, cosigner.verifier, cosigner.sign(Note.parse(NOTE).text, 1_800_000_000))


CONTENT = cosignature_record(_cosigned(), 1)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """An exchange."""
    return Stage(tmp_path)


def _record(stage: Stage, content: Mapping[str, Any], key: str = "cosignature/audit.se") -> BusRecord:
    form = schema(COSIGNATURE)
    value = encode(form, content)
    headers = tuple(sign_headers(stage.isp.signing_key(), "test", form, value))
    at_ms = stage.exchange.directory.issued_at
    return BusRecord(outbox_topic("isp-se"), 0, key.encode(), value, headers, at_ms)


def test_others_find_it_in_the_outbox(stage: Stage) -> None:
    """As it was; the fan-out, which decides nothing by it, keeps none."""
    with stage.exchange.outbox(stage.isp) as outbox:
        outbox.cosign(_cosigned())
    [record] = stage.exchange.bus.records(outbox_topic("isp-se"))
    found = open_record("isp-se", record, stage.verifier()).content
    assert found == _cosigned()
    assert (found.topic, found.head.size) == ("audit.se", 9)
    keys = [LOG.verifier, WITNESS.verifier]
    assert Note.parse(found.note()).verified(keys) == set(keys)
    outboxes = Outboxes()
    outboxes.apply("isp-se", record, stage.verifier())
    assert outboxes.changes == 0


@pytest.mark.parametrize(
    ("changes", "key", "reason"),
    [
        ({"member": "isp-fr"}, "cosignature/audit.se", Reason.WRONG_PUBLISHER),
        ({}, "cosignature/audit.de", Reason.WRONG_KEY),
        ({"origin": "test.tocsin/audit.de"}, "cosignature/audit.se", Reason.INVALID),
        ({"checkpoint": OTHER_NOTE}, "cosignature/audit.se", Reason.INVALID),
        ({"checkpoint": b"\xff"}, "cosignature/audit.se", Reason.INVALID),
        ({"signature": ""}, "cosignature/audit.se", Reason.INVALID),
        ({"signature": 2 * CONTENT["signature"]}, "cosignature/audit.se", Reason.INVALID),
        ({"key": LOG.verifier.text()}, "cosignature/audit.se", Reason.INVALID),
        ({"key": "x"}, "cosignature/audit.se", Reason.INVALID),
    ],
)
def test_what_is_no_cosignature_of_that_member(
    stage: Stage, changes: Mapping[str, Any], key: str, reason: Reason
) -> None:
    """Of another head, by another key, more than one, or under another name."""
    with pytest.raises(Rejection) as refusal:
        open_record("isp-se", _record(stage, {**CONTENT, **changes}, key), stage.verifier())
    assert refusal.value.reason is reason


@pytest.mark.parametrize("name", ["test.tocsin/witness/isp-fr", "other.tocsin/witness/isp-se", "test.tocsin/audit.se"])
def test_a_member_is_a_witness_under_its_own_name_only(stage: Stage, name: str) -> None:
    """Or one member could be taken for two witnesses."""
    content = cosignature_record(_cosigned(Cosigner(name, WITNESS.key)), 1)
    with pytest.raises(Rejection, match="not of this member's witness"):
        open_record("isp-se", _record(stage, content), stage.verifier())
