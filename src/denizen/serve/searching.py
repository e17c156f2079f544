"""`/v1/search`: passages of the corpus that a run was made for, by what it ships or another system of its test."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr

from denizen.engine.errors import InputError
from denizen.retrievers.hybrid import FUSED_DEPTH
from denizen.retrievers.searchable import FoundPassage, SearchableCorpus
from denizen.serve.errors import ApiError
from denizen.serve.fields import Many, as_text
from denizen.serve.served import Served
from denizen.serve.service import Service, service_of

# a passage that a filter leaves is looked for among so many of the best
_FILTERED = 1000
# queries that are searched for before others have their turn
_PIECE = 32
# a query keeps the processor busy for as long as so many tokens, about
_QUERY = 256
_LOG = logging.getLogger("denizen.serve")
Wanted = StrictStr | StrictInt | StrictFloat | StrictBool
router = APIRouter()


class SearchRequest(BaseModel):
    """The body of a request."""

    model_config = ConfigDict(extra="forbid")

    query: Annotated[StrictStr | Many[StrictStr], Field(description="A question, or several.")]
    model: StrictStr | None = None
    top_k: StrictInt = Field(10, ge=1, le=100)
    domain: StrictStr | None = Field(None, description="Only passages of this domain.")
    filter: dict[str, Wanted | Many[Wanted]] | None = Field(
        None, description="Only passages of which the corpus says this, or of several values one: name to value."
    )
    system: StrictStr | None = Field(None, description="One that the run has compared: base, bm25, adapted, hybrid.")
    explain: bool = Field(
        False,
        description="With the best window and the grade of each passage, and the ids of the first hundred.",
    )


@router.post("/v1/search")
async def search(body: SearchRequest, request: Request) -> JSONResponse:
    """The best passages for each query, best first, with the document that each was cut from."""
    service = service_of(request)
    queries = [as_text(query) for query in ([body.query] if isinstance(body.query, str) else body.query)]
    if not queries or not all(query.strip() for query in queries):
        raise ApiError(400, "a query is blank; give one with words", "query")
    service.check(queries, "query")
    async with service.catalogue.using(body.model) as served:
        searchable = await _searchable(served, body.system, service, request)
        domains = served.domains
        _check_filter(body, served)
        filtered = body.domain is not None or bool(body.filter)
        if body.domain is not None and body.domain not in domains.values():
            some = ", ".join(sorted(map(repr, filter(None, set(domains.values()))))[:10]) or "none"
            raise ApiError(400, f"no passage has the domain {body.domain[:200]!r}; there are {some}", "domain")
        depth = max(body.top_k, FUSED_DEPTH if body.explain else 0, _FILTERED if filtered else 0)
        # where a reranker reads a hundred passages for each query, one is enough for a turn
        piece = 1 if served.reranker else _PIECE
        parts = [queries[begin : begin + piece] for begin in range(0, len(queries), piece)]
        work = service.catalogue.pieces.done(
            lambda part: searchable.search(part, depth), parts, [_QUERY * len(part) for part in parts]
        )
        found = [each for part in await service.within(request, work) for each in part]
        inside = [[each for each in passages if _passes(each, body, served)] for passages in found]
        results: list[dict[str, Any]] = []
        for query, passages in zip(queries, inside, strict=True):
            kept = passages[: body.top_k]
            places = [
                {"rank": at, "domain": domains[each.doc_id], "metadata": served.metadata_of(each)}
                for at, each in enumerate(kept, start=1)
            ]
            told: dict[str, Any] = {}
            if body.explain:
                told = {"ranking": [each.doc_id for each in passages[:FUSED_DEPTH]]}
                why = await _explained(query, kept, searchable, served, service, request)
                places = [place | more for place, more in zip(places, why, strict=True)]
            shown = [{**asdict(each), **place} for each, place in zip(kept, places, strict=True)]
            results.append({"query": query, "passages": shown, **told})
    return JSONResponse({"object": "list", "model": served.name, "data": results})


def _check_filter(body: SearchRequest, served: Served) -> None:
    known = served.metadata_names if body.filter else []
    if unknown := [name for name in body.filter or () if name not in known]:
        there = ", ".join(map(repr, known[:20])) or "nothing"
        raise ApiError(400, f"the corpus says nothing of {unknown[0][:100]!r}; it says {there}", "filter")


def _passes(passage: FoundPassage, body: SearchRequest, served: Served) -> bool:
    """Whether a passage is of the domain, and its corpus says of it what is wanted."""
    if body.domain is not None and served.domains[passage.doc_id] != body.domain:
        return False
    if not body.filter:
        return True
    said = served.metadata_of(passage)
    for name, wanted in body.filter.items():
        # of what has several values, one is enough
        values = said[name] if isinstance(said.get(name), list) else [said.get(name)]
        if not any(value in values for value in (wanted if isinstance(wanted, list) else [wanted])):
            return False
    return True


async def _searchable(served: Served, system: str | None, service: Service, request: Request) -> SearchableCorpus:
    """What is to search."""
    if served.searchable is None:
        raise ApiError(400, f"{served.name} has no corpus; start the server with a run, or with --corpus", "model")
    if system is None:
        return served.searchable
    names = served.systems.names if served.systems else {}
    if served.systems is None or system not in names:
        there = ", ".join(names) or "none: it is no run of adapt with its own passages"
        raise ApiError(400, f"{served.name} has no system {system[:100]!r}; there are {there}", "system")
    try:
        return await service.within(request, served.systems.of(system))
    except InputError as error:
        # its words name a place on this machine
        _LOG.error("%s of %s cannot be searched: %s", system, served.name, error)
        raise ApiError(503, f"{system} cannot be searched; the server's log says why", "system") from None


async def _explained(
    query: str,
    passages: Sequence[FoundPassage],
    searchable: SearchableCorpus,
    served: Served,
    service: Service,
    request: Request,
) -> list[dict[str, Any]]:
    """Of each passage its best window, where windows are read, and the grade that somebody has given it."""
    work = service.catalogue.pieces.done(lambda part: searchable.windows(query, part), [passages], [_QUERY])
    (windows,) = await service.within(request, work)
    grades: Mapping[str, int] = {}
    if served.grades is not None:
        try:
            grades = await service.aside(served.grades.of, query)
        except InputError as error:
            _LOG.error("the grades of %s cannot be read: %s", served.name, error)
    return [
        {"window": window, "grade": grades.get(each.doc_id)} for each, window in zip(passages, windows, strict=True)
    ]
