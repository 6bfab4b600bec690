"""What lies in inboxes and alert topics of one lane: who has which bytes, and what they state. Without I/O."""

from __future__ import annotations

import hashlib
import marshal
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from tocsin.consumers.contents import Contents, MemoryContents, Place
from tocsin.consumers.entry import Headers
from tocsin.consumers.lane_transaction import SOURCE_HEADER
from tocsin.consumers.rebuild.fold import Revision
from tocsin.schemas.codec import decode
from tocsin.schemas.signing import DSSE_HEADERS

HeaderOf = Callable[[bytes], Mapping[str, Any]]
"""What an alert's bytes state of it: `status`, `expires_at`, `test`."""


class Stated(NamedTuple):
    """What a revision states of itself."""

    status: str
    expires_at: int
    test: bool


def header_of(value: bytes) -> Mapping[str, Any]:
    """The header of an alert that the exchange has accepted."""
    header: Mapping[str, Any] = decode(value)[1]["header"]
    return header


class Copies:
    """Found bytes count only where their SHA-256 is the decision's, so that nothing needs to be believed of them.

    `lane` is the jurisdiction; copies of others' alerts are passed over. The bytes are kept in `contents`.
    """

    def __init__(self, lane: str, contents: Contents | None = None, header_of: HeaderOf = header_of) -> None:
        self._prefix = f"alerts.{lane}."
        self._contents = contents or MemoryContents()
        self._header_of = header_of
        self._found: dict[tuple[str, bytes], Place] = {}
        self._lying: dict[str, dict[str, bytes]] = {}

    def take_copy(
        self, member: str, key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes | None]]
    ) -> None:
        """Take in the next record of the inbox of `member`."""
        lying, name = self._lying.setdefault(member, {}), (key or b"").decode(errors="replace")
        if value is None:
            lying.pop(name, None)
            return
        headers = tuple(headers)
        source = (dict(headers).get(SOURCE_HEADER) or b"").decode(errors="replace")
        if source.startswith(self._prefix) and name.count("/") == 1:
            lying[name] = self._take(source, value, headers)

    def take_alert(self, source: str, value: bytes | None, headers: Iterable[tuple[str, bytes | None]]) -> None:
        """Take in the record of an alert topic that lies at `source` (topic/partition/offset)."""
        if value is not None:
            self._take(source, value, tuple(headers))

    def _take(self, source: str, value: bytes, headers: tuple[tuple[str, bytes | None], ...]) -> bytes:
        sha256 = hashlib.sha256(value).digest()
        if (source, sha256) not in self._found:
            signed = tuple((name, content) for name, content in headers if name in DSSE_HEADERS)
            self._found[source, sha256] = self._contents.put(marshal.dumps((value, signed)))
        return sha256

    def lies(self, member: str, key: str) -> bytes | None:
        """The digest of what the inbox of `member` has of the lineage `key`."""
        return self._lying.get(member, {}).get(key)

    def __contains__(self, revision: Revision) -> bool:
        return (revision.source, revision.sha256) in self._found

    def content(self, revision: Revision) -> tuple[bytes, Headers] | None:
        """Bytes and signature of a revision, if they are anywhere."""
        found = self._found.get((revision.source, revision.sha256))
        if found is None:
            return None
        value, headers = marshal.loads(self._contents.get(found))  # noqa: S302  # our own bytes
        return value, headers

    def stated(self, revision: Revision) -> Stated | None:
        """What a revision states of itself, if its bytes are anywhere."""
        content = self.content(revision)
        return None if content is None else self.read(content[0])

    def read(self, value: bytes) -> Stated:
        """What accepted bytes state."""
        header = self._header_of(value)
        return Stated(header["status"], header["expires_at"], header["test"])
