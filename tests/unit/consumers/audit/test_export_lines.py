"""Records as lines of an export: what is written is read again, and no line can be written in two ways."""

from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tocsin.consumers.audit.export_lines import Unreadable, decode_line, encode_line
from tocsin.schemas.bus import BusRecord

BYTES = st.none() | st.binary(max_size=40)
NUMBERS = st.integers(0, 2**62)
RECORDS = st.builds(
    BusRecord,
    topic=st.just("audit.se"),
    offset=NUMBERS,
    key=BYTES,
    value=BYTES,
    headers=st.lists(st.tuples(st.text(st.characters(codec="utf-8"), max_size=8), BYTES), max_size=3).map(tuple),
    appended_ms=NUMBERS,
)


@given(RECORDS)
def test_what_was_written_is_read_again(record: BusRecord) -> None:
    """Keys and values that are missing are not those that are empty."""
    assert decode_line(record.topic, encode_line(record)) == record


@given(RECORDS, st.integers(0, 2**32))
def test_a_changed_line_is_another_record_or_none(record: BusRecord, seed: int) -> None:
    """Whatever bit is flipped: no change of a line leaves what it says."""
    rng, line = random.Random(seed), bytearray(encode_line(record))
    line[rng.randrange(len(line))] ^= 1 << rng.randrange(8)
    found = decode_line(record.topic, bytes(line))
    assert isinstance(found, Unreadable) or (found != record and encode_line(found) == bytes(line))


def test_what_json_would_also_take_is_no_line() -> None:
    """Blanks, leading zeros, another order, unused bits of base64, more fields, no end of line."""
    line = encode_line(BusRecord("audit.se", 7, b"k", b"v", (("h", b"x"),), 9))
    assert line == b'{"offset":7,"timestamp":9,"key":"aw==","value":"dg==","headers":[["h","eA=="]]}\n'
    for found, other in (
        (b'"offset":7', b'"offset": 7'),
        (b'"offset":7', b'"offset":07'),
        (b'"offset":7', b'"offset":7.0'),
        (b'"offset":7,"timestamp":9', b'"timestamp":9,"offset":7'),
        (b'"dg=="', b'"dh=="'),
        (b'"dg=="', b'"dg"'),
        (b'"dg=="', b'"d=="'),
        (b'"eA=="', b'"eB=="'),
        (b'[["h"', b'[ ["h"'),
        (b'[["h","eA=="]]', b'[["h","eA==",1]]'),
        (b'[["h","eA=="]]', b"[7]"),
        (b"]}\n", b'],"more":1}\n'),
        (b"]}\n", b"]}"),
    ):
        assert isinstance(decode_line("audit.se", line.replace(found, other)), Unreadable), other


def test_a_topic_is_the_name_of_its_file() -> None:
    """A line does not say it, so what is sealed of the same line in another file is something else."""
    record = BusRecord("audit.se", 7, None, b"v", (), 9)
    assert decode_line("audit.de", encode_line(record)) == replace(record, topic="audit.de")
