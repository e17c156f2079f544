"""Texts as vectors by a causal language model that is here anyway: its last hidden states, averaged over tokens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from denizen.language_models.language_model import LanguageModel
from denizen.language_models.token_rows import begin_tokens
from denizen.retrievers.store import Vectors

# read together; of a row of 256 tokens and a model of 4,096 dimensions all layers' states are some hundred MB
_ROWS = 8


def pooled_states(model: LanguageModel, texts: Sequence[str], max_tokens: int) -> Vectors:
    """The mean of the last hidden states of each text, shape (texts, dim), in 32-bit floats.

    The token that texts begin with is read and not averaged: its state is large and the same for all.

    Args:
        model: What reads, with the adapter that is in use.
        texts: The texts; of one that is longer, its beginning and its end are read.
        max_tokens: Tokens of a text that are read.
    """
    begin = begin_tokens(model.tokenizer)
    rows = [[*begin, *both_ends(_ids(model, text), max_tokens)] for text in texts]
    order = sorted(range(len(rows)), key=lambda at: len(rows[at]))
    found = np.zeros((len(rows), model.model.config.get_text_config().hidden_size), dtype=np.float32)
    for at in range(0, len(order), _ROWS):
        part = order[at : at + _ROWS]
        found[part] = _means(model, [rows[place] for place in part], len(begin))
    return found


def both_ends(tokens: Sequence[int], most: int) -> list[int]:
    """Tokens, or of too many the first half and the last half of as many as may be."""
    if len(tokens) <= most:
        return list(tokens)
    last = most // 2
    return [*tokens[: most - last], *tokens[len(tokens) - last :]]


def _ids(model: LanguageModel, text: str) -> list[int]:
    # a text without any token is a space
    for each in (text, " ", "."):
        if ids := model.tokenizer(each, add_special_tokens=False)["input_ids"]:
            return list(ids)
    return [0]


def _means(model: LanguageModel, rows: Sequence[Sequence[int]], skipped: int) -> Vectors:
    import torch

    width, device = max(map(len, rows)), model.model.device
    ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows], device=device)
    mask = torch.tensor([[at < len(row) for at in range(width)] for row in rows], device=device)
    with torch.inference_mode(), torch.autocast(device.type, dtype=torch.bfloat16, enabled=model.bf16):
        said = model.model(
            input_ids=ids,
            attention_mask=mask.long(),
            use_cache=False,
            output_hidden_states=True,
            # of the head nothing is needed
            logits_to_keep=1,
        )
    states, counted = said.hidden_states[-1].float(), mask.clone()
    counted[:, :skipped] = False
    weights = counted.unsqueeze(2).float()
    found: Vectors = ((states * weights).sum(1) / weights.sum(1)).cpu().numpy()
    return found
