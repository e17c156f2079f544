"""`/v1/rerank` as Cohere's and Jina's APIs, and `/rerank` as text-embeddings-inference, vLLM or Infinity have it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr

from denizen.serve.batcher import Asked
from denizen.serve.errors import ApiError
from denizen.serve.fields import Many, as_text
from denizen.serve.served import Served
from denizen.serve.service import Service, service_of

# documents that a reranker reads before others have their turn
_PIECE = 32
# letters of a token, about
_LETTERS = 4
router = APIRouter()


class Text(BaseModel):
    """A document as an object."""

    model_config = ConfigDict(extra="ignore")

    text: StrictStr


class RerankRequest(BaseModel):
    """Cohere's and Jina's body."""

    model_config = ConfigDict(extra="ignore")

    query: StrictStr
    documents: Many[StrictStr | Text]
    model: StrictStr | None = None
    top_n: StrictInt | None = Field(None, ge=1)
    return_documents: bool = False


class BareRequest(BaseModel):
    """The body of text-embeddings-inference, which sends texts, or that of vLLM and Infinity, which is Cohere's."""

    model_config = ConfigDict(extra="ignore")

    query: StrictStr
    texts: Many[StrictStr] | None = None
    documents: Many[StrictStr | Text] | None = None
    model: StrictStr | None = None
    top_n: StrictInt | None = Field(None, ge=1)
    return_documents: bool = False
    return_text: bool = False
    raw_scores: bool = False


@router.post("/v1/rerank")
@router.post("/v2/rerank", include_in_schema=False)
async def rerank(body: RerankRequest, request: Request) -> JSONResponse:
    """Documents in the order in which they answer a query, best first."""
    service = service_of(request)
    documents = [as_text(each if isinstance(each, str) else each.text) for each in body.documents]
    async with service.catalogue.using(body.model) as served:
        ranked = await _ranked(body.query, documents, served, service, request, "documents")
        by = "reranker" if served.reranker else "embeddings"
    results: list[dict[str, Any]] = [
        {"index": at, "relevance_score": score}
        | ({"document": {"text": documents[at]}} if body.return_documents else {})
        for at, score in ranked[: body.top_n]
    ]
    found = {"id": request.scope["denizen.id"], "model": served.name, "results": results}
    return JSONResponse(found | {"meta": {"api_version": {"version": "1"}, "scored_by": by}})


@router.post("/rerank")
async def rerank_bare(body: BareRequest, request: Request) -> JSONResponse:
    """The same: of `texts` a bare list, as text-embeddings-inference answers; of `documents` as at /v1/rerank."""
    if (body.texts is None) == (body.documents is None):
        raise ApiError(400, "give texts, as to text-embeddings-inference, or documents, as to Cohere", "texts")
    if body.texts is None:
        return await rerank(RerankRequest(**body.model_dump(include=set(RerankRequest.model_fields))), request)
    service = service_of(request)
    texts = [as_text(each) for each in body.texts]
    async with service.catalogue.using(body.model) as served:
        ranked = await _ranked(body.query, texts, served, service, request, "texts", body.raw_scores)
    return JSONResponse(
        [{"index": at, "score": score} | ({"text": texts[at]} if body.return_text else {}) for at, score in ranked]
    )


async def _ranked(
    query: str,
    documents: Sequence[str],
    served: Served,
    service: Service,
    request: Request,
    field: str,
    raw: bool = False,
) -> list[tuple[int, float]]:
    if served.model is None and served.reranker is None:
        raise ApiError(400, f"{served.name} finds by words and cannot rerank", "model")
    if not query.strip():
        raise ApiError(400, "query is blank; give one with words", "query")
    if not documents:
        raise ApiError(400, f"{field} is empty; give at least one", field)
    service.check(documents, field)
    service.check([query], "query")
    by = _judged if served.reranker else _compared
    scores = await service.within(request, by(as_text(query), documents, served, service))
    if not all(map(math.isfinite, scores)):
        raise ApiError(500, "the model gave a text no finite score")
    order = sorted(range(len(scores)), key=lambda at: (-scores[at], at))
    # a sigmoid that does not overflow; cosines are as they are
    squeezed = served.reranker is not None and not raw
    return [(at, 0.5 + 0.5 * math.tanh(scores[at] / 2) if squeezed else scores[at]) for at in order]


async def _judged(query: str, documents: Sequence[str], served: Served, service: Service) -> list[float]:
    """What the reranker gives each."""
    parts = [documents[begin : begin + _PIECE] for begin in range(0, len(documents), _PIECE)]
    tokens = [sum((len(query) + len(text)) // _LETTERS + 1 for text in part) for part in parts]
    found = await service.catalogue.pieces.done(lambda part: served.judged(query, part), parts, tokens)
    return [score for part in found for score in part]


async def _compared(query: str, documents: Sequence[str], served: Served, service: Service) -> list[float]:
    """The cosine of each embedding with the query's."""
    vectors = []
    for texts, asked in (([query], Asked("query")), (documents, Asked("document"))):
        served.batcher.backlog.check()
        read = await service.aside(served.read, texts, asked)
        vectors.append(await served.batcher.embed(read.texts, asked, read.tokens))
    (one,), many = vectors
    lengths = np.linalg.norm(many, axis=1) * np.linalg.norm(one)
    return [float(score) for score in many @ one / np.maximum(lengths, 1e-12)]
