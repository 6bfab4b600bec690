"""A real Chromium, driven over W3C WebDriver (https://www.w3.org/TR/webdriver2/) by its own `chromedriver`."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final

CHROMIUM: Final = shutil.which("chromium") or shutil.which("google-chrome")
CHROMEDRIVER: Final = shutil.which("chromedriver")
ANSWER_S_MAX: Final = 120.0
TAB: Final = "\ue004"
ENTER: Final = "\ue007"


class Browser:
    """One window, of which this is the session's address."""

    def __init__(self, session: str) -> None:
        self._session = session

    def open(self, url: str) -> None:
        """Load a page, and wait until it is there."""
        _ask("POST", f"{self._session}/url", {"url": url})

    @property
    def url(self) -> str:
        """Where it is."""
        return str(_ask("GET", f"{self._session}/url"))

    def run(self, script: str) -> Any:
        """What a script returns that is run in the page as if from its console."""
        return _ask("POST", f"{self._session}/execute/sync", {"script": script, "args": []})

    def press(self, key: str) -> None:
        """Press and release one key of the keyboard."""
        strokes = [{"type": kind, "value": key} for kind in ("keyDown", "keyUp")]
        actions = [{"type": "key", "id": "keyboard", "actions": strokes}]
        _ask("POST", f"{self._session}/actions", {"actions": actions})

    def errors(self) -> list[str]:
        """What its console complained of."""
        found = _ask("POST", f"{self._session}/se/log", {"type": "browser"})
        return [entry["message"] for entry in found if entry["level"] == "SEVERE"]


@contextmanager
def browser(width: int, height: int) -> Generator[Browser]:
    """A window of this size in CSS pixels; a narrow one is a telephone's."""
    command = [str(CHROMEDRIVER), "--port=0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as driver:
        try:
            address = f"http://127.0.0.1:{_port(driver)}/session"
            made = _ask("POST", address, {"capabilities": {"alwaysMatch": _capabilities(width, height)}})
            session = f"{address}/{made['sessionId']}"
            try:
                yield Browser(session)
            finally:
                _ask("DELETE", session)
        finally:
            driver.terminate()


def _port(driver: subprocess.Popen[str]) -> int:
    for line in driver.stdout or ():
        found = re.search(r"started successfully on port (\d+)", line)
        if found:
            return int(found[1])
    raise AssertionError("chromedriver ended before it listened")


def _capabilities(width: int, height: int) -> dict[str, Any]:
    metrics = {"width": width, "height": height, "pixelRatio": 2.0, "mobile": True, "touch": True}
    options = {"binary": CHROMIUM, "args": ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage"]}
    return {
        "goog:chromeOptions": {**options, "mobileEmulation": {"deviceMetrics": metrics}},
        "goog:loggingPrefs": {"browser": "ALL"},
    }


def _ask(method: str, url: str, body: Any = None) -> Any:
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, content, {"Content-Type": "application/json"}, method=method)  # noqa: S310
    with urllib.request.urlopen(request, timeout=ANSWER_S_MAX) as answer:  # noqa: S310  # our own driver
        return json.load(answer)["value"]
