"""Trees in memory, with heads that are signed and proofs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tocsin.consumers.audit.merkle import Node, consistency_proof, leaf_hash, root_of
from tocsin.consumers.audit.note import Checkpoint, Note, Signer


@dataclass(frozen=True)
class Tree:
    """A log's leaf hashes."""

    leaves: Sequence[bytes]

    @classmethod
    def of(cls, size: int, altered: int | None = None) -> Tree:
        """The tree of the numbers up to `size`; `altered` is another one."""
        return cls([leaf_hash(b"other" if at == altered else at.to_bytes(4, "big")) for at in range(size)])

    def read(self, nodes: Sequence[Node]) -> list[bytes]:
        """The hashes of nodes."""
        return [root_of(self.leaves[node.number << node.level : (node.number + 1) << node.level]) for node in nodes]

    def consistency(self, old: int, size: int) -> list[bytes]:
        """The proof from one size to another."""
        return consistency_proof(old, size, self.read)

    def signed(self, log: Signer, size: int) -> bytes:
        """The head of its first leaves."""
        text = Checkpoint(log.name, size, root_of(self.leaves[:size])).text()
        return Note(text, (log.sign(text),)).encode()
