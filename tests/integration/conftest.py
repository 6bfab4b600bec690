"""One real Kafka for the session, with TLS, SCRAM and ACLs, and one fan-out process on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.world import World, running, small_policy


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A coalition with a running fan-out."""
    with running(tmp_path_factory.mktemp("world") / "home", small_policy()) as made:
        yield made
