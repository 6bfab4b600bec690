"""Drills in which what everybody trusts is renewed: passwords and keys."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from tests.drills.frame import Exchange
from tests.world import tocsin

ROTATED = "hotline-se"


# -- passwords -------------------------------------------------------------------------------------------------------


def renew_passwords(exchange: Exchange) -> None:
    """A member's key and password, then the fan-out's password: each has two for a while."""
    world, home = exchange.world, ["--home", str(exchange.home)]
    policy = ["--policy", str(world.policy_file), *home]
    [member] = [one for one in exchange.members if one.name == ROTATED]
    # the member's own machine: at the secretariat its private key is forgotten
    member.folder = Path(shutil.copytree(member.folder, exchange.home / "elsewhere" / ROTATED))
    with exchange.load():
        begun = time.monotonic()
        keys = exchange.home / "next-keys"
        tocsin("keys", "new", str(keys), "--member", ROTATED, "--coalition", world.member(ROTATED).coalition)
        [sealed] = tocsin("member", "rotate", ROTATED, "--request", str(keys / "request.json"), *policy)
        tocsin("member", "open", sealed["sealed"], "--keys", str(keys), "--to", str(member.folder))
        member.abandon()
        member.start()
        tocsin("member", "rotate", ROTATED, "--finish", *policy)
        exchange.recovered("a member's next key and password, old password deleted", begun)
        begun = time.monotonic()
        tocsin("service", "rotate", "fanout", *home)
        exchange.restart_fanouts()
        tocsin("service", "rotate", "fanout", "--finish", *home)
        exchange.recovered("the fan-out's next password, hosts one after another, old one deleted", begun)
