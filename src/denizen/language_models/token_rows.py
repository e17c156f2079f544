"""Texts as rows of tokens: one text's tokens a row, long texts cut, each token predicted once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from denizen.engine.settings import Params, setting
from denizen.retrievers.backbone import begins_with

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class RowLength(Params):
    """How long the rows are that a language model reads."""

    panel = "Pretraining"

    # the logits of a batch grow with it: at 262 thousand tokens of vocabulary a row of 512 has half a gigabyte of them
    max_length: int = setting(
        512, "Tokens of a row at most; a longer document is cut into rows.", least=16, most=1 << 17
    )


def begin_tokens(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The numbers of the tokens that a tokenizer puts before a text by itself."""
    # which of its results are lists the library does not say
    return [int(tokenizer.convert_tokens_to_ids(token)) for token in begins_with(tokenizer)]  # type: ignore[arg-type]


def token_rows(
    tokenizer: PreTrainedTokenizerBase, texts: Iterable[str], max_length: int, *, end: bool
) -> list[list[list[int]]]:
    """For each text its rows of at most `max_length` token ids, of which each but the first is to be predicted.

    Every row begins with the token that its tokenizer puts before texts, where it does that: models that were always
    given one foresee next to nothing without it. Else a row after the first begins with the last token of the one
    before. So no token is left out and none is predicted twice. No row holds tokens of two texts, so no attention has
    to keep them apart.

    Args:
        tokenizer: The model's.
        texts: The texts.
        max_length: Tokens of a row at most; at least 2.
        end: Whether a text ends with the token that ends texts.
    """
    begin = begin_tokens(tokenizer)
    after = [tokenizer.eos_token_id] if end and tokenizer.eos_token_id is not None else []
    found = []
    for text in texts:
        # with what ends texts, and whatever else a tokenizer may add, decided here
        ids = [*tokenizer(text, add_special_tokens=False)["input_ids"], *after]
        new = max_length - max(1, len(begin))
        # without a token to begin with, that of the row before stands there
        width = new if begin else max_length
        cut = ([*begin, *ids[at : at + width]] for at in range(0, len(ids), new))
        found.append([row for row in cut if len(row) > 1])
    return found
