"""Errors as OpenAI's API words them: what clients of it know how to read."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from denizen.serve.backlog import BusyError

_LOG = logging.getLogger("denizen.serve")
_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
# a client that has gone reads no answer; the log does (nginx's number)
CLIENT_LEFT = 499


class ApiError(Exception):
    """What a client is told.

    Args:
        status: The HTTP status.
        message: What is wrong, the value, the limit and the remedy.
        param: The field of the request that it is about.
        retry_after: Seconds after which it may be asked again.
        code: OpenAI's name for it, where clients go by that.
    """

    def __init__(
        self,
        status: int,
        message: str,
        param: str | None = None,
        retry_after: int | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.retry_after, self.code = status, message, param, retry_after, code


def body(status: int, message: str, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    """The JSON of an error."""
    kind = "server_error" if status >= 500 else _TYPES.get(status, "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def answer(error: ApiError) -> JSONResponse:
    """An error as a response."""
    headers = {"Retry-After": str(error.retry_after)} if error.retry_after is not None else {}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(body(error.status, error.message, error.param, error.code), error.status, headers)


def _numbers(place: Sequence[str | int]) -> list[int]:
    return [part for part in place if isinstance(part, int)]


def install(app: FastAPI) -> None:
    """Makes every error of an app one of ours; of what went wrong inside, the log alone says more."""

    @app.exception_handler(ApiError)
    async def ours(request: Request, error: ApiError) -> JSONResponse:
        return answer(error)

    @app.exception_handler(BusyError)
    async def busy(request: Request, error: BusyError) -> JSONResponse:
        return answer(ApiError(429, f"{error}; ask again in {error.seconds} s", retry_after=error.seconds))

    @app.exception_handler(RequestValidationError)
    async def unreadable(request: Request, error: RequestValidationError) -> JSONResponse:
        # of what may have several forms, the form that it comes nearest to
        nearest = max(error.errors(), key=lambda each: (len(each["loc"]), _numbers(each["loc"])))
        place: list[str | int] = list(nearest["loc"])
        if len(place) == 1 or not isinstance(place[1], str):
            return answer(ApiError(400, f"the body is no JSON object that fits: {nearest['msg']}"))
        field = place[1][:200]
        where = ".".join([field, *map(str, _numbers(place))])
        return answer(ApiError(400, f"{where}: {nearest['msg']}", field))

    @app.exception_handler(HTTPException)
    async def standard(request: Request, error: HTTPException) -> JSONResponse:
        said = {404: f"there is no {request.url.path} here", 405: f"{request.method} is not for {request.url.path}"}
        return answer(ApiError(error.status_code, said.get(error.status_code, str(error.detail))))

    @app.exception_handler(Exception)
    async def fault(request: Request, error: Exception) -> JSONResponse:
        # no text of a request stands in the log: an exception's words may hold it, its place does not
        trace, places = error.__traceback__, []
        while trace is not None:
            places.append(f"{trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno}")
            trace = trace.tb_next
        _LOG.error("%s %s: %s at %s", request.method, request.url.path, type(error).__name__, " > ".join(places[-4:]))
        return answer(ApiError(500, "a fault of the server; its log says where"))
