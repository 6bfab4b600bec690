"""Signs with the key that is in the bundle now."""

from __future__ import annotations

import threading
from dataclasses import replace

from tocsin.producers.spool_rows import Row
from tocsin.schemas.bundle import SIGNING_KEY, Bundle
from tocsin.schemas.bus import Headers
from tocsin.schemas.catalog import Schema, schema
from tocsin.schemas.errors import BundleInvalid
from tocsin.schemas.names import AlertTopic
from tocsin.schemas.signing import SigningKey, sign_headers


class Signer:
    """A bundle's signing key, read again when its file is replaced: a key that follows another needs no restart.

    Raises:
        BundleInvalid: no key can be read.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._path = bundle.path / SIGNING_KEY
        self._lock = threading.Lock()
        self._seen: tuple[int, int] | None = None
        self._key = self.key()

    def key(self) -> SigningKey:
        """The key of now. Raises BundleInvalid."""
        with self._lock:
            try:
                found = self._path.stat()
            except OSError as error:
                raise BundleInvalid(f"{self._path}: {error.strerror}; put the member's signing key there") from error
            if (found.st_ino, found.st_mtime_ns) != self._seen:
                self._key = self._bundle.signing_key()
                self._seen = (found.st_ino, found.st_mtime_ns)
            return self._key

    def sign(self, kind: Schema, value: bytes) -> tuple[str, Headers]:
        """Key id and headers for `value`. Raises BundleInvalid."""
        key = self.key()
        return key.key_id, sign_headers(key, self._bundle.coalition, kind, value)

    def signed_again(self, row: Row) -> Row | None:
        """`row` with the signature of the key of now, or None when it has it.

        What a replaced key has signed may be read after that key's end, or have to be doubted if it was revoked. The
        value stays the same, and with it what the exchange takes the alert to be. Raises BundleInvalid.
        """
        if row.key_id == self.key().key_id:
            return None
        key_id, headers = self.sign(schema(AlertTopic.parse(row.topic).type.value), row.value)
        return replace(row, key_id=key_id, headers=headers)
