"""The documents of a run without labels: a corpus that stands, or files that are ingested into the run's folder."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from denizen.data.formats.beir import is_beir_folder
from denizen.data.formats.dates import date_in
from denizen.data.formats.documents import read_documents
from denizen.data.formats.rows import TABLES, BadRow
from denizen.data.formats.source import Source
from denizen.data.prepare import Given, source_digest
from denizen.data.tables import each, read_table, rows_table
from denizen.engine.errors import InputError
from denizen.engine.files import file_digest, read_json
from denizen.engine.progress import Progress
from denizen.recipes.config import Config

# what `ingest` writes last, and where it keeps what it has read
_REPORT, _PARTS = "ingest.json", ".parts"
# of its keys, as they are understood here
_SCHEMA = 1
# what of it a run's results repeat
_FACTS = ("files", "failures", "dropped", "languages", "personal_data", "repaired")


def documents_of(config: Config, out: Path, progress: Progress) -> Given:
    """Reads the documents of a run: a table, a BEIR folder, what `ingest` made, or files, which are ingested.

    Raises:
        InputError: When there is nothing to read, or files are given and what reads them is not installed.
    """
    path = Path(config.source).expanduser()
    dated = config.split == "time"
    if config.source and (path / _PARTS).is_dir():
        return _ingested(path, dated)
    is_table = path.is_file() and path.name.lower().endswith(TABLES)
    if not config.source or not path.exists() or is_table or is_beir_folder(path):

        def load() -> Source:
            return read_documents(config.source, config.skip_bad_rows)

        if not config.source or not path.exists():
            load()
        return Given(load, source_digest(str(path), out), {})
    # an extra of its own: who brings a table has no readers of files
    from denizen.ingest.ingest import ingest, ingest_lines
    from denizen.ingest.settings import IngestConfig

    settings = IngestConfig((config.source,), passage_chars=config.passage_chars, near_duplicate=config.near_duplicate)
    folder = out / "documents"
    # a run goes on with the documents that it began with, also where reading one of them took too long
    again = not (out / "corpus/step.json").is_file()
    report = ingest(settings, folder, leave_out=(out,), again=again, progress=progress)
    if again:
        for line in ingest_lines(report, folder):
            progress.say(line)
        progress.say("other settings of reading: run `denizen ingest` first, and adapt to what it makes")
    return _ingested(folder, dated)


def _ingested(folder: Path, dated: bool) -> Given:
    """What `ingest` made; where that matters, with the dates in the metadata of its documents."""
    report = read_json(folder / _REPORT)
    if not isinstance(report, dict) or report.get("schema") != _SCHEMA:
        raise InputError(f"{folder} holds a corpus that is not whole; run `denizen ingest` again")
    for name, digest in report["digests"].items():
        if not (folder / name).is_file() or file_digest(folder / name) != digest:
            raise InputError(f"{folder / name} is not what ingest wrote; run `denizen ingest` again")

    def load() -> Source:
        tables = read_table(folder / "corpus.parquet", "corpus"), rows_table("queries", ()), rows_table("qrels", ())
        failed = each(read_table(folder / "failures.parquet", "failures"), "key", "error", "raw")
        bad = [BadRow(*row) for row in failed]
        return Source(*tables, cut=False, bad_rows=bad, document_dates=_dates(folder) if dated else {})

    read = ("corpus.parquet", "failures.parquet", *(("texts.parquet",) if dated else ()))
    digests = {name: report["digests"][name] for name in read}
    return Given(load, digests, {name: report[name] for name in _FACTS})


def _dates(folder: Path) -> dict[str, str]:
    # without the texts themselves, which may be large
    said = each(pq.read_table(folder / "texts.parquet", columns=["doc_id", "metadata"]), "doc_id", "metadata")
    dates = ((doc_id, date_in({"metadata": metadata})) for doc_id, metadata in said)
    return {doc_id: date for doc_id, date in dates if date}
