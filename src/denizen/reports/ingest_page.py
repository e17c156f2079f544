"""The page of an ingested corpus: what became of every file, what was left out and why, and what will be searched."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from denizen.data.tables import each, read_table
from denizen.engine.files import read_json, write_text
from denizen.reports import charts
from denizen.reports.rendering import render

INGEST_PAGE = "report.html"
Blocks = list[tuple[str, Any]]
# of each reason, cluster and corpus
_SAMPLES = 5
# of rows of a table, the most that are shown
_ROWS = 20
# characters of a sample
_LONGEST = 300
_SHARES = (0, 10, 50, 90, 99, 100)
# a name, a number or a quotation in a reason: what is different from file to file
_OWN = re.compile(r"'[^']*'|\"[^\"]*\"|\d[\d.,]*")
_TERMS = (
    ("document", "what a file holds: a file, a mail, a row of a table, a filing"),
    ("passage", "a piece of a document, as it is searched"),
    ("left out", "text that was read and is not in the corpus, with the reason"),
    ("fault", "a file, or a part of one, that could not be read"),
    ("near-duplicates", "passages that say almost the same; they stay, and never stand on two sides of a split"),
)


def ingest_page(corpus: Path) -> Path:
    """Writes the page of a corpus into its folder, and says where it is.

    Args:
        corpus: The folder of a corpus that `ingest` has made.

    Raises:
        InputError: When a table of it is missing or cannot be read.
    """
    report = read_json(corpus / "ingest.json")
    names = {"corpus": "corpus", "texts": "texts", "files": "files", "failures": "failures", "dropped": "dropped_texts"}
    tables = {name: read_table(corpus / f"{name}.parquet", schema) for name, schema in names.items()}
    sections = [
        ("files", "Files", "What became of the files", _files(tables["files"], tables["failures"])),
        ("left-out", "Left out", "What was read and left out, and why", _left_out(tables["dropped"], tables["texts"])),
        ("texts", "Texts", "Languages, domains and lengths", _texts(report, tables["texts"], tables["corpus"])),
        ("copies", "Near-duplicates", "What says almost the same", _copies(tables["corpus"])),
        ("personal", "Personal data", "What was replaced by labels", _personal(report)),
        ("passages", "Passages", "Some passages, as they will be searched", _passages(tables["corpus"])),
        ("settings", "Settings", "Settings", _settings(report)),
    ]
    page = render(
        "report.html.jinja",
        title="What became of the documents",
        headline=_headline(report, tables["files"]),
        warnings=_warnings(report, tables["texts"]),
        terms=_TERMS,
        sections=sections,
    )
    write_text(corpus / INGEST_PAGE, page)
    return corpus / INGEST_PAGE


def _headline(report: Mapping[str, Any], files: pa.Table) -> str:
    unread = sum(not documents for documents in files["documents"].to_pylist()) + report["files"] - len(files)
    without = f"; nothing came of {unread:,} of the files" if unread else ""
    return (
        f"{report['passages']:,} passages of {report['documents']:,} documents from {report['files']:,} files"
        f"{without}. {sum(report['dropped'].values()):,} texts were left out, {report['failures']:,} faults were met."
    )


def _warnings(report: Mapping[str, Any], texts: pa.Table) -> list[str]:
    found = []
    if report["failures"]:
        found.append(
            f"{report['failures']:,} files, or parts of them, could not be read; what to do stands beside each."
        )
    undecoded = sum("\ufffd" in text for text in texts["text"].to_pylist())
    if undecoded:
        found.append(f"{undecoded:,} document(s) have characters that could not be decoded.")
    return found


def _files(files: pa.Table, failures: pa.Table) -> Blocks:
    kinds: dict[str, Counter[str]] = defaultdict(Counter)
    for name, size, documents, faults in each(files, "name", "size", "documents", "failures"):
        outcome = "nothing" if not documents else "with faults" if faults else "whole"
        kinds[_ending(name)].update({"files": 1, outcome: 1, "documents": documents, "bytes": size})
    rows = [["ending", "files", "read whole", "read with faults", "nothing of it", "documents", "MB"]]
    for ending, of in _largest(kinds, "files"):
        counts = [of[name] for name in ("files", "whole", "with faults", "nothing", "documents")]
        rows.append([ending, *(f"{count:,}" for count in counts), f"{of['bytes'] / 1e6:,.2f}"])
    blocks: Blocks = [("table", rows)]
    faults = defaultdict[str, list[str]](list)
    for key, error in each(failures, "key", "error"):
        faults[_alike(error)].append(f"{key}: {error}")
    if faults:
        blocks.append(("h3", "What could not be read"))
    for found in _longest(faults.values()):
        first = found[0].partition(": ")[2]
        blocks.append(("fold", (f"{len(found):,} x {_short(first)}", _listed(found, ("file and reason",)), "")))
    if not faults:
        blocks.append(("faint", "Every file was read without a fault."))
    return blocks


def _left_out(dropped: pa.Table, texts: pa.Table) -> Blocks:
    reasons: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for document, text, reason in each(dropped, "doc_id", "text", "reason"):
        reasons[reason].append((document, text or ""))
    if not reasons:
        return [("faint", "Nothing.")]
    kept = sum(map(len, texts["text"].to_pylist()))
    rows = [["reason", "texts", "characters", "of what was read"]]
    whole = kept + sum(len(text) for found in reasons.values() for _, text in found)
    for reason, found in sorted(reasons.items(), key=lambda item: (-len(item[1]), item[0])):
        size = sum(len(text) for _, text in found)
        rows.append([reason, f"{len(found):,}", f"{size:,}", f"{size / max(1, whole):.1%}"])
    blocks: Blocks = [("table", rows)]
    for reason, found in sorted(reasons.items(), key=lambda item: (-len(item[1]), item[0])):
        # the longest say most of what could be missed
        samples = sorted(found, key=lambda item: (-len(item[1]), item))[:_SAMPLES]
        shown: Blocks = [("words", [["document", "text"], *([name, _short(text)] for name, text in samples)])]
        if len(found) > _SAMPLES:
            shown.append(("faint", f"The longest {_SAMPLES} of {len(found):,}; all are in dropped.parquet."))
        blocks.append(("fold", (f"{reason} ({len(found):,})", shown, "")))
    return blocks


def _texts(report: Mapping[str, Any], texts: pa.Table, corpus: pa.Table) -> Blocks:
    sizes = {"documents": [len(text) for text in texts["text"].to_pylist()]}
    sizes["passages"] = [len(text) for text in corpus["text"].to_pylist()]
    rows = [["characters", "shortest", "10 %", "median", "90 %", "99 %", "longest"]]
    for name, values in sizes.items():
        rows.append([name, *(f"{value:,.0f}" for value in np.percentile(values, _SHARES))])
    drawn = charts.histogram([("passages", "adapted", sizes["passages"])], "Characters of the passages", digits=0)
    blocks: Blocks = [("table", rows), ("charts", [("Characters of a passage", drawn)])]
    for name, of in (("language", "languages"), ("domain", "domains")):
        counted = list(report[of].items())
        blocks.append(("table", [[name, "documents"], *([key, f"{count:,}"] for key, count in counted[:_ROWS])]))
        if len(counted) > _ROWS:
            blocks.append(("faint", f"and {len(counted) - _ROWS:,} more"))
    if report["repaired"]:
        blocks.append(("faint", f"A broken encoding was mended in {report['repaired']:,} blocks."))
    return blocks


def _copies(corpus: pa.Table) -> Blocks:
    clusters: dict[int, list[tuple[str, str]]] = defaultdict(list)
    for cluster, name, text in each(corpus, "cluster", "doc_id", "text"):
        clusters[cluster].append((name, text))
    several = [found for found in clusters.values() if len(found) > 1]
    if not several:
        return [("faint", "No two passages are near-duplicates.")]
    told = (
        f"{sum(map(len, several)):,} of {len(corpus):,} passages stand in {len(several):,} group(s) of near-duplicates."
    )
    rows = [["passages", "one of them", "text"]]
    for found in _longest(several)[:_SAMPLES]:
        rows.append([f"{len(found):,}", found[0][0], _short(found[0][1])])
    return [("p", told), ("words", rows)]


def _personal(report: Mapping[str, Any]) -> Blocks:
    if not report["settings"]["personal_data"]:
        return [("faint", "Personal data was not looked for (--no-personal-data).")]
    if not report["personal_data"]:
        return [("faint", "None was found.")]
    rows = [["kind", "times"], *([kind, f"{count:,}"] for kind, count in report["personal_data"].items())]
    return [("table", rows), ("faint", "One label stands for one person everywhere in the corpus.")]


def _passages(corpus: pa.Table) -> Blocks:
    # spread over the corpus, of which neighbours are of one document
    places = np.unique(np.linspace(0, len(corpus) - 1, min(len(corpus), 2 * _SAMPLES)).round().astype(int))
    blocks: Blocks = []
    for row in corpus.take(pa.array(places)).to_pylist():
        blocks += [("h3", row["title"] or row["doc_id"]), ("blockquote", row["text"]), ("faint", row["source"])]
    return blocks


def _settings(report: Mapping[str, Any]) -> Blocks:
    rows = [["setting", "value"]]
    # where files lie is nobody's business who reads the page
    rows += [[name, str(value)] for name, value in report["settings"].items() if name != "paths"]
    return [("facts", [("denizen", report["denizen"])]), ("fold", ("Every setting", [("words", rows)], ""))]


def _ending(name: str) -> str:
    last = Path(name.rpartition("~")[0] or name).suffixes[-2:]
    if last and last[-1].lower() in (".gz", ".bz2", ".xz"):
        return "".join(last).lower()
    return last[-1].lower() if last else "none"


def _alike(error: str) -> str:
    """A reason without what is different from file to file."""
    return _OWN.sub("…", error)


def _largest(kinds: Mapping[str, Counter[str]], by: str) -> list[tuple[str, Counter[str]]]:
    return sorted(kinds.items(), key=lambda item: (-item[1][by], item[0]))


def _longest(groups: Iterable[list[Any]]) -> list[list[Any]]:
    return sorted(groups, key=lambda found: (-len(found), found[0]))


def _listed(found: Sequence[str], head: tuple[str]) -> Blocks:
    shown: Blocks = [("words", [list(head), *([each] for each in found[:_ROWS])])]
    if len(found) > _ROWS:
        shown.append(("faint", f"and {len(found) - _ROWS:,} more; all are in failures.parquet"))
    return shown


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= _LONGEST else f"{flat[:_LONGEST].rstrip()} …"
