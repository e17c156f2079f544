"""The steps after the search: the model with the instruction that was taken, and its proof on the test queries."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from denizen.data.artifacts import Corpus, Evaluation, Model, Qrels, Queries
from denizen.data.tables import relevant
from denizen.engine.step import Context, step
from denizen.measuring.provenance import machine, versions
from denizen.measuring.retrieval import write_evaluation
from denizen.prompting.search import Found, PromptSearch
from denizen.retrievers.bi_encoder import BiEncoder, Encoders
from denizen.retrievers.instruction import query_prompt

# as deep as the deepest measure
_DEPTH = 100


def _with_taken(params: PromptSearch, ctx: Context, model: Model, found: Found) -> tuple[BiEncoder, BiEncoder]:
    """The model as it is, and with the instruction that was taken."""
    own = BiEncoder(model.path, params, ctx[Encoders], model.digest)
    taken = found.facts["taken"]
    if taken is None:
        return own, own
    return own, replace(own, query_prompt=query_prompt(own.encoder.model, "the model").saying(taken))


@step(version=1, makes=Model, name="model", local=True)
def instructed(out: Path, params: PromptSearch, ctx: Context, *, model: Model, found: Found) -> None:
    """Copies the model, with the instruction that was taken where there is one; all else of it is the same."""
    _, now = _with_taken(params, ctx, model, found)
    now.save(out)


@step(version=1, makes=Evaluation, name="test")
def measure_both(  # noqa: PLR0913
    out: Path,
    params: PromptSearch,
    ctx: Context,
    *,
    model: Model,
    found: Found,
    corpus: Corpus,
    queries: Queries,
    qrels: Qrels,
) -> dict[str, Any]:
    """The only place where test queries are read: the model with its own instruction, and with that which was taken."""
    own, now = _with_taken(params, ctx, model, found)
    answers = relevant(qrels.table)
    asked = {query_id: text for query_id, text in queries.texts("test").items() if query_id in answers}
    index = own.index(corpus.table, ctx.progress)
    systems = {"before": own} | ({"after": now} if now != own else {})
    runs = {name: of.search(index, asked, _DEPTH, ctx.progress) for name, of in systems.items()}
    told = write_evaluation(out, runs, qrels.table, list(asked), corpus.table)
    return {**told, "versions": versions(), "machine": machine(), "backend": own.encoder.backend}
