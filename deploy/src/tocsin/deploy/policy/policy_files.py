"""Policy files: one or several, read as one policy. Errors name file, line and remedy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tocsin.deploy.errors import PolicyInvalid
from tocsin.deploy.policy.document import Faults, Policy
from tocsin.deploy.policy.remedies import in_plain_words
from tocsin.deploy.policy.words import said
from tocsin.deploy.policy.yaml_file import Place, YamlFile, read_yaml


@dataclass(frozen=True, slots=True)
class PolicyFiles:
    """A policy, and where its parts stand: `where(("invariants", 0))` is `coalition.yaml:83`."""

    policy: Policy
    where: Callable[[Place], str]


def read_policy(*paths: Path) -> Policy:
    """The policy in YAML files. Raises PolicyInvalid, as `read_files` does."""
    return read_files(*paths).policy


def read_files(*paths: Path) -> PolicyFiles:
    """The policy in YAML files: their members, groups and lists together; all else stands in one of them.

    Raises:
        PolicyInvalid: naming file, line and remedy, one line for each fault.
    """
    merged = _Merged()
    for path in paths:
        merged.add(read_yaml(path))
    try:
        return PolicyFiles(Policy.model_validate(merged.content), merged.where)
    except ValidationError as error:
        raise PolicyInvalid("\n".join(merged.explain(error))) from error


_BY_NAME = ("members", "groups")
_LISTS = ("agreements", "transfers", "prohibitions", "invariants", "tests")


class _Merged:
    """Several files as one, and which file and line each part came from."""

    def __init__(self) -> None:
        self.content: dict[str, Any] = {}
        self._files: list[YamlFile] = []
        self._origin: dict[Place, tuple[YamlFile, Place]] = {}

    def add(self, file: YamlFile) -> None:
        """Add a file. Raises PolicyInvalid."""
        if not isinstance(file.content, dict):
            raise PolicyInvalid(
                f"{file.where(())}: a policy has keys, and this has none; write coalition, members, agreements"
            )
        self._files.append(file)
        for key, value in file.content.items():
            if key in _BY_NAME and isinstance(value, dict):
                for name, part in value.items():
                    self._put((key, str(name)), file, (key, str(name)))
                    self.content.setdefault(key, {})[name] = part
            elif key in _LISTS and isinstance(value, list):
                together = self.content.setdefault(key, [])
                for index in range(len(value)):
                    self._put((key, len(together) + index), file, (key, index))
                together.extend(value)
            elif key in (*_BY_NAME, *_LISTS):
                # at once: beside what another file has there, it could not be merged
                kind = "block of keys" if key in _BY_NAME else "list"
                text = f"{said(value)} is no {kind}; write some under it, or remove the key"
                raise PolicyInvalid(f"{file.where((key,))}: {key}: {text}")
            else:
                self._put((str(key),), file, (str(key),))
                self.content[str(key)] = value

    def _put(self, place: Place, file: YamlFile, there: Place) -> None:
        if place in self._origin:
            first, at = self._origin[place]
            raise PolicyInvalid(
                f"{file.where(there)}: {place[-1]!r} stands at {first.where(at)} already; keep one of the two"
            )
        self._origin[place] = file, there

    def explain(self, error: ValidationError) -> Iterator[str]:
        """One line for each fault: `file:line: place: what to do`."""
        for one in error.errors():
            if one["type"] == "too_short" and one["input"]:
                continue  # its items are wrong, and are said
            loc = tuple(part for part in one["loc"] if part != "[key]")
            cause = one.get("ctx", {}).get("error")
            faults = cause.faults if isinstance(cause, Faults) else [((), in_plain_words(one))]
            for place, text in faults:
                whole = (*loc, *place)
                yield f"{self.where(whole)}: {'.'.join(map(str, whole)) or 'policy'}: {text}"

    def where(self, place: Place) -> str:
        """`file:line` of `place`, or of the nearest thing around it; the first file when there is none."""
        for length in (2, 1):
            # a name that YAML takes for a number is one all the same
            top = place[:1] + tuple(str(one) if place[0] in _BY_NAME else one for one in place[1:length])
            if top in self._origin:
                file, there = self._origin[top]
                return file.where((*there, *place[length:]))
        return self._files[0].where(place)
