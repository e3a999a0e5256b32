"""A labelled corpus for masking: invented personal data of many countries and formats in sentences, and near-misses beside them.

Everything is made here from a fixed seed: numbers carry correct checksums that are computed by code of this file, not of the masker's.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

SEED = 20_260


@dataclass(frozen=True, slots=True)
class Item:
    """A text and what is personal in it: ``(entity, the exact words)`` each. A near-miss has none."""

    text: str
    personal: tuple[tuple[str, str], ...] = ()


_SENTENCES = (
    "Please write to {} about it.",
    "{}",
    "My data: {}, thanks!",
    "(see {})",
    "Kunde meldet: {} stimmt nicht mehr",
    "contacto: {}; urgente",
    "línea 4 → {} ← vérifier",
    "order 8841 from {}\nsecond line",
    "\t{}\tcol2",
    'he said "{}" twice',
    "お客様 {} まで",
    "<p>{}</p>",
)
_LOCALS = (
    "bob", "anna.schmidt", "j.r.tolkien", "x", "first.last+shop", "o'brien", "user_name", "123456", "a-b", "müller", "李雷",
    "very.common", "info", "team+eu=1", "ivan.петров", "n0reply", "A.B.C", "customer/department", "!def!xyz", "zoë",
)  # fmt: skip
_DOMAINS = (
    "example.com", "example.co.uk", "mail.example.org", "firma-beispiel.de", "ejemplo.com.mx", "beispiel.museum", "host.internal",
    "corp.local", "münchen.example", "例え.jp", "xn--bcher-kva.example", "a.b.c.d.example.net", "example.travel", "sub-1.example.io",
    "EXAMPLE.COM",
)  # fmt: skip

# Country and the structure of its account number: n digits, a capital letters, c either (ISO 13616 registry).
_IBANS = {
    "DE": "18n", "GB": "4a14n", "FR": "10n11c2n", "ES": "20n", "IT": "1a10n12c", "NL": "4a10n", "BE": "12n", "AT": "16n",
    "CH": "5n12c", "PL": "24n", "PT": "21n", "SE": "20n", "NO": "11n", "DK": "14n", "FI": "14n", "IE": "4a14n", "GR": "7n16c",
    "CZ": "20n", "HU": "24n", "RO": "4a16c", "BG": "4a6n8c", "TR": "5n1n16c", "SA": "2n18c", "AE": "19n", "IL": "19n",
    "BR": "23n1a1c", "MT": "4a5n18c", "LU": "3n13c", "EE": "16n", "LV": "4a13c", "LT": "16n", "HR": "17n", "SI": "15n", "SK": "20n",
    "CY": "8n16c", "IS": "22n", "KW": "4a22c", "QA": "4a21c", "UA": "6n19c", "GE": "2a16n",
}  # fmt: skip

# Issuer digits, length, and how people group them.
_CARDS = (
    ("4", 16, (4, 4, 4, 4)), ("4", 13, (4, 3, 3, 3)), ("51", 16, (4, 4, 4, 4)), ("55", 16, (4, 4, 4, 4)),
    ("2221", 16, (4, 4, 4, 4)), ("2720", 16, (4, 4, 4, 4)), ("34", 15, (4, 6, 5)), ("37", 15, (4, 6, 5)),
    ("6011", 16, (4, 4, 4, 4)), ("65", 16, (4, 4, 4, 4)), ("3528", 16, (4, 4, 4, 4)), ("3589", 16, (4, 4, 4, 4)),
    ("36", 14, (4, 6, 4)), ("300", 14, (4, 6, 4)), ("62", 19, (6, 13)), ("62", 16, (4, 4, 4, 4)), ("5018", 16, (4, 4, 4, 4)),
    ("6304", 19, (4, 4, 4, 4, 3)),
)  # fmt: skip

# With a country code, as they are written in their country.
_PHONES = (
    "+1 415-555-2671", "+1 (212) 555-0187", "+1.646.555.0134", "+16135550173", "+44 20 7946 0958", "+44 (0)20 7946 0958",
    "+447700900123", "+49 30 901820", "+49 (0)89 123456-78", "+49-171-1234567", "+33 1 70 18 99 00", "+33 6 12 34 56 78",
    "+34 912 345 678", "+34 612345678", "+39 06 6982 1234", "+39 347 1234567", "+31 20 123 4567", "+31-6-12345678",
    "+32 2 555 12 12", "+41 44 668 18 00", "+43 1 234567", "+45 32 12 34 56", "+46 8-123 456 78", "+47 22 12 34 56",
    "+48 22 123 45 67", "+351 21 123 4567", "+353 1 234 5678", "+354 410 4000", "+358 9 1234567", "+30 21 0123 4567",
    "+36 1 234 5678", "+420 601 123 456", "+421 2 1234 5678", "+40 21 123 4567", "+359 2 123 456", "+380 44 123 4567",
    "+7 495 123-45-67", "+90 212 123 45 67", "+972 3-123-4567", "+971 4 123 4567", "+966 11 123 4567", "+20 2 12345678",
    "+27 11 123 4567", "+234 803 123 4567", "+254 712 345678", "+212 522-123456", "+91 98765 43210", "+91-22-12345678",
    "+92 21 12345678", "+880 2-1234567", "+86 138 0013 8000", "+86-10-12345678", "+81 3-1234-5678", "+81-90-1234-5678",
    "+82 2-312-3456", "+82-10-1234-5678", "+852 2123 4567", "+886 2 1234 5678", "+65 6123 4567", "+60 3-1234 5678",
    "+62 21 1234567", "+63 2 1234 5678", "+66 2 123 4567", "+84 24 1234 5678", "+61 2 9374 4000", "+61 412 345 678",
    "+64 9 123 4567", "+55 11 91234-5678", "+55 (21) 1234-5678", "+54 9 11 1234-5678", "+56 2 2123 4567", "+57 1 1234567",
    "+51 1 1234567", "+52 55 1234 5678", "+598 2123 4567", "+506 2212 3456", "+1 876 555 0123", "0049 30 901820",
    "00 44 20 7946 0958", "011 49 30 901820", "0033-1-70-18-99-00",
)  # fmt: skip

_NEAR_MISSES = (
    "bob at the office", "@everyone look", "price@ 5", "a@b", "name@", "@handle and #tag", "user@@example", "git@",
    "meet @ 5.30 pm", "4111 1111 1111 1112", "1234 5678 9012 3456", "5500-0000-0000-0005", "4000000000000000000001",
    "378282246310006", "DE89 3704 0044 0532 0130 01", "GB00 NWBK 6016 1331 9268 19", "XX12 3456 7890 1234 5678", "DE12",
    "AB12 3456", "order 2026-11-23-0042", "2026-11-23 10:15:30", "2026-11-23T10:15:30Z", "ISBN 978-3-16-148410-0",
    "version 1.22.333.4444", "192.168.1.254", "+5 points", "+1", "a+12345678", "12+34567890", "1,234,567.89", "EUR 1.234.567,89",
    "3.14159265358979", "temperature +12.5 to +13.5", "EAN 4006381333931", "0x7ffe12345678", "sha 9f86d081884c7d659a2feaa0c55ad015",
    "SKU-4455-8812", "invoice no. 20261123", "room 4021, floor 3", "1 2 3 4 5 6 7 8", "score 99999999999999999999",
    "UPC 036000291452", "GPS 52.520008, 13.404954", "ticket #8841-2231", "chapter 12-14",
)  # fmt: skip


def corpus() -> list[Item]:
    """Every value of every entity in a few sentences, then the near-misses in the same sentences. Always the same."""
    rng = random.Random(SEED)
    found: list[Item] = []
    for entity, values in (
        ("EMAIL_ADDRESS", _emails(rng)),
        ("CREDIT_CARD", _cards(rng)),
        ("IBAN_CODE", _account_numbers(rng)),
        ("PHONE_NUMBER", iter(_PHONES)),
    ):
        found += [
            Item(_in(sentence, value), ((entity, value),)) for value in values for sentence in rng.sample(_SENTENCES, 4)
        ]
    return found + [Item(_in(s, value)) for value in _NEAR_MISSES for s in rng.sample(_SENTENCES, 4)]


def _in(sentence: str, value: str) -> str:
    return sentence.replace("{}", value)


def _emails(rng: random.Random) -> Iterator[str]:
    for local in _LOCALS:
        for domain in rng.sample(_DOMAINS, 6):
            yield f"{local}@{domain}"
    yield from ('"john doe"@example.com', "bob [at] example [dot] com", "ann (at) mail.example.org", "x@[192.0.2.1]")


def _cards(rng: random.Random) -> Iterator[str]:
    for issuer, length, groups in _CARDS:
        for separator in ("", " ", "-", "."):
            body = issuer + "".join(rng.choices("0123456789", k=length - len(issuer) - 1))
            yield separator.join(_grouped(body + luhn_digit(body), groups))


def _account_numbers(rng: random.Random) -> Iterator[str]:
    for country, structure in _IBANS.items():
        for style in ("plain", "fours", "lower"):
            number = iban(country, _fill(structure, rng))
            grouped = " ".join(number[i : i + 4] for i in range(0, len(number), 4))
            yield {"plain": number, "fours": grouped, "lower": grouped.lower()}[style]


def _grouped(digits: str, groups: tuple[int, ...]) -> Iterator[str]:
    start = 0
    for size in groups:
        yield digits[start : start + size]
        start += size


def _fill(structure: str, rng: random.Random) -> str:
    alphabets = {"n": "0123456789", "a": "ABCDEFGHJKLMNPQRSTUVWXYZ", "c": "0123456789ABCDEFGHJKLMNPQRSTUVWXYZ"}
    out, count = "", ""
    for char in structure:
        if char.isdigit():
            count += char
        else:
            out, count = out + "".join(rng.choices(alphabets[char], k=int(count))), ""
    return out


def luhn_digit(body: str) -> str:
    """The check digit that makes ``body`` a card number (ISO/IEC 7812).

    >>> luhn_digit("411111111111111")
    '1'
    """
    total = 0
    for place, char in enumerate(reversed(body)):
        doubled = int(char) * (2 if place % 2 == 0 else 1)
        total += doubled - 9 if doubled > 9 else doubled
    return str(-total % 10)


def iban(country: str, account: str) -> str:
    """The account number with its country and check digits (ISO 13616, modulo 97).

    >>> iban("DE", "370400440532013000")
    'DE89370400440532013000'
    """
    digits = "".join(str(int(char, 36)) for char in account + country + "00")
    return f"{country}{98 - int(digits) % 97:02d}{account}"
