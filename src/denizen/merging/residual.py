"""The step that gives a pretrained base the abilities of its instruct model: the instruction residual.

theta = pretrained + scale x (instruct - base), element by element on every tensor (arXiv 2410.10739): continued
pretraining of an instruct model makes it forget how to follow instructions, that of its base costs little.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from denizen.data.artifacts import Model
from denizen.engine.artifact import Value
from denizen.engine.errors import InputError, reason
from denizen.engine.settings import Params, setting
from denizen.engine.step import Context, step
from denizen.language_models.conversations import end_of_turn

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# what tokenizers of one family cut alike: words, numbers, accents, other scripts, code, white space
_SAMPLE = "The 1,234 naïve cafés aren't (quite) 42% like 東京 or Москва:\n\tif x_1 != y:  return None\r\n  #ok"
# of a configuration, what the shape of the weights follows from, and what a user knows by name
_SHAPE = (
    "model_type",
    "hidden_size",
    "num_hidden_layers",
    "intermediate_size",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "tie_word_embeddings",
)
_FAMILY = "give a base and what its maker has tuned from exactly this base"
# numbers of a tensor that are added at a time, in 64 bits half a gigabyte with what they are made of
_BLOCK = 1 << 24


@dataclass(frozen=True)
class Residual(Params):
    """How much of the residual is added."""

    panel = "Residual"

    # arXiv 2410.10739 adds it as it is, within a family
    scale: float = setting(1.0, "How much of instruct - base is added to the pretrained base.", least=0, most=2)


@step(version=1, makes=Model, name="residual")
def add_residual(
    out: Path,
    params: Residual,
    ctx: Context,
    *,
    pretrained: Model,
    base: Model,
    instruct: Model,
    scale: Value | None = None,
) -> dict[str, Any]:
    """Adds what instruction tuning has made of a base to the same base after pretraining.

    What comes out has the configuration, the tokenizer, the chat template and the settings of generation of the
    instruct model, and ends an answer with what ends a turn in that template.

    Args:
        out: Where the model goes, in 32-bit floats.
        params: How much of it.
        ctx: The progress.
        pretrained: The base after pretraining, adapters folded in.
        base: The base before.
        instruct: What was tuned from the base.
        scale: What a search has chosen instead of the settings' scale.

    Raises:
        InputError: When the models are not of one shape, or their tokenizers differ.
    """
    from denizen.language_models.language_model import load_causal_lm, load_tokenizer

    check_pair(base.path, instruct.path)
    tokenizer = load_tokenizer(instruct.path)
    made = load_causal_lm(instruct.path)
    much = params.scale if scale is None else float(scale.content)
    grown = add(made, load_causal_lm(pretrained.path), load_causal_lm(base.path), much)
    _end_turns(made, tokenizer)
    made.save_pretrained(out)
    tokenizer.save_pretrained(out)
    return {"scale": much, "new_rows": grown}


def add(instruct: PreTrainedModel, pretrained: PreTrainedModel, base: PreTrainedModel, scale: float) -> int:
    """Makes the weights of an instruct model those of pretrained + scale x (instruct - base), in place.

    Where the pretrained model is the base this gives the instruct model exactly at scale 1, and at scale 0 the
    pretrained one. Rows of the vocabulary that the base lacks are zero in it and in what was pretrained from it.
    Embeddings that are also the head are one tensor, and are added once.

    Args:
        instruct: Changed in place.
        pretrained: Of the shape of the base.
        base: What both come from.
        scale: How much of the residual.

    Returns:
        How many rows of the vocabulary the base lacks.

    Raises:
        InputError: When a tensor is missing or of another shape.
    """
    import torch

    before, after = dict(base.named_parameters()), dict(pretrained.named_parameters())
    grown = max(_rows_that_lack(instruct, others) for others in (before, after))
    with torch.no_grad():
        for name, weights in instruct.named_parameters():
            _add_tensor(weights, after[name], before[name], scale)
    return grown


def check_pair(base: Path, instruct: Path) -> None:
    """Makes sure that a residual can be taken of two models, before anything is trained; no weights are read.

    Raises:
        InputError: When they are not of one shape, cut texts differently, or the instruct model has no chat template.
    """
    from denizen.language_models.language_model import load_tokenizer

    if base.samefile(instruct):
        raise InputError(f"base and instruct are one model, {base}, so there is nothing to add; {_FAMILY}")
    _check_shapes(base, instruct)
    tokenizer = load_tokenizer(instruct)
    _check_tokens(load_tokenizer(base), tokenizer)
    if not tokenizer.chat_template:
        raise InputError(
            f"the tokenizer of the instruct model {instruct.name} has no chat template, by which it is asked; put "
            "chat_template.jinja of its maker into the folder, or give another model"
        )
    try:
        end_of_turn(tokenizer)
    except Exception as error:
        # a template is a program of its maker's, and can fail in any way
        raise InputError(
            f"the chat template of the instruct model {instruct.name} fails on a question and an answer: "
            f"{reason(error)}; mend it, or give another model"
        ) from error


def _check_shapes(base: Path, instruct: Path) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    whole = [AutoConfig.from_pretrained(folder, local_files_only=True) for folder in (base, instruct)]
    of_base, of_instruct = (config.get_text_config() for config in whole)
    for name in _SHAPE:
        values = [getattr(config, name, None) for config in (of_base, of_instruct)]
        if values[0] != values[1]:
            raise InputError(
                f"{name} of the base {base.name} is {values[0]}, that of the instruct model {instruct.name} is "
                f"{values[1]}; a residual needs models of one shape: {_FAMILY}"
            )
    if of_base.vocab_size > of_instruct.vocab_size:
        raise InputError(
            f"the base {base.name} has {of_base.vocab_size:,} rows of vocabulary, more than the "
            f"{of_instruct.vocab_size:,} of the instruct model {instruct.name}; {_FAMILY}"
        )
    with torch.device("meta"):
        empty = [AutoModelForCausalLM.from_config(config) for config in whole]  # type: ignore[no-untyped-call]
    _rows_that_lack(empty[1], dict(empty[0].named_parameters()))


def _check_tokens(base: PreTrainedTokenizerBase, instruct: PreTrainedTokenizerBase) -> None:
    """That each token of the base has its number in the other, too, and that texts are cut alike."""
    theirs, added = instruct.get_vocab(), base.get_added_vocab()
    # a token that the base keeps in reserve may have got a name
    reserved = {token for token in added if token not in theirs}
    other = [
        token for token, number in base.get_vocab().items() if token not in reserved and theirs.get(token) != number
    ]
    if other:
        raise InputError(
            f"{len(other):,} tokens of the base have another number in the tokenizer of the instruct model, or none, "
            f"such as {other[0]!r}; embeddings of different tokens cannot be added: {_FAMILY}"
        )
    cut = [tokenizer(_SAMPLE, add_special_tokens=False)["input_ids"] for tokenizer in (base, instruct)]
    if cut[0] != cut[1]:
        raise InputError(
            f"the tokenizers of base and instruct model cut texts differently, a sample into {len(cut[0])} and "
            f"{len(cut[1])} tokens; {_FAMILY}"
        )


def _rows_that_lack(instruct: PreTrainedModel, others: Mapping[str, Tensor]) -> int:
    """How many rows of the vocabulary another model lacks, all of whose other weights must be of the same shapes.

    Raises:
        InputError: When they are not.
    """
    whole: Any = instruct
    vocabulary = {id(layer.weight) for layer in (whole.get_input_embeddings(), whole.get_output_embeddings())}
    own = dict(instruct.named_parameters())
    if apart := sorted(own.keys() ^ others.keys()):
        one, other = ("instruct model", "base") if apart[0] in own else ("base", "instruct model")
        raise InputError(f"the {one} has weights {apart[0]!r}, and the {other} has none; {_FAMILY}")
    return max(
        _missing_rows(name, weights, others[name], grows=id(weights) in vocabulary) for name, weights in own.items()
    )


def _missing_rows(name: str, weights: Tensor, others: Tensor, *, grows: bool) -> int:
    """How many rows a tensor of the instruct model has that another lacks."""
    missing = weights.shape[0] - others.shape[0]
    if weights.shape[1:] != others.shape[1:] or missing < 0 or (missing and not grows):
        raise InputError(
            f"weights {name!r} are of shape {tuple(weights.shape)} in the instruct model and {tuple(others.shape)} in "
            f"the other; {_FAMILY}"
        )
    return missing


def _add_tensor(own: Tensor, pretrained: Tensor, base: Tensor, scale: float) -> None:
    """The sum for one tensor, in the place of the instruct model's, by blocks of rows."""
    import torch

    rows = max(1, _BLOCK * len(own) // max(1, own.numel()))
    for at in range(0, len(own), rows):
        block = own[at : at + rows]
        # in 64 bits: what rounds a sum of 32-bit floats away is what this has to give back exactly
        start, end = (_padded(tensor[at : at + rows], len(block)).double() for tensor in (base, pretrained))
        block.copy_((end - start) + torch.lerp(start, block.double(), scale))


def _padded(block: Tensor, rows: int) -> Tensor:
    """A block of rows with rows of zeros behind it."""
    import torch

    if len(block) == rows:
        return block
    return torch.cat([block, block.new_zeros(rows - len(block), *block.shape[1:])])


def _end_turns(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Sets that generation ends with the model's own tokens for that, and what ends a turn."""
    from denizen.language_models.language_model import end_tokens

    ends, turn = end_tokens(model, tokenizer), end_of_turn(tokenizer)
    if turn is not None and turn not in ends:
        ends.append(turn)
    if ends and model.generation_config is not None:
        model.generation_config.eos_token_id = ends if len(ends) > 1 else ends[0]
