"""The README's code runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.world import World, takedown, wait_until

README = (Path(__file__).parents[2] / "README.md").read_text()
PUBLISH, RECEIVE = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_publish_and_receive_as_the_readme_says(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """What the first block publishes, the second one prints."""
    alert = takedown(world.member("hotline-se"), 60)
    exec(PUBLISH, {"bundle_folder": world.home / "members" / "hotline-se", "alert": alert})  # noqa: S102  # the README's own code
    key = f"hotline-se/{alert.header.lineage_id}"
    wait_until(lambda: key.encode() in [m.key() for m in world.inbox("reader-00")], 20, "the copy")
    exec(RECEIVE, {"bundle_folder": world.home / "members" / "reader-00"})  # noqa: S102  # the README's own code
    assert key in capsys.readouterr().out
