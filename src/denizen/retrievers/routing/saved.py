"""Saved routers: a folder with `router.json`, and `thresholds.json` where its thresholds were chosen."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from denizen.engine.errors import InputError
from denizen.engine.files import read_json, write_json
from denizen.retrievers.routing.decision import Thresholds
from denizen.retrievers.routing.embedding_router import load_embedding_router
from denizen.retrievers.routing.label_router import LabelRouter
from denizen.retrievers.routing.router import MANIFEST, Router

if TYPE_CHECKING:
    from denizen.llm.client import LLM

EMBEDDING_ROUTERS = ("knn", "centroids", "logistic")
_THRESHOLDS = "thresholds.json"


def save_router(folder: Path, router: Router, thresholds: Thresholds) -> None:
    """Writes a router and its thresholds, that of the router last."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / _THRESHOLDS, asdict(thresholds))
    router.save(folder)


def load_router(folder: Path, llm: LLM | None = None) -> tuple[Router, Thresholds]:
    """The router of a folder, and its thresholds; where none are there, it never abstains and takes one domain.

    Args:
        folder: Where it lies.
        llm: The client, for a router that asks an LLM.

    Raises:
        InputError: When the folder holds no whole router of a known kind, or it needs an LLM that is not given.
    """
    saved = read_json(folder / MANIFEST)
    if not isinstance(saved, dict):
        raise InputError(f"{folder} holds no router (no readable {MANIFEST}); give a folder that one was saved in")
    return _router(folder, saved, llm), _thresholds(folder)


def _router(folder: Path, saved: dict[str, object], llm: LLM | None) -> Router:
    kind = saved.get("kind")
    if kind in EMBEDDING_ROUTERS:
        return load_embedding_router(folder, saved)
    if kind == "llm":
        # pydantic and the client come with it
        from denizen.retrievers.routing.llm_router import load_llm_router

        return load_llm_router(folder, saved, llm)
    labels, domains = saved.get("labels"), saved.get("domains")
    if kind == LabelRouter.name and isinstance(labels, dict) and isinstance(domains, list):
        return LabelRouter(tuple(map(str, domains)), {str(query_id): str(name) for query_id, name in labels.items()})
    known = ", ".join(sorted((*EMBEDDING_ROUTERS, "labels", "llm")))
    raise InputError(f"{folder / MANIFEST} holds a router of the kind {kind!r}; there are {known}")


def _thresholds(folder: Path) -> Thresholds:
    if not (folder / _THRESHOLDS).exists():
        return Thresholds(0.0, 1.0)
    saved = read_json(folder / _THRESHOLDS)
    try:
        return Thresholds(float(saved["abstain_below"]), float(saved["second_from"]))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{folder / _THRESHOLDS} holds no thresholds; train the router again") from error
