"""Foreign formats in and out: BEIR folders, pairs, `datasets`, TREC runs."""

from __future__ import annotations

import re
from pathlib import Path

from denizen.data.formats.beir import is_beir_folder, read_beir
from denizen.data.formats.pairs import read_dataset, read_pairs
from denizen.data.formats.rows import TABLES
from denizen.data.formats.source import Source
from denizen.engine.errors import InputError


def read_source(source: str, skip_bad_rows: bool = False) -> Source:
    """Reads what `adapt` was given: a BEIR folder, a file of pairs, a saved data set, or a data set's id.

    Raises:
        InputError: When it is none of these, or cannot be read.
    """
    path = Path(source)
    if source and is_beir_folder(path):
        return read_beir(path, skip_bad_rows)
    if path.is_file():
        return read_pairs(path, skip_bad_rows)
    # Path("") is the folder one is in, which nobody named
    is_folder = bool(source) and path.is_dir()
    if is_folder and ((path / "qrels").is_dir() or any(path.glob("queries.jsonl*"))):
        raise InputError(f"{path} has no corpus.jsonl or corpus.jsonl.gz; a BEIR folder has both corpus and queries")
    # owner/name is an id, data/pairs.csv a file that is not there
    is_id = re.fullmatch(r"[\w.-]+/[\w.-]+", source) and path.suffix not in (*TABLES, ".gz")
    if is_folder or is_id:
        return read_dataset(source, skip_bad_rows)
    raise InputError(
        f"{source!r} does not exist; give a BEIR folder (with corpus.jsonl), a file of pairs "
        "(.json, .jsonl[.gz], .csv, .tsv, .parquet), or the id of a data set (owner/name)"
    )
