"""The runbook, section by section."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import Final

from tests.observe.tools import ROOT

PARTS: Final = ("Means", "Do", "Wake")


@dataclass(frozen=True, slots=True)
class KafkaTool:
    """A command that comes with Kafka: its class, and what the runbook may ask of it."""

    main_class: str
    verbs: tuple[str, ...]


KAFKA_TOOLS: Final = {
    "kafka-consumer-groups": KafkaTool("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", ("--describe",)),
    "kafka-transactions": KafkaTool("org.apache.kafka.tools.TransactionsCommand", ("list",)),
}


@dataclass(frozen=True, slots=True)
class Section:
    """What is written about one alert: its parts by name, and its first command as words."""

    name: str
    parts: dict[str, str]
    command: list[str]


def sections() -> dict[str, Section]:
    """All of them, by the alert's name."""
    text = (ROOT / "docs" / "runbook.md").read_text()
    return {one.name: one for one in map(_section, re.split(r"^## ", text, flags=re.MULTILINE)[1:])}


def _section(text: str) -> Section:
    name, _, body = text.partition("\n")
    parts = dict(re.findall(r"\*\*(\w+):\*\* (.+?)(?=\n\n)", f"{body}\n\n", re.DOTALL))
    commands = re.findall(r"```sh\n(.+?)\n```", body, re.DOTALL)
    return Section(name, parts, shlex.split(commands[0]) if commands else [])
