"""Making a bi-encoder of a decoder-only LLM: a folder that plain `SentenceTransformer(path)` loads.

An LLM says how to go on with a text, not what it is about. Read as a bi-encoder its head is left away, every text ends
with the token that ends texts, and the vector of that token, which has seen all others, is the text's embedding (or the
mean of all tokens). Texts begin with what they are, as in BMRetriever (arXiv 2404.18443) and STM (arXiv 2602.04731).
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from denizen.engine.errors import InputError, reason
from denizen.engine.files import file_digest
from denizen.engine.settings import Params, setting
from denizen.engine.user_cache import made_once
from denizen.retrievers.model_folder import check_backbone
from denizen.retrievers.model_ref import model_digest

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# raised by hand when what is made of an LLM changes
_VERSION = 1
# a passage of 512 tokens is what BMRetriever and STM read at most; longer ones are read by windows
_TOKENS = 512
_RECORD = "backbone.json"
_PASSAGE = "Represent this passage\npassage: "
_SHORT, _LONG = "a text", "words of a long text " * _TOKENS


@dataclass(frozen=True)
class Backbone(Params):
    """How a decoder-only LLM is read as a bi-encoder; what is saved as a bi-encoder says it by itself."""

    panel = "Model and data"

    # slightly better than the mean in STM's pilots, and what decoders that are published as retrievers use
    pooling: Literal["last", "mean"] = setting(
        "last", "Of a decoder-only LLM: the embedding is the vector of the last token, or the mean of all."
    )
    # what the LLM was trained for; STM's paper takes the mask away while it trains, its released code does not
    attention: Literal["causal", "bidirectional"] = setting(
        "causal", "Of a decoder-only LLM: a token sees those before it, or all."
    )
    instruction: str = setting(
        "Given a question, retrieve passages that best answer it.",
        "Of a decoder-only LLM: the sentence that says before each query what is asked for.",
    )

    def check_unused(self, name: str) -> None:
        """Makes sure that nothing is asked for that a bi-encoder says by itself.

        Raises:
            InputError: When the settings are not the defaults.
        """
        usual = Backbone().as_dict()
        given = [key for key, value in self.as_dict().items() if value != usual[key]]
        if given:
            raise InputError(
                f"{', '.join(given)} {'does' if len(given) == 1 else 'do'} nothing with {name}, which is saved as a "
                "bi-encoder with pooling, attention and prompts of its own; leave it out, or give the LLM itself"
            )


def bi_encoder_of(path: Path, name: str, backbone: Backbone) -> Path:
    """The folder of the bi-encoder that an LLM is read as, made once and kept in the user's cache.

    Args:
        path: A GGUF file, or a folder of transformers (`is_llm`).
        name: What the user calls it.
        backbone: How it is read.

    Raises:
        InputError: When it cannot be loaded, its architecture is unknown, or no token ends a text.
    """
    source = file_digest(path) if path.is_file() else model_digest(path)
    made = {"source": source, **backbone.as_dict(), "version": _VERSION}

    def make(folder: Path) -> None:
        _made(path, name, backbone).save_pretrained(str(folder), create_model_card=False)
        _check_end(folder, name)

    return made_once("backbones", _RECORD, made, make)


def _made(path: Path, name: str, backbone: Backbone) -> SentenceTransformer:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    from denizen.retrievers.loading import quiet_libraries

    quiet_libraries()
    model, tokenizer = _loaded(path, name)
    model.config.is_causal = backbone.attention == "causal"
    limit = min(_TOKENS, getattr(model.config, "max_position_embeddings", None) or _TOKENS)
    _prepare(tokenizer, name, limit)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        transformer = Transformer(folder, max_seq_length=limit, model_kwargs={"dtype": "auto"})
    pooling = Pooling(model.config.hidden_size, "lasttoken" if backbone.pooling == "last" else "mean")
    prompts = {"query": f"{backbone.instruction}\nQuery: ", "document": _PASSAGE}
    # compared by cosine in training and search alike; STM's release does so in training alone
    return SentenceTransformer(
        modules=[transformer, pooling, Normalize()], prompts=prompts, similarity_fn_name="cosine", device="cpu"
    )


def _loaded(path: Path, name: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The LLM without its head, and its tokenizer."""
    from transformers import AutoModel, AutoTokenizer

    options: dict[str, Any] = {"local_files_only": True}
    if path.is_file():
        folder, options = path.parent, {**options, "gguf_file": path.name}
        weights = unpacked(path, name)
    else:
        check_backbone(path, name)
        folder, weights = path, {"dtype": "auto"}
    try:
        # the bar of a file that is unpacked is drawn whatever the library is told
        with contextlib.redirect_stderr(io.StringIO()):
            model = AutoModel.from_pretrained(folder, **options, **weights)
            return model, AutoTokenizer.from_pretrained(folder, **options)
    except ImportError as error:
        raise InputError(f"{name} needs a library that is not installed: {reason(error)}") from error
    except Exception as error:
        # each part of the libraries has its own errors for a file that is not what it should be
        raise InputError(
            f"{name} cannot be read as a decoder-only LLM: {reason(error)}; give a folder of transformers, or a whole "
            "GGUF file of an architecture that transformers knows"
        ) from error


def unpacked(path: Path, name: str) -> dict[str, Any]:
    """What transformers needs to be told so that a GGUF file becomes weights in 32-bit floats, which can be trained."""
    import torch
    from transformers import GgufConfig

    if importlib.util.find_spec("gguf") is None:
        raise InputError(f"{name} is a GGUF file, which needs gguf: pip install 'denizen[decoder]'")
    return {"quantization_config": GgufConfig(gguf_file=path.name, dequantize=True), "dtype": torch.float32}


def _prepare(tokenizer: PreTrainedTokenizerBase, name: str, limit: int) -> None:
    """Sets that a text ends with the token that ends texts, is cut before it, and is padded behind it."""
    from tokenizers.processors import TemplateProcessing

    if not tokenizer.is_fast:
        raise InputError(f"{name} has no tokenizer.json; convert its tokenizer by transformers' AutoTokenizer first")
    end = tokenizer.eos_token
    if end is None or tokenizer.eos_token_id is None:
        raise InputError(
            f"the tokenizer of {name} has no eos_token, whose vector would be a text's embedding; set one, as in "
            "tokenizer.eos_token = '</s>', and save it again"
        )
    if tokenizer.pad_token is None:
        # padding is masked, so it may be any token
        tokenizer.pad_token = end
    begin = begins_with(tokenizer)
    special = [(token, tokenizer.convert_tokens_to_ids(token)) for token in dict.fromkeys((*begin, end))]
    first = " ".join(begin)
    if hasattr(tokenizer, "add_eos_token"):
        # some kinds of tokenizer make their template anew when they are loaded
        tokenizer.add_eos_token = True
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{first} $A {end}".strip(), pair=f"{first} $A $B {end}".strip(), special_tokens=special
    )
    # a chat template would make a message of each text
    tokenizer.chat_template = None
    tokenizer.padding_side, tokenizer.truncation_side = "right", "right"
    tokenizer.model_max_length = limit


def begins_with(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """The special tokens that a tokenizer puts before a text by itself."""
    whole, bare = (tokenizer(_SHORT, add_special_tokens=special)["input_ids"] for special in (True, False))
    for at in range(len(whole) - len(bare) + 1):
        if whole[at : at + len(bare)] == bare:
            return [str(token) for token in tokenizer.convert_ids_to_tokens(whole[:at])]
    return []


def _check_end(folder: Path, name: str) -> None:
    """That texts of any length end with the token that ends texts, as the folder is loaded."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    for text in (_SHORT, _LONG):
        tokens = tokenizer(text, truncation=True)["input_ids"]
        if tokens[-1] != tokenizer.eos_token_id or len(tokens) > tokenizer.model_max_length:
            raise InputError(
                f"the tokenizer of {name} does not end a text with its eos_token {tokenizer.eos_token!r} "
                f"(but with token {tokens[-1]}); save it with a post-processor that does"
            )
