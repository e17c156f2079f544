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
    if len(queries) > service.settings.most_texts:
        raise ApiError(400, f"query has {len(queries):,} of at most {service.settings.most_texts:,}; split it", "query")
    async with service.catalogue.using(body.model) as served:
        searchable = served.searchable
        if searchable is None:
            raise ApiError(400, f"{served.name} has no corpus; start the server with a run, or with --corpus", "model")
        known = set(searchable.corpus["domain"].to_pylist())
        if body.domain is not None and body.domain not in known:
            some = ", ".join(sorted(map(repr, filter(None, known)))[:10]) or "none"
            raise ApiError(400, f"no passage has the domain {body.domain[:200]!r}; there are {some}", "domain")
        depth = body.top_k if body.domain is None else max(_FILTERED, body.top_k)
        found = await service.computed(request, lambda: searchable.search(queries, depth))
        domains = dict(zip(*(searchable.corpus[name].to_pylist() for name in ("doc_id", "domain")), strict=True))
    results: list[dict[str, Any]] = []
    for query, passages in zip(queries, found, strict=True):
        kept = [each for each in passages if body.domain is None or domains[each.doc_id] == body.domain][: body.top_k]
        shown = [{**asdict(each), "rank": at, "domain": domains[each.doc_id]} for at, each in enumerate(kept, start=1)]
        results.append({"query": query, "passages": shown})
    return JSONResponse({"object": "list", "model": served.name, "data": results})
