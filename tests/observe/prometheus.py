"""A real Prometheus for one run: the committed configuration and rules, made quicker, and its answers."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import yaml

from tests.observe.tools import ROOT, tool
from tests.world import wait_until

OBSERVE: Final = ROOT / "deploy" / "observe"
READY_S: Final = 20.0
SCRAPE: Final = "1s"
# what an hour is in production is a minute here
QUICKER: Final = 60
_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_DURATION: Final = re.compile(r"(?<=\[)(\d+)([smhd])(?=\])")
# nothing that is looked at each second is younger
LEAST_S: Final = 5.0
# seconds that a rule compares with are written as a product, so that they can be told from everything else
PRODUCT: Final = re.compile(r"\b(\d+) \* (60|3600|86400)\b")

Series = dict[str, str]


def quicker(rules: dict[str, Any], factor: int) -> dict[str, Any]:
    """The same rules, with every time in them divided by `factor`: how long, over how long, and older than what."""

    def shorter(text: str) -> str:
        seconds = int(text[:-1]) * _SECONDS[text[-1]] / factor
        # two scrapes at least, or a rate has nothing to go by
        return f"{max(round(seconds), 4)}s"

    def expression(text: str) -> str:
        ranges = _DURATION.sub(lambda found: shorter("".join(found.groups())), text)
        return PRODUCT.sub(lambda found: f"{max(int(found[1]) * int(found[2]) / factor, LEAST_S):g}", ranges)

    def rule(one: dict[str, Any]) -> dict[str, Any]:
        waits = {"for": shorter(one["for"])} if "for" in one else {}
        return {**one, **waits, "expr": expression(one["expr"])}

    groups = [{**group, "rules": [rule(one) for one in group["rules"]]} for group in rules["groups"]]
    return {"groups": groups}


def configuration(ports: Mapping[str, list[int]]) -> dict[str, Any]:
    """deploy/observe/prometheus.yaml, with the ports of this run and nobody to tell."""
    config: dict[str, Any] = yaml.safe_load((OBSERVE / "prometheus.yaml").read_text())
    config["global"] = {"scrape_interval": SCRAPE, "evaluation_interval": SCRAPE}
    del config["alerting"]
    jobs = {job["job_name"] for job in config["scrape_configs"]}
    assert jobs == set(ports), f"{jobs ^ set(ports)} is in one only"
    for job in config["scrape_configs"]:
        job["static_configs"] = [{"targets": [f"127.0.0.1:{port}" for port in ports[job["job_name"]]]}]
    return config


class Prometheus:
    """One process, which scrapes `ports` by job, with rules that are quicker by `factor`; ends with the context."""

    def __init__(self, folder: Path, port: int, ports: Mapping[str, list[int]], factor: int = 1) -> None:
        self._folder = folder
        self._url = f"http://127.0.0.1:{port}"
        self._ports = ports
        folder.mkdir(parents=True)
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(configuration(ports)))
        rules = yaml.safe_load((OBSERVE / "alerts.yaml").read_text())
        (folder / "alerts.yaml").write_text(yaml.safe_dump(quicker(rules, factor), width=1_000))
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    tool("prometheus"),
                    f"--config.file={folder / 'prometheus.yaml'}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{port}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def __enter__(self) -> Self:
        wait_until(self._ready, READY_S, lambda: (self._folder / "log").read_text()[-2_000:])
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(20)

    def query(self, expr: str) -> list[tuple[Series, float]]:
        """Every series that answers `expr` now."""
        answer = self._get("query", query=expr)
        found = answer["result"]
        if answer["resultType"] == "scalar":
            return [({}, float(found[1]))]
        return [(one["metric"], float(one["value"][1])) for one in found]

    def history(self, expr: str, start: float, end: float, step_s: float = 1.0) -> list[tuple[Series, list[Any]]]:
        """Every series of `expr` over a time: pairs of seconds and value."""
        answer = self._get("query_range", query=expr, start=str(start), end=str(end), step=str(step_s))
        return [(one["metric"], one["values"]) for one in answer["result"]]

    def firing(self) -> dict[str, list[Series]]:
        """The labels with which each rule fires now."""
        found: dict[str, list[Series]] = {}
        for one in self._get("alerts")["alerts"]:
            if one["state"] == "firing":
                found.setdefault(one["labels"]["alertname"], []).append(one["labels"])
        return found

    def here(self, text: str) -> str:
        """`text` with the addresses that the manual gives to services replaced by those of this run."""
        for job in yaml.safe_load((OBSERVE / "prometheus.yaml").read_text())["scrape_configs"]:
            [usual] = job["static_configs"][0]["targets"]
            text = text.replace(usual, f"127.0.0.1:{self._ports[job['job_name']][0]}")
        return text

    def down(self) -> list[str]:
        """The jobs that cannot be scraped, or have not been yet."""
        return [one["labels"]["job"] for one in self._get("targets")["activeTargets"] if one["health"] != "up"]

    def _ready(self) -> bool:
        assert self._process.poll() is None, (self._folder / "log").read_text()[-2_000:]
        try:
            with urlopen(f"{self._url}/-/ready", timeout=5) as answer:  # noqa: S310  # ours
                return bool(answer.status == 200)
        except URLError:
            return False

    def _get(self, what: str, **words: str) -> dict[str, Any]:
        with urlopen(f"{self._url}/api/v1/{what}?{urlencode(words)}", timeout=30) as answer:  # noqa: S310  # ours
            data: dict[str, Any] = json.load(answer)["data"]
        return data
