"""Personal data in texts, replaced by labels that stay the same for the same value and that nobody can guess back.

What is looked for is what can be told by its form and its check digits: e-mail addresses, telephone numbers, US
social security numbers, payment cards and IBANs; on request also names, but only where a title or a letter's form
shows them ("Dr. ...", "From: ...", "Dear ..."), so other names stay. Figures of business documents (table cells,
years, dates, identifiers, addresses of web pages) are left alone: a number has to look like what it is.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from denizen.engine.errors import InputError

# without one of these there is nothing but names
_SIGN = re.compile("[0-9@]")

# a find: where it begins and ends, its kind, and its value in the normal form that decides what is the same
_Find = tuple[int, int, str, str]

_HEX_DIGITS = 10
_LABEL = re.compile(rf"\[(?:EMAIL|PHONE|SSN|CARD|IBAN|NAME)-[0-9a-f]{{{_HEX_DIGITS}}}\]")

# blanks and hyphens that print alike, each a single character, so that positions stay
_ALIKE = [("\u00a0", " "), ("\u2007", " "), ("\u202f", " "), ("\u2010", "-"), ("\u2011", "-"), ("\u2013", "-")]

# RFC 5321: at most 64 characters before the "@" and 255 after; what few mail systems allow beside these is left out
_LOCAL_PART = re.compile(r"\w(?:[\w.%+'-]{0,62}[\w+-])?\Z")
_MAIL_DOMAIN = re.compile(r"(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}(?:xn--[a-z0-9-]{2,59}|[^\W\d_]{2,24})")
_LOCAL_LENGTH, _DOMAIN_LENGTH = 64, 255
# a file may be called after an address; none of these is a top-level domain
_FILE_SUFFIX = re.compile(
    r"(?:\.(?:txt|pdf|docx?|xlsx?|pptx?|odt|rtf|csv|tsv|jsonl?|html?|xml|eml|msg|mbox|epub|parquet|log|gz|tar|png|jpe?g))+\Z",
    re.I,
)
# "logo@2x.png" is a picture of a web page
_FILE_ENDINGS = (".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp", ".css", ".js", ".html")

# at least seven digits with what stands between the digits of telephone, card and social security numbers; it begins
# with a class of characters, because the search for one is fast, and most texts are over with it
_RUN = re.compile(r"[0-9](?:[ ().\-/]{0,3}[0-9]){6,}")
# how far a number may reach out of its run: "+(" before, " extension 12345" after
_BEFORE, _AFTER = 2, 18
# a word that says what a number is stands this near before it
_CUE_WITHIN = 48
# several numbers behind one such word, but not a page of digits
_LONGEST_CUED = 64
# no letter, digit, currency or part of a figure, an identifier or a date on either side
_OPEN = r"(?<![\w$€£¥])(?<![0-9][-.,/:])(?<![A-Za-z]-)"
_CLOSE = r"(?![\w%]|[-.,/:][0-9])"
# the bounds of a word that says what a number is; the names of columns have "_" between words, and a label is no word
_APART, _ENDED = r"(?<![^\W_])(?<!\[)", r"(?![^\W_])"

_CARD = re.compile(
    rf"{_OPEN}(?:[0-9]{{13,19}}|[0-9]{{4}}(?P<four>[ -])[0-9]{{4}}(?P=four)[0-9]{{4}}(?P=four)[0-9]{{4}}"
    rf"(?:(?P=four)[0-9]{{3}})?|[0-9]{{4}}(?P<six>[ -])[0-9]{{6}}(?P=six)[0-9]{{4,5}}){_CLOSE}"
)
# number ranges of the issuers (ISO/IEC 7812): Visa, Mastercard, American Express, Diners, Discover, JCB, UnionPay
_ISSUER = re.compile(
    r"4(?:[0-9]{12}|[0-9]{15}|[0-9]{18})"
    r"|(?:5[1-5][0-9]{2}|222[1-9]|22[3-9][0-9]|2[3-6][0-9]{2}|27[01][0-9]|2720)[0-9]{12}"
    r"|3[47][0-9]{13}|3(?:0[0-5]|[689][0-9])[0-9]{11}"
    r"|(?:6011|64[4-9][0-9]|65[0-9]{2}|35(?:2[89]|[3-8][0-9])|62[0-9]{2})[0-9]{12,15}"
)
# lengths that cards of today have; other undivided numbers are more often articles, times and identifiers
_UNDIVIDED_CARDS = (15, 16)
_CARD_CUE = re.compile(
    rf"{_APART}(?:cards?|visa|mastercard|amex|american express|credit|debit){_ENDED}[^0-9\n]{{0,20}}\Z", re.I
)

# areas, groups and serials that the Social Security Administration does not give out are left out
_SSN = re.compile(
    rf"{_OPEN}(?!000|666|9)[0-9]{{3}}(?P<between>[ -]?)(?!00)[0-9]{{2}}(?P=between)(?!0000)[0-9]{{4}}{_CLOSE}"
)
_SSN_CUE = re.compile(rf"{_APART}(?:SSN{_ENDED}|SS ?#|social[ _-]security{_ENDED})[^0-9\n]{{0,24}}\Z", re.I)

_PHONE_CUE = re.compile(
    rf"{_APART}(?:tel(?:ephone)?|phone|fax|facsimile|mobile|cell(?:ular)?|hotline|whatsapp|dial"
    rf"|(?:call(?:ing)?|reach)(?: us| me)?(?: at| on)){_ENDED}[^0-9\n]{{0,20}}\Z",
    re.I,
)
_EXTENSION = r"(?:[ ,]{0,2}(?:ext\.?|extension|x)[ ]?[0-9]{1,6})?"
_INTERNATIONAL = r"\+\(?[0-9][0-9 ().\-/]{5,22}[0-9]"
# 3-3-4, but neither with blanks alone, which rows of figures have, nor (651) 733 1110, which can be a loss
_NORTH_AMERICAN = (
    r"(?:1[-. ])?(?:\([2-9][0-9]{2}\)[ -]?[2-9][0-9]{2}[-.]|[2-9][0-9]{2}(?P<mark>[-.])[2-9][0-9]{2}(?P=mark)"
    r"|[2-9][0-9]{2}[/ ][2-9][0-9]{2}-)[0-9]{4}"
)
_NORTH_AMERICA = 1

# length by country, from the IBAN registry of SWIFT
_IBAN_LENGTHS = {
    country: int(length)
    for country, length in re.findall(
        r"([A-Z]{2})([0-9]{2})",
        "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 "
        "EE20 EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 "
        "IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 "
        "NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 "
        "SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30",
    )
}
_IBAN_START = re.compile(r"[A-Z]{2}[0-9]{2}(?<![A-Za-z0-9]....)(?= ?[A-Z0-9])")

_UPPER = r"[^\W\d_a-z\u00df-\u00f6\u00f8-\u00ff]"
# words that follow a title or stand after "To:" and "Dear" without being a name
_NO_NAME = (
    r"(?:Mr|Mrs|Ms|Miss|Mx|Dr|Prof|Professor|Hon|Chief|President|Vice|Director|Chair\w*|Executive|Officer|Senior"
    r"|Managing|Manager|Secretary|Treasurer|CEO|CFO|COO|General|Counsel|Legal|Relations|Issuer|Sirs?|Madam|All|Team"
    r"|Customers?|Clients?|Valued|Fellow|Colleagues?|Friends?|Members?|Employees?|Staff|Investors?|(?:Share|Stock)holders?"
    r"|The|Our|Board|Committee|Department|Dept|Office|Company|Corporation|Corp|Inc|LLC|Ltd|Limited|GmbH|Bank|Group"
    r"|Human|Resources|Accounts?|Sales|Support|Services?|Hiring|Recruit\w*|Street|Avenue|Road|Tower)\b"
)
# O'Neil, but of "O'Neil's" not the end
_WORD = rf"(?!{_NO_NAME})\b{_UPPER}(?:[\w-]|['’](?!s\b)(?=\w))+"
_MORE = rf"(?:[ ](?:(?:van|von|der|den|de|del|della|da|di|du|la|le|bin|al)[ ]){{0,2}}(?:{_UPPER}\.|{_WORD}))"
_FULL_NAME = re.compile(rf"{_WORD},[ ]{_WORD}(?=[ ]?[<(\[]|$)|(?:{_UPPER}\.[ ]){{0,2}}{_WORD}{_MORE}{{1,3}}", re.M)
_TITLED = re.compile(
    r"(?:Mr|Mrs|Ms|Miss|Mx|Dr|Prof|Professor|Hon|Honou?rable)\b\.?[ ]"
    rf"(?:(?:Dr|Prof|Mr|Ms)\.?[ ])?(?P<name>(?:{_UPPER}\.[ ]?){{0,2}}{_WORD}{_MORE}{{0,2}})"
)
_DEAR = re.compile(rf"Dear[ ](?P<name>{_WORD}{_MORE}{{0,2}})")
_ADDRESSED = re.compile(r"^[ \t>]*(?:From|To|Cc|Bcc|Attn|Attention|Sender|Reply-To):(?P<names>.*)$", re.M | re.I)
_DISPLAY_NAME = re.compile(rf"(?P<name>{_WORD}{_MORE}{{1,3}})[\"']?[ ]?<(?=[^<>\s@]{{1,64}}@|\[EMAIL-)")


class PersonalData:
    """Replaces personal data by labels such as `[EMAIL-1a2b3c4d5e]`.

    The label holds the kind and the first 10 hex digits of HMAC-SHA256 over kind and normalised value (an address in
    lower case, a telephone number in E.164, digits alone), so the same value has the same label in a whole corpus, and
    who lacks the secret cannot test a guess. Replacing twice changes nothing.

    Attributes:
        counts: How often each kind was replaced: EMAIL, PHONE, SSN, CARD, IBAN, NAME.
    """

    def __init__(self, secret: bytes, country: str = "US", names: bool = False) -> None:
        """Prepares the search.

        Args:
            secret: The key of the labels; with another key all labels differ.
            country: Where telephone numbers without "+" are from, as two letters (ISO 3166).
            names: Whether to replace names behind titles, in the lines of a letter or mail and before addresses.

        Raises:
            InputError: If no country has that code.
            ValueError: If the secret is empty.
        """
        import phonenumbers

        if not secret:
            raise ValueError("the secret of the labels is empty, so anybody could test a guess")
        if country not in phonenumbers.SUPPORTED_REGIONS:
            raise InputError(f"{country!r} is not a country; give two capital letters (ISO 3166), such as US or DE")
        self.counts: Counter[str] = Counter()
        self._secret = secret
        self._country = country
        self._names = names
        self._phone = re.compile(f"{_OPEN}(?:{_INTERNATIONAL}|{_national(country)}){_EXTENSION}{_CLOSE}", re.I)
        america = phonenumbers.country_code_for_region(country) == _NORTH_AMERICA
        # elsewhere the groups of digits are of many lengths, so they have to be where the country puts them
        self._leniency = phonenumbers.Leniency.VALID if america else phonenumbers.Leniency.STRICT_GROUPING

    def replaced(self, text: str) -> str:
        """The text with a label in the place of each find."""
        if not self._names and not _SIGN.search(text):
            return text
        # a label can lay bare what stood beside it; each round leaves less that is no label, so this ends
        while finds := self._finds(text):
            parts, at = [], 0
            for start, end, kind, value in finds:
                parts += [text[at:start], self._label(kind, value)]
                at = end
                self.counts[kind] += 1
            text = "".join([*parts, text[at:]])
        return text

    def _label(self, kind: str, value: str) -> str:
        digest = hmac.new(self._secret, f"{kind}:{value}".encode(), hashlib.sha256)
        return f"[{kind}-{digest.hexdigest()[:_HEX_DIGITS]}]"

    def _finds(self, text: str) -> list[_Find]:
        """What is to be replaced, in the order of the text and without overlaps."""
        found = list(self._all_finds(text))
        if not found:
            return []
        taken = bytearray(len(text))
        for label in _LABEL.finditer(text):
            taken[label.start() : label.end()] = b"\1" * (label.end() - label.start())
        kept = []
        for find in found:
            start, end = find[:2]
            if not any(taken[start:end]):
                taken[start:end] = b"\1" * (end - start)
                kept.append(find)
        return sorted(kept)

    def _all_finds(self, text: str) -> Iterator[_Find]:
        """Each kind's finds, first the kinds that are surest."""
        scanned = text
        if not text.isascii():
            for character, like in _ALIKE:
                scanned = scanned.replace(character, like)
        yield from _emails(scanned)
        yield from _ibans(scanned)
        for run in _RUN.finditer(scanned):
            for find in (*_cards(scanned, run), *_social_security_numbers(scanned, run), *self._phones(scanned, run)):
                if not _in_web_address(scanned, find[0]):
                    yield find
        if self._names:
            yield from _names(scanned)

    def _phones(self, text: str, run: re.Match[str]) -> Iterator[_Find]:
        import phonenumbers

        start = max(0, run.start() - _BEFORE)
        while start < run.start() and text[start] not in "+(":
            start += 1
        end = min(run.end(), start + _LONGEST_CUED)
        if _cued(_PHONE_CUE, text, start) and not text[end : end + 1].isalnum():
            for match in phonenumbers.PhoneNumberMatcher(text[start:end], self._country):
                yield start + match.start, start + match.end, "PHONE", _e164(match.number)
        for shape in self._phone.finditer(text, start, run.end() + _AFTER):
            if shape.start() >= run.end():
                break
            for match in phonenumbers.PhoneNumberMatcher(shape.group(), self._country, self._leniency):
                yield shape.start() + match.start, shape.start() + match.end, "PHONE", _e164(match.number)


def _national(country: str) -> str:
    """The pattern of the country's own way to write numbers that is plain enough to need no word before it."""
    import phonenumbers

    if phonenumbers.country_code_for_region(country) == _NORTH_AMERICA:
        return _NORTH_AMERICAN
    trunk = phonenumbers.ndd_prefix_for_region(country, True) or "0"
    return rf"\(?{trunk}[0-9]{{0,5}}(?:[-. ()/]{{1,2}}[0-9]{{2,8}}){{1,5}}"


def _e164(number: Any) -> str:
    import phonenumbers

    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))


def _emails(text: str) -> Iterator[_Find]:
    at = text.find("@")
    while at >= 0:
        local = _LOCAL_PART.search(text[max(0, at - _LOCAL_LENGTH) : at])
        domain = _MAIL_DOMAIN.match(text, at + 1, at + 1 + _DOMAIN_LENGTH)
        host = domain.group() if domain else ""
        if _MAIL_DOMAIN.fullmatch(bare := _FILE_SUFFIX.sub("", host)):
            host = bare
        if local and host and not host.lower().endswith(_FILE_ENDINGS):
            start, end = at - len(local.group()), at + 1 + len(host)
            yield start, end, "EMAIL", text[start:end].lower()
        at = text.find("@", at + 1)


def _ibans(text: str) -> Iterator[_Find]:
    for start in _IBAN_START.finditer(text):
        rest = _IBAN_LENGTHS.get(start.group()[:2], 0) - 4
        if rest < 0:
            continue
        groups, last = divmod(rest, 4)
        tail = f" [A-Z0-9]{{{last}}}" if last else ""
        found = re.compile(rf"(?:[A-Z0-9]{{{rest}}}|(?: [A-Z0-9]{{4}}){{{groups}}}{tail})(?![A-Za-z0-9])").match(
            text, start.end()
        )
        value = start.group() + found.group().replace(" ", "") if found else ""
        # ISO 7064: the country and check digits go to the end, letters count from 10
        if found and int("".join(str(int(digit, 36)) for digit in value[4:] + value[:4])) % 97 == 1:
            yield start.start(), found.end(), "IBAN", value


def _cards(text: str, run: re.Match[str]) -> Iterator[_Find]:
    for card in _CARD.finditer(text, run.start(), run.end() + _AFTER):
        digits = _digits(card.group())
        divider = card["four"] or card["six"]
        if card.start() >= run.end() or not _ISSUER.fullmatch(digits) or not _luhn(digits):
            continue
        if divider == " ":
            plain = not _among_figures(text, card)
        else:
            plain = divider is not None or len(digits) in _UNDIVIDED_CARDS
        if plain or _cued(_CARD_CUE, text, card.start()):
            yield card.start(), card.end(), "CARD", digits


def _social_security_numbers(text: str, run: re.Match[str]) -> Iterator[_Find]:
    for number in _SSN.finditer(text, run.start(), run.end() + _AFTER):
        if number.start() >= run.end():
            break
        between = number["between"]
        # with blanks it is also what three cells of a row look like, most of all before a year
        plain = between == "-" or (
            between == " " and number.group()[-4:-2] not in ("19", "20") and not _among_figures(text, number)
        )
        if plain or _cued(_SSN_CUE, text, number.start()):
            yield number.start(), number.end(), "SSN", _digits(number.group())


def _names(text: str) -> Iterator[_Find]:
    # patterns that begin with a letter are searched for faster than those with a word's boundary
    for pattern in (_TITLED, _DEAR, *([_DISPLAY_NAME] if "<" in text else [])):
        for match in pattern.finditer(text):
            if not text[max(0, match.start() - 1) : match.start()].isalnum():
                yield match.start("name"), match.end("name"), "NAME", _same_name(match["name"])
    for line in _ADDRESSED.finditer(text):
        for match in _FULL_NAME.finditer(text, line.start("names"), line.end("names")):
            yield match.start(), match.end(), "NAME", _same_name(match.group())


def _same_name(name: str) -> str:
    last, _, first = name.partition(", ")
    return " ".join(f"{first} {last}".replace(".", "").casefold().split())


def _cued(cue: re.Pattern[str], text: str, start: int) -> bool:
    """Whether a word before the number says what it is."""
    return cue.search(text, max(0, start - _CUE_WITHIN), start) is not None


def _among_figures(text: str, number: re.Match[str]) -> bool:
    """Whether the number stands in a row of figures: beside another one, or in a line without any word."""
    before, after = text[max(0, number.start() - 2) : number.start()], text[number.end() : number.end() + 3]
    if re.match(r"[0-9)%] ", before) or re.match(r" (?:[0-9$]|\([0-9$])", after):
        return True
    start, end = text.rfind("\n", 0, number.start()) + 1, text.find("\n", number.end())
    line = text[start : end if end >= 0 else len(text)]
    return "|" in line and not any(character.isalpha() for character in line)


def _in_web_address(text: str, start: int) -> bool:
    return re.search(r"(?:://|www\.)\S*\Z", text[max(0, start - 300) : start]) is not None


def _digits(text: str) -> str:
    return re.sub("[^0-9]", "", text)


def _luhn(digits: str) -> bool:
    """Whether the check digit is right (ISO/IEC 7812-1)."""
    doubled = [int(digit) * 2 for digit in digits[-2::-2]]
    return (sum(map(int, digits[-1::-2])) + sum(number // 10 + number % 10 for number in doubled)) % 10 == 0
