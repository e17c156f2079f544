"""Documents without labels: a table with a text column, or a BEIR corpus."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from denizen.data.formats.beir import is_beir_folder, read_beir, read_beir_corpus
from denizen.data.formats.dates import date_in
from denizen.data.formats.rows import TABLES, BadRows, as_text, is_missing, table_rows
from denizen.data.formats.source import Source
from denizen.data.tables import rows_table
from denizen.engine.errors import InputError

# the columns that may hold a document's id, in the order in which they are looked for
_IDS = ("id", "_id", "doc_id")


def read_documents(source: str, skip_bad_rows: bool = False) -> Source:
    """Reads documents; labels that the source has are kept, so that it can be tested with them.

    A table (.jsonl[.gz], .json, .csv, .tsv, .parquet) needs the column `text` and may have `id`, `title` and `domain`,
    which can be numbers. One that is missing is empty; a missing id becomes that of the row, such as `d17`.
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


def _documents(path: Path, bad: BadRows, dates: dict[str, str]) -> Iterator[dict[str, str | None]]:
    if not path.name.lower().endswith(TABLES):
        raise InputError(f"{path} is of an unknown kind; give one of {', '.join(TABLES)} or a folder of documents")
    source = path.name.partition(".")[0]
    seen: set[str] = set()
    for number, (place, row) in enumerate(table_rows(path, bad), start=1):
        named = next((row[name] for name in _IDS if not is_missing(row.get(name))), f"d{number}")
        made = {"doc_id": as_text(named), **{name: as_text(row.get(name)) for name in ("title", "domain")}}
        text, wrong = row.get("text"), [name for name, value in made.items() if value is None]
        if not isinstance(text, str) or not text.strip():
            bad.add(place, f"needs a 'text' that is not empty; it has {sorted(row)}", row)
        elif wrong:
            bad.add(place, f"needs texts or numbers as id, title and domain; its {wrong[0]} is neither", row)
        elif made["doc_id"] in seen:
            bad.add(place, f"duplicate id {made['doc_id']!r}", row)
        else:
            doc_id = str(made["doc_id"])
            seen.add(doc_id)
            if date := date_in(row):
                dates[doc_id] = date
            yield {**made, "text": text, "source": source}
