"""`/v1/search`: passages of the corpus that a run was made for, by the retriever that it ships."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr

from denizen.serve.errors import ApiError
from denizen.serve.fields import Many, as_text
from denizen.serve.service import service_of

# a passage that a filter leaves is looked for among so many of the best
_FILTERED = 1000
# queries that are searched for before others have their turn
_PIECE = 32
# a query keeps the processor busy for as long as so many tokens, about
_QUERY = 256
router = APIRouter()


class SearchRequest(BaseModel):
    """The body of a request."""

    model_config = ConfigDict(extra="forbid")

    query: Annotated[StrictStr | Many[StrictStr], Field(description="A question, or several.")]
    model: StrictStr | None = None
    top_k: StrictInt = Field(10, ge=1, le=100)
    domain: StrictStr | None = Field(None, description="Only passages of this domain.")


@router.post("/v1/search")
async def search(body: SearchRequest, request: Request) -> JSONResponse:
    """The best passages for each query, best first, with the document that each was cut from."""
    service = service_of(request)
    queries = [as_text(query) for query in ([body.query] if isinstance(body.query, str) else body.query)]
    if not queries or not all(query.strip() for query in queries):
        raise ApiError(400, "a query is blank; give one with words", "query")
    service.check(queries, "query")
    async with service.catalogue.using(body.model) as served:
        searchable = served.searchable
        if searchable is None:
            raise ApiError(400, f"{served.name} has no corpus; start the server with a run, or with --corpus", "model")
        domains = served.domains
        if body.domain is not None and body.domain not in domains.values():
            some = ", ".join(sorted(map(repr, filter(None, set(domains.values()))))[:10]) or "none"
            raise ApiError(400, f"no passage has the domain {body.domain[:200]!r}; there are {some}", "domain")
        depth = body.top_k if body.domain is None else max(_FILTERED, body.top_k)
        # where a reranker reads a hundred passages for each query, one is enough for a turn
        piece = 1 if served.reranker else _PIECE
        parts = [queries[begin : begin + piece] for begin in range(0, len(queries), piece)]
        work = service.catalogue.pieces.done(
            lambda part: searchable.search(part, depth), parts, [_QUERY * len(part) for part in parts]
        )
        found = [each for part in await service.within(request, work) for each in part]
    results: list[dict[str, Any]] = []
    for query, passages in zip(queries, found, strict=True):
        kept = [each for each in passages if body.domain is None or domains[each.doc_id] == body.domain][: body.top_k]
        shown = [{**asdict(each), "rank": at, "domain": domains[each.doc_id]} for at, each in enumerate(kept, start=1)]
        results.append({"query": query, "passages": shown})
    return JSONResponse({"object": "list", "model": served.name, "data": results})
