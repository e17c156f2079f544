"""The tables of an ingested corpus: passages, whole texts, what was dropped, what failed, and the files."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from denizen.data.passages import ordered, with_clusters
from denizen.data.tables import SCHEMAS, read_table, rows_table, write_table
from denizen.engine.errors import InputError
from denizen.engine.files import file_digest
from denizen.ingest.collection import Dropped, Named, ReadCollection
from denizen.ingest.document import Document, Failure
from denizen.ingest.files import printable
from denizen.ingest.passages import Cutter, Passage, cut, document_text

# rows of a table, and characters of their texts, that are in memory at a time
_BATCH = 1_000
_BATCH_CHARACTERS = 8_000_000
_WORD = re.compile(r"[^\W\d_]{3,}")
_FEWEST_WORDS = 2
_LABEL = re.compile(r"\[([A-Z]+)-[0-9a-f]{10}\]")
_FILES = ("corpus.jsonl", "corpus.parquet", "texts.parquet", "dropped.parquet", "failures.parquet", "files.parquet")


def write_corpus(
    collection: ReadCollection, out: Path, cutter: Cutter, unseen: Sequence[Failure], near_duplicate: float
) -> dict[str, Any]:
    """Writes all tables of a corpus, each whole or not at all.

    Args:
        collection: What was read.
        out: The corpus's folder.
        cutter: What cuts documents into passages.
        unseen: Files that could not be looked at.
        near_duplicate: The similarity from which two texts are near-duplicates.

    Returns:
        Counts, and the digest of each file written.

    Raises:
        InputError: When no document is left; the corpus that may be there stays.
    """
    partial = out / ".tables.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    files, failed = [], [_failure(item.name, item) for item in unseen]
    for file, key, documents, failures in collection.look():
        own = {"name": file.name, "path": printable(file.path.absolute()), "size": file.size}
        own |= {"modified": file.modified, "key": key, "documents": documents, "failures": len(failures)}
        files.append(own)
        failed += [_failure("/".join(part for part in (file.name, item.name) if part), item) for item in failures]
    write_table(partial / "files.parquet", rows_table("files", files))
    write_table(partial / "failures.parquet", rows_table("failures", failed))
    facts = _write_texts(collection, partial, cutter)
    counts = {"files": len(files) + len(unseen), "failures": len(failed)}
    if not facts["documents"]:
        raise InputError(_nothing({**counts, **facts}, failed))
    corpus = ordered(with_clusters(read_table(partial / "passages.parquet", "corpus"), near_duplicate))
    write_table(partial / "corpus.parquet", corpus)
    _write_beir(partial / "corpus.jsonl", corpus)
    digests = {name: file_digest(partial / name) for name in _FILES}
    for name in _FILES:
        (partial / name).replace(out / name)
    shutil.rmtree(partial)
    clusters = len(set(corpus["cluster"].to_pylist()))
    return {
        **counts,
        "passages": len(corpus),
        **facts,
        "near_duplicate_passages": len(corpus) - clusters,
        "digests": digests,
    }


def _nothing(counts: Mapping[str, Any], failed: Sequence[Mapping[str, str]]) -> str:
    """What to say where no document is left."""
    reasons = [f"{row['key']}: {row['error']}" for row in failed]
    reasons += [f"{count:,} dropped: {reason}" for reason, count in counts["dropped"].items()]
    shown = "\n".join(f"  {line}" for line in reasons[:5])
    return f"no document could be read of {counts['files']:,} file(s):\n{shown}"


def _write_texts(collection: ReadCollection, folder: Path, cutter: Cutter) -> dict[str, Any]:
    folders = {file.name: file.folder for file, _ in collection.files}
    total: Counter[str] = Counter()
    counts: dict[str, Counter[str]] = {name: Counter() for name in ("dropped", "languages", "domains", "personal_data")}
    with (
        _Rows(folder / "texts.parquet", "texts") as texts,
        _Rows(folder / "dropped.parquet", "dropped_texts") as dropped,
        _Rows(folder / "passages.parquet", "corpus") as passages,
    ):
        for item in collection.documents():
            if isinstance(item, Dropped):
                counts["dropped"][item.reason] += 1
                dropped.add(asdict(item))
                continue
            row = _text_row(item, folders[item.source])
            texts.add(row)
            total.update(documents=1, repaired=item.document.repaired, characters=len(row["text"]))
            counts["languages"][row["language"] or "unknown"] += 1
            counts["domains"][row["domain"] or "none"] += 1
            counts["personal_data"].update(_LABEL.findall(row["text"]))
            for passage in _passage_rows(item, row, cutter):
                if "reason" in passage:
                    counts["dropped"][passage["reason"]] += 1
                    dropped.add(passage)
                else:
                    passages.add(passage)
    names = ("documents", "characters", "repaired")
    listed = {name: dict(sorted(found.items(), key=lambda item: (-item[1], item[0]))) for name, found in counts.items()}
    return {**{name: total[name] for name in names}, **listed}


def _text_row(item: Named, folder: str) -> dict[str, Any]:
    document = item.document
    return {
        "doc_id": item.doc_id,
        "title": _title(item),
        "text": document_text(document.blocks),
        "domain": document.domain or folder,
        "source": item.source,
        "language": document.language,
        "metadata": json.dumps(document.metadata, ensure_ascii=False),
        "repaired": document.repaired,
    }


def _title(item: Named) -> str:
    """A document's own title, or the heading that it begins with, or its file's name where that says something."""
    blocks = item.document.blocks
    if item.document.title:
        return item.document.title
    if blocks and blocks[0].kind == "heading":
        return blocks[0].text
    # scan0001 is no title, and models read it
    stem = Path(item.doc_id).stem.replace("_", " ")
    return stem if len(_WORD.findall(stem)) >= _FEWEST_WORDS and not item.document.name else ""


def _passage_rows(item: Named, row: Mapping[str, Any], cutter: Cutter) -> Iterator[dict[str, Any]]:
    """The passages of a document as rows; a passage that stands in it twice is dropped the second time."""
    titled = Document(item.document.blocks, title=row["title"])
    taken: set[str] = set()
    for passage in cut(titled, cutter):
        doc_id = f"{item.doc_id}#{_digest(passage)}"
        if doc_id in taken:
            why = "repeats a passage of its document"
            yield {"doc_id": item.doc_id, "text": passage.text, "source": item.source, "reason": why}
            continue
        taken.add(doc_id)
        yield {
            "doc_id": doc_id,
            "title": passage.title,
            "text": passage.text,
            "domain": row["domain"],
            "source": f"{item.source}#page={passage.page}" if passage.page else item.source,
            "parent_id": item.doc_id,
            "start": passage.start,
            "end": passage.end,
        }


def _digest(passage: Passage) -> str:
    return hashlib.sha256(passage.text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _failure(key: str, item: Failure) -> dict[str, str]:
    return {"stage": "ingest", "key": key, "error": item.error, "raw": item.raw}


def _write_beir(path: Path, corpus: pa.Table) -> None:
    """The corpus as BEIR has it, so that any tool of the field reads it."""
    with path.open("w", encoding="utf-8") as file:
        for batch in corpus.to_batches(max_chunksize=_BATCH):
            for row in batch.to_pylist():
                metadata = {name: row[name] for name in ("domain", "source", "parent_id", "start", "end")}
                line = {"_id": row["doc_id"], "title": row["title"], "text": row["text"], "metadata": metadata}
                file.write(json.dumps(line, ensure_ascii=False) + "\n")


class _Rows:
    """A Parquet file that is written row by row."""

    def __init__(self, path: Path, table: str) -> None:
        self.schema = SCHEMAS[table]
        self.writer = pq.ParquetWriter(path, self.schema, compression="zstd")
        self.waiting: list[dict[str, Any]] = []
        self.characters = 0

    def __enter__(self) -> _Rows:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._flush()
        self.writer.close()

    def add(self, row: Mapping[str, Any]) -> None:
        """Adds a row."""
        self.waiting.append(dict(row))
        self.characters += len(row["text"])
        if len(self.waiting) >= _BATCH or self.characters >= _BATCH_CHARACTERS:
            self._flush()

    def _flush(self) -> None:
        if self.waiting:
            self.writer.write_table(pa.Table.from_pylist(self.waiting, schema=self.schema))
        self.waiting, self.characters = [], 0
