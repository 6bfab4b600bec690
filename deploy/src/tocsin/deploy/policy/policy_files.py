"""Policy files: one or several, read as one policy. Errors name file, line and remedy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tocsin.deploy.errors import PolicyInvalid
from tocsin.deploy.policy.document import Faults, Policy
from tocsin.deploy.policy.yaml_file import Place, YamlFile, read_yaml


def read_policy(*paths: Path) -> Policy:
    """The policy in YAML files: their members, groups and lists together; all else stands in one of them.

    Raises:
        PolicyInvalid: naming file, line and remedy, one line for each fault.
    """
    merged = _Merged()
    for path in paths:
        merged.add(read_yaml(path))
    try:
        return Policy.model_validate(merged.content)
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
            raise PolicyInvalid(f"{file.where(())}: a policy has keys: coalition, members, agreements")
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
            else:
                self._put((str(key),), file, (str(key),))
                self.content[str(key)] = value

    def _put(self, place: Place, file: YamlFile, there: Place) -> None:
        if place in self._origin:
            first, at = self._origin[place]
            raise PolicyInvalid(f"{file.where(there)}: {place[-1]!r} stands at {first.where(at)} already; keep one")
        self._origin[place] = file, there

    def explain(self, error: ValidationError) -> Iterator[str]:
        """One line for each fault: `file:line: place: what to do`."""
        for one in error.errors():
            loc = tuple(part for part in one["loc"] if part != "[key]")
            cause = one.get("ctx", {}).get("error")
            faults = cause.faults if isinstance(cause, Faults) else [((), _remedy(one["type"], one["msg"]))]
            for place, text in faults:
                whole = (*loc, *place)
                yield f"{self._where(whole)}: {'.'.join(map(str, whole)) or 'policy'}: {text}"

    def _where(self, place: Place) -> str:
        for length in (2, 1):
            if place[:length] in self._origin:
                file, there = self._origin[place[:length]]
                return file.where((*there, *place[length:]))
        return ", ".join(str(file.path) for file in self._files)


_REMEDIES = {
    "extra_forbidden": "no such key here; correct its spelling or remove it",
    "missing": "is missing; add it",
    "too_short": "is empty, which could be read as nobody or as everybody; name some, or remove the key",
}


def _remedy(kind: str, message: str) -> str:
    return _REMEDIES.get(kind) or message.removeprefix("Value error, ")
