"""Random models of two narrow layers, of the architectures that people bring, each with a tokenizer of its own make."""

from __future__ import annotations

import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.conftest import WORDS

ARCHITECTURES = ("bert", "mpnet", "xlm-roberta", "modernbert", "qwen3")
_SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
_LETTERS = [*string.ascii_lowercase, *string.digits, *string.punctuation]


def tiny_model(folder: Path, architecture: str, *, tokens: int = 64, dim: int = 32) -> Path:
    """A bi-encoder as people make it of an architecture, saved as a sentence-transformers folder.

    Args:
        folder: Where to.
        architecture: One of `ARCHITECTURES`.
        tokens: How many it reads of a text.
        dim: Of its embeddings.
    """
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    from transformers import AutoModel

    config, tokenizer = _MAKERS[architecture]({**_SIZES, "hidden_size": dim}, tokens)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        AutoModel.from_config(config).save_pretrained(folder / "transformer")
    tokenizer.save_pretrained(folder / "transformer")
    causal = architecture == "qwen3"
    modules = [
        Transformer(str(folder / "transformer"), max_seq_length=tokens),
        # the last token alone has seen the others
        Pooling(dim, pooling_mode="lasttoken" if causal else "mean", include_prompt=True),
        Normalize(),
    ]
    prompts = {"query": "what is asked: ", "document": ""} if causal else None
    model = SentenceTransformer(modules=modules, prompts=prompts, device="cpu")
    model.save_pretrained(str(folder / "model"), create_model_card=False)
    return folder / "model"


LLMS = ("llama", "qwen3", "gemma3", "mistral")


def tiny_llm(folder: Path, architecture: str = "llama", *, tokens: int = 64, **special: Any) -> Path:
    """A decoder-only LLM as people bring it: a folder of transformers with a head, whose tokens are bytes.

    Args:
        folder: Where to.
        architecture: One of `LLMS`.
        tokens: How many positions it knows.
        special: Special tokens of its tokenizer besides the end, or in its place.
    """
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    pieces = ["<s>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    made = Tokenizer(models.BPE({piece: at for at, piece in enumerate(pieces)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, **{"eos_token": "</s>", **special})
    tokenizer.chat_template = "{{ messages[0]['content'] }}"
    config = _llm_config(architecture)(
        vocab_size=len(pieces),
        max_position_embeddings=tokens,
        num_key_value_heads=1,
        head_dim=16,
        initializer_range=0.5,
        bos_token_id=0,
        eos_token_id=1,
        **_SIZES,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _llm_config(architecture: str) -> Any:
    from transformers import Gemma3TextConfig, LlamaConfig, MistralConfig, Qwen3Config

    return dict(zip(LLMS, (LlamaConfig, Qwen3Config, Gemma3TextConfig, MistralConfig), strict=True))[architecture]


def _word_pieces(special: list[str]) -> dict[str, int]:
    pieces = [*special, *_LETTERS, *(f"##{letter}" for letter in _LETTERS), *WORDS]
    return {piece: at for at, piece in enumerate(dict.fromkeys(pieces))}


def _bert(sizes: dict[str, int], tokens: int) -> tuple[Any, Any]:
    from transformers import BertConfig, BertTokenizer

    vocabulary = _word_pieces(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    config = BertConfig(vocab_size=len(vocabulary), max_position_embeddings=tokens, **sizes)
    return config, BertTokenizer(vocab=vocabulary, model_max_length=tokens)


def _mpnet(sizes: dict[str, int], tokens: int) -> tuple[Any, Any]:
    from transformers import MPNetConfig, MPNetTokenizer

    vocabulary = _word_pieces(["<s>", "<pad>", "</s>", "[UNK]", "<mask>"])
    # positions begin behind that of padding
    config = MPNetConfig(vocab_size=len(vocabulary), max_position_embeddings=tokens + 2, **sizes)
    return config, MPNetTokenizer(vocab=vocabulary, model_max_length=tokens)


def _xlm_roberta(sizes: dict[str, int], tokens: int) -> tuple[Any, Any]:
    from transformers import XLMRobertaConfig, XLMRobertaTokenizer

    pieces = ["<s>", "<pad>", "</s>", "<unk>", "▁", *_LETTERS, *(f"▁{word}" for word in WORDS)]
    vocabulary = [(piece, -float(at)) for at, piece in enumerate(pieces)]
    tokenizer = XLMRobertaTokenizer(vocab=[*vocabulary, ("<mask>", 0.0)], model_max_length=tokens)
    config = XLMRobertaConfig(vocab_size=len(tokenizer), max_position_embeddings=tokens + 2, pad_token_id=1, **sizes)
    return config, tokenizer


def _modernbert(sizes: dict[str, int], tokens: int) -> tuple[Any, Any]:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import ModernBertConfig, PreTrainedTokenizerFast

    vocabulary = _word_pieces(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")]
    made.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", "[CLS] $A [SEP] $B [SEP]", ends)
    special = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made,
        model_max_length=tokens,
        # as the tokenizers of ModernBERT have it
        model_input_names=["input_ids", "attention_mask"],
        **{f"{name}_token": token for name, token in special.items()},
    )
    numbers = {"pad_token_id": 0, "bos_token_id": 2, "cls_token_id": 2, "eos_token_id": 3, "sep_token_id": 3}
    config = ModernBertConfig(
        vocab_size=len(vocabulary), max_position_embeddings=tokens, local_attention=16, **numbers, **sizes
    )
    return config, tokenizer


def _qwen3(sizes: dict[str, int], tokens: int) -> tuple[Any, Any]:
    from tokenizers import pre_tokenizers, processors
    from transformers import Qwen2Tokenizer, Qwen3Config

    pieces = ["<|endoftext|>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    vocabulary = {piece: at for at, piece in enumerate(pieces)}
    tokenizer = Qwen2Tokenizer(vocab=vocabulary, merges=[], model_max_length=tokens, padding_side="left")
    # the embedding models of this family end every text with it
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        "$A <|endoftext|>", special_tokens=[("<|endoftext|>", 0)]
    )
    config = Qwen3Config(
        vocab_size=len(vocabulary),
        max_position_embeddings=tokens,
        # two queries share a key
        num_key_value_heads=1,
        head_dim=16,
        initializer_range=0.5,
        bos_token_id=0,
        eos_token_id=0,
        **sizes,
    )
    return config, tokenizer


_MAKERS: dict[str, Callable[[dict[str, int], int], tuple[Any, Any]]] = {
    "bert": _bert,
    "mpnet": _mpnet,
    "xlm-roberta": _xlm_roberta,
    "modernbert": _modernbert,
    "qwen3": _qwen3,
}
