"""The entries of a ledger, packed: some hundred bytes for a lineage that nobody is owed; its content lies elsewhere."""

from __future__ import annotations

import marshal
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from struct import Struct
from typing import Any, Final, Generic, NamedTuple, TypeVar, cast

from tocsin.consumers.contents import NOWHERE, Contents, Place
from tocsin.consumers.entry import Audience, Entry, Given, Headers
from tocsin.consumers.lineage import ENDED
from tocsin.schemas.records import LedgerEntry

_STATUSES: Final = ("ACTIVE", "CORRECTED", "DISPUTED", "RETRACTED", "EXPIRED")
# the fields that are packed, then the content's offset and size
_NAMES: Final = (
    "revision",
    "status",
    "topic",
    "partition",
    "offset",
    "appended_at",
    "sha256",
    "expires_at",
    "forget_at",
    "signer",
    "test",
)
_HEAD: Final = Struct("<iBIiqq32sqqI?qI")
# seq, revision, members and rules
_GIVEN: Final = Struct("<qiI")

_T = TypeVar("_T")


class Outline(NamedTuple):
    """What a lane must know of every entry: `seq` is the number of the last decision that gave it to somebody."""

    key: str
    kind: str
    topic: str
    ended: bool
    ends_at: int
    seq: int


class Entries(MutableMapping[str, Entry]):
    """Entries by key. `pack` what is not needed soon; reading it gives an equal entry again."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self._held: dict[str, Entry | bytes] = {}
        self._topics = _Table[str]()
        self._signers = _Table[str]()
        self._audiences = _Table[Audience]()

    def __getitem__(self, key: str) -> Entry:
        held = self._held[key]
        return self._unpack(key, held, with_content=True) if isinstance(held, bytes) else held

    def head(self, key: str) -> Entry | None:
        """The entry, perhaps without its content, which is then not read. None when there is none."""
        held = self._held.get(key)
        return self._unpack(key, held, with_content=False) if isinstance(held, bytes) else held

    def __setitem__(self, key: str, entry: Entry) -> None:
        self._drop_content(key)
        self._held[key] = entry

    def __delitem__(self, key: str) -> None:
        self._drop_content(key)
        del self._held[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)

    def outlines(self) -> Iterator[Outline]:
        """The outline of every entry, without unpacking the rest of it."""
        for key, held in self._held.items():
            if isinstance(held, bytes):
                _, status, topic, *_, expires_at, forget_at, _, _, _, _ = _HEAD.unpack_from(held)
                ended = _STATUSES[status] in ENDED
                seq = _GIVEN.unpack_from(held, len(held) - _GIVEN.size)[0] if len(held) > _HEAD.size else 0
                yield Outline(key, "ALERT", self._topics[topic], ended, forget_at if ended else expires_at, seq)
            else:
                seq = max((given.seq for given in held.given), default=0)
                yield Outline(key, held.kind, held.topic, held.ended, held.ends_at, seq)

    def pack(self, key: str) -> None:
        """Pack a lineage, if it is there and is not packed already; notices stay as they are."""
        entry = self._held.get(key)
        if isinstance(entry, Entry) and entry.kind == "ALERT":
            self._held[key] = self._pack_entry(entry)

    def put_packed(self, key: str, record: LedgerEntry, given: Iterable[tuple[int, int, Audience]]) -> None:
        """Put a lineage as it stands in the ledger topic, and pack it, without making an entry of it first.

        `given` is (seq, revision, audience) of each decision, in place of the record's own.
        """
        self._drop_content(key)
        self._held[key] = self._pack(
            record,
            (record["value"], tuple((header["key"], header["value"]) for header in record["headers"])),
            given,
        )

    def _pack_entry(self, entry: Entry) -> bytes:
        given = [(one.seq, one.revision, (one.members, one.rules)) for one in entry.given]
        return self._pack({name: getattr(entry, name) for name in _NAMES}, (entry.value, entry.headers), given)

    def _pack(
        self,
        fields: Mapping[str, Any],
        content: tuple[bytes, Headers],
        given: Iterable[tuple[int, int, Audience]],
    ) -> bytes:
        place = self._contents.put(marshal.dumps(content)) if any(content) else NOWHERE
        head = _HEAD.pack(
            fields["revision"],
            _STATUSES.index(fields["status"]),
            self._topics.number(fields["topic"]),
            fields["partition"],
            fields["offset"],
            fields["appended_at"],
            fields["sha256"],
            fields["expires_at"],
            fields["forget_at"],
            self._signers.number(fields["signer"]),
            fields["test"],
            *place,
        )
        return b"".join((head, *(_GIVEN.pack(seq, of, self._audiences.number(who)) for seq, of, who in given)))

    def _unpack(self, key: str, packed: bytes, *, with_content: bool) -> Entry:
        (
            revision,
            status,
            topic,
            partition,
            offset,
            appended_at,
            sha256,
            expires_at,
            forget_at,
            signer,
            test,
            *place,
        ) = _HEAD.unpack_from(packed)
        value, headers = self._content(Place(*place)) if with_content else (b"", ())
        return Entry(
            key=key,
            kind="ALERT",
            inbox_key=key,
            revision=revision,
            status=_STATUSES[status],
            topic=self._topics[topic],
            partition=partition,
            offset=offset,
            appended_at=appended_at,
            sha256=sha256,
            expires_at=expires_at,
            forget_at=forget_at,
            signer=self._signers[signer],
            test=test,
            value=value,
            headers=headers,
            given=tuple(
                Given(seq, of, *self._audiences[number])
                for seq, of, number in _GIVEN.iter_unpack(memoryview(packed)[_HEAD.size :])
            ),
        )

    def _content(self, place: Place) -> tuple[bytes, Headers]:
        if place == NOWHERE:
            return b"", ()
        return cast("tuple[bytes, Headers]", marshal.loads(self._contents.get(place)))  # noqa: S302  # our own bytes

    def _drop_content(self, key: str) -> None:
        held = self._held.get(key)
        if isinstance(held, bytes):
            place = Place(*_HEAD.unpack_from(held)[-2:])
            if place != NOWHERE:
                self._contents.free(place)


class _Table(Generic[_T]):
    """Values that many entries share, each once, by number."""

    def __init__(self) -> None:
        self._values: list[_T] = []
        self._numbers: dict[_T, int] = {}

    def number(self, value: _T) -> int:
        known = self._numbers.get(value)
        if known is None:
            known = self._numbers[value] = len(self._values)
            self._values.append(value)
        return known

    def __getitem__(self, number: int) -> _T:
        return self._values[number]
