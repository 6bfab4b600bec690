"""As whom the secretariat's commands work: with a login of their own, once an application has made it."""

from __future__ import annotations

from pathlib import Path

from tocsin.deploy.cluster.local import ADMIN, LocalCluster
from tocsin.schemas.bundle import CONFIG, Bundle
from tocsin.schemas.errors import BundleInvalid


def working_as(login: str, home: Path) -> Bundle:
    """The bundle of the service `login`, if `home` has it, else the administrator's.

    So a new cluster is made by the administrator. Move the login's folder away for whatever it may not, or when the
    cluster does not know it: then the administrator does it, and the next application makes the folder anew.

    Raises:
        BundleInvalid: there is neither, or they are of two clusters.
    """
    folder, admin = home / "services" / login, home / "services" / ADMIN
    if not (folder / CONFIG).exists():
        return LocalCluster(home).admin()
    found = Bundle.load(folder)
    if (admin / CONFIG).exists() and Bundle.load(admin).config.bootstrap != found.config.bootstrap:
        raise BundleInvalid(f"{folder}: names other brokers than {admin}; move it away, and the administrator works")
    return found
