"""Downloads filings from the SEC's EDGAR as full submissions, for those who ask for it; nothing else goes there."""

from __future__ import annotations

import difflib
import gzip
import http.client
import json
import os
import re
import shutil
import time
import urllib.error
import urllib.request
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

from denizen.engine.errors import InputError, reason
from denizen.engine.progress import Progress, Silent
from denizen.ingest.filings import PAPER_FORMS

STAGE = "download filings"
IDENTITY_VARIABLE = "SEC_IDENTITY"
# "Current max request rate: 10 requests/second", https://www.sec.gov/search-filings/edgar-search-assistance/
# accessing-edgar-data; 8 leaves room for clocks that differ
REQUESTS_PER_SECOND = 8.0
_ATTEMPTS = 5
_FIRST_WAIT_SECONDS = 1.0
# a longer Retry-After is not waited for: the next run goes on where this one stopped
_LONGEST_WAIT_SECONDS = 60.0
_TIMEOUT_SECONDS = 60.0

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_CIK = re.compile(r"(?:CIK)?0*(\d{1,10})", re.IGNORECASE)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_ACCESSION = re.compile(r"\d{10}-\d{2}-\d{6}")
_OLDER_FILE = re.compile(r"CIK\d{10}-submissions-\d{3}\.json")
_Taken = TypeVar("_Taken")
_WHO_ASKS = 'the SEC wants to know who asks: give a name and an e-mail address, such as "Example Ltd jane@example.com"'


@dataclass(frozen=True)
class Endpoints:
    """Where EDGAR is reached.

    Attributes:
        files: Serves the list of tickers and the archives.
        data: Serves the indexes of companies.
    """

    files: str = "https://www.sec.gov"
    data: str = "https://data.sec.gov"


@dataclass(frozen=True)
class _Filing:
    cik: int
    form: str
    filed: str
    accession: str

    @property
    def file_name(self) -> str:
        form = re.sub(r"[^A-Za-z0-9-]+", "_", self.form)
        return f"{self.cik}-{form}-{self.filed}-{self.accession}.txt"

    @property
    def address(self) -> str:
        return f"/Archives/edgar/data/{self.cik}/{self.accession.replace('-', '')}/{self.accession}.txt"


class _MissingError(Exception):
    """EDGAR has nothing at an address."""


def download_filings(  # noqa: PLR0913
    companies: Sequence[str],
    forms: Sequence[str],
    out: Path,
    *,
    identity: str = "",
    since: str = "",
    until: str = "",
    limit: int = 10,
    endpoints: Endpoints | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Downloads the newest filings of companies; those that are there already are not asked for again.

    Args:
        companies: Tickers or CIK numbers.
        forms: Form types as EDGAR writes them; "10-K" does not stand for "10-K/A", "paper" stands for the 14 of
            arXiv 2512.08088.
        out: Folder for the files, `<cik>-<form>-<date>-<accession>.txt`.
        identity: Name and e-mail address of the one who asks; empty: those in SEC_IDENTITY.
        since: First filing date, YYYY-MM-DD; empty: no first.
        until: Last filing date; empty: no last.
        limit: How many filings of a form of a company, at most.
        endpoints: Where EDGAR is reached.
        progress: Receives what a person should see.

    Returns:
        `downloaded` and `present` (counts of files), `forms` (files by form type), `bytes` downloaded, and `missing`
        (addresses in the index that EDGAR has nothing at).

    Raises:
        InputError: When a setting is wrong, a company is not known, or EDGAR refuses or cannot be reached.
    """
    _check(companies, forms, since, until, limit)
    client = _Client(_identity(identity), endpoints or Endpoints())
    progress = progress or Silent()
    out.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {"downloaded": 0, "present": 0, "forms": Counter(), "bytes": 0, "missing": []}
    with progress.working(STAGE):
        filings: list[_Filing] = []
        for cik in _ciks(companies, client):
            filings += _filings(cik, forms, (since, until or "9999-12-31"), limit, client)
        with progress.bar(len(filings), "filings") as advance:
            for filing in filings:
                _fetch(filing, out / filing.file_name, client, found)
                advance(1)
        progress.note(f"{found['downloaded']:,} downloaded, {found['present']:,} there before")
        if found["missing"]:
            progress.note(f"{len(found['missing']):,} in the index but not in the archive")
    return {**found, "forms": dict(found["forms"])}


def _check(companies: Sequence[str], forms: Sequence[str], since: str, until: str, limit: int) -> None:
    if not companies or not forms:
        raise InputError("give at least one company (ticker or CIK) and at least one form type, such as 10-K")
    if limit < 1:
        raise InputError(f"limit is {limit}; it must be 1 or more")
    for name, day in (("since", since), ("until", until)):
        # fromisoformat alone would take 20240131, which does not compare with EDGAR's dates
        if day and not _DAY.fullmatch(day):
            raise InputError(f"{name} is {day!r}; it must be a date as YYYY-MM-DD")
        try:
            date.fromisoformat(day or "2000-01-01")
        except ValueError as error:
            raise InputError(f"{name} is {day!r}, which is no date: {reason(error)}") from error
    if since and until and since > until:
        raise InputError(f"since ({since}) is after until ({until})")


def _identity(given: str) -> str:
    identity = (given or os.environ.get(IDENTITY_VARIABLE, "")).strip()
    if not _EMAIL.search(identity):
        raise InputError(f"{_WHO_ASKS}, as identity or in {IDENTITY_VARIABLE}; given is {identity!r}")
    if not (identity.isascii() and identity.isprintable()):
        raise InputError(f"the identity {identity!r} goes into an HTTP header, which takes ASCII on one line")
    return identity


def _ciks(companies: Sequence[str], client: _Client) -> list[int]:
    """The companies' numbers, each once."""
    numbers = [_CIK.fullmatch(company.strip()) for company in companies]
    tickers = {} if all(numbers) else _tickers(client)
    found: list[int] = []
    for company, number in zip(companies, numbers, strict=True):
        if number is not None:
            found.append(int(number[1]))
            continue
        ticker = company.strip().upper().replace(".", "-")
        if ticker not in tickers:
            close = ", ".join(difflib.get_close_matches(ticker, tickers, n=3))
            hint = f"; did you mean one of {close}?" if close else "; give the company's CIK"
            raise InputError(f"the SEC's list of {len(tickers):,} tickers has no {company!r}{hint}")
        found.append(tickers[ticker])
    return list(dict.fromkeys(found))


def _tickers(client: _Client) -> dict[str, int]:
    address = f"{client.endpoints.files}/files/company_tickers.json"
    try:
        return {str(row["ticker"]).upper(): int(row["cik_str"]) for row in client.json(address).values()}
    except (_MissingError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{address} is not the list of tickers that it was; give CIK numbers") from error


def _filings(cik: int, forms: Sequence[str], period: tuple[str, str], limit: int, client: _Client) -> list[_Filing]:
    """The newest filings of a company, `limit` of each form."""
    wanted = {" ".join(form.split()).upper() for form in forms}
    if "PAPER" in wanted:
        wanted |= set(PAPER_FORMS)
    counts: Counter[str] = Counter()
    found: list[_Filing] = []
    for rows in _index(cik, period, client):
        for filing in sorted(rows, key=lambda row: (row.filed, row.accession), reverse=True):
            form = filing.form.upper()
            if form in wanted and period[0] <= filing.filed <= period[1] and counts[form] < limit:
                counts[form] += 1
                found.append(filing)
        if all(counts[form] >= limit for form in wanted):
            break
    return found


def _index(cik: int, period: tuple[str, str], client: _Client) -> Iterator[list[_Filing]]:
    """A company's filings, the newest first; those of early years lie in files of their own."""
    address = f"{client.endpoints.data}/submissions/"
    try:
        filings = client.json(f"{address}CIK{cik:010d}.json")["filings"]
        yield _rows(cik, filings["recent"])
        older = sorted(filings.get("files") or [], key=lambda row: str(row["filingTo"]), reverse=True)
        for row in older:
            if row["filingTo"] >= period[0] and row["filingFrom"] <= period[1] and _OLDER_FILE.fullmatch(row["name"]):
                yield _rows(cik, client.json(address + row["name"]))
    except _MissingError as error:
        raise InputError(f"the SEC has no filings of a company with the CIK {cik}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"the SEC's index of CIK {cik} is not as it was: {reason(error)}") from error


def _rows(cik: int, columns: Mapping[str, Any]) -> list[_Filing]:
    rows = zip(columns["form"], columns["filingDate"], columns["accessionNumber"], strict=True)
    # date and accession number become a path
    return [_Filing(cik, *row) for row in rows if _DAY.fullmatch(row[1]) and _ACCESSION.fullmatch(row[2])]


def _fetch(filing: _Filing, path: Path, client: _Client, found: dict[str, Any]) -> None:
    if path.is_file():
        found["present"] += 1
    else:
        address = client.endpoints.files + filing.address
        try:
            found["bytes"] += client.download(address, path)
        except _MissingError:
            found["missing"].append(address)
            return
        found["downloaded"] += 1
    found["forms"][filing.form] += 1


class _Client:
    """Asks EDGAR, never faster than it allows, and again where it is overloaded."""

    def __init__(self, identity: str, endpoints: Endpoints) -> None:
        self.endpoints = endpoints
        self._headers = {"User-Agent": identity, "Accept-Encoding": "gzip"}
        self._next = 0.0

    def json(self, address: str) -> Any:
        """The JSON at an address."""
        return self._asked(address, lambda reply: json.load(_unpacked(reply)))

    def download(self, address: str, path: Path) -> int:
        """Writes what is at an address to a file, whole or not at all, and returns its size in bytes."""
        return self._asked(address, lambda reply: _written(reply, path))

    def _asked(self, address: str, take: Callable[[http.client.HTTPResponse], _Taken]) -> _Taken:
        """What `take` makes of the reply.

        Raises:
            _MissingError: When there is nothing at the address.
            InputError: When EDGAR refuses, or fails again and again.
        """
        problem = ""
        for attempt in range(_ATTEMPTS):
            wait = _FIRST_WAIT_SECONDS * 2**attempt
            self._pace()
            try:
                with urllib.request.urlopen(
                    urllib.request.Request(address, headers=self._headers), timeout=_TIMEOUT_SECONDS
                ) as reply:
                    return take(reply)
            except urllib.error.HTTPError as error:
                error.close()
                wait = max(wait, self._refused(address, error))
                problem = f"HTTP {error.code}"
            # ValueError: JSON that was cut off
            except (OSError, http.client.HTTPException, EOFError, zlib.error, ValueError) as error:
                problem = reason(error)
            if wait > _LONGEST_WAIT_SECONDS:
                break
            if attempt + 1 < _ATTEMPTS:
                time.sleep(wait)
        raise InputError(
            f"{address} could not be downloaded: {problem}. What is there stays; wait ten minutes, then run the same "
            "again."
        )

    def _refused(self, address: str, error: urllib.error.HTTPError) -> float:
        """How long EDGAR wants to be left alone, in seconds; raises where asking again is no use."""
        if error.code == 404:
            raise _MissingError(address) from error
        if error.code == 403:
            raise InputError(
                f"the SEC refuses {address} (HTTP 403) to {self._headers['User-Agent']!r}. It blocks callers that it "
                "does not know by name and e-mail address, and for ten minutes those who ask too often; check the "
                "identity, wait, and see that nothing else on this network downloads from there."
            ) from error
        if error.code != 429 and error.code < 500:
            raise InputError(f"the SEC answers HTTP {error.code} to {address}") from error
        after = error.headers.get("Retry-After", "")
        return float(after) if after.isdecimal() else 0.0

    def _pace(self) -> None:
        now = time.monotonic()
        if now < self._next:
            time.sleep(self._next - now)
        self._next = max(now, self._next) + 1 / REQUESTS_PER_SECOND


def _unpacked(reply: http.client.HTTPResponse) -> http.client.HTTPResponse | gzip.GzipFile:
    if reply.headers.get("Content-Encoding", "").lower() == "gzip":
        return gzip.GzipFile(fileobj=reply)
    return reply


def _written(reply: http.client.HTTPResponse, path: Path) -> int:
    partial = path.with_name(f".{path.name}.partial")
    length = reply.headers.get("Content-Length", "")
    try:
        with partial.open("wb") as file:
            body = _unpacked(reply)
            shutil.copyfileobj(body, file, 1 << 20)
            size = file.tell()
        # a plain body that ends too early raises nothing by itself
        if body is reply and length.isdecimal() and size != int(length):
            raise http.client.IncompleteRead(b"", int(length) - size)
        partial.replace(path)
        return size
    finally:
        partial.unlink(missing_ok=True)
