"""Drills in which what everybody trusts is renewed: passwords and keys, certificates, a root key."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from tests.drills.evidence import lane_of
from tests.drills.frame import Exchange
from tests.world import tocsin
from tocsin.deploy.cluster.tls import make_certificates
from tocsin.deploy.policy.rows import POLICY
from tocsin.deploy.policy.working_as import working_as
from tocsin.schemas.bundle import CA

ROTATED = "hotline-se"


# -- passwords -------------------------------------------------------------------------------------------------------


def renew_passwords(exchange: Exchange) -> None:
    """A member's key and password, then the fan-out's password: each has two for a while."""
    world, home = exchange.world, ["--home", str(exchange.home)]
    policy = exchange.words
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


# -- certificates ----------------------------------------------------------------------------------------------------


def renew_certificates(exchange: Exchange) -> None:
    """A new authority and new certificates of the brokers: trusted beside the old one first, shown then, alone last."""
    tls = exchange.world.cluster.folder / "tls"
    make_certificates(tls / "next-ca.pem", tls / "next-broker.pem")
    old, new = (tls / "ca.pem").read_bytes(), (tls / "next-ca.pem").read_bytes()
    with exchange.load():
        begun = time.monotonic()
        _trust(exchange, old + new)
        exchange.endured("both authorities in all bundles, brokers and clients started again", begun)
        begun = time.monotonic()
        (tls / "next-broker.pem").replace(tls / "broker.pem")
        exchange.roll_brokers()
        exchange.endured("brokers show the new certificate, one after another", begun)
        begun = time.monotonic()
        _trust(exchange, new)
        exchange.endured("the old authority gone from all bundles, brokers and clients started again", begun)
        exchange.recovered("after all of it", time.monotonic())


def _trust(exchange: Exchange, authorities: bytes) -> None:
    """Let these authorities be trusted: by brokers, which know each other by certificate, and by all bundles."""
    cluster = exchange.world.cluster
    for place in (cluster.folder / "tls", cluster.admin().path, working_as(POLICY, exchange.home).path):
        (place / CA).write_bytes(authorities)
    exchange.apply()
    for member in exchange.members:  # whose bundle is no longer the secretariat's is sent the file
        (member.folder / CA).write_bytes(authorities)
    exchange.roll_brokers()
    exchange.restart_clients()


# -- a root key ------------------------------------------------------------------------------------------------------


def lose_a_root(exchange: Exchange) -> None:
    """One of three root keys is lost: the two others sign what follows, and a new one takes its place.

    `reader-02` is suspended by the first directory and taken back by the last, which the new root has signed.
    """
    roots, safe, words = exchange.home / "roots", exchange.home / "safe", exchange.words
    safe.mkdir(mode=0o700)
    for number, public in enumerate(exchange.world.member("reader-00").config.roots, 1):
        (roots / f"{number}.pub").write_text(public)
        (roots / f"{number}.pem").rename(safe / f"{number}.pem")
    exchange.sees["reader-02"] = None
    with exchange.load():
        begun = time.monotonic()
        (safe / "3.pem").unlink()
        tocsin("member", "suspend", "reader-02", "--why", "drill", *words)
        version = _sign(exchange, safe / "1.pem", safe / "2.pem")
        exchange.timed("root 3 lost: roots 1 and 2 sign, decided by", lambda: _decided(exchange) >= version, begun)
        exchange.recovered("meanwhile, alerts", begun)
        begun = time.monotonic()
        tocsin("keys", "new", str(exchange.home / "new-root"), "--root", "3")
        shutil.copy(exchange.home / "new-root" / "3.pub", roots / "3.pub")
        (exchange.home / "new-root" / "3.pem").rename(safe / "3.pem")
        exchange.apply()
        exchange.restart_clients()
        exchange.endured("new root 3 in all bundles, clients started again", begun)
        begun = time.monotonic()
        tocsin("member", "resume", "reader-02", "--why", "drill", *words)
        version = _sign(exchange, safe / "2.pem", safe / "3.pem")
        exchange.timed("roots 2 and new 3 sign, decided by", lambda: _decided(exchange) >= version, begun)
        exchange.recovered("meanwhile, alerts", begun)


def _sign(exchange: Exchange, *keys: Path) -> int:
    """Let these root keys sign the draft that waits, and publish it. Returns its version."""
    [draft] = (exchange.home / "directory").glob("*.draft")
    for key in keys:
        tocsin("directory", "sign", str(draft), "--root", str(key))
    [published] = tocsin("directory", "publish", str(draft), *exchange.words)
    draft.unlink()
    return int(published["version"])


def _decided(exchange: Exchange) -> int:
    """The version of the directory by which each lane decides, the older of the two."""
    newest = {lane_of(one["topic"]): int(one["directory_version"]) for one in exchange.world.decisions()}
    return min(newest.values(), default=0)
