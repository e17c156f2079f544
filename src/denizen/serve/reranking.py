"""`/v1/rerank` as Cohere's and Jina's APIs, and `/rerank` as that of text-embeddings-inference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr

from denizen.serve.errors import ApiError
from denizen.serve.fields import Many, as_text
from denizen.serve.served import Served
from denizen.serve.service import Service, service_of

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


class TeiRequest(BaseModel):
    """The body of text-embeddings-inference."""

    model_config = ConfigDict(extra="ignore")

    query: StrictStr
    texts: Many[StrictStr]
    model: StrictStr | None = None
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
async def rerank_as_tei(body: TeiRequest, request: Request) -> JSONResponse:
    """The same, as text-embeddings-inference answers it: a bare list."""
    service = service_of(request)
    async with service.catalogue.using(body.model) as served:
        ranked = await _ranked(body.query, body.texts, served, service, request, "texts")
    raw = body.raw_scores and served.reranker is not None
    return JSONResponse(
        [
            {"index": at, "score": math.log(score / (1 - score)) if raw else score}
            | ({"text": body.texts[at]} if body.return_text else {})
            for at, score in ranked
        ]
    )


async def _ranked(
    query: str, documents: Sequence[str], served: Served, service: Service, request: Request, field: str
) -> list[tuple[int, float]]:
    if served.model is None and served.reranker is None:
        raise ApiError(400, f"{served.name} finds by words and cannot rerank", "model")
    if not query.strip():
        raise ApiError(400, "query is blank; give one with words", "query")
    if not documents:
        raise ApiError(400, f"{field} is empty; give at least one", field)
    if len(documents) > service.settings.most_texts:
        raise ApiError(
            400, f"{field} has {len(documents):,} texts, and at most {service.settings.most_texts:,} are taken", field
        )
    texts = [text.encode("utf-8", "replace").decode() for text in (query, *documents)]
    scores = await service.computed(request, served.scores, texts[0], texts[1:])
    if not all(map(math.isfinite, scores)):
        raise ApiError(500, "the model gave a text no finite score")
    return sorted(enumerate(scores), key=lambda found: (-found[1], found[0]))
