"""The demo's part on the record: what became of an alert, the proof of one delivery, and a copy that was changed."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rich.text import Text

from tocsin.deploy.audit.export_files import MANIFEST, write_manifest
from tocsin.deploy.errors import TocsinDeployError
from tocsin.deploy.output import console
from tocsin.deploy.policy.rows import AUDITOR
from tocsin.schemas.bundle import Bundle

FAULTS: Final = 3


class AuditShow:
    """What a compliance officer does. `lineage` was retracted; `alert` was given to `member`."""

    def __init__(self, home: Path, lineage: str, alert: str, member: str) -> None:
        self._home = home
        self._lineage = lineage
        self._alert = alert
        self._member = member

    def run(self) -> None:
        """Show it."""
        self._audit("seal", "--once")
        self._audit("trace", self._lineage)
        self._prove()
        self._tamper()

    def _prove(self) -> None:
        proof = self._home / "proof"
        self._audit("prove", self._alert, self._member, "--out", str(proof))
        self._audit("check", str(proof))
        if shutil.which("openssl") is None:
            console.print("openssl is not here, so check.sh, which needs nothing else of ours, is not shown.")
            return
        console.print(f"$ sh {proof / 'check.sh'}", soft_wrap=True)
        checked = subprocess.run(["sh", str(proof / "check.sh")], capture_output=True, text=True, check=False)  # noqa: S607  # POSIX
        console.print(Text(checked.stdout.splitlines()[0] if checked.stdout else checked.stderr))
        if checked.returncode != 0:
            raise TocsinDeployError(f"the demo failed: check.sh says {checked.stdout}{checked.stderr}")

    def _tamper(self) -> None:
        export = self._home / "export"
        bundle = Bundle.load(self._home / "services" / AUDITOR)
        self._audit("export", str(export), "--settle", "0", quiet=True)
        self._audit("verify", str(export), "--bundle", str(bundle.path), quiet=True)
        console.print("No fault was found. Now somebody who has this copy writes another name into a decision:")
        place = self._rewrite(export)
        (export / MANIFEST).unlink()
        write_manifest(export, bundle.coalition, bundle.roots, datetime.now(UTC))
        console.print(f"{place}: {self._member} is somebody else now; and the manifest is made anew.", soft_wrap=True)
        said = self._audit("verify", str(export), "--bundle", str(bundle.path), code=FAULTS, quiet=True)
        console.print(Text(said.strip().splitlines()[-1]))

    def _rewrite(self, export: Path) -> str:
        """Name somebody else, in as many letters, in the first decision that gives something to the member."""
        other = self._member[:-1] + ("x" if self._member[-1] != "x" else "y")
        for path in sorted(export.glob("audit.??.jsonl")):
            lines = path.read_text().splitlines(keepends=True)
            for at, line in enumerate(lines):
                record = json.loads(line)
                value = base64.b64decode(record["value"])
                if self._member.encode() in value:
                    changed = value.replace(self._member.encode(), other.encode())
                    lines[at] = line.replace(record["value"], base64.b64encode(changed).decode())
                    path.write_text("".join(lines))
                    return f"{path.name}, line {at + 1}"
        raise TocsinDeployError(f"the demo failed: no decision gives {self._member} anything")

    def _audit(self, *words: str, code: int = 0, quiet: bool = False) -> str:
        """Run a command as an officer does, and show what it prints; what is `quiet` is only named."""
        console.print(f"$ tocsin audit {' '.join(words)}", soft_wrap=True)
        done = subprocess.run(
            [sys.executable, "-m", "tocsin.deploy", "audit", *words, *self._where(words[0])],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "COLUMNS": str(console.width)},
        )
        if done.returncode != code:
            raise TocsinDeployError(f"the demo failed: tocsin audit {words[0]}: {done.stdout}{done.stderr}")
        if not quiet:
            console.print(Text(done.stdout.rstrip("\n")), soft_wrap=True)
        return done.stdout

    def _where(self, command: str) -> list[str]:
        return [] if command == "verify" else ["--home", str(self._home)]
