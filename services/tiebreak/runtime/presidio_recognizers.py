"""Presidio's pattern recognisers with their checksums, tuned for recall, built without a language model and without the network.

Four of Presidio's own are given other patterns here, since theirs miss what people write: cards of the 2-series, with dots, or of
19 digits; IBANs in lower case; e-mail addresses of domains that are not public (and Presidio's check downloads the list of public
suffixes on first use); numbers with a country code that are possible but not yet assigned.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import cache
from typing import Any

import phonenumbers
import regex
import tldextract
from presidio_analyzer import Pattern, PatternRecognizer, predefined_recognizers
from presidio_analyzer.predefined_recognizers import CreditCardRecognizer, EmailRecognizer, IbanRecognizer

from tiebreak.contracts.errors import ConfigError
from tiebreak.contracts.project import Privacy

# Presidio writes the very text that it could not check into its log.
logging.getLogger("presidio-analyzer").setLevel(logging.CRITICAL)

_NO_DIGIT = regex.compile(r"[^0-9]+")
# ISO/IEC 7812: 2 Mastercard; 3 Diners, American Express, JCB; 4 Visa; 5 Mastercard and Maestro; 6 Maestro, Discover, UnionPay.
_CARD_LENGTHS: Mapping[str, range | tuple[int, ...]] = {
    "2": (16,),
    "3": (14, 15, 16),
    "4": (13, 16, 19),
    "5": (16, 19),
    "6": range(16, 20),
}
_NO_ALNUM = regex.compile(r"[^0-9A-Za-z]+")
# The registry's lengths for countries whose format Presidio lacks, or has too short (Portugal, Qatar).
_IBAN_LENGTHS: Mapping[str, int] = {
    "PT": 25, "QA": 29, "UA": 29, "BY": 28, "BI": 27, "DJ": 27, "EG": 29, "FK": 18, "HN": 28, "IQ": 23, "LC": 32,
    "LY": 25, "MN": 20, "NI": 28, "OM": 23, "RU": 33, "SC": 31, "SD": 18, "SO": 23, "ST": 25, "SV": 28, "TL": 23,
    "VA": 22, "YE": 30,
}  # fmt: skip
_SEPARATORS = [("-", ""), (" ", ""), (".", "")]

# Every pattern is linear in the text: it starts only where a word (or a run of digits) does, and what repeats is possessive or short.
_LOCAL = r"\w.!#$%&'*+/=?^`{|}~\-"
_LABEL = r"\w[\w\-]{0,62}"
_EMAIL = Pattern(
    "e-mail address",
    rf'(?:"[^"\n]{{1,64}}"|[{_LOCAL}](?<![{_LOCAL}].)[{_LOCAL}]*+)@(?:\[[0-9a-f:.]{{3,45}}\]|(?:{_LABEL}\.){{1,30}}[^\W\d_][\w\-]{{1,62}})',
    0.6,
)
_EMAIL_SPELT = Pattern(
    "e-mail address spelt out",
    rf"[{_LOCAL}](?<![{_LOCAL}].)[{_LOCAL}]*+\s{{0,2}}[\[({{]\s?at\s?[\])}}]\s{{0,2}}{_LABEL}"
    rf"(?:\s{{0,2}}(?:\.|[\[({{]\s?dot\s?[\])}}])\s{{0,2}}{_LABEL}){{1,5}}",
    0.6,
)
# What is written like a national number and is none: a date, a decimal fraction, an IP address or a version.
_NO_PHONE = regex.compile(
    r"\d{4}[\-/.]\d\d[\-/.]\d\d|\d\d[\-/.]\d\d[\-/.]\d{4}|\d+\.\d+$|\d{1,3}\.\d{1,4}\.\d{1,4}(?:\.\d{1,4})?$"
)
# A pattern is tried only where the text holds this.
TRIGGERS: Mapping[str, regex.Pattern[str]] = {
    _EMAIL.name: regex.compile("@"),
    _EMAIL_SPELT.name: regex.compile(r"[\[({]\s?at\s?[\])}]", regex.IGNORECASE),
}
# Leading digits that are issued, 12 to 19 digits, any grouping; the Luhn checksum decides.
_CARD = Pattern("card number", r"[2-6]\d(?<!\d..)(?:[ .\-]?\d){10,17}(?!\d)", 0.3)
_IBAN = Pattern("IBAN", r"[A-Za-z]{2}(?<![A-Za-z0-9]..)[ \-]?[0-9]{2}(?:[ .\-]?[A-Za-z0-9]){11,30}(?![A-Za-z0-9])", 0.5)
_WITH_CODE = Pattern("with country code", r"(?<![\w+])\(?\+ ?[1-9](?:[ .\-/()]{0,3}\d){6,14}(?!\d)", 0.75)
_DIALLED = Pattern("dialled abroad", r"(?<![\w+])(?:00|011)[ \-]?[1-9](?:[ .\-/()]{0,3}\d){7,14}(?!\d)", 0.6)
_NATIONAL = Pattern("national", r"[(\d](?<![\w+.,].)(?:[ .\-/()]{0,2}\d){6,12}(?!\d)", 0.4)


class Shrinking(PatternRecognizer):
    """A recogniser whose patterns may take in the word or the number that follows.

    Where a match does not pass :meth:`validate_result`, what is left of it before its last separator is tried.
    """


class Emails(EmailRecognizer):
    """Any address with a domain of letters: what it is worth does not depend on whether its ending is a public one."""

    def validate_result(self, pattern_text: str) -> bool | None:
        """True where the domain ends in a public suffix, by the list that tldextract carries; else undecided, never refused."""
        return True if _suffixes()(pattern_text.rpartition("@")[2]).suffix else None


class Cards(CreditCardRecognizer, Shrinking):
    """Presidio's Luhn check, on as many digits as cards with that first digit have."""

    def validate_result(self, pattern_text: str) -> bool:
        """Whether the checksum holds."""
        digits = _NO_DIGIT.sub("", pattern_text)
        return len(digits) in _CARD_LENGTHS.get(digits[:1], ()) and bool(super().validate_result(pattern_text))


class Ibans(IbanRecognizer, Shrinking):
    """Presidio's checksum and its format of each country, whatever the case of the letters."""

    def validate_result(self, pattern_text: str) -> bool:
        """Whether checksum and format hold."""
        text = _NO_ALNUM.sub("", pattern_text).upper()
        if len(text) == _IBAN_LENGTHS.get(text[:2]):
            return int("".join(str(int(char, 36)) for char in text[4:] + text[:4])) % 97 == 1
        return bool(super().validate_result(text))


@cache
def _suffixes() -> tldextract.TLDExtract:
    return tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)


class Phones(Shrinking):
    """Numbers with a country code that exists and a possible length; national ones that are valid in one of ``regions``."""

    def __init__(self, regions: Sequence[str] = ()) -> None:
        self.regions = tuple(regions)
        patterns = [_WITH_CODE, _DIALLED, *([_NATIONAL] if regions else [])]
        super().__init__("PHONE_NUMBER", patterns=patterns)

    def validate_result(self, pattern_text: str) -> bool:
        """Whether it can be dialled. The score of the pattern stands: a number has no checksum."""
        digits = _NO_DIGIT.sub("", pattern_text)
        for code in ("+", "00", "011"):
            if pattern_text.lstrip("( ").startswith(code):
                return _has_country_code(digits[0 if code == "+" else len(code) :])
        if _NO_PHONE.match(pattern_text):
            return False
        return any(numbers.fullmatch(digits.removeprefix(prefix)) for prefix, numbers in map(_plan, self.regions))


def _has_country_code(digits: str) -> bool:
    """Up to 15 digits (E.164) that begin with a country code in use."""
    codes = phonenumbers.COUNTRY_CODE_TO_REGION_CODE
    return 7 <= len(digits) <= 15 and any(int(digits[:n]) in codes for n in (1, 2, 3))


@cache
def _plan(region: str) -> tuple[str, regex.Pattern[str]]:
    """The prefix dialled within a country, and its numbers without it. A full check of each would cost 60 us."""
    metadata = phonenumbers.PhoneMetadata.metadata_for_region(region)
    if metadata is None or metadata.general_desc is None:
        raise ConfigError(f"privacy.phone_regions: {region!r} is no region.", fix="Give ISO codes such as US or GB.")
    return metadata.national_prefix or "", regex.compile(str(metadata.general_desc.national_number_pattern))


def recognizers(privacy: Privacy, others: AbstractSet[str] = frozenset()) -> list[PatternRecognizer]:
    """One recogniser per entity and per pattern of the project; ``others`` are found in another way as well, or only so.

    Raises ConfigError for an entity that nobody here can find.
    """
    known = available(privacy.phone_regions)
    missing = [name for name in privacy.entities if name not in known and name not in others]
    if missing:
        by_model = f", nor by the pipeline of privacy.ner ({', '.join(sorted(others))})" if privacy.ner else ""
        model = "" if privacy.ner else " `privacy.ner` names a model for what has no pattern (docs/privacy.md)."
        raise ConfigError(
            f"privacy.entities: {missing[0]!r} cannot be found by a pattern{by_model}.",
            fix=f"Known are: {', '.join(sorted(known))}.{model}",
        )
    for region in privacy.phone_regions:
        _plan(region)
    ours = [
        PatternRecognizer(p.kind, name=p.name, patterns=[Pattern(p.name, p.regex, p.score)]) for p in privacy.patterns
    ]
    return [known[name]() for name in dict.fromkeys(privacy.entities) if name in known] + ours


def available(regions: Sequence[str] = ()) -> Mapping[str, Callable[[], PatternRecognizer]]:
    """How to make the recogniser of each entity that patterns can find."""
    makers: dict[str, Any] = {}
    kinds: list[tuple[str, Any]] = inspect.getmembers(predefined_recognizers, inspect.isclass)
    for _, kind in kinds:
        # One that brings its own loop would escape the bounds of ours.
        if issubclass(kind, PatternRecognizer) and kind.analyze is PatternRecognizer.analyze:
            makers.setdefault(kind().supported_entities[0], kind)
    makers["EMAIL_ADDRESS"] = lambda: Emails(patterns=[_EMAIL, _EMAIL_SPELT])
    makers["CREDIT_CARD"] = lambda: Cards(patterns=[_CARD], replacement_pairs=_SEPARATORS)
    makers["IBAN_CODE"] = lambda: Ibans(
        patterns=[_IBAN],  # type: ignore[list-item]  # Presidio says str and takes patterns
        exact_match=True,
        regex_flags=regex.ASCII,
        replacement_pairs=_SEPARATORS,
    )
    makers["PHONE_NUMBER"] = lambda: Phones(regions)
    return makers
