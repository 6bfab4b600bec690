"""Mastercard MATCH v3 AddMerchant requests, JSON as published: one or many, with or without their wrapper.

Field names are the published ones. What an alert has no use for (addresses, comments, principals without a birth date)
is left behind.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any, BinaryIO, Final

from tocsin.producers.imports.fields import Fields, as_fields, canonical, checked_text, decode_json, refuse_repeated
from tocsin.producers.imports.maker import AlertMaker
from tocsin.producers.imports.rows import Refused, Row, RowRefused
from tocsin.schemas import identifiers as ids
from tocsin.schemas.descriptors import normalise
from tocsin.schemas.names import AlertType
from tocsin.schemas.tokens import TokenKind

FILE_SIZE_BYTES_MAX: Final = 64 << 20
PRINCIPALS_MAX: Final = 5

REASONS: Final = {
    "01": "Account Data Compromise",
    "02": "Common Point of Purchase",
    "03": "Laundering",
    "04": "Excessive Chargebacks",
    "05": "Excessive Fraud",
    "06": "Reserved for Future Use",
    "07": "Fraud Conviction",
    "08": "Mastercard Questionable Merchant Audit Program",
    "09": "Bankruptcy/Liquidation/Insolvency",
    "10": "Violation of Standards",
    "11": "Merchant Collusion",
    "12": "PCI Data Security Standard Noncompliance",
    "13": "Illegal Transactions",
    "14": "Identity Theft",
}

# AddMerchantMerchant of the published API description
KNOWN_FIELDS: Final = frozenset(
    {
        "Name",
        "DoingBusinessAsName",
        "MerchantId",
        "MerchantCategory",
        "Address",
        "PhoneNumber",
        "AltPhoneNumber",
        "NationalTaxId",
        "CountrySubdivisionTaxId",
        "CATFlag",
        "DateOpened",
        "DateClosed",
        "ServiceProvLegal",
        "ServiceProvDBA",
        "Url",
        "Principal",
        "ReasonCode",
        "Comments",
    }
)
_SPACE: Final = re.compile(r"\s*")
_DATE: Final = re.compile(r"(\d{2})/(\d{2})/(\d{4})", re.ASCII)
_CODE: Final = re.compile(r"\d{2}", re.ASCII)


def read_match(stream: BinaryIO, maker: AlertMaker) -> Iterator[Row]:
    """The rows of a file of AddMerchant requests. `line` is where a request begins."""
    raw = stream.read(FILE_SIZE_BYTES_MAX + 1)
    if len(raw) > FILE_SIZE_BYTES_MAX:
        yield Refused(1, "", f"file: larger than {FILE_SIZE_BYTES_MAX} bytes; split it")
        return
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        yield Refused(1, "", "file: UTF-16; save it as UTF-8")
        return
    # a byte that is not UTF-8 spoils its own request only
    for line, request in _requests(raw.decode("utf-8-sig", "surrogateescape")):
        yield _row(line, request, maker)


def _row(line: int, request: object, maker: AlertMaker) -> Row:
    try:
        if isinstance(request, RowRefused):
            raise request
        refuse_repeated(request)
        fields = as_fields(request, "")
        if "AddMerchantRequest" in fields.values:
            fields = as_fields(fields.values["AddMerchantRequest"], "AddMerchantRequest")
        return _terminated(line, fields.text("AcquirerId"), as_fields(fields.values.get("Merchant"), "Merchant"), maker)
    except RowRefused as refusal:
        return Refused(line, refusal.field, refusal.reason)


def _requests(text: str) -> Iterator[tuple[int, object]]:
    """Requests with the line that each begins on: of an array its items, otherwise one document after the other."""
    at, line, counted = 0, 1, 0
    in_array = False
    while (at := _after_space(text, at)) < len(text):
        if text[at] in "[,]":
            in_array = text[at] != "]"
            at += 1
            continue
        line, counted = line + text.count("\n", counted, at), at
        try:
            request, at = decode_json(text, at)
        except RowRefused as refusal:
            yield line, RowRefused("", f"{refusal.reason}; nothing from this line on was read")
            return
        yield line, request
    if in_array:
        yield line + text.count("\n", counted), RowRefused("", "not JSON: the array is not closed; is the file whole?")


def _after_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _terminated(line: int, acquirer: str, merchant: Fields, maker: AlertMaker) -> Row:
    defaults = maker.profile.match
    ica = canonical(ids.ica, acquirer, "AcquirerId")
    mid = merchant.form("MerchantId", partial(ids.merchant_id, ica))
    country = merchant.fields("Address").form("Country", ids.country)
    opened, closed = _date(merchant, "DateOpened"), _date(merchant, "DateClosed")
    _check_dates(opened, closed, maker.context.now)
    left_out: list[str] = []
    details: dict[str, Any] = {
        "subject_category": defaults.subject_category,
        "reasons": [_reason(merchant)],
        "terminated_at": closed,
        "contract_start": opened,
        "decided_by": defaults.decided_by,
        "acquirer": {"ica": ica, "country": defaults.acquirer_country},
        "mid_tokens": [maker.token(TokenKind.MERCHANT, mid)],
        "payfac": {"id": defaults.payfac_id} if defaults.payfac_id else None,
        "mccs": [merchant.form("MerchantCategory", ids.mcc)],
        **_names(merchant, maker),
        **_links(merchant, country, maker, left_out),
        "country": country,
        "rails": defaults.rails,
        "listed_on": defaults.listed_on,
    }
    _check_unused(merchant, left_out)
    header = {
        "lineage_id": maker.lineage_id("match", mid),
        "observed_at": min(datetime(closed.year, closed.month, closed.day, tzinfo=UTC), maker.context.now),
    }
    return maker.accept(line, AlertType.MERCHANT_TERMINATED, header, details, left_out=tuple(left_out))


def _date(merchant: Fields, name: str) -> date:
    found = _DATE.fullmatch(merchant.text(name))
    try:
        if found:
            return date(int(found[3]), int(found[1]), int(found[2]))
    except ValueError:  # no such day
        pass
    raise RowRefused(merchant.name_of(name), "a date, MM/DD/YYYY")


def _check_dates(opened: date, closed: date, now: datetime) -> None:
    if closed < opened:
        raise RowRefused("Merchant.DateClosed", "before DateOpened")
    if closed > now.date() + timedelta(days=1):  # it is tomorrow already in some places
        raise RowRefused("Merchant.DateClosed", "in the future")


def _reason(merchant: Fields) -> dict[str, str]:
    code = merchant.text("ReasonCode")
    if not _CODE.fullmatch(code):
        raise RowRefused("Merchant.ReasonCode", "two digits")
    return {"scheme": "MATCH", "code": code, "label": REASONS.get(code, "not in the list of MATCH v3")}


def _names(merchant: Fields, maker: AlertMaker) -> dict[str, Any]:
    """MATCH carries no descriptor: the name that the merchant does business under, else its own, stands for it."""
    name, dba = merchant.text("Name"), merchant.text_or_none("DoingBusinessAsName")
    field = merchant.name_of("DoingBusinessAsName" if dba else "Name")
    return {
        "descriptors": [{**maker.descriptor(dba or name, field), "kind": "STATIC"}],
        "dba_token": maker.token(TokenKind.DBA, normalise(dba).key) if dba else None,
    }


@dataclass(frozen=True, slots=True)
class _Links:
    """Tokens of what else may link two merchants. A value without canonical form is left out, and named."""

    merchant: Fields
    maker: AlertMaker
    left_out: list[str]

    def of(self, kind: TokenKind, form: Callable[[str], str], *names: str) -> list[str]:
        """The tokens of some text fields."""
        return self._tokens(kind, form, [(name, self.merchant.text_or_none(name)) for name in names])

    def of_urls(self, kind: TokenKind, form: Callable[[str], str]) -> list[str]:
        """The tokens of the web addresses."""
        name = self.merchant.name_of("Url")
        return self._tokens(kind, form, [("Url", checked_text(one, name)) for one in self.merchant.items("Url")])

    def _tokens(self, kind: TokenKind, form: Callable[[str], str], values: list[tuple[str, str | None]]) -> list[str]:
        found: dict[str, None] = {}
        for name, value in values:
            try:
                if value is not None:
                    found[self.maker.token(kind, canonical(form, value, self.merchant.name_of(name)))] = None
            except RowRefused as refusal:
                if str(refusal) not in self.left_out:
                    self.left_out.append(str(refusal))
        return list(found)


def _links(merchant: Fields, country: str, maker: AlertMaker, left_out: list[str]) -> dict[str, Any]:
    merchant.text("PhoneNumber")  # required by the format, though what it holds need not be a number
    links = _Links(merchant, maker, left_out)
    return {
        "phone_tokens": links.of(TokenKind.PHONE, partial(ids.phone, region=country), "PhoneNumber", "AltPhoneNumber"),
        "tax_tokens": [
            *links.of(TokenKind.TAX, partial(_tax, country, "national"), "NationalTaxId"),
            *links.of(TokenKind.TAX, partial(_tax, country, "subdivision"), "CountrySubdivisionTaxId"),
        ],
        "domain_tokens": links.of_urls(TokenKind.DOMAIN, ids.url_domain),
        "sld_tokens": links.of_urls(TokenKind.SLD_LABEL, lambda url: ids.sld_label(ids.url_domain(url))),
    }


def _tax(country: str, scheme: str, value: str) -> str:
    return ids.tax(value, country, scheme)


def _check_unused(merchant: Fields, left_out: list[str]) -> None:
    """Principals have no birth date here, so no token; but what the format does not allow is not let pass unseen."""
    merchant.choice("CATFlag", ("Y", "N"))
    principal = merchant.values.get("Principal")
    principals = merchant.items("Principal") if isinstance(principal, list) else [principal] if principal else []
    if len(principals) > PRINCIPALS_MAX:
        raise RowRefused("Merchant.Principal", f"at most {PRINCIPALS_MAX}")
    for one in principals:
        as_fields(one, "Merchant.Principal")
    unknown = len(merchant.values.keys() - KNOWN_FIELDS)
    if unknown:
        left_out.append(f"Merchant: {unknown} field(s) that AddMerchant v3 does not have")
