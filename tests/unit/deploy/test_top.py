"""`tocsin top`: two scrapes come to rows, and what cannot be known is left empty."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from wsgiref.simple_server import make_server

import pytest
from prometheus_client import generate_latest
from typer.testing import CliRunner

from tocsin.consumers.fanout_metrics import FanoutMetrics, Place
from tocsin.consumers.health import Health
from tocsin.consumers.lane_transaction import Copy, Transaction
from tocsin.consumers.watch import Look
from tocsin.deploy.cli import app
from tocsin.deploy.commands.top import cell
from tocsin.deploy.observing.port import app_of
from tocsin.deploy.observing.rows import LaneRow, MemberRow, SnapshotRow, SourceRow, state_of
from tocsin.deploy.observing.scrape import Scrape, Span, quantile, scrape

TOPIC = "alerts.se.site-taken-down.green"
ONE, TWO = "http://one/metrics", "http://two/metrics"


def _said(metrics: FanoutMetrics, source: str, at_s: float) -> Scrape:
    return Scrape.of(source, at_s, generate_latest(metrics.registry).decode())


def _transaction(copies: int) -> Transaction:
    tx = Transaction(copies=[Copy("m", "inbox.m", b"k", b"v", [])] * copies)
    tx.tally.decisions["ALERT", "ACCEPTED", ""] = 2
    return tx


def test_two_scrapes_come_to_rates_and_latencies_of_the_time_between() -> None:
    """What was counted before the first is not in them."""
    metrics = FanoutMetrics()
    metrics.lane_taken("se", "worker-1", 0.5, 10)
    metrics.committed("se", _transaction(50), {(TOPIC, 9_000): 50}, 0)
    first = _said(metrics, ONE, 100.0)
    metrics.committed("se", _transaction(30), {(TOPIC, 40): 30}, 1)
    metrics.places("se", [Place(TOPIC, 4, 9)], 108.0)
    metrics.stopped("se", stopped=True)
    state = state_of([first], [_said(metrics, ONE, 110.0)])
    [lane] = state.lanes
    assert lane == LaneRow("se", "worker-1", 5, 2.0, lane.p50_s, lane.p99_s, 0.2, 3.0, 1, stopped=True)
    assert 0.025 < (lane.p50_s or 0) < (lane.p99_s or 0) <= 0.05
    assert state.sources == (SourceRow(ONE, "fan-out", state.sources[0].version, None),)


def test_the_first_scrape_has_no_rates_and_all_latencies() -> None:
    """Nothing is made up; nor after a restart, when counters begin anew."""
    metrics = FanoutMetrics()
    metrics.lane_taken("se", "worker-1", 0.5, 10)
    metrics.committed("se", _transaction(50), {(TOPIC, 9_000): 50}, 0)
    before = _said(metrics, ONE, 100.0)
    [lane] = state_of([], [before]).lanes
    assert (lane.copies_per_s, lane.decisions_per_s, lane.lag_records) == (None, None, None)
    assert 5 < (lane.p50_s or 0) <= 10
    anew = FanoutMetrics()
    anew.lane_taken("se", "worker-1", 0.5, 10)
    anew.committed("se", _transaction(1), {(TOPIC, 40): 1}, 0)
    [lane] = state_of([before], [_said(anew, ONE, 110.0)]).lanes
    assert lane.copies_per_s is None
    assert (lane.p50_s or 9) < 1


def test_a_lane_is_shown_by_whoever_works_it() -> None:
    """One that two processes have met is one row; one that nobody works has no owner."""
    one, two = FanoutMetrics(), FanoutMetrics()
    for metrics, worker in ((one, "worker-1"), (two, "worker-2")):
        metrics.lane_taken("se", worker, 0.5, 10)
    one.lane_taken("de", "worker-1", 0.5, 10)
    one.lane_ended("se", "worker-1", "fenced")
    one.lane_ended("de", "worker-1", "stopped")
    lanes = state_of([], [_said(one, ONE, 1.0), _said(two, TWO, 1.0)]).lanes
    assert [(lane.lane, lane.owner) for lane in lanes] == [("de", None), ("se", "worker-2")]


def test_members_have_what_all_lanes_owe_them() -> None:
    """The oldest debt counts; a publisher is there with its clock."""
    metrics = FanoutMetrics()
    metrics.owed("se", {"bank": 3}, 50.0)
    metrics.owed("de", {"bank": 4}, 70.0)
    tx = _transaction(0)
    tx.tally.skew_ms["hotline"] = -1_500
    metrics.committed("se", tx, {}, 0)
    assert state_of([], [_said(metrics, ONE, 100.0)]).members == (
        MemberRow("bank", "refuses", ("de", "se"), 7, 50.0, None),
        MemberRow("hotline", "takes copies", (), 0, None, -1.5),
    )


def test_snapshots_have_their_age_and_failures() -> None:
    """Of each process that was asked."""
    metrics = FanoutMetrics()
    metrics.looked(Look("sight", 90.0, 0.25, 7, None))
    metrics.looked(Look("sight", 95.0, 2.0, 7, "AclsUnreadable"))
    assert state_of([], [_said(metrics, ONE, 100.0)]).snapshots == (SnapshotRow("sight", ONE, 10.0, 0.25, 7, 1),)


def test_a_service_that_does_not_answer_is_a_row() -> None:
    """So is one that answers with something else; neither hides the others."""

    def refuse(_url: str) -> str:
        raise OSError("refused")

    down, strange = scrape(ONE, refuse, lambda: 1.0), scrape(TWO, lambda _url: "<html>{", lambda: 1.0)
    state = state_of([down], [down, strange])
    assert [(one.source, one.trouble) for one in state.sources] == [
        (ONE, "does not answer: refused"),
        (TWO, "does not answer with metrics"),
    ]
    assert state.lanes == ()


@pytest.mark.parametrize(
    ("share", "buckets", "expected"),
    [
        (0.5, {1.0: 10, 2.0: 20, float("inf"): 20}, 1.0),
        (0.75, {1.0: 10, 2.0: 20, float("inf"): 20}, 1.5),
        (0.99, {1.0: 0, 2.0: 0, float("inf"): 5}, 2.0),
        (0.5, {1.0: 4, float("inf"): 4}, 0.5),
        (0.5, {1.0: 0, float("inf"): 0}, None),
        (0.5, {}, None),
    ],
)
def test_quantiles_are_those_of_prometheus(share: float, buckets: dict[float, float], expected: float | None) -> None:
    """Straight lines within a bucket; above the last bound, that bound; None of nothing."""
    assert quantile(share, buckets) == expected


def test_labels_narrow_what_is_summed() -> None:
    """Samples of other lanes, and other metrics that begin alike, do not count."""
    text = 'a_total{lane="se",x="1"} 2\na_total{lane="se",x="2"} 3\na_total{lane="de"} 9\na_total_more{lane="se"} 9\n'
    span = Span(None, Scrape.of(ONE, 1.0, text))
    assert span.now.get("a_total", lane="se") == 5
    assert span.now.get("a_total", lane="fr") is None


@pytest.fixture
def url() -> Iterator[str]:
    """A service that really listens."""
    metrics = FanoutMetrics()
    metrics.lane_taken("se", "worker-1", 0.5, 10)
    with make_server("127.0.0.1", 0, app_of(metrics.registry, Health())) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/metrics"
        server.shutdown()
        thread.join(10)


def test_the_command_prints_one_object_for_each_row(url: str) -> None:
    """--once --output json is for scripts: the kind of each row is in it, and exit code 1 says that one was silent."""
    words = ["top", "--once", "--every", "0.2", "--output", "json", "--from", url]
    said = CliRunner().invoke(app, words)
    rows = [json.loads(line) for line in said.stdout.splitlines()]
    assert (said.exit_code, [row["kind"] for row in rows]) == (0, ["lane", "source"])
    assert (rows[0]["lane"], rows[0]["owner"], rows[0]["copies_per_s"]) == ("se", "worker-1", 0)
    dead = CliRunner().invoke(app, [*words, "--from", "http://127.0.0.1:9/metrics"])
    assert dead.exit_code == 1
    assert "does not answer" in json.loads(dead.stdout.splitlines()[-1])["trouble"]


@pytest.mark.parametrize("words", [["--from", "file:///etc/passwd"], ["--from", ONE, "--output", "json"], []])
def test_wrong_words_are_refused(words: list[str]) -> None:
    """Exit code 2: only http and https are asked, json needs --once, and somebody must be asked."""
    assert CliRunner().invoke(app, ["top", *words]).exit_code == 2


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "yes"),
        (False, "no"),
        (0.012345, "0.0123"),
        (12_345.6, "12,346"),
        (("a", "b"), "a, b"),
        (3, "3"),
    ],
)
def test_a_cell_is_for_people(value: object, text: str) -> None:
    """Three figures, and nothing where nothing is known."""
    assert cell(value) == text
