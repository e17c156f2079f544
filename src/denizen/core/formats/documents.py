"""Documents without labels: a folder of text files, a table with a text column, or a BEIR corpus."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from denizen.core.errors import InputError
from denizen.core.formats.beir import is_beir_folder, read_beir, read_beir_corpus
from denizen.core.formats.rows import BadRows, table_rows
from denizen.core.formats.source import Source, source_files
from denizen.core.tables import SCHEMAS, table

TEXT_FILES = (".txt", ".md", ".markdown", ".rst")
_TABLES = (".json", ".jsonl", ".gz", ".csv", ".tsv", ".parquet")
_OPTIONAL = ("title", "domain")
# a text file beyond this is not one that a person wrote
_LARGEST = 64 << 20


def read_documents(source: str, skip_bad_rows: bool = False, leave_out: Path | None = None) -> Source:
    """Reads documents; labels that the source has are kept, so that it can be tested with them.

    A folder's text files (.txt, .md, .rst, in subfolders, too, but not hidden ones) are a document each, their first
    folder is their domain.
    A table (.jsonl[.gz], .json, .csv, .tsv, .parquet) needs the column `text` and may have `id`, `title` and `domain`.
    A BEIR folder may have queries and qrels, and needs none.

    Args:
        source: Path of a folder or a table.
        skip_bad_rows: Skip and count unusable rows instead of stopping.
        leave_out: A folder within it that does not count, such as that of the run.

    Raises:
        InputError: When there is nothing to read, or a row is unusable and may not be skipped.
    """
    path = Path(source).expanduser()
    if not source or not path.exists():
        raise InputError(f"{source!r} does not exist; give a folder of text files, a table with a text column, or BEIR")
    bad = BadRows(skip_bad_rows)
    if is_beir_folder(path):
        if any(path.glob("queries.jsonl*")) and any(path.glob("qrels/*.tsv")):
            return read_beir(path, skip_bad_rows)
        documents = read_beir_corpus(path, bad)
    elif path.is_dir():
        documents = _documents(_text_files(path, bad, leave_out), path.name)
    else:
        documents = _documents(_table_rows(path, bad), path.name.partition(".")[0])
    bad.check()
    if not len(documents):
        raise InputError(f"{path} holds no document with text")
    empty = {name: SCHEMAS[name].empty_table() for name in ("queries", "qrels")}
    return Source(documents, empty["queries"], empty["qrels"], cut=True, bad_rows=bad.rows)


def _text_files(folder: Path, bad: BadRows, leave_out: Path | None) -> Iterator[dict[str, Any]]:
    paths = [path for path in source_files(folder, leave_out) if path.suffix.lower() in TEXT_FILES]
    if not paths:
        raise InputError(f"{folder} has no text file ({', '.join(TEXT_FILES)})")
    for path in paths:
        name = path.relative_to(folder).as_posix()
        if path.stat().st_size > _LARGEST:
            bad.add(name, f"{path.stat().st_size >> 20} MiB are more than {_LARGEST >> 20} MiB")
            continue
        try:
            text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            bad.add(name, f"not UTF-8 (byte {error.start})")
            continue
        if text.strip():
            first, _, rest = name.partition("/")
            yield {"doc_id": name, "text": text, "domain": first if rest else ""}
        else:
            bad.add(name, "is empty")


def _table_rows(path: Path, bad: BadRows) -> Iterator[dict[str, Any]]:
    if path.suffix.lower() not in _TABLES:
        raise InputError(f"{path} is of an unknown kind; give one of {', '.join(_TABLES)} or a folder of text files")
    seen: set[str] = set()
    for number, (place, row) in enumerate(table_rows(path, bad), start=1):
        text, doc_id = row.get("text"), row.get("id", row.get("_id", row.get("doc_id")))
        doc_id = f"d{number}" if doc_id is None or doc_id == "" else str(doc_id)
        if not isinstance(text, str) or not text.strip():
            bad.add(place, f"needs a 'text' that is not empty; it has {sorted(row)}", row)
        elif doc_id in seen:
            bad.add(place, f"duplicate id {doc_id!r}", row)
        else:
            seen.add(doc_id)
            yield {"doc_id": doc_id, "text": text, **{name: str(row.get(name) or "") for name in _OPTIONAL}}


def _documents(rows: Iterator[dict[str, Any]], source: str) -> pa.Table:
    listed = list(rows)
    columns = {name: [row.get(name, "") for row in listed] for name in ("doc_id", "title", "text", "domain")}
    return table("corpus", {**columns, "source": [source] * len(listed)})
