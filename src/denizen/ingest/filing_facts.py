"""What an SEC filing says of itself: the header of a submission, inline XBRL, or the words of the cover page."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from denizen.ingest.document import Block

if TYPE_CHECKING:
    from lxml.etree import _Element

_COVER_CHARACTERS = 8_000
_LONGEST_FACT = 300
_COMMISSION = re.compile(r"securities\s+and\s+exchange\s+commission.{0,200}?20549", re.IGNORECASE | re.DOTALL)
_FORM = re.compile(
    r"\b(?i:form)\s+(?P<form>(?:\d{1,3}|[A-Z]{1,3})-[A-Z0-9]{1,5}(?:/A)?)(?![\w-])"
    r"|\b(?i:schedule)\s+(?P<schedule>13D|13G|14A)\b(?P<amended>/A)?"
    r"|(?i:filed\s+pursuant\s+to\s+rule)\s+(?P<rule>424\(b\)\(\d\)|497(?=\([a-j]\))|497\(k\))"
)
# how far the form may stand from the name of the commission, or an amendment's number from the form
_NEAR = 400
# a prospectus names its rule at the very top; other texts mention rules, too
_PROSPECTUS_START = 3_000
_AMENDED = re.compile(r"(?<!effective )amendment\s+no\.?\s*:?\s*[1-9]", re.IGNORECASE)
_REGISTRANT = re.compile(
    r"([^\n()|]{2,120})[\s_|]{0,40}\(\s*(?:exact\s+)?name\s+of\s+(?:registrant|issuer)", re.IGNORECASE
)
_PERIOD = re.compile(
    r"(?:(?:year|quarter|period)\s+ended|event\s+reported\)?)\s*:?\s*([A-Z][a-z]+\.?\s+\d{1,2},?\s+\d{4})",
    re.IGNORECASE,
)
_DATES = ("%Y-%m-%d", "%Y%m%d", "%B %d %Y", "%b %d %Y", "%d %B %Y", "%m/%d/%Y")

# header fields by their two spellings: "NAME:  value" and "<NAME>value"
_OF_SUBMISSION = {
    "CONFORMED SUBMISSION TYPE": "form",
    "TYPE": "form",
    "CONFORMED PERIOD OF REPORT": "period",
    "PERIOD": "period",
    "FILED AS OF DATE": "filed",
    "FILING-DATE": "filed",
    "ACCESSION NUMBER": "accession",
    "ACCESSION-NUMBER": "accession",
}
_OF_COMPANY = {
    "COMPANY CONFORMED NAME": "company",
    "CONFORMED-NAME": "company",
    "CENTRAL INDEX KEY": "cik",
    "CIK": "cik",
    "STANDARD INDUSTRIAL CLASSIFICATION": "sic",
    "ASSIGNED-SIC": "sic",
    "FISCAL YEAR END": "fiscal_year_end",
    "FISCAL-YEAR-END": "fiscal_year_end",
}
_ROLE = re.compile(r"<?(FILER|SUBJECT[ -]COMPANY|FILED[ -]BY|ISSUER|REPORTING[ -]OWNER|SERIAL[ -]COMPANY)(?:>|:)")
_FIELD = re.compile(r"\s*(?:<(?P<tag>[A-Z-]+)>|(?P<name>[A-Z][A-Z -]+):)\s*(?P<value>.*)")

_COVER_FACTS = {
    "DocumentType": "form",
    "EntityRegistrantName": "company",
    "EntityCentralIndexKey": "cik",
    "DocumentPeriodEndDate": "period",
}


def header_facts(lines: Iterable[bytes]) -> dict[str, str]:
    """The facts of a submission's header: form, company, cik, sic, period, filed, accession and others.

    Args:
        lines: The file's lines up to its first document.

    Returns:
        What is stated; dates as ISO dates. Of several companies the one that the submission is about, or the first.
    """
    facts: dict[str, str] = {}
    companies: list[dict[str, str]] = [{}]
    for line in lines:
        text = words(line)
        role = _ROLE.match(text)
        if role is not None:
            companies.append({"role": role[1].replace("-", " ")})
            continue
        found = _FIELD.match(text)
        if found is None or not found["value"]:
            continue
        name, value = found["tag"] or found["name"], found["value"]
        if name in _OF_SUBMISSION:
            facts.setdefault(_OF_SUBMISSION[name], value)
        elif name in _OF_COMPANY:
            companies[-1].setdefault(_OF_COMPANY[name], value)
        elif name in ("SEC-DOCUMENT", "IMS-DOCUMENT"):
            facts.setdefault("accession", value.split(".")[0].strip())
    return _known({**_first_company(companies), **facts})


def _first_company(companies: Sequence[dict[str, str]]) -> dict[str, str]:
    """The company that the submission is about, and who filed it where that is someone else."""
    named = [company for company in companies if "company" in company]
    about = [company for company in named if company.get("role") in ("SUBJECT COMPANY", "ISSUER")]
    by = [company["company"] for company in named if company.get("role") in ("FILED BY", "REPORTING OWNER")]
    first = dict((about or named or [{}])[0])
    if by and by[0] != first.get("company"):
        first["filed_by"] = by[0]
    first.pop("role", None)
    return first


def _known(facts: Mapping[str, str]) -> dict[str, str]:
    """The facts in their usual spelling, without those that say nothing."""
    known = dict(facts)
    for name in ("period", "filed"):
        known[name] = _iso_date(facts.get(name, ""))
    industry = re.search(r"\[(\d{3,4})\]|^(\d{3,4})$", facts.get("sic", ""))
    known["sic"] = (industry[1] or industry[2]) if industry else ""
    year_end = re.fullmatch(r"(\d\d)(\d\d)", facts.get("fiscal_year_end", ""))
    known["fiscal_year_end"] = f"{year_end[1]}-{year_end[2]}" if year_end else ""
    if facts.get("cik", "").isdecimal():
        known["cik"] = facts["cik"].zfill(10)
    return {name: value for name, value in known.items() if value}


def _iso_date(text: str) -> str:
    plain = " ".join(text.replace(",", " ").replace(".", " ").split())
    for pattern in _DATES:
        try:
            return datetime.strptime(plain, pattern).date().isoformat()
        except ValueError:
            continue
    return ""


def stated_facts(root: _Element) -> dict[str, str]:
    """What the page says in inline XBRL."""
    facts: dict[str, str] = {}
    for element in root.iterfind(".//*[@name]"):
        prefix, _, name = (element.get("name") or "").partition(":")
        if prefix == "dei" and name in _COVER_FACTS:
            text = " ".join("".join(str(piece) for piece in element.itertext()).split())
            facts.setdefault(_COVER_FACTS[name], text[:_LONGEST_FACT])
    return _known(facts)


def cover_facts(blocks: Sequence[Block]) -> dict[str, str]:
    """What the first page says in words."""
    cover = "\n".join(block.text for block in blocks[:150])[:_COVER_CHARACTERS]
    company, period = _REGISTRANT.search(cover), _PERIOD.search(cover)
    return _known(
        {
            "form": cover_form(" ".join(cover.split())),
            "company": company[1].strip(" _|") if company else "",
            "period": period[1] if period else "",
        }
    )


def cover_form(text: str) -> str:
    """The form type by a cover page's words (with single spaces between them), "" where that is no cover page."""
    commission = _COMMISSION.search(text)
    for match in _FORM.finditer(text):
        if match["rule"] and match.start() < _PROSPECTUS_START:
            return re.sub(r"[()]", "", match["rule"]).upper()
        if commission is None or not commission.start() - _NEAR < match.start() < commission.end() + _NEAR:
            continue
        around = text[max(0, match.start() - _NEAR // 4) : match.end() + _NEAR // 4]
        amended = match["amended"] or _AMENDED.search(around)
        form = match["form"] or f"SC {match['schedule']}"
        if form == "SC 14A":
            return "DEF 14A" if re.search(r"[☒xX]\W{0,5}definitive proxy", text, re.IGNORECASE) else "SCHEDULE 14A"
        return f"{form}/A" if amended and not form.endswith("/A") else form
    return ""


def words(line: bytes) -> str:
    """A line of the header as text, with single spaces, and not longer than a fact may be."""
    return " ".join(line.decode("latin-1").split())[:_LONGEST_FACT]
