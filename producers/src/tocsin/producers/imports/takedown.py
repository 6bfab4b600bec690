"""Takedowns as CSV, one line for each takedown. Columns: docs/imports.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, BinaryIO, Final

from tocsin.producers.imports.fields import Fields, canonical, csv_values, lines
from tocsin.producers.imports.maker import AlertMaker
from tocsin.producers.imports.rows import Refused, Row, RowRefused
from tocsin.schemas import identifiers as ids
from tocsin.schemas.errors import IdentifierInvalid
from tocsin.schemas.names import AlertType
from tocsin.schemas.tokens import TokenKind
from tocsin.schemas.watch_list import merchant

REQUIRED: Final = ("reference", "urls", "action_by_role", "method", "commercial", "reported_at", "removed_at")
OPTIONAL: Final = (
    "state",
    "access_method",
    "domain_status",
    "registrar_iana_id",
    "host_asn",
    "host_country",
    "lea_notified_at",
    "notice_sent_at",
    "first_contact_at",
    "confirmed_down_at",
    "notices_sent",
    "relapse_count",
    "payment_rail",
    "payment_mid",
    "payment_match_listing",
)
URLS_MAX: Final = 50

_TIMES: Final = (
    "reported_at",
    "lea_notified_at",
    "notice_sent_at",
    "first_contact_at",
    "removed_at",
    "confirmed_down_at",
)
_YES: Final = {"true": True, "false": False}


def read_takedowns(stream: BinaryIO, maker: AlertMaker) -> Iterator[Row]:
    """The rows of a takedown CSV. A header line that cannot be used refuses every row, so that counts still add up."""
    delimiter = maker.profile.takedown.delimiter
    columns: list[str] | RowRefused | None = None
    for line, text in lines(stream):
        try:
            if columns is None:
                columns = _columns(text, delimiter)
                continue
            yield _taken_down(line, _fields(text, columns, delimiter), maker)
        except RowRefused as refusal:
            columns = refusal if columns is None else columns
            yield Refused(line, refusal.field.removeprefix("details."), refusal.reason)


def _values(text: str | RowRefused, delimiter: str) -> list[str]:
    if isinstance(text, RowRefused):
        raise text
    return csv_values(text, delimiter)


def _columns(text: str | RowRefused, delimiter: str) -> list[str]:
    names = [name.strip().lower() for name in _values(text, delimiter)]
    for name in REQUIRED:
        if name not in names:
            raise RowRefused(name, "header line: this column is required")
    for at, name in enumerate(names, 1):
        if name not in (*REQUIRED, *OPTIONAL):
            raise RowRefused("", f"header line: column {at} is not known")
        if name in names[: at - 1]:
            raise RowRefused(name, "header line: this column stands twice")
    return names


def _fields(text: str | RowRefused, columns: list[str] | RowRefused, delimiter: str) -> Fields:
    if isinstance(columns, RowRefused):
        raise RowRefused("", "the header line was refused")
    values = _values(text, delimiter)
    if len(values) != len(columns):
        raise RowRefused("", f"{len(columns)} values are needed; quote one that holds the delimiter")
    return Fields(dict(zip(columns, values, strict=True)))


def _taken_down(line: int, row: Fields, maker: AlertMaker) -> Row:
    reference = row.text("reference")
    urls = row.text("urls").split()
    if len(urls) > URLS_MAX:
        raise RowRefused("urls", f"at most {URLS_MAX}; give the others a row of their own")
    times = {name: row.time_or_none(name) for name in _TIMES}
    _check_times(row, times, maker.context.now)
    details: dict[str, Any] = {
        "url_tokens": [maker.token(TokenKind.URL, canonical(ids.url, url, "urls")) for url in urls],
        **_host(urls, maker),
        **_plain(row),
        **times,
        "state": row.text_or_none("state") or ("CONFIRMED_DOWN" if times["confirmed_down_at"] else "REMOVED"),
        "payment_links": _payment(row, maker),
    }
    header = {"lineage_id": maker.lineage_id("takedown", reference), "observed_at": times["removed_at"]}
    return maker.accept(line, AlertType.SITE_TAKEN_DOWN, header, details)


def _plain(row: Fields) -> dict[str, Any]:
    commercial = row.choice("commercial", tuple(_YES))
    host_country = row.text_or_none("host_country")
    return {
        "action_by_role": row.text("action_by_role"),
        "method": row.text("method"),
        "access_method": row.text_or_none("access_method") or "UNKNOWN",
        "domain_status": row.text_or_none("domain_status"),
        "registrar_iana_id": row.number_or_none("registrar_iana_id"),
        "host_asn": row.number_or_none("host_asn"),
        "host_country": canonical(ids.country, host_country, "host_country") if host_country else None,
        "notices_sent": row.number_or_none("notices_sent") or 0,
        "relapse_count": row.number_or_none("relapse_count") or 0,
        "commercial": _YES[commercial],
    }


def _host(urls: list[str], maker: AlertMaker) -> dict[str, Any]:
    """Domain, label and TLD of the first URL; a site on a bare IP address has none. All URLs of a row are one site."""
    hosts = {_domain(url) for url in urls}
    if len(hosts) > 1:
        raise RowRefused("urls", "of one site only; give another domain a row of its own")
    domain = hosts.pop()
    if domain is None:
        return {}
    return {
        "domain_token": maker.token(TokenKind.DOMAIN, domain),
        "sld_token": _sld_token(domain, maker),
        "tld": domain.rpartition(".")[2],
        "hidden_service": domain.endswith(".onion"),
    }


def _domain(url: str) -> str | None:
    try:
        return ids.url_domain(url)
    except IdentifierInvalid:
        return None


def _sld_token(domain: str, maker: AlertMaker) -> str | None:
    try:
        return maker.token(TokenKind.SLD_LABEL, ids.sld_label(domain))
    except IdentifierInvalid:
        return None


def _payment(row: Fields, maker: AlertMaker) -> list[dict[str, Any]]:
    """How the site was paid: `payment_mid` is `acquirer:MID`; `payment_match_listing` names an own MATCH import."""
    rail = row.text_or_none("payment_rail")
    mid, listing = (row.text_or_none(name) for name in ("payment_mid", "payment_match_listing"))
    if rail is None:
        if mid or listing:
            raise RowRefused("payment_rail", "required with payment_mid or payment_match_listing")
        return []
    return [
        {
            "rail": rail,
            "mid_token": maker.token(TokenKind.MERCHANT, canonical(merchant, mid, "payment_mid")) if mid else None,
            "lineage_id": (
                maker.lineage_id("match", canonical(merchant, listing, "payment_match_listing")) if listing else None
            ),
        }
    ]


def _check_times(row: Fields, times: Mapping[str, datetime | None], now: datetime) -> None:
    for name, time in times.items():
        if time is None and name in REQUIRED:
            row.time(name)
        if time is not None and time > now:
            raise RowRefused(name, "in the future")
