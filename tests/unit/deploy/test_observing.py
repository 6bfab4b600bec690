"""How the exchange is, from what its services say: the rows, the terminal's view and the page."""

from __future__ import annotations

import http.client
import json
import random
import socketserver
import threading
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import replace
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from math import ceil, inf

import pytest
import typer
from prometheus_client import generate_latest
from typer.testing import CliRunner

from tocsin.consumers.metric_registry import Metrics
from tocsin.consumers.metric_table import Service
from tocsin.deploy.cli import app
from tocsin.deploy.observing.looking import checked_urls
from tocsin.deploy.observing.overview import Overview, in_words, overview, quantile
from tocsin.deploy.observing.samples import Samples, ask, samples_of
from tocsin.deploy.observing.status_page import HEADERS, answer, server
from tocsin.deploy.observing.tables import headline, tables

AT = 1_000_000.0
FOUL = "</script><b>&\"'"


def fanout(at_s: float = AT, *, copies: int = 0, slow: int = 0, up: int = 1, url: str = "one") -> Samples:
    """What a fan-out with the lane `de` says; `copies` came within 10 ms, `slow` more took three seconds."""
    made = Metrics(Service.FANOUT)
    made.gauge("tocsin_lane_up").labels("de").set(up)
    made.gauge("tocsin_lane_owner").labels("de", "worker-1").set(up)
    made.gauge("tocsin_lag_records").labels("de").set(7)
    made.gauge("tocsin_lag_timestamp_seconds").labels("de").set(at_s - 30)
    made.gauge("tocsin_snapshot_timestamp_seconds").labels("acls").set(at_s - 1)
    made.gauge("tocsin_snapshot_size").labels("directory").set(18)
    made.counter("tocsin_copies_total").labels("de").inc(copies + slow)
    made.counter("tocsin_decisions_total").labels("de", "ALERT", "ACCEPTED", "").inc(copies)
    made.turned("lanes", at_s)
    for seconds, count in ((0.005, copies), (3.0, slow)):
        for _ in range(count):
            made.histogram("tocsin_delivery_seconds").labels("de", "site-taken-down").observe(seconds)
    return samples_of(url, at_s, generate_latest(made.registry).decode())


def test_a_lane_is_as_its_process_says() -> None:
    """Rates and latencies are since the look before; what nobody needs to see to is no trouble."""
    seen = overview([fanout(AT + 10, copies=300)], [fanout(AT, copies=100, slow=50)])
    [lane] = seen.lanes
    assert (lane.state, lane.worker, lane.lag, lane.lag_s) == ("works", "worker-1", 7, 30)
    assert (lane.copies, lane.decisions) == (15.0, 20.0)
    assert seen.members == 18
    assert seen.troubles == ()
    assert headline(seen) == "All is well"
    assert [one.state for one in seen.services] == ["answers"]


def test_latencies_are_those_since_the_look_before() -> None:
    """What was slow before has no say; without a look before, or when nothing came since, all that ever came has."""
    slow = fanout(AT, copies=1, slow=99)
    [lane] = overview([slow]).lanes
    assert lane.p50_s is not None
    assert lane.p50_s > 2.5
    [lane] = overview([fanout(AT + 5, copies=101, slow=99)], [slow]).lanes
    assert lane.p99_s is not None
    assert lane.p99_s <= 0.01
    [lane] = overview([replace(slow, at_s=AT + 5)], [slow]).lanes
    assert lane.p50_s is not None
    assert lane.p50_s > 2.5
    # a process that began again counts from 0
    [lane] = overview([fanout(AT + 5, copies=3)], [slow]).lanes
    assert (lane.copies, lane.decisions) == (None, 0.4)


def test_a_lane_is_shown_by_who_works_it() -> None:
    """Who had it before still says how it was; when nobody has it, that is a trouble."""
    old, new = fanout(url="old", up=0), fanout(url="new", copies=2)
    assert [one.worker for one in overview([old, new]).lanes] == ["worker-1"]
    seen = overview([old, fanout(url="new", up=0)])
    assert [one.state for one in seen.lanes] == ["nobody"]
    assert seen.troubles == ("lane de: nobody works it",)


def test_quantiles_lie_between_the_values_that_were_counted() -> None:
    """Within the bucket of the true one, for any values; of nothing there is none."""
    chance, bounds = random.Random(1), (0.1, 0.5, 1.0, 5.0, inf)
    for _ in range(200):
        values = sorted(chance.choice((0.05, 0.3, 0.7, 2.0, 9.0)) for _ in range(chance.randint(1, 40)))
        buckets = [(bound, float(sum(value <= bound for value in values))) for bound in bounds]
        for share in (0.5, 0.9, 0.99):
            true = values[max(0, ceil(share * len(values)) - 1)]
            low = max((bound for bound in (0.0, *bounds) if bound < true), default=0.0)
            high = min(bound for bound in bounds if bound >= true)
            found = quantile(share, buckets)
            assert found is not None
            assert low - 1e-9 <= found <= (5.0 if high == inf else high) + 1e-9
    assert quantile(0.5, []) is None
    assert quantile(0.5, [(1.0, 0.0), (inf, 0.0)]) is None


def troubled() -> Overview:
    """An exchange in every kind of trouble."""
    fan = Metrics(Service.FANOUT)
    for lane, stopped, hangs in (("de", 1, 0), ("fr", 0, 1)):
        fan.gauge("tocsin_lane_up").labels(lane).set(1)
        fan.gauge("tocsin_deliveries_stopped").labels(lane).set(stopped)
        fan.gauge("tocsin_lane_hangs").labels(lane).set(hangs)
    fan.gauge("tocsin_owed_copies").labels("de", FOUL).set(12)
    fan.gauge("tocsin_owed_timestamp_seconds").labels("de", FOUL).set(AT - 7_200)
    fan.gauge("tocsin_line_test_seconds").set(60)
    for member, age in (("isp-de", 500), ("isp-fr", 30), (FOUL, 500)):
        fan.gauge("tocsin_line_timestamp_seconds").labels("de", member).set(AT - age)
    fan.gauge("tocsin_snapshot_timestamp_seconds").labels("acls").set(AT - 600)
    fan.gauge("tocsin_gains_held_members").labels("de").set(2)
    fan.turned("lanes", AT - 900)
    sealer, drift, withdrawals = Metrics(Service.SEALER), Metrics(Service.DRIFT), Metrics(Service.WITHDRAWALS)
    sealer.gauge("tocsin_sealed_timestamp_seconds").set(AT - 90)
    sealer.gauge("tocsin_sealer_refused_logs").set(1)
    drift.gauge("tocsin_policy_differences").labels("missing").set(3)
    drift.gauge("tocsin_policy_differences").labels("break-glass").set(1)
    withdrawals.gauge("tocsin_withdrawals_overdue").labels("de", "bank-fr").set(4)
    every = (fan, sealer, drift, withdrawals)
    said = [samples_of(str(at), AT, generate_latest(one.registry).decode()) for at, one in enumerate(every)]
    return overview([*said, Samples("http://gone", AT, why="ConnectionRefusedError")])


def test_whatever_needs_somebody_is_said() -> None:
    """Each of these in a sentence of its own."""
    assert set(troubled().troubles) == {
        "service at 0: stands",
        "service at http://gone: no answer (ConnectionRefusedError)",
        "lane de: nothing is delivered: what decisions are made by is missing or too old",
        "lane fr: a transaction stays open on its ledger",
        f"{FOUL}: its inbox refuses copies; 12 are owed, the first for 2.0 h",
        "bank-fr: 4 retractions not acknowledged in time",
        "isp-de: its line was last tested 8 min ago",
        "acls: last read whole 10 min ago",
        "the record: last sealed 90 s ago",
        "the record: 1 logs cannot be gone on with",
        "2 members wait for a release of what they gained",
        "policy: 3 things are not as it has them (missing)",
        "policy: 1 break-glass grants are in force",
    }
    assert headline(troubled()) == "13 things need you"
    lines = [(one.member, one.line) for one in troubled().lines]
    assert lines == [(FOUL, "refuses"), ("isp-de", "silent"), ("bank-fr", "takes"), ("isp-fr", "takes")]
    assert [in_words(seconds) for seconds in (1, 119, 120, 7_200, 200_000)] == [
        "1 s",
        "119 s",
        "2 min",
        "2.0 h",
        "2.3 d",
    ]


def test_tables_have_a_cell_for_each_column() -> None:
    """Of an exchange in every kind of trouble, and of none."""
    for seen in (troubled(), overview([])):
        assert all(len(row) == len(one.columns) for one in tables(seen) for row in one.rows)


# -- the page --------------------------------------------------------------------------------------------------------


class _Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_escapes_what_it_shows_and_runs_nothing() -> None:
    """No script, nothing from elsewhere; whatever a member is called, it is text."""
    page = _Page(answer("GET", "/", troubled()).body)
    names = {name for name, _ in page.tags}
    assert not names & {"script", "img", "iframe", "link", "b", "form"}
    assert page.text.count(FOUL) == 2
    assert "13 things need you" in page.text
    assert not any(key.startswith("on") for _, attributes in page.tags for key in attributes)
    assert "default-src 'none'" in HEADERS["Content-Security-Policy"]


def test_a_reader_can_stop_it_from_loading_again() -> None:
    """By a link that is the first thing that the keyboard comes to; and start it again."""
    loads, stands = (_Page(answer("GET", target, overview([])).body) for target in ("/", "/?reload=off"))
    assert any(one.get("http-equiv") == "refresh" for _, one in loads.tags)
    assert not any(one.get("http-equiv") == "refresh" for _, one in stands.tags)
    assert [next(one["href"] for name, one in page.tags if name == "a") for page in (loads, stands)] == [
        "/?reload=off",
        "/",
    ]


def test_it_is_read_only_and_has_two_places() -> None:
    """Other ways and places are refused in words; programs get the same as JSON."""
    assert answer("POST", "/", overview([])).status == 405
    assert answer("GET", "/metrics", overview([])).status == 404
    seen = json.loads(answer("GET", "/status.json", troubled()).body)
    assert len(seen["troubles"]) == 13
    assert {row["lane"] for row in seen["lanes"]} == {"de", "fr"}


@contextmanager
def _serving(made: HTTPServer) -> Generator[int]:
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield made.server_port
    finally:
        made.shutdown()
        thread.join()
        made.server_close()


def test_a_page_of_another_site_cannot_read_it() -> None:
    """A name that was made to lead to this machine is refused."""
    with _serving(server(0, "127.0.0.1", troubled)) as port:
        for host, status in ((f"127.0.0.1:{port}", 200), (f"localhost:{port}", 200), ("evil.example", 421)):
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as asking:
                asking.request("GET", "/", headers={"Host": host})
                found = asking.getresponse()
                assert (host, found.status) == (host, status)
                assert ("13 things" in found.read().decode()) == (status == 200)


# -- asking, and the commands ----------------------------------------------------------------------------------------


class _Said(BaseHTTPRequestHandler):
    text = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.text)))
        self.end_headers()
        self.wfile.write(self.text)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
        pass


class _NoHttp(socketserver.BaseRequestHandler):
    """What a port that wants TLS answers."""

    def handle(self) -> None:
        self.request.recv(1_000)
        self.request.sendall(bytes.fromhex("15030300020232"))


@contextmanager
def _service(text: bytes) -> Generator[str]:
    with _serving(ThreadingHTTPServer(("127.0.0.1", 0), type("Said", (_Said,), {"text": text}))) as port:
        yield f"http://127.0.0.1:{port}/metrics"


def test_who_does_not_answer_or_talks_nonsense_is_a_row_that_says_so() -> None:
    """No exception, whatever is there."""
    with _service(b"tocsin_lane_up{ nonsense") as url:
        assert ask(url).why
    assert "refused" in ask(url).why
    with socketserver.TCPServer(("127.0.0.1", 0), _NoHttp) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        assert ask(f"http://127.0.0.1:{server.server_address[1]}/metrics").why
    assert overview([ask(url)]).services[0].state.startswith("no answer")


def test_top_shows_once_and_its_exit_code_says_whether_somebody_is_needed() -> None:
    """As a table and as JSON; addresses may be short."""
    metrics = Metrics(Service.SEALER)
    metrics.gauge("tocsin_sealer_refused_logs").set(1)
    with _service(generate_latest(metrics.registry)) as url:
        short = url.removeprefix("http://").removesuffix("/metrics")
        found = CliRunner().invoke(app, ["top", "--once", "--from", short, "--output", "json"])
        assert found.exit_code == 3
        assert "1 logs cannot be gone on with" in " ".join(json.loads(found.stdout)["troubles"])
        found = CliRunner().invoke(app, ["top", "--once", "--from", url])
        assert "sealer" in found.stdout
    assert checked_urls(["a:1", "https://b/x", "http://c/"]) == [
        "http://a:1/metrics",
        "https://b/x",
        "http://c/metrics",
    ]
    for foul in ("ftp://a/metrics", "file:///etc/passwd", "http://"):
        with pytest.raises(typer.BadParameter, match="address of a service"):
            checked_urls([foul])
