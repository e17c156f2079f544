"""Documents without labels: a table with a text column, or a BEIR corpus."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from denizen.data.formats.beir import is_beir_folder, read_beir, read_beir_corpus
from denizen.data.formats.dates import date_in
from denizen.data.formats.rows import TABLES, BadRows, table_rows
from denizen.data.formats.source import Source
from denizen.data.tables import rows_table
from denizen.engine.errors import InputError


def read_documents(source: str, skip_bad_rows: bool = False) -> Source:
    """Reads documents; labels that the source has are kept, so that it can be tested with them.

    A table (.jsonl[.gz], .json, .csv, .tsv, .parquet) needs the column `text` and may have `id`, `title` and `domain`.
    A BEIR folder may have queries and qrels, and needs none.

    Raises:
        InputError: When there is nothing to read, or a row is unusable and may not be skipped.
    """
    path = Path(source).expanduser()
    if not source or not path.exists():
        raise InputError(f"{source!r} does not exist; give files or folders of documents, a table, or BEIR")
    bad, dates = BadRows(skip_bad_rows), dict[str, str]()
    if is_beir_folder(path):
        if any(path.glob("queries.jsonl*")) and any(path.glob("qrels/*.tsv")):
            return read_beir(path, skip_bad_rows)
        documents = read_beir_corpus(path, bad, dates)
    else:
        documents = rows_table("corpus", _documents(path, bad, dates))
    bad.check()
    if not len(documents):
        raise InputError(f"{path} holds no document with text")
    none = rows_table("queries", []), rows_table("qrels", [])
    # what says which document it is of has been cut already
    whole = documents["parent_id"].null_count == len(documents)
    return Source(documents, *none, cut=whole, bad_rows=bad.rows, document_dates=dates)


def _documents(path: Path, bad: BadRows, dates: dict[str, str]) -> Iterator[dict[str, str]]:
    if not path.name.lower().endswith(TABLES):
        raise InputError(f"{path} is of an unknown kind; give one of {', '.join(TABLES)} or a folder of documents")
    source = path.name.partition(".")[0]
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
            if date := date_in(row):
                dates[doc_id] = date
            optional = {name: str(row.get(name) or "") for name in ("title", "domain")}
            yield {"doc_id": doc_id, "text": text, "source": source, **optional}
