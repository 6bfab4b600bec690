"""Words of commands, checked where they are given: what is wrong is a usage error that names the option."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import typer

from tocsin.schemas.errors import NameInvalid
from tocsin.schemas.names import AlertTopic, jurisdiction, member_id


def checked_positions(texts: Iterable[str] | None) -> dict[str, int]:
    """`--since topic/offset`, given for each topic -> the first offset of each.

    Raises:
        typer.BadParameter: one is none.
    """
    found = [checked_position(text, "--since") for text in texts or ()]
    return {topic.name: offset for topic, offset in found}


def checked_position(text: str, option: str) -> tuple[AlertTopic, int]:
    """`topic/offset`, of an alert topic.

    Raises:
        typer.BadParameter: it is none.
    """
    topic, _, offset = text.rpartition("/")
    if not (offset.isascii() and offset.isdigit()):
        raise typer.BadParameter(f"{text!r} is not topic/offset", param_hint=option)
    try:
        return AlertTopic.parse(topic), int(offset)
    except NameInvalid as error:
        raise typer.BadParameter(str(error), param_hint=option) from error


def checked_trusted(texts: Iterable[str] | None) -> dict[str, int]:
    """`--trusted topic/offset`, given for each topic -> the last offset that counts in each; -1: none.

    Raises:
        typer.BadParameter: one is none.
    """
    found: dict[str, int] = {}
    for text in texts or ():
        topic, _, offset = text.rpartition("/")
        if not (offset.isascii() and offset.removeprefix("-").isdigit()):
            raise typer.BadParameter(f"{text!r} is not topic/offset", param_hint="--trusted")
        if not topic.startswith(("alerts.", "outbox.")):
            raise typer.BadParameter(f"{topic!r}: no member signs what is in it", param_hint="--trusted")
        found[topic] = int(offset)
    return found


def checked_member(text: str, option: str) -> str:
    """`text`, if it can be a member's id.

    Raises:
        typer.BadParameter: it cannot.
    """
    try:
        return member_id(text)
    except NameInvalid as error:
        raise typer.BadParameter(str(error), param_hint=option) from error


def checked_jurisdiction(text: str) -> str:
    """`text`, if it can be a jurisdiction.

    Raises:
        typer.BadParameter: it cannot.
    """
    try:
        return jurisdiction(text)
    except NameInvalid as error:
        raise typer.BadParameter(str(error), param_hint="--jurisdiction") from error


def checked_lanes(asked: Iterable[str] | None, known: Collection[str], option: str) -> list[str]:
    """The lanes `asked` for, each once, or all that there are.

    Raises:
        typer.BadParameter: one of them has no ledger.
    """
    unknown = sorted({*(asked or ())} - {*known})
    if unknown:
        raise typer.BadParameter(f"no ledger of {', '.join(unknown)}; there are {', '.join(known)}", param_hint=option)
    return sorted({*(asked or known)})
