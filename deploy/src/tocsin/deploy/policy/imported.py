"""A policy that was read off ACLs, as a file for a person to complete. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

TODO: Final = "TODO"
"""Stands where a person has to say something; `tocsin policy check` refuses it."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a member from elsewhere: ACLs do not say it."""

    role: str
    jurisdiction: str


@dataclass(frozen=True, slots=True)
class Imported:
    """A policy's content; what a person has to say before it is one; and what of the ACLs it does not say."""

    content: Mapping[str, Any]
    asks: tuple[str, ...]
    left: tuple[str, ...]

    def text(self) -> str:
        """The policy file."""
        return "".join(f"{line}\n" for line in self._comments()) + yaml.safe_dump(
            dict(self.content), sort_keys=False, default_flow_style=None, width=120
        )

    def _comments(self) -> Iterator[str]:
        yield "# A first policy, from the ACLs of a cluster. Where it says TODO, a person has to say what is so. Every"
        yield "# agreement and transfer is to be confirmed: ACLs show that alerts are shared, not why they may be."
        for title, lines in (("To be said", self.asks), ("Not in this policy", self.left)):
            if lines:
                yield f"#\n# {title}:"
                yield from (f"#   {_printable(line)}" for line in lines)


def _printable(text: str) -> str:
    """`text` on one line: a principal may be called anything."""
    return "".join(one if one.isprintable() else "?" for one in text)
