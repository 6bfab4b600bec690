"""Alerts of one type of one jurisdiction, and labels: an agreement gives all up to one, a prohibition takes all above.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

from tocsin.schemas.names import AlertTopic, AlertType, Tlp

Kind = tuple[str, AlertType]
"""The alerts of one type of one jurisdiction."""
Level = TypeVar("Level", bound=Tlp | None)


def up_to(labels: Mapping[Kind, set[Tlp]]) -> dict[Kind, Tlp]:
    """The highest label up to which all are there."""
    found = {one: [tlp for tlp in Tlp if {*tlp.and_below()} <= some] for one, some in labels.items()}
    return {one: tlps[-1] for one, tlps in found.items() if tlps}


def above(labels: Mapping[Kind, set[Tlp]]) -> dict[Kind, Tlp | None]:
    """The lowest label above which all are there; None: all are."""
    bounds: list[tuple[Tlp | None, set[Tlp]]] = [(None, {*Tlp}), *((tlp, {*Tlp} - {*tlp.and_below()}) for tlp in Tlp)]
    return {
        one: next(bound for bound, those in bounds if those <= some)
        for one, some in labels.items()
        if Tlp.AMBER_STRICT in some
    }


def beyond(labels: Mapping[Kind, set[Tlp]], upper: Mapping[Kind, Tlp]) -> Iterator[str]:
    """The topics of `labels` that all up to `upper` are not."""
    for one, some in labels.items():
        said = upper[one].and_below() if one in upper else ()
        yield from (AlertTopic(*one, tlp).name for tlp in Tlp if tlp in some and tlp not in said)


def beneath(labels: Mapping[Kind, set[Tlp]], lower: Mapping[Kind, Tlp | None]) -> Iterator[str]:
    """The topics of `labels` that all above `lower` are not."""
    for one, some in labels.items():
        bound = lower.get(one, Tlp.AMBER_STRICT)
        allowed = () if bound is None else bound.and_below()
        yield from (AlertTopic(*one, tlp).name for tlp in Tlp if tlp in some and tlp in allowed)


def together(
    reach: Mapping[str, Mapping[Kind, Level]],
) -> Iterator[tuple[list[str], list[str], list[AlertType], Level]]:
    """Members, jurisdictions and types that have the same level: a group for each shape that some member has."""
    groups: dict[tuple[tuple[str, ...], tuple[AlertType, ...], Level], list[str]] = {}
    for member, levels in reach.items():
        for shape in _shapes(levels):
            groups.setdefault(shape, []).append(member)
    for (places, types, level), members in groups.items():
        yield members, [*places], [*types], level


def _shapes(levels: Mapping[Kind, Level]) -> Iterator[tuple[tuple[str, ...], tuple[AlertType, ...], Level]]:
    """`levels` as every combination of some jurisdictions and some types, with a level."""
    places: dict[tuple[AlertType, Level], list[str]] = {}
    for (place, kind), level in levels.items():
        places.setdefault((kind, level), []).append(place)
    types: dict[tuple[tuple[str, ...], Level], list[AlertType]] = {}
    for (kind, level), some in places.items():
        types.setdefault((tuple(some), level), []).append(kind)
    yield from ((some, tuple(kinds), level) for (some, level), kinds in types.items())
