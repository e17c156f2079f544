"""What a corpus says of its documents and passages beside their text: of BEIR, and of what `ingest` made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from denizen.data.formats.beir import corpus_rows, is_beir_folder
from denizen.data.tables import each

Metadata = Mapping[str, Mapping[str, Any]]

_TEXTS = "texts.parquet"


def read_metadata(folder: Path) -> dict[str, dict[str, Any]]:
    """Document or passage to what its corpus says of it; those of which nothing is said are missing.

    Args:
        folder: A corpus: a BEIR folder, whose rows may have `metadata`, or what `ingest` made, which knows more of
            whole documents. Of anything else nothing is known.
    """
    found: dict[str, dict[str, Any]] = {}
    if (folder / _TEXTS).is_file():
        said = each(pq.read_table(folder / _TEXTS, columns=["doc_id", "metadata"]), "doc_id", "metadata")
        found |= {doc_id: known for doc_id, text in said if (known := _mapping(json.loads(text or "{}")))}
    elif is_beir_folder(folder):
        rows = ((row.get("_id"), _mapping(row.get("metadata"))) for row in corpus_rows(folder))
        found |= {str(doc_id): known for doc_id, known in rows if known}
    return found


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
