"""What operators ask: which models there are, whether the server lives and is ready, and what it measures of itself."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from denizen.serve.errors import ApiError
from denizen.serve.service import Service, service_of
from denizen.serve.speaking import Speaking

router = APIRouter()


@router.get("/v1/models")
async def models(request: Request) -> JSONResponse:
    """All models that may be asked for."""
    service = service_of(request)
    return JSONResponse({"object": "list", "data": [_told(name, service) for name in service.catalogue.names]})


@router.get("/v1/models/{name:path}")
async def model(name: str, request: Request) -> JSONResponse:
    """One of them."""
    service = service_of(request)
    if name not in service.catalogue.names:
        raise ApiError(
            404, f"there is no model {name[:200]!r}; there are {', '.join(service.catalogue.names)}", "model"
        )
    return JSONResponse(_told(name, service))


def _told(name: str, service: Service) -> dict[str, Any]:
    found: dict[str, Any] = {"id": name, "object": "model", "created": 0, "owned_by": "denizen"}
    served = service.catalogue.loaded.get(name)
    if served is None:
        return found
    if isinstance(served, Speaking):
        speaker = served.speaker
        told = {"kind": "language-model", "experts": list(speaker.experts), "context_length": speaker.context}
        return found | {"digest": served.digest, **told}
    found |= {"digest": served.digest, "kind": served.retriever.kind, "reranker": served.reranker is not None}
    if served.model is not None:
        found |= {"dimensions": [served.dim, *served.dims], "max_tokens": served.limit, "prompts": served.prompts}
    return found | ({"passages": len(served.searchable.corpus)} if served.searchable else {})


@router.get("/health")
async def health() -> JSONResponse:
    """Whether the server lives."""
    return JSONResponse({"status": "ok"})


@router.get("/ready")
async def ready(request: Request) -> JSONResponse:
    """Whether a request would be answered at once: a model is loaded."""
    loaded = list(service_of(request).catalogue.loaded)
    return JSONResponse({"status": "ready" if loaded else "loading", "models": loaded}, 200 if loaded else 503)


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """Counters as Prometheus reads them."""
    service = service_of(request)
    measures, catalogue = service.measures, service.catalogue
    loaded = catalogue.loaded.values()
    queues = [served.batcher.backlog for served in loaded if not isinstance(served, Speaking)]
    measures.waiting.set(sum(queue.waiting for queue in (catalogue.pieces.backlog, *queues)))
    measures.answers.set(sum(served.waiting for served in loaded if isinstance(served, Speaking)))
    measures.loaded.set(len(loaded))
    measures.hits.set(catalogue.cache.hits)
    measures.misses.set(catalogue.cache.misses)
    return Response(generate_latest(measures.registry), media_type=CONTENT_TYPE_LATEST)
