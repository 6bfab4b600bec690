"""YAML as people mean it, with the line of every value.

Two habits of YAML 1.1 are not followed: `no` is Norway and not false, and a key that stands twice is an error
instead of the last one winning in silence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import yaml

from tocsin.deploy.errors import PolicyInvalid

Place = tuple[str | int, ...]
"""Where a value stands: keys and list indexes from the top, `("agreements", 0, "to")`."""

_BOOL: Final = "tag:yaml.org,2002:bool"
_MERGE: Final = "tag:yaml.org,2002:merge"
_DEPTH_MAX: Final = 16
# a few lines of aliases can stand for any number of values
_PLACES_MAX: Final = 200_000


@dataclass(frozen=True, slots=True)
class YamlFile:
    """A file's content and the lines (from 1) on which its values begin."""

    path: Path
    content: Any
    lines: Mapping[Place, int]

    def where(self, place: Place) -> str:
        """`file:line` of `place`, or of the nearest thing around it."""
        while place and place not in self.lines:
            place = place[:-1]
        return f"{self.path}:{self.lines.get(place, 1)}"


class _Meaning(yaml.constructor.SafeConstructor, yaml.resolver.Resolver):
    """YAML 1.2's booleans: `true` and `false` only. A value that cannot be is said with its line."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:  # noqa: FBT001, FBT002  # PyYAML's signature
        """As PyYAML does, which lets some errors through bare: a 30th of February, `!!bool x`."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, KeyError, AttributeError) as error:
            raise yaml.MarkedYAMLError(
                problem=f"no {node.tag.rpartition(':')[2]} can be written so", problem_mark=node.start_mark
            ) from error


_Meaning.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _BOOL]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Meaning.add_implicit_resolver(_BOOL, re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))


class _Loader(_Meaning, yaml.SafeLoader):
    """The one that says best what is wrong, and breaks on nothing."""


class _FastLoader(_Meaning, yaml.CSafeLoader):
    """The one in C, ten times as fast."""


def _loader(text: str) -> _Loader | _FastLoader:
    depth = 0
    try:
        for event in yaml.parse(text, Loader=_FastLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEPTH_MAX:
                return _Loader(text)  # in C, very deep nesting ends the process
    except yaml.YAMLError:
        return _Loader(text)
    return _FastLoader(text)


def read_yaml(path: Path) -> YamlFile:
    """The file at `path`.

    Raises:
        PolicyInvalid: it cannot be read, is not YAML, or has a key twice; names the line.
    """
    text = _text(path)
    try:
        loader = _loader(text)
        node = loader.get_single_node()
        if node is None:
            return YamlFile(path, None, {})
        places = list(islice(_lines(path, node, ()), _PLACES_MAX + 1))
        if len(places) > _PLACES_MAX:
            line = node.start_mark.line + 1
            raise PolicyInvalid(f"{path}:{line}: more than {_PLACES_MAX} values; write out what the aliases repeat")
        return YamlFile(path, loader.construct_document(node), dict(places))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise PolicyInvalid(f"{path}:{line}: not YAML: {error.problem}; correct this line or the one above") from error
    except RecursionError as error:
        raise PolicyInvalid(f"{path}:1: nested too deeply; write the handful of levels of a policy") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise PolicyInvalid(f"{path}:{line}: not YAML: {error.reason}; remove that character") from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise PolicyInvalid(f"{path}: {error.strerror}; name a policy file, e.g. coalition.yaml") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise PolicyInvalid(f"{path}:{line}: not YAML: a byte that is not UTF-8; save it as UTF-8") from error


def _lines(path: Path, node: yaml.Node, place: Place) -> Iterator[tuple[Place, int]]:
    """Every value's place and line. Raises PolicyInvalid."""
    yield place, node.start_mark.line + 1
    if len(place) > _DEPTH_MAX:
        raise PolicyInvalid(f"{path}:{node.start_mark.line + 1}: nested too deeply; remove the alias that names itself")
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _lines(path, item, (*place, index))
    elif isinstance(node, yaml.MappingNode):
        yield from _lines_of_mapping(path, node, place)


def _lines_of_mapping(path: Path, node: yaml.MappingNode, place: Place) -> Iterator[tuple[Place, int]]:
    seen: dict[str, int] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        name = str(key.value)
        if name in seen:
            raise PolicyInvalid(f"{path}:{line}: {name!r} stands on line {seen[name]} already; keep one of the two")
        if key.tag != _MERGE:
            seen[name] = line
        yield from _lines(path, value, (*place, name))
        yield (*place, name), line
