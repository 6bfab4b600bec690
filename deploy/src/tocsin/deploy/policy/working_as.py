"""As whom the secretariat's commands work: with a login of their own, once an application has made it."""

from __future__ import annotations

from pathlib import Path

from tocsin.deploy.cluster.local import LocalCluster
from tocsin.schemas.bundle import CONFIG, Bundle


def working_as(login: str, home: Path) -> Bundle:
    """The bundle of the service `login`, if `home` has it, else the administrator's.

    So a new cluster is made by the administrator. Move the login's folder away for whatever it may not, or when the
    cluster does not know it: then the administrator does it, and the next application makes the folder anew.

    Raises:
        BundleInvalid: there is neither.
    """
    folder = home / "services" / login
    return Bundle.load(folder) if (folder / CONFIG).exists() else LocalCluster(home).admin()
