"""Retrievers as folders: found by name, and loaded, of whatever kind they are."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from denizen.engine.errors import InputError
from denizen.engine.files import read_json, write_json
from denizen.engine.settings import check_names, settings_of
from denizen.retrievers.adapted import ADAPTERS, routed_adapters
from denizen.retrievers.backbone import Backbone
from denizen.retrievers.bi_encoder import BiEncoder, Encoders
from denizen.retrievers.bm25 import BM25
from denizen.retrievers.cross_encoder import Reranker
from denizen.retrievers.encoding import Encoding
from denizen.retrievers.ensemble import Concatenated, Ensemble
from denizen.retrievers.federated import Federated
from denizen.retrievers.hybrid import Hybrid
from denizen.retrievers.loading import locate, names_llm
from denizen.retrievers.reranked import RERANKER, RESCORED, Reranked
from denizen.retrievers.retriever import MANIFEST, Retriever
from denizen.retrievers.routed import ROUTER, Routed
from denizen.retrievers.score_calibration import ScoreCalibration, calibration_of
from denizen.retrievers.windows import Reading, Windowed

Loader = Callable[[Path, Mapping[str, Any], tuple[Retriever, ...]], Retriever]

# kind to what makes a retriever from its folder, the contents of retriever.json and its parts; add your own
KINDS: dict[str, Loader] = {
    "bi-encoder": lambda folder, saved, parts: _only(parts, folder),
    "windows": lambda folder, saved, parts: Windowed(
        (_bi_encoder(parts, folder),), Reading(saved.get("window", 0), saved.get("stride", 0))
    ),
    # without a language: saved when all were English; without pairs: when there were none
    "bm25": lambda folder, saved, parts: BM25(saved.get("language", "en"), saved.get("pairs", False)),
    # without fusion and weights: saved when there was but the one
    "hybrid": lambda folder, saved, parts: Hybrid(
        parts, saved.get("constant", 60), saved.get("fusion", "rrf"), saved.get("weights", ())
    ),
    "federated": lambda folder, saved, parts: Federated(parts, _names(saved), _calibrations(saved)),
    "ensemble": lambda folder, saved, parts: Ensemble(parts, _calibrations(saved)),
    "concatenated": lambda folder, saved, parts: Concatenated(tuple(_bi_encoder((part,), folder) for part in parts)),
    "routed": lambda folder, saved, parts: Routed(
        parts, _names(saved), folder / ROUTER, bool(saved.get("everywhere", False))
    ),
    "routed-adapters": lambda folder, saved, parts: routed_adapters(
        _bi_encoder(parts, folder),
        [folder / ADAPTERS / _plain(name, folder) for name in _names(saved)],
        _names(saved),
        folder / ROUTER,
        everywhere=bool(saved.get("everywhere", False)),
    ),
    "reranked": lambda folder, saved, parts: Reranked(
        (_only(parts, folder),), Reranker(folder / RERANKER), saved.get("rescored", RESCORED), saved.get("share", 1.0)
    ),
}


def load(folder: Path, encoding: Encoding, encoders: Encoders) -> Retriever:
    """The retriever that a folder holds; that of a sentence-transformers folder is a `BiEncoder`.

    Args:
        folder: The folder.
        encoding: What computes embeddings.
        encoders: This machine's.

    Raises:
        InputError: When the folder, or one of a part, holds no retriever of a known kind.
    """
    path = folder / MANIFEST
    if not path.exists():
        return BiEncoder(locate(str(folder)), encoding, encoders)
    saved = read_json(path)
    saved = saved if isinstance(saved, dict) else {}
    kind, names = str(saved.get("kind")), saved.get("parts", [])
    if kind not in KINDS:
        raise InputError(f"{path} holds a retriever of the kind {kind!r}; there are {', '.join(sorted(KINDS))}")
    for name in names if isinstance(names, list) else [names]:
        # a folder that was made elsewhere must not reach beyond itself
        if not (isinstance(name, str) and re.fullmatch(r"[\w-]+", name) and (folder / name).is_dir()):
            raise InputError(f"{path} names the part {name!r}, which is no folder beside it; save the retriever anew")
    return KINDS[kind](folder, saved, tuple(load(folder / name, encoding, encoders) for name in names))


def save(folder: Path, retriever: Retriever) -> None:
    """Saves a retriever, a bi-encoder as `model` in the folder: what else lies there is then no part of the model."""
    if retriever.kind != "bi-encoder":
        retriever.save(folder)
        return
    retriever.save(folder / "model")
    write_json(folder / MANIFEST, {"kind": retriever.kind, "parts": ["model"]})


def _only(parts: Sequence[Retriever], folder: Path) -> Retriever:
    if len(parts) != 1:
        raise InputError(f"{folder / MANIFEST} names {len(parts)} parts, and of that kind is one; save it anew")
    return parts[0]


def _bi_encoder(parts: Sequence[Retriever], folder: Path) -> BiEncoder:
    part = _only(parts, folder)
    if not isinstance(part, BiEncoder):
        raise InputError(f"{folder / MANIFEST} has a {part.kind} where there must be a bi-encoder; save it anew")
    return part


def _plain(name: str, folder: Path) -> str:
    """The name of a domain, which must not lead out of the folder."""
    if not re.fullmatch(r"[\w.-]+", name) or name.startswith("."):
        raise InputError(f"{folder / MANIFEST} names the domain {name!r}, which is no name of a folder; save it anew")
    return name


def _names(saved: Mapping[str, Any]) -> tuple[str, ...]:
    names = saved.get("domains")
    return tuple(map(str, names)) if isinstance(names, list) else ()


def _calibrations(saved: Mapping[str, Any]) -> tuple[ScoreCalibration, ...]:
    listed = saved.get("calibrations")
    return tuple(map(calibration_of, listed)) if isinstance(listed, list) else ()


def find(name: str, backbone: Backbone | None = None) -> Path:
    """The folder of a retriever: a saved one, or a model as of `locate`.

    Raises:
        InputError: When there is none, or `backbone` is given for what is no decoder-only LLM.
    """
    path = Path(name).expanduser()
    return path if (path / MANIFEST).exists() else locate(name, backbone)


def find_each(names: Sequence[str], reading: Mapping[str, Any]) -> list[Path]:
    """The folders of retrievers, of which those that are decoder-only LLMs are read as is asked for.

    Args:
        names: As of `find`.
        reading: Settings of `Backbone` by their names; none: the defaults.

    Raises:
        InputError: When one is not there, a setting is unknown, or there are settings and none of them is an LLM.
    """
    check_names(reading, settings_of(Backbone))
    backbone = Backbone.of(reading)
    llms = {name for name in names if not (Path(name).expanduser() / MANIFEST).exists() and names_llm(name)}
    if not llms:
        backbone.check_unused(" or ".join(names))
    return [find(name, backbone if name in llms else None) for name in names]


def find_all(names: Sequence[str], reading: Mapping[str, Any] | None = None) -> dict[str, Path]:
    """Short names for retrievers, and where each is.

    Args:
        names: As of `find`.
        reading: As of `find_each`.

    Raises:
        InputError: As `find_each`, and when one is given twice.
    """
    found: dict[str, Path] = {}
    for given, place in zip(names, find_each(names, reading or {}), strict=True):
        folder = place.resolve()
        if folder in found.values():
            raise InputError(f"model {given!r} is given twice; give each model once")
        path = Path(given).resolve()
        # the model of a run is called after the run: runs/mine/model is "mine"
        own = path.parent.name if path.name == "model" else path.name
        short = "_".join((own if path.exists() else given.replace("/", "_")).split()) or "model"
        # bm25 is the baseline's name
        numbered = (short if number == 1 else f"{short}-{number}" for number in range(1, len(names) + 2))
        found[next(name for name in numbered if name not in (*found, "bm25"))] = folder
    return found
