"""The page on which people try a run in a browser: `/`, its files, and what it knows before anything is asked."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse

from denizen.engine.errors import InputError
from denizen.reports.rendering import read_template
from denizen.reports.try_page import served_page
from denizen.serve.errors import ApiError
from denizen.serve.service import service_of

_FILES = {"denizen.css": "text/css", "try.css": "text/css", "try.js": "text/javascript"}
# nothing but what this server itself sends: not even a style within the page
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {"Content-Security-Policy": _POLICY, "Referrer-Policy": "no-referrer", "Cache-Control": "no-cache"}
router = APIRouter()


@router.get("/", include_in_schema=False)
async def page() -> HTMLResponse:
    """The page."""
    return HTMLResponse(served_page(), headers=_HEADERS)


@router.get("/page/{name}", include_in_schema=False)
async def file(name: str) -> Response:
    """A file of the page."""
    if name not in _FILES:
        raise ApiError(404, "the page has no such file")
    return Response(read_template(name), headers=_HEADERS, media_type=_FILES[name])


@router.get("/v1/systems")
async def systems(request: Request, model: str | None = None) -> JSONResponse:
    """What can be searched with a model: what its run has compared, or the one retriever; questions to begin with."""
    service = service_of(request)
    async with service.catalogue.using(model) as served:
        if served.searchable is None:
            raise ApiError(400, f"{served.name} has no corpus; start the server with a run, or with --corpus", "model")
        found: dict[str, Any] = {"title": served.name, "shipped": "", "systems": [], "questions": []}
        graded = None
        if served.systems is not None and served.grades is not None:
            found = await service.aside(served.systems.told)
            try:
                graded = await service.aside(served.grades.__len__)
            except InputError:
                # who grades is told
                graded = 0
        domains = sorted({domain for domain in served.domains.values() if domain})
        return JSONResponse({"object": "systems", "model": served.name, **found, "graded": graded, "domains": domains})
