"""Canonical forms: two members that know the same identifier must come to the same text, and so to the same token.

Every function raises IdentifierInvalid for a value without a canonical form; the message names kind and rule, never
the value.
"""

from __future__ import annotations

import re
import string
import unicodedata
from datetime import date
from functools import cache
from typing import Final
from urllib.parse import SplitResult, quote, urlsplit

import idna
import iso18245
import phonenumbers
import pycountry
from publicsuffixlist import PublicSuffixList
from stdnum import iban as stdnum_iban
from stdnum import lei as stdnum_lei
from stdnum.exceptions import ValidationError

from tocsin.schemas.errors import IdentifierInvalid
from tocsin.schemas.folding import fold

TEXT_LENGTH_MAX: Final = 4096
MERCHANT_ID_LENGTH_MAX: Final = 15  # ISO 8583 DE 42
LOCAL_PART_LENGTH_MAX: Final = 64  # RFC 5321 §4.5.3.1.1
CARD_DIGITS: Final = range(13, 20)

_ICA: Final = re.compile(r"[0-9]{1,11}")
_BID: Final = re.compile(r"[0-9]{8}")
_MCC: Final = re.compile(r"[0-9]{4}")
_SCHEME_WORD: Final = re.compile(r"[a-z][a-z0-9-]{0,15}")
_HEX_ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED: Final = frozenset(string.ascii_letters + string.digits + "-._~")  # RFC 3986 §2.3
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def _text(value: str, kind: str) -> str:
    """`value` without outer spaces, if it is text that can be an identifier at all."""
    text = value.strip()
    if not text:
        raise IdentifierInvalid(f"{kind}: empty")
    if len(text) > TEXT_LENGTH_MAX:
        raise IdentifierInvalid(f"{kind}: longer than {TEXT_LENGTH_MAX} characters")
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in text):
        raise IdentifierInvalid(f"{kind}: control characters")
    return text


def phone(value: str, region: str | None = None) -> str:
    """E.164, `+18005550142`. `region` (alpha-2) is needed for a number without a country code.

    A number that its country has never given out (0000000000) is refused: it would link strangers.
    """
    try:
        number = phonenumbers.parse(_text(value, "phone"), region)
    except phonenumbers.NumberParseException as error:
        raise IdentifierInvalid("phone: not a telephone number, or its country is not known") from error
    if not phonenumbers.is_valid_number(number):
        raise IdentifierInvalid("phone: not a number of its country")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def iban(value: str) -> str:
    """An IBAN in capitals without spaces, its check digits (mod 97) and its country's structure checked."""
    try:
        return stdnum_iban.validate(_text(value, "IBAN"), check_country=False)
    except ValidationError as error:
        raise IdentifierInvalid("IBAN: wrong check digits or structure") from error


def lei(value: str) -> str:
    """A legal entity identifier (ISO 17442) in capitals, its check digits checked."""
    try:
        return stdnum_lei.validate(_text(value, "LEI"))
    except ValidationError as error:
        raise IdentifierInvalid("LEI: wrong check digits or structure") from error


def email(value: str) -> str:
    """An e-mail address in lower case with its domain as A-labels (IDNA)."""
    local, at, host = unicodedata.normalize("NFC", _text(value, "e-mail")).rpartition("@")
    if not at or not local or len(local) > LOCAL_PART_LENGTH_MAX or re.search(r"[\s@]", local):
        raise IdentifierInvalid("e-mail: not <local part>@<domain>")
    return f"{local.lower()}@{domain(host)}"


def domain(value: str) -> str:
    """A domain as A-labels (IDNA 2008, UTS 46 mapping) in lower case, without trailing dot; two labels at least."""
    try:
        host = idna.encode(_text(value, "domain").removesuffix("."), uts46=True, std3_rules=True).decode().lower()
    except idna.IDNAError as error:
        raise IdentifierInvalid("domain: not a domain name") from error
    if "." not in host or host.rpartition(".")[2].isdigit():
        raise IdentifierInvalid("domain: not a domain name")
    return host


def sld_label(value: str) -> str:
    """The label before the public suffix: what stays when a site returns under another TLD."""
    registrable = _public_suffixes().privatesuffix(domain(value))
    if registrable is None:
        raise IdentifierInvalid("domain: a public suffix, nobody's own name")
    return registrable.partition(".")[0]


@cache
def _public_suffixes() -> PublicSuffixList:
    return PublicSuffixList()


def url(value: str) -> str:
    """A URL normalised as RFC 3986 §6.2.2 and §6.2.3 say, without fragment and user.

    Scheme and host in lower case, the host as A-labels or IP address, no default port, no empty path; escapes are
    decoded where they may be and in capitals where not. The query stays as it is.
    """
    parts = _split_url(value)
    host = _host(parts)
    port = "" if parts.port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{parts.port}"
    path = _without_dots(_escaped(parts.path, "/")) or "/"
    query = f"?{_escaped(parts.query, '/?')}" if parts.query else ""
    return f"{parts.scheme}://{host}{port}{path}{query}"


def url_domain(value: str) -> str:
    """The domain of a URL, or of a web address without scheme, without a leading `www.`."""
    text = _text(value, "URL")
    return domain(_host_text(_split_url(text if "://" in text else f"http://{text}")).removeprefix("www."))


def _split_url(value: str) -> SplitResult:
    try:
        parts = urlsplit(_text(value, "URL"))
        port = parts.port
    except ValueError as error:
        raise IdentifierInvalid("URL: not a URL") from error
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or port == 0:
        raise IdentifierInvalid("URL: a web address (http, https) with a host is needed")
    return parts


def _host_text(parts: SplitResult) -> str:
    return parts.hostname or ""


def _host(parts: SplitResult) -> str:
    host = _host_text(parts)
    if ":" in host:
        return f"[{host}]"
    return host if re.fullmatch(r"\d{1,3}(\.\d{1,3}){3}", host, re.ASCII) else domain(host)


def _escaped(text: str, extra: str) -> str:
    def escape(match: re.Match[str]) -> str:
        char = chr(int(match.group(1), 16))
        return char if char in _UNRESERVED else match.group().upper()

    return quote(_HEX_ESCAPE.sub(escape, text), safe=f"%!$&'()*+,;=:@~{extra}")


def _without_dots(path: str) -> str:
    """RFC 3986 §5.2.4."""
    segments = path.split("/")
    kept: list[str] = []
    for segment in segments:
        if segment == "..":
            kept = kept[:-1] if len(kept) > 1 else kept
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/".join(kept)


def merchant_id(acquirer: str, mid: str) -> str:
    """`acquirer:MID` in capitals: a MID (DE 42) is unique per acquirer only. Leading zeros are part of both."""
    left, right = _text(acquirer, "acquirer").upper(), _text(mid, "merchant id").upper()
    if not left.isalnum() or not left.isascii():
        raise IdentifierInvalid("acquirer: letters and digits only")
    if len(right) > MERCHANT_ID_LENGTH_MAX or not right.isascii():
        raise IdentifierInvalid(f"merchant id: up to {MERCHANT_ID_LENGTH_MAX} ASCII characters")
    return f"{left}:{right}"


def tax(value: str, country_code: str, scheme: str) -> str:
    """`CC:scheme:VALUE`, `scheme` being a word like `vat`; of the value only letters and digits count."""
    kept = re.sub(r"[^A-Z0-9]", "", _text(value, "tax id").upper())
    if not kept or "*" in value:
        raise IdentifierInvalid("tax id: masked, or without letters and digits")
    if not _SCHEME_WORD.fullmatch(scheme):
        raise IdentifierInvalid("tax id: the scheme is a word in lower case")
    return f"{country(country_code)}:{scheme}:{kept}"


def principal(surname: str, given: str, born: date) -> str:
    """`SURNAME|FIRST|YYYY-MM-DD`, names folded to A-Z, of the given names only the first. No birth date, no form."""
    first = _text(given, "principal").split()[0]
    folded = [re.sub(r"[^A-Z]", "", fold(part)) for part in (_text(surname, "principal"), first)]
    if not all(folded):
        raise IdentifierInvalid("principal: a name without a Latin, Cyrillic or Greek letter")
    return f"{folded[0]}|{folded[1]}|{born.isoformat()}"


def country(value: str) -> str:
    """ISO 3166-1 alpha-2 in capitals, from alpha-2 or alpha-3 (MATCH)."""
    code = _text(value, "country").upper()
    found = pycountry.countries.get(alpha_2=code) or pycountry.countries.get(alpha_3=code)
    if found is None:
        raise IdentifierInvalid("country: not ISO 3166-1 alpha-2 or alpha-3")
    return str(found.alpha_2)


def mcc(value: str) -> str:
    """A merchant category code of the ISO 18245, Visa or Mastercard list; each of them alone lacks some."""
    code = _text(value, "MCC")
    if not _MCC.fullmatch(code) or code not in _mccs():
        raise IdentifierInvalid("MCC: not 4 digits of the ISO 18245, Visa or Mastercard list")
    return code


@cache
def _mccs() -> frozenset[str]:
    every = iso18245.get_all_mccs()
    return frozenset(
        one.mcc for one in every if one.iso_description or one.visa_description or one.mastercard_description
    )


def ica(value: str) -> str:
    """A Mastercard acquirer number (ICA, Member ID), as given."""
    return _digits(value, _ICA, "ICA: 1 to 11 digits")


def bid(value: str) -> str:
    """A Visa business id, as given."""
    return _digits(value, _BID, "BID: 8 digits")


def _digits(value: str, pattern: re.Pattern[str], rule: str) -> str:
    text = _text(value, rule.partition(":")[0])
    if not pattern.fullmatch(text):
        raise IdentifierInvalid(rule)
    return text


def is_card_number(value: str) -> bool:
    """Whether this is a card number: 13 to 19 digits, the first 2 to 6, Luhn-valid (ISO/IEC 7812-1).

    Luhn alone holds for a tenth of all ids. Spaces and hyphens do not count.
    """
    digits = re.sub(r"[ -]", "", value)
    if not (digits.isascii() and digits.isdigit()) or len(digits) not in CARD_DIGITS or digits[0] not in "23456":
        return False
    doubled = (int(char) * (1 + at % 2) for at, char in enumerate(reversed(digits)))
    return sum(sum(divmod(number, 10)) for number in doubled) % 10 == 0
