"""Downloading filings, against a server on this machine that speaks EDGAR's paths."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from denizen.engine.errors import InputError
from denizen.ingest import download_filings as module
from denizen.ingest.download_filings import Endpoints, download_filings

IDENTITY = "Example Ltd jane@example.com"
TICKERS = {
    "0": {"cik_str": 1234, "ticker": "ACME", "title": "Acme Corp"},
    "1": {"cik_str": 5678, "ticker": "BOLT-B", "title": "Bolt Inc"},
}


def columns(*rows: tuple[str, str, str]) -> dict[str, list[str]]:
    form, filed, accession = zip(*rows, strict=True) if rows else ((), (), ())
    return {"form": list(form), "filingDate": list(filed), "accessionNumber": list(accession)}


ACME = columns(
    ("8-K", "2024-05-01", "0000001234-24-000005"),
    ("10-K/A", "2024-04-01", "0000001234-24-000004"),
    ("10-K", "2024-02-01", "0000001234-24-000003"),
    ("8-K", "2024-01-15", "0000001234-24-000002"),
)
ACME_OLDER = columns(("10-K", "2012-02-01", "0000001234-12-000001"), ("10-K", "2013-02-01", "0000001234-13-000001"))


@dataclass
class Edgar:
    """What the server has, what it was asked, and with what it fails first."""

    pages: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, float]] = field(default_factory=list)
    agents: set[str] = field(default_factory=set)
    failures: dict[str, list[tuple[int, dict[str, str]]]] = field(default_factory=dict)
    cut: set[str] = field(default_factory=set)
    zipped: bool = True
    address: str = ""

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]

    @property
    def endpoints(self) -> Endpoints:
        return Endpoints(files=self.address, data=self.address)


def archive(cik: int, accession: str) -> str:
    return f"/Archives/edgar/data/{cik}/{accession.replace('-', '')}/{accession}.txt"


def handler(held: Edgar) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            held.asked.append((self.path, time.monotonic()))
            held.agents.add(self.headers["User-Agent"])
            if held.failures.get(self.path):
                code, headers = held.failures[self.path].pop(0)
                self.answer(code, b"<html>no</html>", headers)
            elif self.path not in held.pages:
                self.answer(404, b"", {})
            else:
                body, headers = held.pages[self.path], {}
                if held.zipped:
                    body, headers = gzip.compress(body), {"Content-Encoding": "gzip"}
                self.answer(200, body, headers)

        def answer(self, code: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(code)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.path in held.cut:
                held.cut.discard(self.path)
                body = body[: len(body) // 2]
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    return Handler


@pytest.fixture
def edgar(monkeypatch: pytest.MonkeyPatch) -> Iterator[Edgar]:
    monkeypatch.setattr(module, "REQUESTS_PER_SECOND", 10_000.0)
    monkeypatch.setattr(module, "_FIRST_WAIT_SECONDS", 0.001)
    monkeypatch.delenv(module.IDENTITY_VARIABLE, raising=False)
    held = Edgar()
    held.pages["/files/company_tickers.json"] = json.dumps(TICKERS).encode()
    older = [{"name": "CIK0000001234-submissions-001.json", "filingFrom": "2012-01-01", "filingTo": "2013-12-31"}]
    held.pages["/submissions/CIK0000001234.json"] = json.dumps({"filings": {"recent": ACME, "files": older}}).encode()
    held.pages["/submissions/CIK0000001234-submissions-001.json"] = json.dumps(ACME_OLDER).encode()
    bolt = {"filings": {"recent": columns(("10-K", "2024-03-01", "0000005678-24-000001")), "files": []}}
    held.pages["/submissions/CIK0000005678.json"] = json.dumps(bolt).encode()
    for cik, rows in ((1234, ACME), (1234, ACME_OLDER), (5678, bolt["filings"]["recent"])):
        for accession in rows["accessionNumber"]:
            held.pages[archive(cik, accession)] = f"<SEC-DOCUMENT>{accession}.txt\n".encode() * 50

    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(held))
    held.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield held
    server.shutdown()
    server.server_close()
    thread.join()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_ticker_and_a_form_become_files(edgar: Edgar, tmp_path: Path) -> None:
    out = tmp_path / "new" / "filings"
    found = download_filings(["acme"], ["8-k"], out, identity=IDENTITY, endpoints=edgar.endpoints)
    assert names(out) == [
        "1234-8-K-2024-01-15-0000001234-24-000002.txt",
        "1234-8-K-2024-05-01-0000001234-24-000005.txt",
    ]
    text = (out / "1234-8-K-2024-05-01-0000001234-24-000005.txt").read_bytes()
    assert text == edgar.pages[archive(1234, "0000001234-24-000005")]
    assert found == {"downloaded": 2, "present": 0, "forms": {"8-K": 2}, "bytes": 2 * len(text), "missing": []}
    assert edgar.agents == {IDENTITY}


def test_an_amendment_is_a_form_of_its_own_and_its_slash_no_folder(edgar: Edgar, tmp_path: Path) -> None:
    download_filings(["1234"], ["10-K/A"], tmp_path, identity=IDENTITY, endpoints=edgar.endpoints)
    assert names(tmp_path) == ["1234-10-K_A-2024-04-01-0000001234-24-000004.txt"]


def test_numbers_need_no_list_of_tickers_and_companies_count_once(edgar: Edgar, tmp_path: Path) -> None:
    options: dict[str, Any] = {"identity": IDENTITY, "endpoints": edgar.endpoints}
    download_filings(["CIK0000005678", "5678"], ["10-K"], tmp_path, **options)
    assert edgar.paths == ["/submissions/CIK0000005678.json", archive(5678, "0000005678-24-000001")]
    download_filings(["Bolt.B"], ["10-K"], tmp_path, **options)
    assert edgar.paths[2:] == ["/files/company_tickers.json", "/submissions/CIK0000005678.json"]


def test_older_files_of_the_index_are_read_where_the_newest_do_not_suffice(edgar: Edgar, tmp_path: Path) -> None:
    older = "/submissions/CIK0000001234-submissions-001.json"
    options: dict[str, Any] = {"identity": IDENTITY, "endpoints": edgar.endpoints}
    download_filings(["1234"], ["10-K"], tmp_path / "one", limit=1, **options)
    assert older not in edgar.paths
    download_filings(["1234"], ["10-K"], tmp_path / "since", since="2014-01-01", **options)
    assert older not in edgar.paths
    # of the older file the newest comes first
    download_filings(["1234"], ["10-K"], tmp_path / "two", limit=2, **options)
    assert [name[:15] for name in names(tmp_path / "two")] == ["1234-10-K-2013-", "1234-10-K-2024-"]
    download_filings(["1234"], ["10-K"], tmp_path / "until", until="2012-12-31", **options)
    assert names(tmp_path / "until") == ["1234-10-K-2012-02-01-0000001234-12-000001.txt"]


def test_what_is_there_is_not_asked_for_again(edgar: Edgar, tmp_path: Path) -> None:
    there = tmp_path / "1234-8-K-2024-05-01-0000001234-24-000005.txt"
    there.write_text("kept")
    found = download_filings(["1234"], ["8-K"], tmp_path, identity=IDENTITY, endpoints=edgar.endpoints)
    assert (found["downloaded"], found["present"], found["forms"]) == (1, 1, {"8-K": 2})
    assert there.read_text() == "kept"
    assert archive(1234, "0000001234-24-000005") not in edgar.paths


@pytest.mark.parametrize("zipped", [True, False])
def test_a_body_that_is_cut_off_is_asked_for_again_and_never_kept(edgar: Edgar, tmp_path: Path, zipped: bool) -> None:
    edgar.zipped = zipped
    address = archive(5678, "0000005678-24-000001")
    edgar.cut = {address}
    download_filings(["5678"], ["10-K"], tmp_path, identity=IDENTITY, endpoints=edgar.endpoints)
    assert edgar.paths.count(address) == 2
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [edgar.pages[address]]


@pytest.mark.parametrize("code", [429, 500, 503])
def test_an_overloaded_server_is_asked_again(edgar: Edgar, tmp_path: Path, code: int) -> None:
    index, text = "/submissions/CIK0000005678.json", archive(5678, "0000005678-24-000001")
    edgar.failures = {index: [(code, {}), (code, {})], text: [(code, {"Retry-After": "0"})]}
    found = download_filings(["5678"], ["10-K"], tmp_path, identity=IDENTITY, endpoints=edgar.endpoints)
    assert found["downloaded"] == 1
    assert edgar.paths == [index, index, index, text, text]


def test_retry_after_is_waited_for(edgar: Edgar, tmp_path: Path) -> None:
    text = archive(5678, "0000005678-24-000001")
    edgar.failures = {text: [(429, {"Retry-After": "1"})]}
    download_filings(["5678"], ["10-K"], tmp_path, identity=IDENTITY, endpoints=edgar.endpoints)
    first, second = (moment for path, moment in edgar.asked if path == text)
    assert second - first >= 1.0


def test_it_gives_up_after_some_attempts_and_goes_on_with_the_next_run(edgar: Edgar, tmp_path: Path) -> None:
    text = archive(1234, "0000001234-24-000002")
    edgar.failures = {text: [(429, {})] * 5}
    options: dict[str, Any] = {"identity": IDENTITY, "endpoints": edgar.endpoints}
    with pytest.raises(InputError, match="HTTP 429"):
        download_filings(["1234"], ["8-K"], tmp_path, **options)
    assert edgar.paths.count(text) == 5
    assert names(tmp_path) == ["1234-8-K-2024-05-01-0000001234-24-000005.txt"]
    found = download_filings(["1234"], ["8-K"], tmp_path, **options)
    assert (found["downloaded"], found["present"]) == (1, 1)


def test_a_long_block_is_not_waited_for(edgar: Edgar, tmp_path: Path) -> None:
    edgar.failures = {"/files/company_tickers.json": [(429, {"Retry-After": "600"})] * 5}
    with pytest.raises(InputError, match="ten minutes"):
        download_filings(["ACME"], ["8-K"], tmp_path, identity=IDENTITY, endpoints=edgar.endpoints)
    assert len(edgar.asked) == 1


def test_a_refusal_names_the_identity_and_is_not_repeated(edgar: Edgar, tmp_path: Path) -> None:
    edgar.failures = {"/submissions/CIK0000001234.json": [(403, {})]}
    with pytest.raises(InputError, match=r"403.*jane@example\.com.*identity"):
        download_filings(["1234"], ["8-K"], tmp_path, identity=IDENTITY, endpoints=edgar.endpoints)
    assert len(edgar.asked) == 1


def test_a_filing_that_the_archive_lacks_costs_only_itself(edgar: Edgar, tmp_path: Path) -> None:
    gone = archive(1234, "0000001234-24-000005")
    del edgar.pages[gone]
    found = download_filings(["1234"], ["8-K"], tmp_path, identity=IDENTITY, endpoints=edgar.endpoints)
    assert found["missing"] == [edgar.address + gone]
    assert names(tmp_path) == ["1234-8-K-2024-01-15-0000001234-24-000002.txt"]


def test_requests_keep_the_rate(edgar: Edgar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REQUESTS_PER_SECOND", 10.0)
    download_filings(["ACME"], ["8-K", "10-K/A"], tmp_path, identity=IDENTITY, endpoints=edgar.endpoints)
    moments = [moment for _, moment in edgar.asked]
    assert len(moments) == 6
    # 5 steps of 0.1 s; a request may be late by itself, which makes the next step look shorter
    assert moments[-1] - moments[0] >= 0.4


def test_the_rate_is_below_that_of_the_sec() -> None:
    assert module.REQUESTS_PER_SECOND < 10


@pytest.mark.parametrize("identity", ["", "   ", "Example Ltd", "jane at example.com"])
def test_nothing_is_asked_without_an_identity(edgar: Edgar, tmp_path: Path, identity: str) -> None:
    with pytest.raises(InputError, match="SEC_IDENTITY"):
        download_filings(["ACME"], ["8-K"], tmp_path, identity=identity, endpoints=edgar.endpoints)
    assert not edgar.asked


@pytest.mark.parametrize("identity", ["Jané jane@example.com", "Jane jane@example.com\r\nX-Other: 1"])
def test_an_identity_that_is_no_header_is_refused(edgar: Edgar, tmp_path: Path, identity: str) -> None:
    with pytest.raises(InputError, match="header"):
        download_filings(["ACME"], ["8-K"], tmp_path, identity=identity, endpoints=edgar.endpoints)
    assert not edgar.asked


def test_the_identity_may_come_from_the_environment(
    edgar: Edgar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEC_IDENTITY", "Other Ltd joe@example.org")
    download_filings(["5678"], ["10-K"], tmp_path, endpoints=edgar.endpoints)
    assert edgar.agents == {"Other Ltd joe@example.org"}


def test_an_unknown_ticker_is_named_with_its_neighbours(edgar: Edgar, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'ACNE'.*ACME"):
        download_filings(["ACNE"], ["8-K"], tmp_path, identity=IDENTITY, endpoints=edgar.endpoints)
    assert not names(tmp_path)


def test_an_unknown_number_is_named(edgar: Edgar, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="CIK 999"):
        download_filings(["999"], ["8-K"], tmp_path, identity=IDENTITY, endpoints=edgar.endpoints)


def test_an_index_cannot_name_paths(edgar: Edgar, tmp_path: Path) -> None:
    recent = columns(
        ("10-K", "2024-01-01", "../../../etc/passwd"),
        ("10-K", "../2024-01-01", "0000005678-24-000001"),
        ("10-K/../..", "2024-01-01", "0000005678-24-000001"),
    )
    older = [{"name": "../../files/company_tickers.json", "filingFrom": "2000-01-01", "filingTo": "2010-01-01"}]
    edgar.pages["/submissions/CIK0000005678.json"] = json.dumps(
        {"filings": {"recent": recent, "files": older}}
    ).encode()
    forms = ["10-K", "10-K/../.."]
    download_filings(["5678"], forms, tmp_path / "out", identity=IDENTITY, endpoints=edgar.endpoints)
    assert names(tmp_path / "out") == ["5678-10-K_-2024-01-01-0000005678-24-000001.txt"]
    assert names(tmp_path) == ["out"]
    assert "/files/company_tickers.json" not in edgar.paths


@pytest.mark.parametrize("index", [b"[]", b'{"filings": {"recent": {"form": ["10-K"]}}}', b'{"filings": null}'])
def test_an_index_of_another_shape_is_an_error_in_words(edgar: Edgar, tmp_path: Path, index: bytes) -> None:
    edgar.pages["/submissions/CIK0000005678.json"] = index
    with pytest.raises(InputError, match="index of CIK 5678"):
        download_filings(["5678"], ["10-K"], tmp_path, identity=IDENTITY, endpoints=edgar.endpoints)


def test_no_connection_is_an_error_in_words(edgar: Edgar, tmp_path: Path) -> None:
    nowhere = Endpoints(files="http://127.0.0.1:9", data="http://127.0.0.1:9")
    with pytest.raises(InputError, match="could not be downloaded"):
        download_filings(["5678"], ["10-K"], tmp_path, identity=IDENTITY, endpoints=nowhere)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"companies": []}, "at least one company"),
        ({"forms": []}, "at least one form"),
        ({"limit": 0}, "limit is 0"),
        ({"since": "20240131"}, "YYYY-MM-DD"),
        ({"until": "2024-02-30"}, "no date"),
        ({"since": "2024-02-01", "until": "2024-01-01"}, "after until"),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_asked(
    edgar: Edgar, tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    given: dict[str, Any] = {"companies": ["ACME"], "forms": ["10-K"], "identity": IDENTITY, **changed}
    with pytest.raises(InputError, match=message):
        download_filings(out=tmp_path / "out", endpoints=edgar.endpoints, **given)
    assert not edgar.asked
    assert not (tmp_path / "out").exists()
