"""What a model folder must hold to be embedded with, trained and merged: seen from its files, before it is loaded."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from denizen.engine.errors import InputError, reason
from denizen.engine.files import read_json

# sentence-transformers' own modules that give a text one dense embedding, and whether they have weights
_MODULES = {
    "Transformer": True,
    "StaticEmbedding": True,
    "WordEmbeddings": True,
    "LSTM": True,
    "CNN": True,
    "Dense": True,
    "LayerNorm": True,
    "WeightedLayerPooling": True,
    "WordWeights": False,
    "BoW": False,
    "Pooling": False,
    "Normalize": False,
    "Dropout": False,
    "Router": False,
    "Asym": False,
}
_ROUTERS = ("Router", "Asym")
# what makes one vector of a text; what stands before gives one a token
_POOLING = ("Pooling", "StaticEmbedding", "BoW")
_OTHER_TYPES = {
    "SparseEncoder": "a sparse encoder (SPLADE)",
    "CrossEncoder": "a cross-encoder, which has no embeddings (as a teacher: --teacher cross-encoder)",
    "MultiVectorEncoder": "a multi-vector encoder (late interaction)",
}
_DENSE = "give a sentence-transformers model with one dense embedding for each text"
_SIMILARITIES = (None, "cosine", "dot")
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
_VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model", "*.vocab", "*.tiktoken", "tekken.json")
# tokenizers of bytes and characters have no vocabulary
_WITHOUT_VOCABULARY = ("ByT5", "Canine", "Perceiver")
_POINTER = b"version https://git-lfs"


@dataclass(frozen=True)
class _Module:
    """A module of a model: its class, the folder of its files, and that below the model's own."""

    type: str
    folder: Path
    place: str

    @property
    def kind(self) -> str:
        """The name of its class."""
        return self.type.rpartition(".")[2]


def check_folder(folder: Path, name: str) -> None:
    """Makes sure that a model can be loaded and used, as far as its files say.

    Args:
        folder: The model.
        name: What the user calls it.

    Raises:
        InputError: When it is of another kind, needs code or files that are not there, or compares by distance.
    """
    settings = _settings(folder / "config_sentence_transformers.json")
    if other := _OTHER_TYPES.get(str(settings.get("model_type"))):
        raise InputError(f"{name} is {other}; {_DENSE}")
    if (similarity := settings.get("similarity_fn_name")) not in _SIMILARITIES:
        raise InputError(wrong_similarity(name, str(similarity)))
    modules = list(_modules(folder, name))
    for module in modules:
        _check_class(module, name)
    for module in modules:
        if _MODULES[module.kind]:
            _check_weights(module, name)
        if module.kind == "Transformer":
            _check_transformer(module, name)
    kinds = {module.kind for module in modules}
    whole = any(_gives_embeddings(module) for module in modules if module.kind == "Transformer")
    if not whole and kinds.isdisjoint(_POOLING):
        raise InputError(f"{name} has no Pooling module, so a text has no embedding; add one and save the model again")


def check_backbone(folder: Path, name: str) -> None:
    """Makes sure that the folder of a language model can be loaded, as far as its files say.

    Args:
        folder: The model.
        name: What the user calls it.

    Raises:
        InputError: When its weights are missing, damaged or quantised, or it needs code of its own.
    """
    module = _Module("sentence_transformers.Transformer", folder, "")
    _check_weights(module, name)
    _check_transformer(module, name)


def wrong_similarity(name: str, similarity: str) -> str:
    """Why a model that compares by a distance is refused."""
    return (
        f"{name} compares by {similarity}; retrieval here is by cosine or dot product. Set similarity_fn_name to "
        "cosine and save the model again, if its vectors are of unit length that is the same"
    )


def why_no_model(folder: Path, name: str) -> str:
    """What a folder without modules.json is, and what to do about it."""
    if _is_adapter(folder):
        return _adapter(name)
    if _is_cross_encoder(folder):
        return f"{name} is {_OTHER_TYPES['CrossEncoder']}; {_DENSE}"
    if files := sorted(path.name for path in folder.glob("*.gguf")):
        return f"{name} holds {', '.join(files)}; give one of these files itself, as {name}/{files[0]}"
    return (
        f"{name} is no sentence-transformers model (it has no modules.json, so its pooling is unknown); "
        "save it with SentenceTransformer.save_pretrained first"
    )


def bin_weights(folder: Path) -> list[str]:
    """Patterns of a downloaded model's weights in .bin, for modules (or a model by itself) without .safetensors."""
    if not (folder / "modules.json").is_file():
        wanted = not list(folder.glob("*.safetensors")) and (_is_cross_encoder(folder) or _is_causal_lm(folder))
        return ["pytorch_model*.bin"] if wanted else []
    return [
        f"{module.place}/pytorch_model*.bin".removeprefix("/")
        for module in _modules(folder, str(folder))
        if _MODULES.get(module.kind) and not list(module.folder.glob("*.safetensors"))
    ]


def has_routes(folder: Path) -> bool:
    """Whether a model embeds queries and documents by modules of their own."""
    return any(module.kind in _ROUTERS for module in _modules(folder, str(folder)))


def _modules(folder: Path, name: str) -> Iterator[_Module]:
    """The modules of a model, with those of its routes."""
    listed = read_json(folder / "modules.json")
    try:
        found = [(str(entry["type"]), str(entry["path"])) for entry in listed]
    except (TypeError, KeyError):
        raise InputError(f"{name}/modules.json lists no modules with type and path; save the model again") from None
    for kind, place in found:
        module = _Module(kind, folder / place, place)
        yield module
        if module.kind in _ROUTERS:
            types = _settings(module.folder / "router_config.json").get("types") or {}
            yield from (_Module(str(of), module.folder / at, f"{place}/{at}".strip("/")) for at, of in types.items())


def _check_class(module: _Module, name: str) -> None:
    if not module.type.startswith("sentence_transformers."):
        raise InputError(
            f"module {module.place or '.'} of {name} is {module.type}, code from outside sentence-transformers, which "
            "is never run here; give a model of sentence-transformers' own modules"
        )
    if module.kind not in _MODULES:
        raise InputError(f"module {module.place or '.'} of {name} is {module.kind}, which is not supported; {_DENSE}")


def _gives_embeddings(module: _Module) -> bool:
    return _settings(module.folder / "sentence_bert_config.json").get("module_output_name") == "sentence_embedding"


def _check_weights(module: _Module, name: str) -> None:
    """That a module's weights are all there, whole, and can be read without running what they hold."""
    place = f"module {module.place or '.'} ({module.kind}) of {name}"
    if module.kind == "Transformer" and _is_adapter(module.folder):
        raise InputError(_adapter(name))
    chosen = next((module.folder / file for file in _WEIGHTS if (module.folder / file).is_file()), None)
    if chosen is None:
        others = sorted(
            path.relative_to(module.folder).as_posix()
            for pattern in ("*.onnx", "*.gguf", "openvino_model.bin", "*.h5", "*.msgpack", "*.ckpt")
            for path in (*module.folder.glob(pattern), *module.folder.glob(f"*/{pattern}"))
        )
        only = f" (only {', '.join(others)})" if others else ""
        raise InputError(f"{place} has no weights{only}; it needs {_WEIGHTS[0]}, so fetch or save the model again")
    files = [chosen]
    if chosen.suffix == ".json":
        named = _settings(chosen).get("weight_map")
        if not isinstance(named, dict) or not named:
            raise InputError(f"{place}: {chosen.name} names no files of weights; fetch the model again")
        files = [module.folder / str(file) for file in sorted(set(named.values()))]
    for file in files:
        if not file.is_file():
            raise InputError(f"{place} lacks {file.name}, which {chosen.name} names; fetch the model again")
        _check_file(file, place)


def _check_file(file: Path, place: str) -> None:
    with file.open("rb") as opened:
        begin = opened.read(len(_POINTER))
    if begin == _POINTER:
        raise InputError(f"{place}: {file.name} is a Git LFS pointer, not the weights; run git lfs pull there")
    if file.suffix == ".safetensors":
        if not _is_whole(file):
            raise InputError(f"{place}: {file.name} is damaged or cut off; fetch or save the model again")
    else:
        _check_bin(file, place)


def _is_whole(file: Path) -> bool:
    """Whether a safetensors file ends where its header says."""
    try:
        with file.open("rb") as opened:
            (length,) = struct.unpack("<Q", opened.read(8))
            size = file.stat().st_size
            tensors = json.loads(opened.read(length)) if length < size else {}
        ends = [tensor["data_offsets"][1] for key, tensor in tensors.items() if key != "__metadata__"]
        return bool(size == 8 + length + max(ends, default=0))
    except (ValueError, TypeError, KeyError, AttributeError, struct.error):
        return False


def _check_bin(file: Path, place: str) -> None:
    """That a .bin holds tensors and nothing else: torch's reader of plain weights, unlike pickle, runs nothing."""
    import pickle
    import zipfile

    import torch

    remedy = (
        "where its maker is trusted, convert it: safetensors.torch.save_file(torch.load(FILE, weights_only=False), "
        "'model.safetensors')"
    )
    # before 2.6 that reader could be made to run code (CVE-2025-32434)
    if tuple(map(int, re.findall(r"\d+", torch.__version__)[:2])) < (2, 6):
        raise InputError(f"{place}: {file.name} can be read from torch 2.6 on; update torch, or {remedy}")
    try:
        torch.load(file, map_location="meta", weights_only=True, mmap=zipfile.is_zipfile(file))
    except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError, KeyError, AttributeError) as error:
        raise InputError(
            f"{place}: {file.name} is cut off, or a pickle with more in it than weights ({reason(error)}), which is "
            f"never run here; {remedy}"
        ) from None


def _check_transformer(module: _Module, name: str) -> None:
    """That the libraries here know its architecture, and its tokenizer is there."""
    place = f"module {module.place or '.'} (Transformer) of {name}"
    config = _settings(module.folder / "config.json")
    if not config:
        raise InputError(f"{place} has no config.json; fetch or save the model again")
    if config.get("quantization_config"):
        raise InputError(f"{place} has quantised weights, which cannot be trained; give the model before that")
    # also where transformers knows the architecture: by its own class the same weights can give other embeddings
    if isinstance(code := config.get("auto_map"), dict) and "AutoModel" in code:
        raise InputError(
            f"{place} is computed by code of its own ({code['AutoModel']}), which is never run here; give another "
            "model, or take auto_map out of config.json if transformers' own class is known to give the same"
        )
    from transformers import CONFIG_MAPPING

    if (kind := str(config.get("model_type"))) not in CONFIG_MAPPING:
        raise InputError(f"{place}: model_type {kind!r} is unknown to the installed transformers; update transformers")
    tokenizer = str(_settings(module.folder / "tokenizer_config.json").get("tokenizer_class"))
    found = any(True for pattern in _VOCABULARIES for _ in module.folder.glob(pattern))
    if not found and not tokenizer.startswith(_WITHOUT_VOCABULARY):
        raise InputError(f"{place} has no tokenizer file such as tokenizer.json; fetch or save the model again")


def _is_cross_encoder(folder: Path) -> bool:
    return _has_head(folder, "ForSequenceClassification")


def _is_causal_lm(folder: Path) -> bool:
    return _has_head(folder, "ForCausalLM")


def _has_head(folder: Path, name: str) -> bool:
    architectures = _settings(folder / "config.json").get("architectures") or []
    return any(name in str(of) for of in architectures)


def is_decoder(folder: Path) -> bool:
    """Whether a bi-encoder's transformer is of a decoder-only architecture, whatever its tokens see here."""
    place = transformer_folder(folder)
    return place is not None and is_decoder_kind(str(_settings(place / "config.json").get("model_type")))


def transformer_folder(folder: Path) -> Path | None:
    """Where the first Transformer module of a bi-encoder lies; None where it has none."""
    modules = _modules(folder, str(folder))
    return next((module.folder for module in modules if module.kind == "Transformer"), None)


def is_decoder_kind(model_type: str) -> bool:
    """Whether an architecture, by transformers' name, is decoder-only."""
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as DECODERS,
    )
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_MASKED_LM_MAPPING_NAMES as ENCODERS,
    )

    # encoders can be made to say the next token, too
    return model_type in DECODERS and model_type not in ENCODERS


def is_llm(path: Path) -> bool:
    """Whether a path is a decoder-only LLM: a GGUF file, or a folder of transformers whose head says the next token."""
    if path.suffix.lower() == ".gguf":
        return path.is_file()
    return not (path / "modules.json").exists() and _is_causal_lm(path)


def _is_adapter(folder: Path) -> bool:
    return (folder / "adapter_config.json").is_file()


def _adapter(name: str) -> str:
    return (
        f"{name} is a PEFT adapter without its base; load both, call merge_and_unload on the PEFT model and save the "
        "whole as a sentence-transformers model"
    )


def _settings(path: Path) -> dict[str, Any]:
    found = read_json(path)
    return found if isinstance(found, dict) else {}
