"""Writes what the exchange is made of, as CycloneDX: Python packages from their lock, Kafka's jars from theirs."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from tocsin.deploy.cluster.jars import locked_jars

LOCK: Final = Path(__file__).parents[2] / "requirements.lock"
FILES: Final = ("python.json", "kafka.json")
# the library decorates its classes in a way that hides their constructors from pyright
_BOM: Final[Any] = Bom
_COMPONENT: Final[Any] = Component
_HASH_TYPE: Final[Any] = HashType
_PIN: Final = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^ ;\\]+)")
_HASH: Final = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def python_components(lock: str) -> Iterator[Any]:
    """A component for each pinned package; its hashes are those of all files that the lock allows."""
    for entry in re.sub(r"\\\n\s*", " ", lock).splitlines():
        pin = _PIN.match(entry)
        if pin:
            yield component("pypi", None, pin[1], pin[2], _HASH.findall(entry))


def jar_components() -> Iterator[Any]:
    """A component for each jar that a broker runs."""
    for jar in locked_jars():
        yield component("maven", jar.group, jar.artifact, jar.version, [jar.sha256])


def component(kind: str, group: str | None, name: str, version: str, hashes: Iterable[str]) -> Any:
    """One thing that something is made of."""
    purl = PackageURL(kind, group, name, version)
    return _COMPONENT(
        type=ComponentType.LIBRARY,
        name=name,
        group=group,
        version=version,
        purl=purl,
        bom_ref=str(purl),
        hashes=[_HASH_TYPE(alg=HashAlgorithm.SHA_256, content=one) for one in hashes],
    )


def document(components: Iterable[Any]) -> str:
    """The bill of materials, which keeps CycloneDX's own schema.

    Raises:
        ValueError: it does not.
    """
    text = JsonV1Dot6(_BOM(components=components)).output_as_string(indent=1)
    refusal = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if refusal is not None:
        raise ValueError(f"not CycloneDX: {refusal}")
    return text


def main(folder: Path) -> None:
    """Write both into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    found = (python_components(LOCK.read_text()), jar_components())
    for name, components in zip(FILES, found, strict=True):
        (folder / name).write_text(document(components))
        print(folder / name)  # noqa: T201  # what was made is for the next program of a pipe


if __name__ == "__main__":
    main(Path(sys.argv[1]))
