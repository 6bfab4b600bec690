"""Kafka's own jars, and its exporter: fetched from the Maven repository, each checked against a committed lock."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from tocsin.deploy.errors import JarInvalid

KAFKA: Final = "jars.lock"
AGENT: Final = "agent.lock"
"""The exporter that runs in a broker's JVM; no part of Kafka's class path."""


@dataclass(frozen=True, slots=True)
class Jar:
    """One line of the lock."""

    group: str
    artifact: str
    version: str
    sha256: str
    size_bytes: int

    @property
    def file(self) -> str:
        """The file's name."""
        return f"{self.artifact}-{self.version}.jar"


def locked_jars(lock: str = KAFKA) -> tuple[Jar, ...]:
    """The jars of the lock."""
    return tuple(parse_lock((files("tocsin.deploy.cluster") / lock).read_text(encoding="utf-8")))


def parse_lock(text: str) -> Iterator[Jar]:
    """The jars of a lock, one a line; `#` begins a comment."""
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, sha256, size = line.split()
            group, artifact, version = name.split(":")
            yield Jar(group, artifact, version, sha256, int(size))


def jar_cache() -> Path:
    """Where jars are kept for all clusters of this user: `$XDG_CACHE_HOME/tocsin/jars`."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "tocsin" / "jars"


def classpath(cache: Path | None = None, jars: Sequence[Jar] | None = None) -> list[Path]:
    """The checked jars, Kafka's unless others are named, fetching those that are missing.

    Raises:
        JarInvalid: a file is not the one that the lock names, or cannot be fetched.
    """
    folder = cache or jar_cache()
    jars = locked_jars() if jars is None else jars
    if _missing(jars, folder):
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".lock").open("w") as others:
            # released when it is closed; whoever waited finds the jars
            fcntl.flock(others, fcntl.LOCK_EX)
            _fetch_all(_missing(jars, folder), folder)
    for jar in jars:
        check(jar, folder / jar.file)
    return [folder / jar.file for jar in jars]


def _missing(jars: Iterable[Jar], folder: Path) -> list[Jar]:
    return [jar for jar in jars if not (folder / jar.file).exists()]


def check(jar: Jar, path: Path) -> None:
    """Compare `path` with the lock.

    Raises:
        JarInvalid: it differs.
    """
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != jar.sha256:
        raise JarInvalid(f"{path}: SHA-256 {found} is not the lock's {jar.sha256}; delete the file and run again")


def _fetch_all(jars: list[Jar], folder: Path) -> None:
    columns = (TextColumn("jars"), BarColumn(), DownloadColumn(), TextColumn("{task.description}"))
    with Progress(*columns) as progress:
        task = progress.add_task("", total=sum(jar.size_bytes for jar in jars))
        for jar in jars:
            progress.update(task, description=jar.artifact)
            _fetch(jar, folder)
            progress.advance(task, jar.size_bytes)
        progress.update(task, description="done")


def _fetch(jar: Jar, folder: Path) -> None:
    from jgo.maven import MavenContext

    context = MavenContext(repo_cache=folder / "m2", timeout=60)
    try:
        path = context.project(jar.group, jar.artifact).at_version(jar.version).artifact().resolve()
    except Exception as error:  # the resolver raises what requests and the file system raise
        raise JarInvalid(
            f"{jar.file}: cannot be fetched ({type(error).__name__}: {error}); is there a network?"
        ) from error
    try:
        check(jar, path)
    except JarInvalid:
        path.unlink()
        raise
    path.replace(folder / jar.file)
