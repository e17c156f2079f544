"""`evaluate`: any retrievers and BM25 on a BEIR folder, side by side, with what can be said about the differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from denizen.data.formats.beir import is_beir_folder, read_beir
from denizen.engine.errors import InputError
from denizen.engine.files import write_json
from denizen.engine.progress import Progress, Silent
from denizen.engine.run_folder import writing
from denizen.measuring.dims import by_dim, model_of
from denizen.measuring.provenance import SCHEMA, versions
from denizen.measuring.retrieval import check_out, write_evaluation
from denizen.measuring.retrieval_sets import RetrievalSet, set_of
from denizen.retrievers.bi_encoder import encoders_in
from denizen.retrievers.bm25 import BM25
from denizen.retrievers.encoding import Encoding
from denizen.retrievers.matryoshka import promised
from denizen.retrievers.retriever import Retriever
from denizen.retrievers.saved import find_all, load
from denizen.retrievers.searching import CorpusSearch

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
    **reading: Any,
) -> dict[str, Any]:
    """Measures retrievers on one split of a BEIR folder.

    Args:
        models: Folders (of models, or of saved retrievers of any kind) or ids; the others are compared with the first.
        data: The BEIR folder.
        split: The name of a qrels file.
        out: Where to write metrics.json, per-query metrics and TREC runs; None: nowhere.
        bm25: Measure BM25, too.
        backend: As the setting of `adapt`.
        precision: As the setting of `adapt`.
        store: Folder of embeddings that several evaluations and runs share; empty: none are kept.
        skip_bad_rows: Skip and count unusable rows.
        progress: Receives what a person should see.
        reading: How models that are decoder-only LLMs are read: `pooling`, `attention` and `instruction` of `adapt`.

    Returns:
        The contents of metrics.json: means, differences to the first model, queries, versions.

    Raises:
        InputError: When the folder, the split or a model is not there.
    """
    progress = progress or Silent()
    if not is_beir_folder(data):
        raise InputError(f"{data} is no BEIR folder (it has no corpus.jsonl or corpus.jsonl.gz)")
    encoding = Encoding.of({"backend": backend, "precision": precision})
    encoding.check()
    folders = find_all(models, reading)
    if out:
        check_out(out)
    with encoders_in(store) as encoders, writing(out or Path()):
        source = read_beir(data, skip_bad_rows, split)
        asked = set_of(source, f"split {split!r} of {data}")
        unanswered = len(source.queries) - len(asked.queries)
        if unanswered:
            progress.say(f"{unanswered:,} of {len(source.queries):,} judged queries left out: no relevant document")
        systems = {name: load(folder, encoding, encoders) for name, folder in folders.items()}
        beside = {"bm25": BM25.fitting(asked.corpus)} if bm25 else {}
        search, runs = CorpusSearch(asked.corpus, asked.queries, _DEPTH, progress), {}
        for name, retriever in {**systems, **beside}.items():
            with progress.working(name):
                runs[name] = search.run(name, retriever)
        found = write_evaluation(out, runs, source.qrels, list(asked.queries), asked.corpus)
        found |= _cut(systems, asked, source.qrels, progress)
        report = {"schema": SCHEMA, "data": data.name, "split": split, "skipped_rows": len(source.bad_rows), **found}
        report |= {
            "queries_without_relevant": unanswered,
            "versions": versions(),
            "backends": {name: encoders.used_by(of) for name, of in systems.items()},
        }
        report |= {"analyser": beside["bm25"].analyser.name} if bm25 else {}
        if out:
            write_json(out / "metrics.json", report)
    return report


def _cut(systems: Mapping[str, Retriever], asked: RetrievalSet, qrels: pa.Table, progress: Progress) -> dict[str, Any]:
    """Models with embeddings cut to every number of dimensions that the folder of one says is of use."""
    folders = {name: model.folder for name, of in systems.items() if (model := model_of(of)) is not None}
    dims = sorted({dim for folder in folders.values() for dim in promised(folder).dims}, reverse=True)
    alike = {name: systems[name] for name in folders}
    return {"dims": by_dim(alike, dims, asked.queries, qrels, asked.corpus, _DEPTH, progress)} if dims else {}
