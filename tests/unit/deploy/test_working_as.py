"""As whom a command works: with the login of its own, else as the administrator, and never on two clusters."""

from __future__ import annotations

from pathlib import Path

import pytest

from tocsin.deploy.policy.working_as import working_as
from tocsin.schemas.bundle import BundleConfig, write_bundle
from tocsin.schemas.errors import BundleInvalid


def _write(home: Path, login: str, bootstrap: str = "127.0.0.1:9094") -> None:
    config = BundleConfig(
        coalition="test", member=login, login=login, role="admin", jurisdiction="eu", bootstrap=bootstrap
    )
    write_bundle(home / "services" / login, config, password="x" * 20, ca_pem=b"")


def test_the_administrator_works_until_there_is_a_login(tmp_path: Path) -> None:
    """And then no longer."""
    _write(tmp_path, "admin")
    assert working_as("policy", tmp_path).config.login == "admin"
    _write(tmp_path, "policy")
    assert working_as("policy", tmp_path).config.login == "policy"


def test_bundles_of_two_clusters_are_refused(tmp_path: Path) -> None:
    """A home that was copied to another cluster would change the one that it came from."""
    _write(tmp_path, "admin")
    _write(tmp_path, "policy", "127.0.0.1:9095")
    with pytest.raises(BundleInvalid, match="move it away"):
        working_as("policy", tmp_path)
