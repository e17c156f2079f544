"""`/v1/embeddings`: as OpenAI's API, with the words of Cohere's and Jina's for queries and passages."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal
from urllib.parse import quote

import numpy as np
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr

from denizen.engine.errors import InputError
from denizen.retrievers.store import Vectors
from denizen.serve.batcher import Asked
from denizen.serve.errors import ApiError
from denizen.serve.fields import Many, as_text
from denizen.serve.served import Served
from denizen.serve.service import Service, service_of

_KINDS = {
    **dict.fromkeys(("query", "search_query", "retrieval.query"), "query"),
    **dict.fromkeys(("document", "passage", "search_document", "retrieval.passage"), "document"),
    # both sides are alike in these
    **dict.fromkeys(("classification", "clustering", "separation", "text-matching"), "document"),
}
# after a model's name: for clients that can say a model and nothing else
_SIDES = (":query", ":document")
router = APIRouter()


class EmbeddingsRequest(BaseModel):
    """The body of a request."""

    model_config = ConfigDict(extra="ignore")

    input: Annotated[
        StrictStr | Many[StrictStr] | Many[StrictInt] | Many[Many[StrictInt]],
        Field(description="A text, or several; the model's own token ids where the server takes them."),
    ]
    model: StrictStr | None = None
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: StrictInt | None = None
    user: StrictStr | None = None
    input_type: StrictStr | None = Field(None, description="query or document; Cohere's and NIM's words, too.")
    prompt_name: StrictStr | None = Field(None, description="One of the model's own prompts.")
    task: StrictStr | None = Field(None, description="Jina's words: retrieval.query, retrieval.passage.")
    truncate: StrictStr | StrictBool | None = Field(None, description="NONE: refuse what is longer than is read.")


@router.post("/v1/embeddings", response_class=JSONResponse)
async def embeddings(body: EmbeddingsRequest, request: Request) -> Response:
    """Embeddings of texts, as the model's evaluation saw them."""
    service = service_of(request)
    name, side = _side(body.model, service.catalogue.names)
    async with service.catalogue.using(name) as served:
        if served.model is None:
            raise ApiError(400, f"{served.name} finds by words and has no embeddings; use /v1/search", "model")
        # before its tokens are counted, which takes longer than to refuse it
        served.batcher.backlog.check()
        texts = await service.aside(_texts, body, served, service)
        asked = _asked(body, side, served, service)
        dim, may_cut = _dim(body, served), _may_cut(body.truncate)
        read = await service.aside(served.read, texts, asked)
        if read.cut and not may_cut:
            raise ApiError(
                400,
                f"{len(read.cut)} text(s), the first at place {read.cut[0]}, are longer than the {served.limit} tokens "
                "that the model reads, and truncate forbids to cut; split them",
                "input",
            )
        vectors = await service.within(request, served.batcher.embed(read.texts, asked, read.tokens))
    if not np.isfinite(vectors).all():
        raise ApiError(500, "the model gave a text no finite embedding")
    if dim < vectors.shape[1]:
        vectors = vectors[:, :dim]
        vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    tokens = sum(read.tokens)
    service.measures.tokens.labels(served.name).inc(tokens)
    found: dict[str, Any] = {"model": served.name, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}
    if read.cut:
        # the places of texts whose end was not read
        found["truncated"] = read.cut
    # a header has no letters but Latin ones, and a prompt may have any name
    named = quote(body.prompt_name or "", safe=" ")
    headers = {"X-Denizen-Input-Type": asked.kind if asked.prompt is None else f"prompt {named}"}
    content = await service.aside(_written, vectors, body.encoding_format, found)
    return Response(content, headers=headers, media_type="application/json")


def _texts(body: EmbeddingsRequest, served: Served, service: Service) -> list[str]:
    given: list[Any] = [body.input] if isinstance(body.input, str) else list(body.input)
    if given and isinstance(given[0], int):
        given = [given]
    if not given:
        raise ApiError(400, "input is empty; give at least one text", "input")
    service.check(given, "input")
    if any(isinstance(each, list) for each in given):
        if not service.settings.token_ids:
            raise ApiError(
                400,
                "input holds token ids, and those of another tokenizer (LangChain sends tiktoken's) would be silent "
                "nonsense; send texts: OpenAIEmbeddings(check_embedding_ctx_length=False). For the model's own ids the "
                "server is started with --token-ids",
                "input",
            )
        try:
            given = [served.text_of(ids) for ids in given]
        except InputError as error:
            raise ApiError(400, str(error), "input") from None
    if at := next((at for at, text in enumerate(given, start=1) if not text.strip()), None):
        raise ApiError(400, f"text {at} of input is blank; leave it out", "input")
    return [as_text(text) for text in given]


def _side(model: str | None, names: Sequence[str]) -> tuple[str | None, str | None]:
    """A model's name, and what texts are where that is said behind it (mine:query, mine:document)."""
    for side in _SIDES:
        if model is not None and model not in names and model.endswith(side):
            return model.removesuffix(side), side[1:]
    return model, None


def _asked(body: EmbeddingsRequest, side: str | None, served: Served, service: Service) -> Asked:
    said = {name: value for name in ("input_type", "task", "prompt_name") if (value := getattr(body, name)) is not None}
    said |= {} if side is None else {"model": side}
    if len(said) > 1:
        raise ApiError(400, f"{' and '.join(said)} say the same thing; give one of them", next(iter(said)))
    if not said:
        return Asked(service.settings.input_type)
    ((field, value),) = said.items()
    if field == "prompt_name":
        if value not in served.prompts:
            known = ", ".join(map(repr, served.prompts)) or "none"
            raise ApiError(400, f"{served.name} has no prompt {value[:200]!r}; it has {known}", field)
        return Asked("query" if value == "query" else "document", served.prompts[value])
    kind = _KINDS.get(value.lower())
    if kind is None:
        raise ApiError(400, f"{field} is {value[:200]!r}; it must be one of {', '.join(_KINDS)}", field)
    return Asked(kind)


def _may_cut(truncate: str | bool | None) -> bool:
    """Whether the end of a longer text may be left out, in Cohere's and NIM's words or as a yes or no."""
    said = truncate.upper() if isinstance(truncate, str) else {None: "END", True: "END", False: "NONE"}[truncate]
    if said not in ("END", "NONE"):
        raise ApiError(400, f"truncate is {said[:200]!r}; texts are cut at their end: give END or NONE", "truncate")
    return said == "END"


def _dim(body: EmbeddingsRequest, served: Served) -> int:
    wanted = served.dim if body.dimensions is None else body.dimensions
    if wanted != served.dim and wanted not in served.dims:
        able = f"{served.dim}" if not served.dims else f"{served.dim}, {', '.join(map(str, served.dims))}"
        raise ApiError(
            400,
            f"dimensions is {wanted}, and {served.name} was trained for {able}; give one of them, or leave it out",
            "dimensions",
        )
    return wanted


def _written(vectors: Vectors, form: str | None, more: dict[str, Any]) -> bytes:
    """The answer as JSON, one vector at a time: of a million numbers at once, nothing else would be done meanwhile."""
    items = []
    for at, vector in enumerate(vectors):
        raw = vector.astype("<f4")
        value = base64.b64encode(raw.tobytes()).decode("ascii") if form == "base64" else raw.tolist()
        items.append(json.dumps({"object": "embedding", "index": at, "embedding": value}, separators=(",", ":")))
    rest = json.dumps(more, ensure_ascii=False, separators=(",", ":"))
    return f'{{"object":"list","data":[{",".join(items)}],{rest[1:]}'.encode()
