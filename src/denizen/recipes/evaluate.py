"""`evaluate`: any bi-encoders and BM25 on a BEIR folder, side by side, with what can be said about the differences."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pyarrow as pa

from denizen.data import passages as corpus_stage
from denizen.data.formats import Source, is_beir_folder, read_beir
from denizen.data.tables import relevant
from denizen.engine.errors import InputError
from denizen.engine.progress import Progress, Silent
from denizen.engine.run_folder import probe, writing
from denizen.engine.stage import write_json
from denizen.measuring import retrieval as evaluation
from denizen.recipes.run_folder import check_encoding
from denizen.reports.results import SCHEMA, versions
from denizen.retrievers.encoder import Encoder, locate
from denizen.retrievers.searching import search_bm25, search_with

_DEPTH = 100


def evaluate(  # noqa: PLR0913
    models: Sequence[str],
    data: Path,
    *,
    split: str = "test",
    out: Path | None = None,
    bm25: bool = True,
    backend: str = "auto",
    precision: str = "auto",
    store: str = "",
    skip_bad_rows: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measures models on one split of a BEIR folder.

    Args:
        models: Folders or ids; the others are compared with the first.
        data: The BEIR folder.
        split: The name of a qrels file.
        out: Where to write metrics.json, per-query metrics and TREC runs; None: nowhere.
        bm25: Measure BM25, too.
        backend: As the setting of `adapt`.
        precision: As the setting of `adapt`.
        store: Folder of embeddings that several evaluations and runs share; empty: none are kept.
        skip_bad_rows: Skip and count unusable rows instead of stopping.
        progress: Receives what a person should see.

    Returns:
        The contents of metrics.json: means, differences to the first model, queries, versions.

    Raises:
        InputError: When the folder, the split or a model is not there.
    """
    progress = progress or Silent()
    if not is_beir_folder(data):
        raise InputError(f"{data} is no BEIR folder (it has no corpus.jsonl or corpus.jsonl.gz)")
    folders = _names(models)
    check_encoding(backend, precision, store)
    if out is not None:
        _check_out(out)
    source = read_beir(data, skip_bad_rows, split)
    corpus = corpus_stage.ordered(corpus_stage.keep_whole(source.documents))
    queries = _linked_queries(source, f"split {split!r} of {data}")
    runs, backends = dict[str, pa.Table](), dict[str, str]()
    for name, folder in folders.items():
        with progress.working(name), _folder_of(store) as kept:
            encoder = Encoder(folder, kept, backend=backend, precision=precision)
            runs[name] = _retrieve(encoder, queries, corpus, progress)
            backends[name] = str(encoder.backend)
    if bm25:
        with progress.working("bm25"):
            runs["bm25"] = search_bm25(queries, corpus, _DEPTH, progress)
    with writing(out) if out is not None else nullcontext():
        report = {
            "schema": SCHEMA,
            "data": data.name,
            "split": split,
            "skipped_rows": len(source.bad_rows),
            **evaluation.write_evaluation(out, runs, source.qrels, list(queries)),
            "versions": versions(),
            "backends": backends,
        }
        if out is not None:
            write_json(out / "metrics.json", report)
    return report


def _linked_queries(source: Source, name: str) -> dict[str, str]:
    known = relevant(source.qrels)
    rows = [row for row in source.queries.to_pylist() if row["query_id"] in known]
    if not rows:
        raise InputError(f"{name} has no query with a relevant document")
    return {row["query_id"]: row["text"] for row in rows}


@contextmanager
def _folder_of(store: str) -> Iterator[Path]:
    if store:
        yield Path(store).expanduser()
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def _retrieve(encoder: Encoder, queries: Mapping[str, str], corpus: pa.Table, progress: Progress) -> pa.Table:
    run = search_with(encoder, queries, corpus, _DEPTH, progress)
    for note in (f"by {encoder.backend}", *encoder.notes):
        progress.note(note)
    return run


def _check_out(out: Path) -> None:
    """Makes sure that results can be written there, before hours of work and not after them."""
    if out.is_dir() and any(out.iterdir()) and not _is_evaluation(out / "metrics.json"):
        raise InputError(f"--out {out} is not empty and holds no evaluation of denizen; give a new folder")
    probe(out)


def _is_evaluation(path: Path) -> bool:
    return path.is_file() and "means" in json.loads(path.read_text(encoding="utf-8"))


def _names(models: Sequence[str]) -> dict[str, Path]:
    """Short names for models, and where each is.

    Raises:
        InputError: When a model is not there, or is given twice.
    """
    names: dict[str, Path] = {}
    for model in models:
        folder = locate(model).resolve()
        if folder in names.values():
            raise InputError(f"model {model!r} is given twice; give each model once")
        path = Path(model).resolve()
        # the model of a run is called after the run: runs/mine/model is "mine"
        own = path.parent.name if path.name == "model" else path.name
        name = "_".join((own if path.exists() else model.replace("/", "_")).split()) or "model"
        number = 1
        # bm25 is the baseline's name
        while name in (*names, "bm25"):
            number += 1
            name = f"{name.removesuffix(f'-{number - 1}')}-{number}"
        names[name] = folder
    return names
