"""One real Kafka for the session, with TLS, SCRAM and ACLs, and one fan-out process on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.world import World, running, small_policy
from tocsin.deploy.cluster.local import LIGHT


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A coalition with a running fan-out. Its broker's access log rolls often enough to be seen rolling."""
    home, options = tmp_path_factory.mktemp("world") / "home", (*LIGHT, "-Dtocsin.access.file=50 KB")
    with running(home, small_policy(), java_options=options) as made:
        yield made
