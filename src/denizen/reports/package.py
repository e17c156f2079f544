"""The steps that put what is shipped where people look for it: the model with its card, and the retriever."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from denizen.data.artifacts import Corpus, Model
from denizen.data.union import Union
from denizen.engine.artifact import Artifact, Value
from denizen.engine.pipeline import Pipeline
from denizen.engine.settings import Params
from denizen.engine.step import Context, step
from denizen.measuring.fusion import Fused
from denizen.measuring.options import Calibrated, retriever_of, router_folder
from denizen.measuring.reranking import Reranking, first_stage
from denizen.measuring.students import Choice
from denizen.recipes.adapted import Adapted
from denizen.retrievers.bi_encoder import Encoders
from denizen.retrievers.cross_encoder import Reranker
from denizen.retrievers.index import Index
from denizen.retrievers.reranked import Reranked
from denizen.retrievers.routing.train_routers import Routers
from denizen.retrievers.searchable import write_searchable


@step(version=2, makes=Model, name="model", local=True)
def package(out: Path, params: Params, ctx: Context, *, chosen: Choice, card: Value) -> None:
    """Copies the model, since people change what they are given, and writes its README.md; no other run shares it."""
    shutil.copytree(chosen.path / "model", out, dirs_exist_ok=True)
    (out / "README.md").write_text(card.content, encoding="utf-8")


@step(version=2, makes=Artifact, name="retriever", local=True)
def assemble(  # noqa: PLR0913
    out: Path,
    params: Params,
    ctx: Context,
    *,
    chosen: Choice,
    fused: Fused,
    corpus: Corpus,
    reranker: Model | None = None,
    reranking: Reranking | None = None,
) -> None:
    """Saves the model, or its hybrid with BM25 where that is shipped, with the corpus and its index.

    Where the reranker is to be deployed, it is the second stage of that.
    """
    shipped = first_stage(chosen, fused, corpus, ctx[Encoders])
    if reranker and reranking and reranking.taken:
        shipped = Reranked((shipped,), Reranker(reranker.path, reranker.digest), share=reranking.share)
    write_searchable(out, shipped, corpus.table, ctx.progress)


@step(version=1, makes=Artifact, name="retriever", local=True)
def assemble_option(  # noqa: PLR0913
    out: Path,
    params: Params,
    ctx: Context,
    *,
    option: Value,
    models: Mapping[str, Model],
    union: Union,
    index: Index,
    experts: Mapping[str, Model] | None = None,
    calibrations: Mapping[str, Calibrated] | None = None,
    routers: Routers | None = None,
) -> None:
    """Saves an option with the corpus of all domains and its indexes; the arguments are those of step `option`."""
    router = router_folder(routers)
    retriever = retriever_of(option.content, models, experts, index, ctx[Encoders], calibrations, router)
    write_searchable(out, retriever, union.corpus.table, ctx.progress)


def ship(run: Pipeline, found: Adapted, card: Value) -> None:
    """Steps model and retriever."""
    run(package, chosen=found.final, card=card)
    second = {"reranker": found.second.reranker, "reranking": found.second.decided} if found.second else {}
    run(assemble, chosen=found.final, fused=found.fused, corpus=found.texts.corpus, **second)
