"""A member needs nothing of ours: a plain Kafka client, fastavro and an Ed25519 library read and verify an inbox.

Here `confluent_kafka`, `fastavro` and `nacl` only; the bundle's files and the `.avsc` texts are read as files.
"""

from __future__ import annotations

import hashlib
import json
import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
from confluent_kafka import Consumer, TopicPartition
from nacl.signing import VerifyKey

from tests.world import World, takedown, wait_until
from tocsin.producers.publisher import Publisher

AVSC = Path(__file__).parents[2] / "schemas" / "src" / "tocsin" / "schemas" / "avsc"
IDS = {103: "site-taken-down.v1", 206: "directory.v1"}


def test_plain_clients_read_and_verify_an_inbox(world: World) -> None:
    """Directory by the pinned root keys, then the copy by the member's key in it: fields equal what was published."""
    publisher = world.member("hotline-se")
    alert = takedown(publisher, 77, tlp="CLEAR", note="read by a plain client")
    with Publisher(publisher) as publishing:
        publishing.publish(alert)
        assert publishing.flush(20) == 0
    wait_until(lambda: alert.to_avro() in [one.value() for one in world.inbox("reader-01")], 20, "the copy")
    folder = world.home / "members" / "reader-01"
    keys = _directory_keys(folder)
    [record] = [
        one for one in _read(folder, "inbox.reader-01") if alert.header.alert_id.encode() in (one.value() or b"")
    ]
    headers = dict(record.headers())
    key = keys[headers["dsse-keyid"].decode()]
    assert key["member"] == "hotline-se"
    subject, content = _opened(record.value(), headers, "dsse-sig", key["public"], _coalition(folder))
    assert subject == "site-taken-down.v1"
    assert content["header"]["publisher"] == "hotline-se"
    assert content["header"]["note"] == "read by a plain client"
    assert content["header"]["expires_at"] == alert.header.expires_at
    assert record.key().decode() == f"hotline-se/{content['header']['lineage_id']}"
    assert headers["tocsin-source"].decode().startswith("alerts.se.site-taken-down.clear/0/")
    assert headers["tocsin-rule"].decode().startswith("ALLOW READ User:reader-01 192.0.2.1 ")


def _coalition(folder: Path) -> str:
    return str(json.loads((folder / "config.json").read_text())["coalition"])


def _directory_keys(folder: Path) -> dict[str, Any]:
    """Key id -> key, from the newest directory document, once enough pinned root keys have signed it."""
    config = json.loads((folder / "config.json").read_text())
    record = _read(folder, "directory")[-1]
    kind = next(content for name, content in record.headers() if name == "dsse-type")
    signatures = [content for name, content in record.headers() if name == "dsse-sig"]
    signed = 0
    for root in config["roots"]:
        signed += any(_holds(bytes.fromhex(root), kind, record.value(), signature) for signature in signatures)
    assert signed >= config["roots_threshold"]
    document = _decoded(record.value(), kind, config["coalition"])[1]
    return {key["key_id"]: key for key in document["keys"]}


def _opened(
    value: bytes, headers: dict[str, bytes], signature: str, public: bytes, coalition: str
) -> tuple[str, dict[str, Any]]:
    """Subject and content of a value whose signature holds."""
    VerifyKey(public).verify(_signed(headers["dsse-type"], value), headers[signature])
    return _decoded(value, headers["dsse-type"], coalition)


def _holds(public: bytes, kind: bytes, value: bytes, signature: bytes) -> bool:
    try:
        VerifyKey(public).verify(_signed(kind, value), signature)
    except Exception:  # noqa: BLE001  # whatever a library says, it does not hold
        return False
    return True


def _signed(kind: bytes, value: bytes) -> bytes:
    """DSSE's pre-authentication encoding."""
    return b" ".join((b"DSSEv1", str(len(kind)).encode(), kind, str(len(value)).encode(), value))


def _decoded(value: bytes, kind: bytes, coalition: str) -> tuple[str, dict[str, Any]]:
    """Subject and content: the frame names the schema, the signed type its SHA-256."""
    magic, schema_id = struct.unpack(">BI", value[:5])
    assert magic == 0
    text = (AVSC / f"{IDS[schema_id]}.avsc").read_text()
    digest = hashlib.sha256(text.encode()).hexdigest()
    assert kind.decode() == f"application/vnd.tocsin.{coalition}+avro; schema={digest}"
    schema = fastavro.parse_schema(json.loads(text))
    content: Any = fastavro.schemaless_reader(BytesIO(value[5:]), schema, None)
    return IDS[schema_id], content


def _read(folder: Path, topic: str) -> list[Any]:
    """Every committed record of `topic`, with what stands in a bundle's files."""
    config = json.loads((folder / "config.json").read_text())
    consumer = Consumer(
        {
            "bootstrap.servers": config["bootstrap"],
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": config["login"],
            "sasl.password": (folder / "password").read_text().strip(),
            "ssl.ca.location": str(folder / "ca.pem"),
            "group.id": f"{config['member']}.plain",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        }
    )
    try:
        partition = TopicPartition(topic, 0, 0)
        end = consumer.get_watermark_offsets(partition, timeout=10)[1]
        consumer.assign([partition])
        found: list[Any] = []
        while consumer.position([partition])[0].offset < end:
            message = consumer.poll(1.0)
            if message is None:
                break  # nothing but a transaction's end follows
            assert message.error() is None
            found.append(message)
        return found
    finally:
        consumer.close()
