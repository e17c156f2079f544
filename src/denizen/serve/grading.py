"""`/v1/grades`: what people think of passages, from this server's own page alone."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr

from denizen.engine.errors import InputError, reason
from denizen.serve.errors import ApiError
from denizen.serve.fields import as_text
from denizen.serve.service import service_of

_LOG = logging.getLogger("denizen.serve")
router = APIRouter()


class GradeRequest(BaseModel):
    """The body of a request."""

    model_config = ConfigDict(extra="forbid")

    query: StrictStr
    doc_id: StrictStr
    grade: Annotated[StrictInt, Field(ge=1, le=4)] | None = Field(description="4 answers, 1 is unrelated; null: none.")
    model: StrictStr | None = None
    system: StrictStr | None = Field(None, description="Which system had found the passage.", max_length=100)
    rank: StrictInt | None = Field(None, ge=1, le=1000)


@router.post("/v1/grades")
async def grade(body: GradeRequest, request: Request) -> JSONResponse:
    """Keeps what somebody thinks of a passage for a question."""
    _check_origin(request)
    service = service_of(request)
    query = as_text(body.query).strip()
    if not query:
        raise ApiError(400, "query is blank; give one with words", "query")
    service.check([query], "query")
    async with service.catalogue.using(body.model) as served:
        if served.grades is None or served.systems is None:
            raise ApiError(400, f"{served.name} is no run of adapt with its own passages, and has no grades", "model")
        passage = served.systems.passage(body.doc_id)
        if passage is None:
            raise ApiError(404, f"there is no passage {body.doc_id[:200]!r}", "doc_id")
        row = {
            "query": query,
            "doc_id": body.doc_id,
            "grade": body.grade,
            "query_id": served.systems.query_id(query),
            "title": passage["title"] or "",
            "passage": passage["text"] or "",
            "parent_id": passage["parent_id"],
            "system": body.system,
            "rank": body.rank,
            "by": request.scope.get("denizen.who"),
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        try:
            count = await service.aside(served.grades.add, row)
        except (InputError, OSError) as error:
            # its words name a place on this machine
            _LOG.error("a grade was not kept: %s", reason(error))
            raise ApiError(503, "the grade cannot be kept; the server's log says why") from None
    return JSONResponse({"object": "grade", "grade": body.grade, "graded": count})


def _check_origin(request: Request) -> None:
    """Whether a request comes from a page of this server, or from no page at all: another one must not grade."""
    headers = request.headers
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise ApiError(415, "grades are sent as application/json")
    origin, site = headers.get("origin"), headers.get("sec-fetch-site", "same-origin")
    foreign = origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower()
    if foreign or site not in ("same-origin", "none"):
        raise ApiError(403, "grades are taken from this server's own page alone")
