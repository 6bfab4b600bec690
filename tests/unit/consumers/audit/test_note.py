"""Signed notes, checkpoints and cosignatures: what C2SP says is accepted, and nothing else."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.consumers.audit.merkle import EMPTY_ROOT
from tocsin.consumers.audit.note import (
    NOTE_BYTES_MAX,
    SIZE_MAX,
    Checkpoint,
    Cosigner,
    KeyKind,
    Note,
    Signature,
    Signer,
    Verifier,
    open_checkpoint,
)
from tocsin.consumers.errors import NoteInvalid
from tocsin.schemas.signing import SigningKey

# the example of https://c2sp.org/signed-note
EXAMPLE_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
EXAMPLE = (
    "This is an example message.\n\n— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjO"
    "BH3mFXmRKuwHjG1Yu72IneyaQM=\n"
).encode()

ORIGIN = "exchange.example/audit/se"
LOG = Signer(ORIGIN, SigningKey.generate("log"))
WITNESS = Cosigner("witness.example/w1", SigningKey.generate("witness"))
HEAD = Checkpoint(ORIGIN, 7, bytes(range(32)))
LINE = LOG.sign(HEAD.text()).line()
AT_S = 1_800_000_000


def _note(*signatures: Signature, text: str = HEAD.text()) -> Note:
    return Note(text, signatures)


# -- keys ------------------------------------------------------------------------------------------------------------


def test_the_example_of_the_specification_verifies() -> None:
    """Its key is read and written the same."""
    key = Verifier.parse(EXAMPLE_KEY)
    assert key.text() == EXAMPLE_KEY
    note = Note.parse(EXAMPLE)
    assert note.encode() == EXAMPLE
    assert note.verified([key]) == {key}


@pytest.mark.parametrize("verifier", [LOG.verifier, WITNESS.verifier])
def test_a_key_is_read_back(verifier: Verifier) -> None:
    """Of both kinds."""
    assert Verifier.parse(verifier.text()) == verifier


def test_one_public_key_has_another_id_for_each_use_and_name() -> None:
    """So a signature cannot be taken for a cosignature."""
    public = LOG.key.public
    keys = [Verifier("a", public), Verifier("b", public), Verifier("a", public, KeyKind.COSIGNATURE)]
    assert len({key.key_id for key in keys}) == 3


@pytest.mark.parametrize(
    "text",
    [
        "",
        EXAMPLE_KEY + "\n",
        EXAMPLE_KEY.replace("530d", "530D"),
        EXAMPLE_KEY.replace("530d", "530e"),
        EXAMPLE_KEY.replace("foo", "bar"),
        EXAMPLE_KEY.replace("foo", "f o"),
        EXAMPLE_KEY.replace("+530d903a", ""),
        EXAMPLE_KEY.removeprefix("example.com/foo"),
        EXAMPLE_KEY[:-4],
        EXAMPLE_KEY + "====",
        f"a+00000000+{base64.b64encode(bytes([2]) + bytes(32)).decode()}",
        f"a+00000000+{base64.b64encode(bytes([1]) + bytes(33)).decode()}",
    ],
)
def test_a_key_that_is_written_otherwise_is_refused(text: str) -> None:
    """Also of a kind that is not known, or under an id that is not its own."""
    with pytest.raises(NoteInvalid):
        Verifier.parse(text)


@pytest.mark.parametrize("name", ["", "a b", "a\u2003b", "a+b", "a\nb", "é" * 128, "\ud800"])
def test_a_name_that_no_note_can_carry_is_refused(name: str) -> None:
    """It is at most 255 bytes, without spaces of any alphabet."""
    with pytest.raises(NoteInvalid, match="a key's name"):
        Verifier(name, bytes(32))


# -- notes -----------------------------------------------------------------------------------------------------------


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=60))
def test_whatever_is_signed_is_read_back_and_verifies(text: str) -> None:
    """Any text without control characters; it may have empty lines."""
    text = f"{text}\n\n{text}\n"
    note = _note(LOG.sign(text), text=text)
    assert Note.parse(note.encode()) == note
    assert note.verified([LOG.verifier]) == {LOG.verifier}


def test_signatures_of_others_count_for_nothing() -> None:
    """Also those that share a name or an id with a key that is known."""
    ours = LOG.sign(HEAD.text())
    other = Signer(ORIGIN, SigningKey.generate("x")).sign(HEAD.text())
    same_id = Signature("other.example", ours.key_id, ours.value)
    assert _note(other, same_id, ours).verified([LOG.verifier, WITNESS.verifier]) == {LOG.verifier}
    with pytest.raises(NoteInvalid, match="not signed by any key"):
        _note(other, same_id).verified([LOG.verifier])


def test_a_false_signature_of_a_known_key_refuses_the_whole_note() -> None:
    """Even beside a true one by the same key."""
    true, false = LOG.sign(HEAD.text()), LOG.sign("other\n")
    for signatures in ([false], [true, false], [false, true]):
        with pytest.raises(NoteInvalid, match="not theirs over this text"):
            _note(*signatures).verified([LOG.verifier])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"\n\n",
        b"text\n",
        b"text\n\n",
        f"text\n{LINE}".encode(),
        f"\n\n{LINE}".encode(),
        f"text\n\n{LINE}".encode()[:-1],
        f"text\n\n{LINE}\n".encode(),
        f"text\n\n{LINE}tail\n".encode(),
        f"te\txt\n\n{LINE}".encode(),
        f"text\r\n\n{LINE}".encode(),
        f"text\0\n\n{LINE}".encode(),
        f"text\n\n{LINE}".encode().replace(b"text", b"te\xff"),
        f"text\n\n{LINE.replace('— ', '- ')}".encode(),
        f"text\n\n{LINE.replace('— ', '—  ')}".encode(),
        f"text\n\n{LINE.replace('=', '')}".encode(),
        f"text\n\n{LINE.replace(ORIGIN, 'a+b')}".encode(),
        f"text\n\n{LINE.replace(ORIGIN + ' ', '')}".encode(),
        b"text\n\n" + "— name AAAAAA==\n".encode(),
        b"text\n\n" + "— name AAAAAAB=\n".encode(),
        f"text\n\n{LINE * 101}".encode(),
        b"t" * NOTE_BYTES_MAX + f"\n\n{LINE}".encode(),
    ],
)
def test_what_is_no_signed_note_is_refused(data: bytes) -> None:
    """Too short, too long, torn, or written in another way."""
    with pytest.raises(NoteInvalid):
        Note.parse(data)


def test_as_many_signatures_are_read_as_others_may_write() -> None:
    """The specification asks for 16, of nearly 5 kB each."""
    note = _note(*(Signature(f"w{number}", bytes(4), bytes(3700)) for number in range(16)))
    assert len(Note.parse(note.encode()).signatures) == 16


# -- cosignatures ----------------------------------------------------------------------------------------------------


def test_a_cosignature_covers_text_and_time() -> None:
    """Neither can be changed, and it is no signature over the text alone."""
    made = WITNESS.sign(HEAD.text(), AT_S)
    verifier = WITNESS.verifier
    assert verifier.verifies(HEAD.text(), made.value)
    assert not verifier.verifies(HEAD.text() + "more\n", made.value)
    later = (AT_S + 1).to_bytes(8, "big") + made.value[8:]
    assert not verifier.verifies(HEAD.text(), later)
    assert not verifier.verifies(HEAD.text(), made.value[8:])
    assert not Verifier(verifier.name, verifier.public).verifies(HEAD.text(), made.value[8:])


def test_a_cosignature_of_a_time_that_no_clock_shows_is_refused() -> None:
    """2^63 seconds and more, which the specification rules out."""
    assert WITNESS.verifier.verifies(HEAD.text(), WITNESS.sign(HEAD.text(), SIZE_MAX).value)
    assert not WITNESS.verifier.verifies(HEAD.text(), WITNESS.sign(HEAD.text(), SIZE_MAX + 1).value)


@pytest.mark.parametrize("value", [b"", bytes(8), bytes(71), bytes(72), bytes(73)])
def test_a_cosignature_of_another_length_is_refused(value: bytes) -> None:
    """Nothing is read past its end."""
    assert not WITNESS.verifier.verifies(HEAD.text(), value)


# -- checkpoints -----------------------------------------------------------------------------------------------------


@given(st.integers(1, SIZE_MAX), st.binary(min_size=32, max_size=32))
def test_a_checkpoint_is_read_back(size: int, root: bytes) -> None:
    """Any size and root."""
    head = Checkpoint(ORIGIN, size, root)
    assert Checkpoint.parse(head.text()) == head
    assert open_checkpoint(_note(LOG.sign(head.text()), text=head.text()).encode(), LOG.verifier) == head


ROOT = base64.b64encode(bytes(32)).decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"{ORIGIN}\n7\n",
        f"{ORIGIN}\n7\n{ROOT}",
        f"\n7\n{ROOT}\n",
        f"{ORIGIN}\n07\n{ROOT}\n",
        f"{ORIGIN}\n-7\n{ROOT}\n",
        f"{ORIGIN}\n+7\n{ROOT}\n",
        f"{ORIGIN}\n7 \n{ROOT}\n",
        f"{ORIGIN}\n\u0667\n{ROOT}\n",
        f"{ORIGIN}\n{SIZE_MAX + 1}\n{ROOT}\n",
        f"{ORIGIN}\n7\n{ROOT[:-4]}\n",
        f"{ORIGIN}\n7\n{ROOT[:-1]}\n",
        f"{ORIGIN}\n7\n{ROOT[:-2]}B=\n",
        f"{ORIGIN}\n7\n{base64.b64encode(bytes(33)).decode()}\n",
        f"{ORIGIN}\n7\n{ROOT}\nextension\n",
        f"{ORIGIN}\n7\n{ROOT}\n\n",
        f"{ORIGIN}\n0\n{ROOT}\n",
    ],
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    """Also one of nothing with a root of something."""
    with pytest.raises(NoteInvalid):
        Checkpoint.parse(text)


def test_the_head_of_an_empty_log_is_a_checkpoint() -> None:
    """Of the root that RFC 6962 gives to it."""
    head = Checkpoint(ORIGIN, 0, EMPTY_ROOT)
    assert Checkpoint.parse(head.text()) == head


def test_a_checkpoint_is_of_the_log_whose_key_signed_it() -> None:
    """One key cannot speak for another log's origin."""
    other = Checkpoint("exchange.example/audit/fr", 7, bytes(32)).text()
    with pytest.raises(NoteInvalid, match=r"a checkpoint of exchange\.example/audit/fr, signed by"):
        open_checkpoint(_note(LOG.sign(other), text=other).encode(), LOG.verifier)
