"""How much of a known text comes back from files of every kind, in order, how fast, and with how much memory.

made: documents that the bench makes up, as every kind of file. filings: real filing texts (sec_filings_unlabelled), as
text, HTML, DOCX, EPUB, submission, and PDF by fpdf2 and by Chromium. pages: real filing pages (financebench, as text
with its line ends) set as PDF pages with running heads. growth: the same filings in growing numbers, and what is read
when one file is added. web: made-up web pages, and what comes back of their wanted and of their unwanted strings, each
page alone and all pages of a site together. Texts are reduced to Latin-1, which the fonts of PDF have.

    python bench/ingest.py [made] [filings] [pages] [growth] [web]
"""

from __future__ import annotations

import difflib
import gzip
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import made_pages
from denizen.data.tables import read_table
from denizen.ingest import kinds
from denizen.ingest.document import Limits
from denizen.ingest.passages import document_text
from measuring import RESULTS, ROOT, data, keep

sys.path.insert(0, str(ROOT))
from tests.document_files import WRITERS, Content, Section, html
from tests.e2e.test_ingest import content

_MADE = 20
_FILINGS = 40
_PASSAGES = 30
_PAGES = 400
_GROWTH = (50, 100, 200, 400)
_CHROMIUM = "chromium"


def main(wanted: list[str]) -> None:
    path = RESULTS / "ingest.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    found.pop("machine", None)
    with tempfile.TemporaryDirectory() as room:
        for part in wanted:
            found[part] = PARTS[part](Path(room) / part)
    keep("ingest", found)


def made(room: Path) -> list[dict[str, Any]]:
    """Documents that are made up, as every kind of file."""
    known = [content(at, sections=8) for at in range(_MADE)]
    return [measured(room / suffix, suffix, known, write) for suffix, write in WRITERS.items()]


def filings(room: Path) -> list[dict[str, Any]]:
    """Real filing texts as files of several kinds."""
    known = real_filings(_FILINGS)
    kinds = {name: WRITERS[name] for name in ("txt", "html", "docx", "epub", "sgml.txt", "pdf")}
    rows = [measured(room / suffix, suffix, known, write) for suffix, write in kinds.items()]
    if shutil.which(_CHROMIUM):
        rows.append(measured(room / "printed", "pdf", known, printed, "pdf, printed by Chromium"))
    return rows


def pages(room: Path) -> list[dict[str, Any]]:
    """Pages of real filings as PDF pages, each line where it stood, under a running head."""
    by_document: dict[str, list[str]] = defaultdict(list)
    for row in corpus("financebench"):
        by_document[row["title"]].append(latin(row["text"]))
    taken, count = [], 0
    for title, texts in by_document.items():
        if len(texts) >= 20 and count < _PAGES:
            taken.append(Content(title, [Section("", texts[:100])]))
            count += len(texts[:100])
    return [measured(room / "pages", "pdf", taken, set_page_by_page, "pdf, page by page")]


def growth(room: Path) -> dict[str, Any]:
    """Seconds and memory by the number of files, and what an added file costs."""
    known = real_filings(max(_GROWTH))
    rows, folder, out = [], room / "docs", room / "corpus"
    folder.mkdir(parents=True)
    for count in _GROWTH:
        for at in range(len(list(folder.iterdir())), min(count, len(known))):
            WRITERS["html"](known[at], folder / f"{at:05}.html")
        shutil.rmtree(out, ignore_errors=True)
        rows.append({"files": len(list(folder.iterdir())), **ingested(folder, out)})
    before = ids(out)
    WRITERS["html"](content(1), folder / "00000-added.html")
    added = ingested(folder, out)
    after = ids(out)
    return {
        "by_files": rows,
        "added": {**added, "ids_that_moved": len(before - after), "ids_that_came": len(after - before)},
        "nothing_new": ingested(folder, out),
    }


def web(room: Path) -> list[dict[str, Any]]:
    """Shares of the wanted and of the unwanted strings of web pages that are kept, for each kind of page."""
    known = dict(made_pages.sites())
    for name, own in known.items():
        (room / "docs" / name).mkdir(parents=True)
        for at, page in enumerate(own):
            (room / "docs" / name / f"{at}.html").write_text(page.html, encoding="utf-8")
    ingested(room / "docs", room / "corpus")
    rows = read_table(room / "corpus" / "texts.parquet", "texts").to_pylist()
    together = {row["source"]: f"{row['title']} {row['text']}" for row in rows}
    kept: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for name, own in known.items():
        for at, page in enumerate(own):
            (alone,) = kinds.reader("html")(room / "docs" / name / f"{at}.html", Limits())
            texts = {
                "alone": f"{alone.title} {document_text(alone.blocks)}",
                "together": together[f"docs/{name}/{at}.html"],
            }
            for how, text in texts.items():
                folded = " ".join(text.split())
                for what, strings in (("wanted", page.wanted), ("unwanted", page.unwanted)):
                    share = statistics.mean(" ".join(string.split()) in folded for string in strings)
                    for group in (*name.split(", "), "all"):
                        kept[group][f"{what}_{how}"].append(share)
    found = []
    for group, shares in kept.items():
        means = {name: round(statistics.mean(each), 4) for name, each in shares.items()}
        found.append({"kind": group, "pages": len(shares["wanted_alone"]), **means})
        print(found[-1], flush=True)
    return found


def measured(
    room: Path, suffix: str, known: list[Content], write: Callable[[Content, Path], None], name: str = ""
) -> dict[str, Any]:
    """Writes documents as files of one kind, ingests them and compares."""
    folder, out = room / "docs", room / "corpus"
    folder.mkdir(parents=True)
    for at, document in enumerate(known):
        write(document, folder / f"{at:03}.{suffix}")
    row = {"kind": name or suffix, "documents": len(known), **ingested(folder, out)}
    texts = read_table(out / "texts.parquet", "texts").to_pylist()
    found: dict[str, str] = defaultdict(str)
    for text in texts:
        found[text["source"].rpartition("/")[2]] += f" {text['title']} {text['text']}"
    compared = [compare(document, found[f"{at:03}.{suffix}"]) for at, document in enumerate(known)]
    row |= {name: statistics.mean(one[name] for one in compared) for name in compared[0]}
    print(
        f"{row['kind']:<26} recovered {row['recovered']:.4f}  in order {row['in_order']:.4f}  more {row['more']:.4f}  "
        f"{row['passages']:,} passages  {row['mb_per_second']:.2f} MB/s  {row['peak_mb']:.0f} MB  "
        f"{row['failures']} failures",
        flush=True,
    )
    return row


def compare(known: Content, text: str) -> dict[str, float]:
    """Shares of the known words: found at all, found in order; and of the found words those that were not there."""
    wanted, found = known.words, [word for word in text.split() if word not in ("|", "-")]
    both = sum((Counter(wanted) & Counter(found)).values())
    matcher = difflib.SequenceMatcher(None, wanted, found, autojunk=False)
    in_order = sum(block.size for block in matcher.get_matching_blocks())
    return {
        "recovered": both / len(wanted),
        "in_order": in_order / len(wanted),
        "more": (len(found) - both) / max(1, len(found)),
    }


def ingested(folder: Path, out: Path) -> dict[str, Any]:
    """Runs the command in a process of its own: seconds, MB a second, and the memory of the largest process."""
    began = time.monotonic()
    command = [sys.executable, "-m", "denizen", "ingest", str(folder), "--out", str(out), "--json", "--quiet"]
    code = (
        "import json, resource, subprocess, sys\n"
        f"done = subprocess.run({command!r}, stdout=subprocess.PIPE, check=True)\n"
        "peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss\n"
        "print(json.dumps([peak, json.loads(done.stdout)]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True)
    peak, report = json.loads(done.stdout)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
    reading = report["reading"]
    return {
        "megabytes": round(size, 3),
        "seconds": round(time.monotonic() - began, 2),
        "files_read": reading["files"],
        "seconds_reading": reading["seconds"],
        "mb_per_second": round(reading["megabytes"] / max(reading["seconds"], 0.01), 3),
        "peak_mb": round(peak / 1024, 1),
        "passages": report["passages"],
        "failures": report["failures"],
    }


def ids(out: Path) -> set[str]:
    """The ids of a corpus's passages."""
    return set(read_table(out / "corpus.parquet", "corpus")["doc_id"].to_pylist())


def real_filings(count: int) -> list[Content]:
    """Filings of which many passages are known, one section each."""
    by_document: dict[str, list[str]] = defaultdict(list)
    titles = {}
    for row in corpus("sec_filings_unlabelled"):
        name = row["metadata"]["doc"]
        titles[name] = row["title"]
        by_document[name].append(" ".join(latin(row["text"]).split()))
    chosen = sorted(by_document, key=lambda name: (-len(by_document[name]), name))[:count]
    return [
        Content(
            latin(titles[name]),
            [Section(f"Part {at}", [text]) for at, text in enumerate(by_document[name][:_PASSAGES])],
        )
        for name in chosen
    ]


def corpus(name: str) -> Iterable[dict[str, Any]]:
    """The passages of a data set."""
    with gzip.open(data(name) / "corpus.jsonl.gz", "rt", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def latin(text: str) -> str:
    """A text in Latin-1; dashes and quotes as their plain likes, what has none is left out."""
    plain = text.translate(str.maketrans("’‘“”–—•☒☐…", "''\"\"--*xo."))
    return plain.encode("latin-1", "ignore").decode("latin-1")


def printed(document: Content, path: Path) -> None:
    """A page that Chromium prints to PDF."""
    with tempfile.TemporaryDirectory() as room:
        page = Path(room) / "page.html"
        page.write_text(html(document), encoding="utf-8")
        command = [
            _CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            f"--user-data-dir={room}/user",
        ]
        command += [
            "--disable-background-networking",
            "--no-pdf-header-footer",
            f"--print-to-pdf={path}",
            page.as_uri(),
        ]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL, timeout=120)


def set_page_by_page(document: Content, path: Path) -> None:
    """Each text on a page of its own, line by line, under a running head."""
    from fpdf import FPDF

    page = FPDF(format=(300, 420))
    page.set_title(document.title)
    page.set_auto_page_break(False)
    for number, text in enumerate(document.sections[0].paragraphs, start=1):
        page.add_page()
        page.set_font("helvetica", size=8)
        page.cell(0, 8, f"{document.title} - annual report", new_x="LMARGIN", new_y="NEXT")
        page.set_font("helvetica", size=9)
        for line in text.splitlines():
            page.cell(0, 3.6, line, new_x="LMARGIN", new_y="NEXT")
        page.set_y(-12)
        page.cell(0, 8, str(number), align="C")
    page.output(str(path))


PARTS: dict[str, Callable[[Path], Any]] = {
    "made": made,
    "filings": filings,
    "pages": pages,
    "growth": growth,
    "web": web,
}

if __name__ == "__main__":
    chosen = sys.argv[1:] or list(PARTS)
    if set(chosen) - set(PARTS):
        sys.exit(f"unknown part in {chosen}; there are {list(PARTS)}")
    main(chosen)
