"""The options of every service that has a port."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

PortOption = Annotated[
    int | None, typer.Option("--metrics-port", help="Serve /metrics, /livez and /readyz there.", min=1, max=65_535)
]
AddressOption = Annotated[
    str, typer.Option("--metrics-address", help="Listen there; anything but 127.0.0.1 is open to the network.")
]
CertificateOption = Annotated[
    Path | None,
    typer.Option("--metrics-cert", help="Serve them over TLS, with this PEM file.", exists=True, dir_okay=False),
]
KeyOption = Annotated[
    Path | None,
    typer.Option("--metrics-key", help="Its private key, unless that is in it, too.", exists=True, dir_okay=False),
]
