"""The status page in a real browser: its style holds, a telephone shows it, a keyboard reaches all of it."""

from __future__ import annotations

import os
import threading
from collections.abc import Generator
from typing import Any, Final

import pytest

from tests.browser.webdriver import CHROMEDRIVER, CHROMIUM, ENTER, TAB, browser
from tests.unit.deploy.test_observing import FOUL, troubled
from tocsin.deploy.observing.status_page import server

IS_CI: Final = any(os.environ.get(name) for name in ("CI", "TOCSIN_CI"))
MISSING: Final = not (CHROMIUM and CHROMEDRIVER)
TELEPHONE: Final = (360, 740)
REGIONS: Final = ("lanes", "members", "snapshots", "services")

pytestmark = pytest.mark.skipif(
    MISSING and not IS_CI, reason="no Chromium here; install chromium and chromium-driver, for instance by apt-get"
)


@pytest.fixture(scope="module")
def page() -> Generator[str]:
    """Where the page of an exchange in every kind of trouble is."""
    if MISSING:
        pytest.fail("no Chromium, which CI needs for tests/browser: apt-get install chromium chromium-driver")
    seen = troubled()
    with server(0, "127.0.0.1", lambda: seen) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}/"
        serving.shutdown()


def test_the_page_on_a_telephone_and_by_keyboard(page: str) -> None:
    """Nothing is wider than the screen but tables, which scroll by themselves; Tab reaches each, and it is seen."""
    with browser(*TELEPHONE) as window:
        window.open(page)
        assert window.run("return document.title") == "Tocsin: the exchange"
        assert FOUL in window.run("return document.querySelector('[role=status]').innerText")
        # the policy that lets nothing run or load lets the page's own style through
        assert window.run("return getComputedStyle(document.body).maxWidth") != "none"
        assert window.run("return document.documentElement.scrollWidth") <= TELEPHONE[0]
        assert window.run("return document.documentElement.clientWidth") == TELEPHONE[0]
        window.press(TAB)
        assert "Stop" in _focus(window)["text"]
        window.press(ENTER)
        window.run("return document.readyState")
        assert window.url == f"{page}?reload=off"
        reached = [_next(window) for _ in range(1 + 2 * len(REGIONS))]
        regions = [one for one in reached if one["labelled"]]
        assert [one["labelled"] for one in regions] == [f"{name}-caption" for name in REGIONS]
        assert all(one["outline"] != "0px" for one in reached)
        assert not window.errors()


def _next(window: Any) -> dict[str, Any]:
    window.press(TAB)
    return _focus(window)


def _focus(window: Any) -> dict[str, Any]:
    """What the keyboard is at, and how wide a line is drawn around it."""
    found: dict[str, Any] = window.run(
        "const at = document.activeElement;"
        "return {text: at.innerText, labelled: at.getAttribute('aria-labelledby'),"
        " outline: getComputedStyle(at).outlineWidth}"
    )
    return found
